"""The snapshot: one SQLite file of tools, recorded responses, workflows and provenance."""
