"""How a person asks: the command line, the shell, the terminal interface, plots."""
