"""Trainers: one small file each, each behind its own extra."""
