"""Tools, calls, responses, tasks and the episode. Imports nothing of ToolOrch but itself."""
