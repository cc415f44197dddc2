"""Evaluating policies: runner and metrics."""
