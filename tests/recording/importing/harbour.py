"""A small data set of a harbour, its answers as its API would give them, and what files make of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.core.tools import Tool
from toolorch_env.recording.importing.pipeline import ImportSummary, import_data_set
from toolorch_env.recording.importing.traces import Answered, DataSet, Trace, TracedCall
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot


def tool(name: str, required: Sequence[str] = (), /, **properties: Any) -> Tool:
    schemas = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in properties.items()}
    return Tool(
        name, name, {"type": "object", "properties": schemas, "required": list(required)}, 400, {"status": False}
    )


TOOLS = (
    tool("find_port", ["name"], name="string"),
    tool("list_ships", ["port_id"], port_id="integer", page={"type": "integer", "default": 1}),
    tool("get_ship", ["code"], code="string"),
    tool("ports_near", ["latitude", "longitude"], latitude="number", longitude="number"),
)

QUERY = "Which ships lie in the harbour of Vigo?"


def port(number: int = 7301, latitude: float = -42.2405988) -> dict[str, Any]:
    return {"data": {"port_id": number, "latitude": latitude, "longitude": 8.72}}


def ships(*codes: str) -> dict[str, Any]:
    return {"data": [{"code": code} for code in codes]}


def answered(tool_name: str, body: Any, status: int = 200, /, **arguments: Any) -> Answered:
    return Answered(Call(tool_name, arguments), body, status)


def trace(name: str, *calls: Answered | TracedCall, query: str = QUERY) -> Trace:
    return Trace(name, query, tuple(call if isinstance(call, TracedCall) else TracedCall(call) for call in calls))


def data_set(*traces: Trace, cached: Sequence[Answered] = ()) -> DataSet:
    return DataSet(TOOLS, traces, responses=lambda: iter(cached), name="harbour")


def imported(folder: Path, *traces: Trace, cached: Sequence[Answered] = ()) -> tuple[ImportSummary, Snapshot]:
    summary = import_data_set(data_set(*traces, cached=cached), folder / "harbour.sqlite")
    return summary, Snapshot(summary.path)


def recorded_body(snapshot: Snapshot, call: Call) -> Any:
    """What a snapshot answers to a call, which must be recorded."""
    response = SnapshotReplay(snapshot, "raise").answer(snapshot.tools.canonical(call))
    return response.body
