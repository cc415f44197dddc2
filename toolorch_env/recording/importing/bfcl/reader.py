"""BFCL's multi-turn problems as a data set."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import ConfigurationError, DataSetError, RecordingError
from toolorch_env.recording.api import Api
from toolorch_env.recording.importing.bfcl.package import Package, open_package
from toolorch_env.recording.importing.bfcl.problems import CATEGORIES, Problem, read_problems
from toolorch_env.recording.importing.bfcl.sessions import record_solution
from toolorch_env.recording.importing.bfcl.tools import documented_tools, looks_of, marked
from toolorch_env.recording.importing.bfcl.world import LOAD_SCENARIO, World, recordable
from toolorch_env.recording.importing.traces import Answered, DataSet, Trace, TracedCall
from toolorch_env.recording.python.api import PythonApi, open_python
from toolorch_env.recording.redaction import Redactor
from toolorch_env.store.records import Record


def read_bfcl(categories: Iterable[str] = CATEGORIES, problems: Collection[str] = ()) -> DataSet:
    """Records the multi-turn problems of the installed package ``bfcl-eval``, by running its executable back ends.

    Each problem has a session of its own, which begins with a call of ``load_scenario`` and goes through the calls of
    BFCL's solution, in order. In every state on the way, the read-only tools that need no arguments are called too, for
    an agent to look around. Nothing else is recorded: any other call is a miss, with the source ``unrecorded_state``
    after a change that BFCL's solution does not make.

    A problem's query is all that the user says in its turns, numbered. On offer are all tools of its back ends, as BFCL
    has it, but from the start: also those that ``multi_turn_miss_func`` holds back until a later turn. The credentials
    in the problems are invented, and are kept.

    Args:
        categories: which of :data:`CATEGORIES`.
        problems: identifiers of the problems to read; none: all of the categories.

    Raises:
        ConfigurationError: the package is not installed, or there is no such category.
        DataSetError: files of the package are damaged, or there is no such problem. A problem that cannot be recorded
            is no error, but told in the notes.
    """
    chosen = _known(categories)
    package = open_package()
    found = {category: list(read_problems(package, category)) for category in CATEGORIES}
    readable = [problem for listed in found.values() for problem in listed if isinstance(problem, Problem)]
    wanted = [
        problem for problem in readable if problem.category in chosen and (not problems or problem.id in problems)
    ]
    if missing := set(problems).difference(problem.id for problem in wanted):
        raise DataSetError(f"BFCL has no problem {min(missing)!r} that can be read in {', '.join(chosen)}")
    tools = marked(documented_tools(package), package, readable)
    recorded = asyncio.run(_record(package, tools, wanted))
    unreadable = [str(problem) for category in chosen for problem in found[category] if isinstance(problem, Exception)]
    return DataSet(
        tools=tuple(tools.values()),
        traces=tuple(recorded.traces),
        records=lambda: iter(recorded.records.values()),
        name="bfcl",
        description="Multi-turn problems of the Berkeley Function Calling Leaderboard",
        source=f"bfcl-eval {package.version}: {', '.join(chosen)}",
        licence="Apache-2.0",
        notes=(*_notes(tools, recorded), *(f"left out: {reason}" for reason in unreadable + recorded.failures)),
    )


def _known(categories: Iterable[str]) -> tuple[str, ...]:
    chosen = tuple(dict.fromkeys(categories))
    for category in chosen:
        if category not in CATEGORIES:
            raise ConfigurationError(f"BFCL has no multi-turn category {category!r}; there are {', '.join(CATEGORIES)}")
    return chosen


@dataclass(slots=True)
class _Recorded:
    """What was recorded: every call by its key, the problems, and why others could not be."""

    records: dict[bytes, Record] = field(default_factory=dict)
    traces: list[Trace] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


class _NothingSecret(Redactor):
    """Takes nothing for a credential: problems would lose the values that their calls need."""

    def _is_credential_name(self, name: str) -> bool:
        return False


async def _record(package: Package, tools: ToolSet, problems: Sequence[Problem]) -> _Recorded:
    api = _open(package, tools, problems)
    owners = package.owners()
    looks = [look for look in looks_of(tools) if tools[look.tool].read_only]
    recorded = _Recorded()
    for problem in problems:
        classes = problem.scenario.classes
        offered = tuple(name for name, owner in owners.items() if owner in classes)
        calls = [Call(LOAD_SCENARIO, {"scenario": problem.scenario.name}), *problem.calls]
        around = [look for look in looks if look.tool in offered]
        try:
            made = await record_solution(api, tools, calls, around, recorded.records)
        except RecordingError as error:
            recorded.failures.append(f"{problem.id}: {error}")
        else:
            recorded.traces.append(_trace(problem, calls, made, offered))
    return recorded


def _open(package: Package, tools: ToolSet, problems: Sequence[Problem]) -> Api:
    """The back ends as an API whose sessions may begin with the scenarios of the problems."""
    scenarios = {problem.scenario.name: problem.scenario for problem in problems}
    offered = [name for name in tools if name != LOAD_SCENARIO]
    api = open_python(recordable(lambda: World(package, scenarios), offered))
    return PythonApi(api.target, api.timeout, api.max_response_bytes, _NothingSecret())


def _trace(problem: Problem, calls: Sequence[Call], made: Sequence[Record], offered: tuple[str, ...]) -> Trace:
    answered = [
        Answered(call, record.response.body, record.response.status) for call, record in zip(calls, made, strict=True)
    ]
    return Trace(
        id=problem.id,
        query=problem.query,
        calls=tuple(TracedCall(answer, turn=turn) for answer, turn in zip(answered[1:], problem.turns, strict=True)),
        tools=offered,
        workflow=problem.category,
        split="test",
        setup=(answered[0],),
    )


def _notes(tools: ToolSet, recorded: _Recorded) -> list[str]:
    reading = [name for name, tool in tools.items() if tool.read_only]
    calls = sum(len(trace.calls) for trace in recorded.traces)
    return [
        f"{len(recorded.traces)} problems with {calls} calls in their solutions; {len(recorded.records)} responses",
        f"read-only, as measured: {', '.join(sorted(reading))}",
    ]
