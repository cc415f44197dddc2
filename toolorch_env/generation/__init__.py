"""Drawing tasks from a snapshot: workflows, join sampling, phrasing, constraints and splits."""
