"""What a store says about the calls in it: tools, provenance, workflows and links."""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
from sqlalchemy import Connection, Table, delete, insert, update

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import RecordingError, WorkflowError
from toolorch_env.core.tasks import Task
from toolorch_env.core.tools import Tool
from toolorch_env.store import schema
from toolorch_env.store.compiled import Link
from toolorch_env.store.stored_tasks import pack_tasks
from toolorch_env.store.tool_rows import tool_row


def check_same(store: str, held: ToolSet, declared: ToolSet) -> None:
    """Checks that a store holds the tools that are declared.

    Args:
        store: what to call the store.
        held: the tools in it.
        declared: the tools that are to be in it.

    Raises:
        RecordingError: it holds others. Descriptions and answers to unknown input do not count.
    """
    for name in [*held, *declared]:
        if name not in declared or name not in held:
            what = "is not among the tools now" if name in held else "is new"
        elif not same_calls(held[name], declared[name]):
            what = "has other parameters now, or changes state where it did not"
        else:
            continue
        raise RecordingError(f"{store} holds a recording of other tools: {name!r} {what}; record into another file")


def same_calls(left: Tool, right: Tool) -> bool:
    """Whether two tools take the same calls: parameters, and whether they are read-only."""
    parameters = canonical_json(left.parameters) == canonical_json(right.parameters)
    return parameters and left.read_only == right.read_only


def declared_blobs(
    workflows: Any, links: Iterable[Link] | None, tasks: Iterable[Task] | None = None
) -> dict[str, bytes]:
    """Workflows, links and tasks as they are stored, as far as there are any.

    Raises:
        WorkflowError: the workflows are not JSON.
        TaskError: a task is not JSON.
    """
    blobs: dict[str, bytes] = {}
    if workflows is not None:
        blobs["workflows"] = as_json(workflows)
    if links is not None:
        blobs["links"] = orjson.dumps(sorted([link.parameter, link.tool, link.select] for link in set(links)))
    if tasks is not None:
        blobs["tasks"] = pack_tasks(tasks)
    return blobs


def as_json(workflows: Any) -> bytes:
    """A workflow document, parsed or the bytes of it, as it is stored: without white space, the same for the same JSON.

    Raises:
        WorkflowError: it is not JSON.
    """
    try:
        return orjson.dumps(orjson.loads(workflows) if isinstance(workflows, bytes) else workflows)
    except (TypeError, orjson.JSONDecodeError) as error:
        raise WorkflowError(f"the workflows are not JSON: {error}") from None


def update_tools(connection: Connection, tools: ToolSet) -> None:
    """Writes what is known of tools now in place of what was."""
    for index, tool in enumerate(tools.values()):
        row = tool_row(index, tool)
        del row["id"]
        connection.execute(update(schema.tools).where(schema.tools.c.name == tool.name).values(row))


def put(connection: Connection, table: Table, column: str, values: Mapping[str, Any]) -> None:
    """Writes named values into a column of a table, in place of older ones of the same names."""
    for name, value in values.items():
        connection.execute(delete(table).where(table.c.name == name))
        connection.execute(insert(table), {"name": name, column: value})
