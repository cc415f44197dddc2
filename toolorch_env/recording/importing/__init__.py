"""Importers of published data sets: traces of calls with their responses become a snapshot with fixed tasks."""
