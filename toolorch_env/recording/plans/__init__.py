"""Recording plans: which calls are made, and in which order."""
