"""Recorded calls, as all parts of the store hand them on."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from toolorch_env.core.calls import KEY_BYTES, Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import canonical_json, plain
from toolorch_env.core.errors import RecordingError, SnapshotCorruptError
from toolorch_env.core.responses import UNKNOWN_BODY, Response, Source
from toolorch_env.store.content import MAX_CONTENT_BYTES, Unpacker
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
        status: HTTP status or its nearest equivalent, from 0 to 32,767.
        body: the JSON body, parsed; :data:`toolorch_env.core.responses.UNKNOWN_BODY` where it is not known.
        latency: seconds, 0 or more.
        recorded_at: Unix time in seconds, 0 or more.

    Raises:
        RecordingError: the tool is unknown, a number is out of its range, the state is no key, arguments or body are
            not JSON, or they are larger than :data:`toolorch_env.store.content.MAX_CONTENT_BYTES`.
    """
    if call.tool not in tools:
        raise RecordingError(f"there is no tool {call.tool!r} in this snapshot")
    try:
        _check_number("status", status, int, 2**15)
        _check_number("latency", latency, (int, float), 1e12)
        _check_number("time", recorded_at, int, 2**63)
        canonical = call if isinstance(call, CanonicalCall) else tools.canonical(call)
        arguments, raw = _written(canonical, body)
    except (ValueError, TypeError, RecursionError) as error:
        raise RecordingError(f"a call of {call.tool} cannot be recorded: {error}") from None
    row = split_key(canonical.key)[0]
    source = Source.RECORDED if raw else Source.WITHOUT_BODY
    response = Response(status, raw, source, latency=latency, recorded_at=recorded_at, row=row)
    response.digest = body_digest(response)
    return Record(canonical.key, canonical.tool, arguments, canonical.state, response)


def _written(call: CanonicalCall, body: object) -> tuple[bytes, bytes]:
    """Arguments and body as JSON."""
    if len(call.state) not in (0, KEY_BYTES):
        raise ValueError(f"its state {call.state!r} is no key")
    plain(body)  # NaN and infinity are refused here; orjson would write null
    written = b"" if body is UNKNOWN_BODY else orjson.dumps(body)
    # copied, because the bytes that orjson makes hold on to the 4 KB that they were written into
    arguments, raw = (bytes(memoryview(made)) for made in (canonical_json(call.arguments), written))
    if len(arguments) + len(raw) >= MAX_CONTENT_BYTES:
        raise ValueError(f"arguments and body are larger than {MAX_CONTENT_BYTES:,} bytes")
    return arguments, raw


def _check_number(what: str, number: float, kind: type | tuple[type, ...], end: float) -> None:
    if not isinstance(number, kind) or isinstance(number, bool) or not 0 <= number < end:
        raise ValueError(f"its {what} is {number!r}")


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
    row, rest, tool, state, *told, content = columns
    arguments, body = unpacker.unpack(content)
    if tool not in names:
        raise SnapshotCorruptError("a response belongs to no tool")
    if state is not None and (type(state) is not bytes or len(state) != KEY_BYTES):
        raise SnapshotCorruptError("a state is no key")
    return Record(join_key(row, rest), names[tool], arguments, state or b"", response_of(row, told, body))


def response_of(row: int, told: Sequence[Any], body: bytes, source: Source = Source.RECORDED) -> Response:
    """The response in a row of the table ``responses``.

    Args:
        row: its ``id``.
        told: its ``status``, ``digest``, ``latency_us`` and ``recorded_at``.
        body: the body in its content, empty where it is not known.
        source: what to say of where the response comes from, where its body is known.

    Raises:
        SnapshotCorruptError: one of the numbers is none.
    """
    for number in told:
        if type(number) is not int:
            raise SnapshotCorruptError("a status, digest or time is not a number")
    status, digest, latency_us, recorded_at = told
    source = source if body else Source.WITHOUT_BODY
    return Response(status, body, source, digest=digest, latency=latency_us * 1e-6, recorded_at=recorded_at, row=row)
