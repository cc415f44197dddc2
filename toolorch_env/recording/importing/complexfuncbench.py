"""ComplexFuncBench: conversations with several calls in a turn and what they were answered, as JSON lines."""

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import orjson
from pydantic import BaseModel, BeforeValidator, Field, ValidationError

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import DataSetError, ToolSchemaError
from toolorch_env.core.tools import Tool
from toolorch_env.recording.importing.json_files import read_json_lines, shape_complaint
from toolorch_env.recording.importing.schemas import as_tool, inferred_tool
from toolorch_env.recording.importing.statuses import FAILED, MISS_BODY, answered
from toolorch_env.recording.importing.traces import DataSet, Paths, Trace, TracedCall

NAME = "complexfuncbench"
DESCRIPTION = "ComplexFuncBench: function calls in several steps, under constraints, on Booking.com"
SOURCE = "ComplexFuncBench (THUDM, arXiv 2501.10132), with responses of the Booking.com API (booking-com15 on RapidAPI)"
LICENCE = "Apache-2.0"

OPTIONAL = frozenset(
    {
        "Location_to_Lat_Long",
        "Search_Hotel_Destination",
        "Search_Attraction_Location",
        "Search_Car_Location",
        "Search_Flight_Location",
        "Taxi_Search_Location",
    }
)
"""The location look-ups: a solution may skip them where it knows the value already, and makes any other call."""

_NUMBERED = re.compile(r"(?P<domain>.+?)-[0-9]+")


def _parsed(value: Any) -> Any:
    """What a text of JSON holds; other values, and texts that are none, as they are."""
    if isinstance(value, str) and value:
        try:
            return orjson.loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


class _Call(BaseModel):
    name: str
    arguments: Annotated[dict[str, Any], BeforeValidator(_parsed)] = {}


class _Message(BaseModel):
    role: Literal["system", "user", "assistant", "observation"]
    content: Any = None
    function_call: list[_Call] | None = None


class _Sample(BaseModel):
    id: str = Field(min_length=1)
    functions: list[dict[str, Any]] = []
    conversations: list[_Message]

    @property
    def query(self) -> str:
        texts = (message.content for message in self.conversations if message.role == "user")
        return "\n".join(text for text in texts if isinstance(text, str))

    @property
    def domain(self) -> str:
        numbered = _NUMBERED.fullmatch(self.id)
        return numbered["domain"] if numbered else self.id


def read_complexfuncbench(paths: Paths) -> DataSet:
    """The benchmark's samples as problems for testing, each turn's calls as a group.

    The benchmark says nothing of dependencies and has no checkable answer. Where samples describe a tool differently,
    the schema with the most parameters is kept, of those the one with the longest JSON, of those the first in the order
    of its bytes. A tool that is called but described nowhere is inferred from its calls. Samples without a call are
    left out.

    Args:
        paths: files of JSON lines, one sample each.

    Raises:
        DataSetError: a file cannot be read; a line is not a sample, saying which; a sample has other numbers of calls
            and observations, saying which message; no sample is left.
    """
    tools = _Tools()
    notes: list[str] = []
    traces: dict[str, Trace] = {}
    for path in map(Path, paths):
        for place, sample in _samples(path):
            if sample.id in traces:
                raise DataSetError(f"{place}: a second sample has the id {sample.id!r}")
            trace = _trace(sample, place)
            if not trace.calls:
                notes.append(f"left out, as it has no call: sample {sample.id!r}")
                continue
            tools.add(sample.functions, trace, place)
            traces[sample.id] = trace
    if not traces:
        raise DataSetError("no sample with a call is in the files")
    return DataSet(
        tools=tools.best(),
        traces=tuple(traces.values()),
        name=NAME,
        description=DESCRIPTION,
        source=SOURCE,
        licence=LICENCE,
        notes=(*notes, *tools.notes()),
    )


def _samples(path: Path) -> Iterator[tuple[str, _Sample]]:
    """The samples of a file, each with its place in words."""
    for place, document in read_json_lines(path):
        try:
            yield place, _Sample.model_validate(document)
        except ValidationError as error:
            raise DataSetError(f"{place}: {shape_complaint(error)}") from None


def _trace(sample: _Sample, place: str) -> Trace:
    if not sample.query:
        raise DataSetError(f"{place}: the sample {sample.id!r} has no user message with text")
    return Trace(
        id=sample.id,
        query=sample.query,
        calls=tuple(_calls(sample, place)),
        tools=_on_offer(sample),
        workflow=sample.domain,
        split="test",
    )


def _on_offer(sample: _Sample) -> tuple[str, ...]:
    """Tools that the sample describes and those that it calls; none, for all, where it describes none."""
    described = [str(function.get("name")) for function in sample.functions]
    called = [call.name for message in sample.conversations for call in message.function_call or ()]
    return tuple(dict.fromkeys([*described, *called])) if described else ()


def _calls(sample: _Sample, place: str) -> Iterator[TracedCall]:
    needed = {call.name for message in sample.conversations for call in message.function_call or ()} - OPTIONAL
    optional = OPTIONAL if needed else frozenset()
    turn = 0
    for index, message in enumerate(sample.conversations):
        if not message.function_call:
            continue
        bodies = _bodies(sample.conversations[index + 1 : index + 2])
        if len(bodies) != len(message.function_call):
            raise DataSetError(
                f"{place}: sample {sample.id!r}, message {index} makes {len(message.function_call)} calls, "
                f"but {len(bodies)} observations follow"
            )
        for call, body in zip(message.function_call, bodies, strict=True):
            answer = answered(call.name, call.arguments, _parsed(body))
            yield TracedCall(answer, turn=turn, optional=call.name in optional)
        turn += 1


def _bodies(following: Sequence[_Message]) -> list[Any]:
    """The bodies in the message that follows on calls."""
    if not following or following[0].role != "observation":
        return []
    content = _parsed(following[0].content)
    return content if isinstance(content, list) else [content]


class _Tools:
    """The tools of all samples, merged by name."""

    def __init__(self) -> None:
        self._described: dict[str, dict[bytes, Tool]] = {}
        self._called: dict[str, list[dict[str, Any]]] = {}

    def add(self, functions: Iterable[dict[str, Any]], trace: Trace, place: str) -> None:
        """Adds what a sample says of tools."""
        for function in functions:
            try:
                tool = as_tool(function, miss_status=FAILED, miss_body=MISS_BODY)
            except ToolSchemaError as error:
                raise DataSetError(f"{place}: sample {trace.id!r}: {error}") from None
            self._described.setdefault(tool.name, {}).setdefault(_written(tool), tool)
        for made in trace.calls:
            call = made.answered.call
            self._called.setdefault(call.tool, []).append(dict(call.arguments))

    def best(self) -> tuple[Tool, ...]:
        """One tool for each name."""
        described = [min(versions.items(), key=_poverty)[1] for versions in self._described.values()]
        inferred = [
            inferred_tool(name, self._called[name], miss_status=FAILED, miss_body=MISS_BODY) for name in self._others
        ]
        return (*described, *inferred)

    def notes(self) -> Iterator[str]:
        """What was merged or inferred, in words."""
        several = [name for name, versions in self._described.items() if len(versions) > 1]
        if several:
            yield f"described differently by different samples, the richest schema kept: {', '.join(several)}"
        if self._others:
            yield f"no schema, inferred from their calls: {', '.join(self._others)}"

    @property
    def _others(self) -> list[str]:
        return [name for name in self._called if name not in self._described]


def _written(tool: Tool) -> bytes:
    return canonical_json({"description": tool.description, "parameters": tool.parameters})


def _poverty(version: tuple[bytes, Tool]) -> tuple[int, int, bytes]:
    """The less, the richer: more parameters, then a longer schema, then the order of bytes."""
    written, tool = version
    return -len(tool.properties), -len(written), written
