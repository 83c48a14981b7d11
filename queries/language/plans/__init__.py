"""What verbs do: a plan for each, which EXPLAIN shows and which answers the verb."""
