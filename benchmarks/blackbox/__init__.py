"""Other people's suites against the proxy, as black boxes. See README.md for what they need."""
