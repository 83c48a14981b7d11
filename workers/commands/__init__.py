"""How a command of the user's is a run: its words, its processes, what it says, its end."""
