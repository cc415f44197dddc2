"""An MCP server made with the SDK, which keeps notes; over HTTP if the argument says so."""

import os
import sys
from pathlib import Path
from typing import Any

import uvicorn
from mcp.server import MCPServer
from mcp_types import ToolAnnotations

server = MCPServer("notes")
notes: dict[str, str] = {}


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def read(title: str) -> dict[str, Any]:
    """Read a note."""
    return {"title": title, "text": notes[title]}


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def count(longer_than: int = 0) -> int:
    """How many notes there are."""
    return sum(len(text) > longer_than for text in notes.values())


@server.tool()
def write(title: str, text: str) -> str:
    """Write a note."""
    notes[title] = text
    return "written"


@server.tool()
def large(size: int) -> str:
    """A long text."""
    return "x" * size


@server.tool()
def variable(name: str) -> str | None:
    """A variable of the server's environment."""
    return os.environ.get(name)


@server.tool()
def entries(folder: str) -> list[str]:
    """The files in a folder, to which one is added."""
    found = sorted(path.name for path in Path(folder).iterdir())
    (Path(folder) / f"file{len(found)}").write_text("x")
    return found


if __name__ == "__main__":
    if sys.argv[1:] == ["http"]:
        config = uvicorn.Config(server.streamable_http_app(), port=0, log_level="info")
        uvicorn.Server(config).run()
    else:
        server.run()
