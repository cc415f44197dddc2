"""Tools as rows of the table ``tools``."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import SnapshotCorruptError, ToolSchemaError
from toolorch_env.core.tools import Tool

TOOL_COLUMNS = ("name", "description", "parameters", "miss_status", "miss_body", "read_only")
"""Columns in the order in which :func:`tools_from_rows` takes them."""


def tool_row(index: int, tool: Tool) -> dict[str, Any]:
    """A tool as a row.

    Args:
        index: its number.
        tool: the tool.
    """
    return {
        "id": index,
        "name": tool.name,
        "description": tool.description,
        "parameters": orjson.dumps(dict(tool.parameters)).decode(),
        "miss_status": tool.miss_status,
        "miss_body": orjson.dumps(tool.miss_body).decode(),
        "read_only": int(tool.read_only),
    }


def tools_from_rows(rows: Iterable[Sequence[Any]]) -> ToolSet:
    """The tools of rows, in their order.

    Raises:
        SnapshotCorruptError: a row is damaged.
    """
    try:
        return ToolSet(_tool(*row) for row in rows)
    except (orjson.JSONDecodeError, ToolSchemaError, TypeError) as error:
        raise SnapshotCorruptError(f"a tool cannot be read ({error})") from None


def _tool(name: str, description: str, parameters: str, miss_status: int, miss_body: str, read_only: int) -> Tool:
    if not (type(name) is type(description) is str and type(miss_status) is int):
        raise TypeError("its name and description are to be texts, its status a number")
    return Tool(name, description, orjson.loads(parameters), miss_status, orjson.loads(miss_body), bool(read_only))
