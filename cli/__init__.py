"""How a user asks: the command line, the shell, the terminal interface, plots."""
