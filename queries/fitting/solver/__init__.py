"""The solver: coordinates for a law on its rows, starts, descent, and many versions of the rows at once."""
