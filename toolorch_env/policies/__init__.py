"""Policies: anything that picks the next action."""
