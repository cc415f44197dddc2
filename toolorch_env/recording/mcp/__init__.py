"""Servers of the Model Context Protocol."""

from toolorch_env.recording.mcp.api import McpApi, McpSession, open_mcp

__all__ = ["McpApi", "McpSession", "open_mcp"]
