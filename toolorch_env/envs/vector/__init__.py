"""The vector environment: all copies step at once, in integers."""
