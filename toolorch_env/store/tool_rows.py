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
        return ToolSet(
            Tool(name, description, orjson.loads(parameters), status, orjson.loads(body), bool(read_only))
            for name, description, parameters, status, body, read_only in rows
        )
    except (orjson.JSONDecodeError, ToolSchemaError, TypeError) as error:
        raise SnapshotCorruptError(f"a tool cannot be read ({error})") from None
