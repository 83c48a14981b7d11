"""What a run is: its identity, its attempts, and who produced it."""
