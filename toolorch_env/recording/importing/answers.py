"""Which answer is kept where a data set answers one call differently in different places."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.canonical import tokens
from toolorch_env.core.errors import DataSetError, RecordingError
from toolorch_env.core.responses import Source
from toolorch_env.core.states import state_after
from toolorch_env.recording.importing.traces import Answered, DataSet, Trace
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record, in_batches, make_record

RULE = (
    "an answer in a trace comes before one in a cache; among those of traces the one from which most values of the"
    " calls after it can be read, then a success before an error, then the first; in a cache the first"
)
"""The rule, in words."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """A call that was answered differently in different places.

    Attributes:
        tool: tool name.
        arguments: canonical arguments, as JSON.
        kept: where the answer stands that is kept.
        others: where others stand, one place for each different answer.
    """

    tool: str
    arguments: bytes
    kept: str
    others: tuple[str, ...]


class MadeCall(NamedTuple):
    """A call of a trace in the state that it was made in, and its record."""

    call: CanonicalCall
    record: Record


@dataclass(slots=True)
class _Candidate:
    record: Record
    place: str
    readable: int = 0
    """Number of values of later calls that can be read from it."""


@dataclass(slots=True)
class _Candidates:
    known: dict[bytes, _Candidate] = field(default_factory=dict)
    """By body."""


def keep_answers(data_set: DataSet, store: RecordStore) -> list[Conflict]:
    """Writes the answers of a data set into a store, one for each call (see :data:`RULE`).

    A call whose body is known nowhere is kept without one.

    Args:
        data_set: the data set.
        store: an empty store that the data set's tools are declared in.

    Returns:
        The calls that were answered differently in different places.

    Raises:
        DataSetError: a call cannot be recorded; says where it stands.
        SnapshotWriteError: the store cannot be written.
    """
    for batch in in_batches(data_set.records()):
        store.add(batch)
    by_call, without_body = _collect(data_set.traces, store.tools)
    conflicts = _add_best(by_call, store)
    conflicts += _add_new(_cached(data_set, store.tools), store)
    held = store.held(list(without_body))
    store.add([record for key, record in without_body.items() if key not in held])
    return conflicts


def made_calls(trace: Trace, tools: ToolSet) -> Iterator[MadeCall]:
    """The calls of a trace, those of its setup first, each in the state that the calls before it have led to.

    Raises:
        DataSetError: a call cannot be recorded; says where it stands.
    """
    state = b""
    for index, answered in enumerate((*trace.setup, *(made.answered for made in trace.calls)), -len(trace.setup)):
        record = _record(answered, tools, f"trace {trace.id!r}, call {index}", state)
        yield MadeCall(tools.canonical(answered.call).within(state), record)
        state = state_after(record, record.response, read_only=answered.call.tool not in tools.state_changing)


def _record(answered: Answered, tools: ToolSet, place: str, state: bytes = b"") -> Record:
    try:
        call = tools.canonical(answered.call).within(state)
        return make_record(tools, call, answered.status, answered.body)
    except (ValueError, RecordingError) as error:
        raise DataSetError(f"{place}: {error}") from None


def _collect(
    traces: Iterable[Trace], tools: ToolSet
) -> tuple[defaultdict[bytes, dict[bytes, _Candidate]], dict[bytes, Record]]:
    """The different answers to each call of the traces by key and body, and the calls whose body is not known."""
    by_call: defaultdict[bytes, dict[bytes, _Candidate]] = defaultdict(dict)
    without_body: dict[bytes, Record] = {}
    for trace in traces:
        made = list(made_calls(trace, tools))
        for index, (_, record) in enumerate(made):
            if record.response.source is Source.WITHOUT_BODY:
                without_body.setdefault(record.key, record)
                continue
            place = f"trace {trace.id!r}, call {index - len(trace.setup)}"
            candidate = by_call[record.key].setdefault(record.response.raw, _Candidate(record, place))
            candidate.readable += _readable(record, made[index + 1 :])
    return by_call, without_body


def _readable(record: Record, later: Sequence[MadeCall]) -> int:
    wanted = {text for made in later for text in tokens(list(made.call.arguments.values()))}
    return sum(record.response.holds(text) for text in wanted)


def _add_best(by_call: defaultdict[bytes, dict[bytes, _Candidate]], store: RecordStore) -> list[Conflict]:
    conflicts, kept = [], []
    for answers in by_call.values():
        best, *others = sorted(
            answers.values(), key=lambda answer: (-answer.readable, not answer.record.response.success)
        )
        kept.append(best.record)
        if others:
            record = best.record
            places = tuple(other.place for other in others)
            conflicts.append(Conflict(record.tool, record.arguments, best.place, places))
    for batch in in_batches(kept):
        store.add(batch)
    return conflicts


def _cached(data_set: DataSet, tools: ToolSet) -> Iterator[Record]:
    for number, answered in enumerate(data_set.responses(), 1):
        record = _record(answered, tools, f"cached response {number:,}")
        if record.response.source is not Source.WITHOUT_BODY:
            yield record


def _add_new(records: Iterable[Record], store: RecordStore) -> list[Conflict]:
    """Adds records that are not there, and tells of those that are there with another answer."""
    conflicts = []
    for batch in in_batches(records):
        held = store.find([record.key for record in batch])
        for record in batch:
            first = held.setdefault(record.key, record)
            if first.response.raw != record.response.raw:
                conflicts.append(Conflict(record.tool, record.arguments, "earlier", ("cache",)))
        store.add(batch)
    return conflicts
