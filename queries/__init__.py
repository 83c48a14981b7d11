"""What can be asked of the runs: laws, fits, and the language that names them."""
