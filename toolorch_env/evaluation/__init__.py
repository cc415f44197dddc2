"""Evaluating policies: runner, metrics and report."""
