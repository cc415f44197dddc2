"""Recorded calls, as all parts of the store hand them on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from struct import error as StructError  # noqa: N812  a class
from typing import Any

import orjson

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import canonical_json, plain
from toolorch_env.core.errors import RecordingError, SnapshotCorruptError
from toolorch_env.core.responses import Response, Source
from toolorch_env.store.content import Unpacker
from toolorch_env.store.keys import body_digest, join_key, split_key


@dataclass(frozen=True, slots=True)
class Record:
    """One recorded call with its response.

    Attributes:
        key: 16 bytes, the key of the call in its state.
        tool: tool name.
        arguments: canonical arguments, as JSON.
        state: the state of the session that the call was made in (see :attr:`CanonicalCall.state`).
        response: what the API answered.
    """

    key: bytes
    tool: str
    arguments: bytes
    state: bytes
    response: Response


def make_record(
    tools: ToolSet, call: Call | CanonicalCall, status: int, body: object, *, latency: float = 0.0, recorded_at: int = 0
) -> Record:
    """The record of an answer.

    Args:
        tools: the tools of the API.
        call: the call, in its state if it is canonical, else in the state of a fresh session.
        status: HTTP status or its nearest equivalent.
        body: the JSON body, parsed.
        latency: seconds.
        recorded_at: Unix time in seconds.

    Raises:
        RecordingError: the tool is unknown, or arguments or body are not JSON.
    """
    if call.tool not in tools:
        raise RecordingError(f"there is no tool {call.tool!r} in this snapshot")
    if not 0 <= latency < float("inf"):
        raise RecordingError(f"a call of {call.tool} cannot be recorded: its latency is {latency}")
    try:
        canonical = call if isinstance(call, CanonicalCall) else tools.canonical(call)
        # copied, because the bytes that orjson makes hold on to the 4 KB that they were written into
        arguments = bytes(memoryview(canonical_json(canonical.arguments)))
        plain(body)  # NaN and infinity are refused here; orjson would write null
        raw = bytes(memoryview(orjson.dumps(body)))
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordingError(f"a call of {call.tool} cannot be recorded: {error}") from None
    row = split_key(canonical.key)[0]
    response = Response(status, raw, Source.RECORDED, latency=latency, recorded_at=recorded_at, row=row)
    response.digest = body_digest(response)
    return Record(canonical.key, canonical.tool, arguments, canonical.state, response)


BATCH_RECORDS = 2000
BATCH_BYTES = 16 * 1024 * 1024


def in_batches(records: Iterable[Record]) -> Iterator[list[Record]]:
    """Records in lists that are worth the while of a database, and fit into memory however large the bodies are."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += len(record.response.raw)
        if len(batch) == BATCH_RECORDS or size > BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


COLUMNS = ("id", "key_rest", "tool_id", "state", "status", "digest", "latency_us", "recorded_at", "content")
"""Columns of the table ``responses`` in the order in which :func:`from_row` takes them."""


def as_row(record: Record, tool_id: int, content: bytes) -> dict[str, Any]:
    """A record as a row of the table ``responses``.

    Args:
        record: the record.
        tool_id: number of its tool.
        content: its packed arguments and body.
    """
    row, rest = split_key(record.key)
    response = record.response
    return {
        "id": row,
        "key_rest": rest,
        "tool_id": tool_id,
        "state": record.state or None,
        "status": response.status,
        "digest": response.digest,
        "latency_us": round(response.latency * 1e6),
        "recorded_at": response.recorded_at,
        "content": content,
    }


def from_row(columns: Sequence[Any], names: Mapping[int, str], unpacker: Unpacker) -> Record:
    """The record of a row of the table ``responses``.

    Args:
        columns: values of :data:`COLUMNS`.
        names: tool names by number.
        unpacker: reads contents.

    Raises:
        SnapshotCorruptError: the row is damaged.
    """
    row, rest, tool, state, status, digest, latency_us, recorded_at, content = columns
    arguments, body = unpacker.unpack(content)
    if tool not in names:
        raise SnapshotCorruptError("a response belongs to no tool")
    if type(status) is not int:
        raise SnapshotCorruptError("a status is not a number")
    response = Response(
        status, body, Source.RECORDED, digest=digest, latency=latency_us * 1e-6, recorded_at=recorded_at, row=row
    )
    try:
        return Record(join_key(row, rest), names[tool], arguments, state or b"", response)
    except StructError as error:
        raise SnapshotCorruptError(f"a key is damaged: {error}") from None
