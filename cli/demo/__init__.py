"""`isoflop demo`: the whole way on one machine, and the sweep files it trains."""
