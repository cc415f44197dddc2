"""Recorded calls as JSON lines: a line that says what was recorded, then one line a call. Plain, or a zstd frame."""

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, Literal, Self

import orjson
import zstandard
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolorch_env.core.calls import KEY_BYTES, Call, ToolSet
from toolorch_env.core.errors import (
    RecordingError,
    SnapshotCorruptError,
    SnapshotError,
    SnapshotFormatError,
    TaskError,
    ToolSchemaError,
)
from toolorch_env.core.responses import UNKNOWN_BODY
from toolorch_env.core.tasks import Task
from toolorch_env.core.tools import Tool
from toolorch_env.store.compiled import Link
from toolorch_env.store.content import MAX_CONTENT_BYTES
from toolorch_env.store.format import FORMAT_VERSION
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record, in_batches, make_record
from toolorch_env.store.sources import Source, provenance

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LEVEL = 9
_NO_ENTRY: Any = object()
MAX_LINE_BYTES = MAX_CONTENT_BYTES + 2**20
"""Longer lines are refused: no recorded call, with what else stands in its line, has one."""


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _ToolLine(_Line):
    name: str
    description: str
    parameters: dict[str, Any]
    miss_status: int
    miss_body: Any
    read_only: bool


class _Head(_Line):
    toolorch: int
    name: str
    description: str = ""
    source: str = ""
    licence: str = ""
    responses: int | None = None
    links: list[list[str]] | None = None
    tools: list[_ToolLine]
    workflows: Any = None
    tasks: list[dict[str, Any]] | None = None


class _RecordLine(_Line):
    tool: str
    arguments: dict[str, Any]
    state: str = Field(default="", pattern=f"^([0-9a-f]{{{2 * KEY_BYTES}}})?$")
    status: int
    body: Any = _NO_ENTRY
    without_body: Literal[True] | None = None
    latency: float = 0.0
    recorded_at: int = 0

    @model_validator(mode="after")
    def _check_body(self) -> Self:
        if (self.body is _NO_ENTRY) != bool(self.without_body):
            raise ValueError("a line has either a body or says `without_body`")
        return self


def write_json_lines(source: Source, file: BinaryIO, *, compress: bool = False) -> int:
    """Writes recorded calls as JSON lines; returns their number.

    Args:
        source: the recorded calls.
        file: where the lines go; it stays open.
        compress: whether to write one zstd frame.

    Raises:
        SnapshotError: the source cannot be read, or was written meanwhile.
        OSError: the file cannot be written.
    """
    if compress:
        with zstandard.ZstdCompressor(level=_LEVEL, threads=-1).stream_writer(file, closefd=False) as frame:
            return _write_lines(source, frame)
    return _write_lines(source, file)


def _write_lines(source: Source, file: Any) -> int:
    expected, count = len(source), 0
    file.write(orjson.dumps(_head(source, expected)) + b"\n")
    for record in source.records():
        file.write(orjson.dumps(_record_line(record)) + b"\n")
        count += 1
    if count != expected:
        raise SnapshotError(f"{expected:,} calls became {count:,} while they were copied: copy when nobody records")
    return count


def _head(source: Source, responses: int) -> dict[str, Any]:
    head: dict[str, Any] = {"toolorch": FORMAT_VERSION, **provenance(source), "responses": responses}
    head["links"] = [[link.parameter, link.tool, link.select] for link in source.links]
    fields = _ToolLine.model_fields
    head["tools"] = [{field: getattr(tool, field) for field in fields} for tool in source.tools.values()]
    if source.workflows is not None:
        head["workflows"] = orjson.Fragment(source.workflows)
    if source.tasks:
        head["tasks"] = [orjson.Fragment(task.to_json()) for task in source.tasks]
    return head


def _record_line(record: Record) -> dict[str, Any]:
    response = record.response
    state = {"state": record.state.hex()} if record.state else {}
    body = {"body": orjson.Fragment(response.raw)} if response.raw else {"without_body": True}
    return {
        "tool": record.tool,
        "arguments": orjson.Fragment(record.arguments),
        **state,
        "status": response.status,
        **body,
        "latency": round(response.latency, 6),
        "recorded_at": response.recorded_at,
    }


def read_json_lines(file: BinaryIO, name: str) -> RecordStore:
    """Reads JSON lines into a temporary store, which the caller closes.

    Args:
        file: the lines, plain or compressed.
        name: what to call the file in messages.

    Raises:
        SnapshotFormatError: the first line does not say what was recorded, or in a newer format.
        SnapshotCorruptError: a line cannot be read, a call stands there twice, or lines are missing.
    """
    store = RecordStore(None)
    try:
        lines = _numbered_lines(file, name)
        head = _declare(store, lines, name)
        records = (_read_record(line, store.tools, f"{name}, line {number}") for number, line in lines)
        for batch in in_batches(records):
            first = len(store) + 2
            if store.add(batch) != len(batch):
                raise SnapshotCorruptError(f"{name}, lines {first} to {first + len(batch) - 1}: a call is there twice")
        if head.responses not in (None, len(store)):
            raise SnapshotCorruptError(f"{name} holds {len(store):,} of {head.responses:,} calls: lines are missing")
    except BaseException:
        store.close()
        raise
    return store


def _declare(store: RecordStore, lines: Iterator[tuple[int, bytes]], name: str) -> _Head:
    _, first = next(lines, (1, b""))
    try:
        value = orjson.loads(first)
        if not isinstance(value, dict) or type(value.get("toolorch")) is not int:
            raise SnapshotFormatError(f"{name} holds no recorded calls: its first line has no entry `toolorch`")
        if value["toolorch"] != FORMAT_VERSION:
            raise SnapshotFormatError(f"{name} has format {value['toolorch']}, but only {FORMAT_VERSION} is read")
        head = _Head.model_validate(value)
        store.declare(
            [Tool(**tool.model_dump()) for tool in head.tools],
            name=head.name,
            description=head.description,
            source=head.source,
            licence=head.licence,
            workflows=head.workflows,
            links=None if head.links is None else [Link(*link) for link in head.links],
            tasks=None if head.tasks is None else [Task.from_json(task) for task in head.tasks],
        )
    except orjson.JSONDecodeError:
        raise SnapshotFormatError(f"{name} holds no recorded calls: its first line is not JSON") from None
    except (ValidationError, ToolSchemaError, TaskError, TypeError) as error:
        raise SnapshotFormatError(f"{name}, line 1: {_first_problem(error)}") from None
    return head


def _read_record(line: bytes, tools: ToolSet, where: str) -> Record:
    try:
        read = _RecordLine.model_validate(orjson.loads(line))
        if read.tool not in tools:
            raise RecordingError(f"there is no tool {read.tool!r}")
        call = tools.canonical(Call(read.tool, read.arguments)).within(bytes.fromhex(read.state))
        body = UNKNOWN_BODY if read.without_body else read.body
        return make_record(tools, call, read.status, body, latency=read.latency, recorded_at=read.recorded_at)
    except (ValueError, RecordingError) as error:  # what Pydantic and orjson raise are ValueErrors
        raise SnapshotCorruptError(f"{where}: {_first_problem(error)}") from None


def _first_problem(error: Exception) -> str:
    if not isinstance(error, ValidationError):
        return str(error)
    problem = error.errors()[0]
    place = ".".join(map(str, problem["loc"]))
    return f"{place}: {problem['msg']}" if place else problem["msg"]


def _numbered_lines(file: BinaryIO, name: str) -> Iterator[tuple[int, bytes]]:
    lines = file if hasattr(file, "peek") else io.BufferedReader(file)  # type: ignore[type-var]
    if lines.peek(4)[:4] == _ZSTD_MAGIC:
        frame = zstandard.ZstdDecompressor().stream_reader(lines, read_across_frames=True, closefd=False)
        lines = io.BufferedReader(frame)
    try:
        for number, line in enumerate(iter(lambda: lines.readline(MAX_LINE_BYTES + 1), b""), 1):
            if len(line) > MAX_LINE_BYTES:  # a compressed file may unfold into any length
                raise SnapshotCorruptError(f"{name}, line {number} has more than {MAX_LINE_BYTES:,} bytes")
            if line.strip():
                yield number, line
    except (zstandard.ZstdError, OSError) as error:
        raise SnapshotCorruptError(f"{name} cannot be read: {error}") from None
