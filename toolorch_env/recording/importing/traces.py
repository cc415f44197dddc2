"""What an importer reads from a data set, whatever its format."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from toolorch_env.core.calls import Call
from toolorch_env.core.responses import UNKNOWN_BODY
from toolorch_env.core.tools import Tool
from toolorch_env.store.records import Record

UNKNOWN = UNKNOWN_BODY
"""In the place of a body: the data set says that the call was answered, but not what."""


class Answered(NamedTuple):
    """A call of a data set and what it was answered.

    Attributes:
        call: tool and arguments, as they stand in the data set.
        body: the JSON body, parsed, or :data:`UNKNOWN`.
        status: HTTP status or its nearest equivalent.
    """

    call: Call
    body: Any
    status: int = 200


@dataclass(frozen=True, slots=True)
class TracedCall:
    """One call of a trace.

    Attributes:
        answered: the call and what it was answered.
        depends_on: indices of the earlier calls of the trace that the data set says it needs; ``None`` where the data
            set says nothing of dependencies.
        turn: group of calls made together, where the data set gives one.
        optional: whether a solution may do without it.
    """

    answered: Answered
    depends_on: tuple[int, ...] | None = None
    turn: int | None = None
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Trace:
    """One problem of a data set with its solution.

    Attributes:
        id: unique in its data set.
        query: what the user asks for.
        calls: the calls of the solution, in order.
        tools: names of the tools on offer; empty: all of the data set.
        workflow: name of the data set's own class of problems.
        split: ``train``, ``validation``, ``test`` or ``test_workflows``.
        setup: state-changing calls, with their answers, that bring a fresh session to where the problem begins.
        answer: values that the agent's last words must hold, where the data set has a checkable answer.
    """

    id: str
    query: str
    calls: tuple[TracedCall, ...]
    tools: tuple[str, ...] = ()
    workflow: str = ""
    split: str = "train"
    setup: tuple[Answered, ...] = ()
    answer: tuple[Any, ...] = ()


@dataclass(frozen=True)
class DataSet:
    """What the files of a data set hold together.

    Attributes:
        tools: the tools.
        traces: the problems with their solutions.
        responses: makes a fresh iterator over responses that stand outside of traces, as those of a cache; it may be
            too large for memory.
        records: makes a fresh iterator over calls that the importer recorded itself, each in the state of its session;
            they go into the snapshot as they are.
        workflows: the workflow document, ``None`` if there is none.
        name, description, source, licence: provenance.
        notes: what is to be told of the import, a sentence each.
    """

    tools: tuple[Tool, ...]
    traces: tuple[Trace, ...]
    responses: Callable[[], Iterator[Answered]] = lambda: iter(())
    records: Callable[[], Iterator[Record]] = lambda: iter(())
    workflows: Any = None
    name: str = ""
    description: str = ""
    source: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()


Paths = Iterable[str | Path]
