"""Runs as one HTML file that a person wants to read."""
