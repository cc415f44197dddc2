"""Which answer is kept where a data set answers one call differently in different places."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import count
from typing import NamedTuple

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.canonical import tokens
from toolorch_env.core.errors import DataSetError, RecordingError
from toolorch_env.core.responses import Response, Source
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
    """A call that was answered differently in different places: with another status or another body.

    Attributes:
        tool: tool name.
        arguments: canonical arguments, as JSON.
        kept: where the answer stands that is kept.
        others: where others stand, the first place for each different answer.
    """

    tool: str
    arguments: bytes
    kept: str
    others: tuple[str, ...]


class MadeCall(NamedTuple):
    """A call of a trace in the state that it was made in, and its record."""

    call: CanonicalCall
    record: Record


def keep_answers(data_set: DataSet, store: RecordStore) -> list[Conflict]:
    """Writes the answers of a data set into a store, one for each call (see :data:`RULE`).

    A call whose body is known nowhere is kept without one. Traces are in memory; of what stands outside of them, a
    batch at a time is.

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
    answers = _Answers(store)
    answers.add_traces(data_set.traces)
    answers.add_cached(data_set.responses())
    answers.add_without_body()
    return answers.conflicts()


def made_calls(trace: Trace, tools: ToolSet) -> Iterator[MadeCall]:
    """The calls of a trace, those of its setup first, each in the state that the calls before it have led to.

    Raises:
        DataSetError: a call cannot be recorded; says where it stands.
    """
    state = b""
    for position, answered in enumerate((*trace.setup, *(made.answered for made in trace.calls))):
        call, record = made = _made(answered, tools, _place(trace, position), state)
        yield made
        state = state_after(record, record.response, read_only=call.tool not in tools.state_changing)


def _place(trace: Trace, position: int) -> str:
    index = position - len(trace.setup)
    return f"trace {trace.id!r}, call {index}" if index >= 0 else f"trace {trace.id!r}, setup call {position}"


def _made(answered: Answered, tools: ToolSet, place: str, state: bytes = b"") -> MadeCall:
    try:
        call = tools.canonical(answered.call).within(state)
        return MadeCall(call, make_record(tools, call, answered.status, answered.body))
    except (ValueError, RecordingError) as error:
        raise DataSetError(f"{place}: {error}") from None


@dataclass(frozen=True, slots=True)
class _Candidate:
    """One of the answers to a call: where it stands first, and for each place where it stands the calls after it."""

    record: Record
    place: str
    later: list[Sequence[CanonicalCall]] = field(default_factory=list)

    def rank(self) -> tuple[int, bool]:
        """Smaller is better."""
        readable = sum(_count_readable(self.record.response, calls) for calls in self.later)
        return -readable, not self.record.response.success


def _count_readable(response: Response, later: Iterable[CanonicalCall]) -> int:
    wanted = {text for call in later for text in tokens(list(call.arguments.values()))}
    return sum(response.holds(text) for text in wanted)


def _identity(response: Response) -> bytes:
    """The same for the same answer: status and body."""
    return blake2b(b"%d " % response.status + response.raw, digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class _Others:
    """Answers to a call that are not kept: where each stands first."""

    tool: str
    arguments: bytes
    places: dict[bytes, str] = field(default_factory=dict)


class _Answers:
    """Puts answers into a store, and remembers where others stand."""

    def __init__(self, store: RecordStore) -> None:
        self._store = store
        self._places: dict[bytes, str] = {}
        self._others: dict[bytes, _Others] = {}
        self._without_body: dict[bytes, Record] = {}

    def add_traces(self, traces: Iterable[Trace]) -> None:
        """Adds the best answer to each call of the traces."""
        for batch in in_batches(self._best(answers) for answers in self._by_call(traces).values()):
            self._store.add(batch)

    def _by_call(self, traces: Iterable[Trace]) -> Mapping[bytes, Mapping[bytes, _Candidate]]:
        """The different answers to each call."""
        by_call: dict[bytes, dict[bytes, _Candidate]] = {}
        for trace in traces:
            made = list(made_calls(trace, self._store.tools))
            calls = [call for call, _ in made]
            for position, (call, record) in enumerate(made):
                if self._is_known(record):
                    found = _Candidate(record, _place(trace, position))
                    candidate = by_call.setdefault(call.key, {}).setdefault(_identity(record.response), found)
                    candidate.later.append(calls[position + 1 :])
        return by_call

    def _best(self, answers: Mapping[bytes, _Candidate]) -> Record:
        ranked = sorted(answers.values(), key=_Candidate.rank) if len(answers) > 1 else list(answers.values())
        best, *others = ranked
        self._places[best.record.key] = best.place
        for other in others:
            self._tell(other.record, other.place)
        return best.record

    def add_cached(self, responses: Iterable[Answered]) -> None:
        """Adds the first answer to each call that has none yet."""
        tools, numbers = self._store.tools, count(1)
        records = (_made(made, tools, _cached(index)).record for index, made in enumerate(responses, 1))
        for batch in in_batches(records):
            held = self._store.find([record.key for record in batch])
            for record, number in zip(batch, numbers, strict=False):
                if self._is_known(record):
                    first = held.setdefault(record.key, record)
                    if _identity(first.response) != _identity(record.response):
                        self._tell(record, _cached(number))
            self._store.add([record for record in batch if record.response.source is not Source.WITHOUT_BODY])

    def add_without_body(self) -> None:
        """Adds the calls whose body was found nowhere."""
        held = self._store.held(list(self._without_body))
        self._store.add([record for key, record in self._without_body.items() if key not in held])

    def conflicts(self) -> list[Conflict]:
        """What was answered differently: calls of traces first, each group in the order in which it was found."""
        return [
            Conflict(
                other.tool,
                other.arguments,
                self._places.get(key, "an earlier cached response"),
                tuple(other.places.values()),
            )
            for key, other in self._others.items()
        ]

    def _is_known(self, record: Record) -> bool:
        """Whether the body is known; if not, the call is set aside."""
        if record.response.source is Source.WITHOUT_BODY:
            self._without_body.setdefault(record.key, record)
            return False
        return True

    def _tell(self, record: Record, place: str) -> None:
        others = self._others.setdefault(record.key, _Others(record.tool, record.arguments))
        others.places.setdefault(_identity(record.response), place)


def _cached(number: int) -> str:
    return f"cached response {number:,}"
