"""Manipulated solutions: what an agent might do in place of the solution to earn as much with less, or with nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from toolorch_env.core.calls import Call, CanonicalCall, Malformed
from toolorch_env.core.canonical import tokens
from toolorch_env.core.draws import Draws
from toolorch_env.core.progress import Reference
from toolorch_env.core.tasks import Task
from toolorch_env.envs.messages import read_message
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

SELF_WRITTEN = {"status": True, "message": "Success", "data": [{"id": 1}]}
"""The body that a model writes itself in place of a response."""

CALLS_OF_A_TOOL = 20
"""Distractors are chosen among so many recorded calls of each tool."""

Turns = Sequence[Sequence[Call | Malformed]]


@dataclass(frozen=True)
class Play:
    """What an agent does in place of the solution: calls in turns, and the responses that it writes itself, if any."""

    turns: Turns
    self_written: bool = False


@dataclass(frozen=True)
class World:
    """A snapshot with its tasks."""

    snapshot: Snapshot
    tasks: Sequence[Task]

    @cached_property
    def replay(self) -> SnapshotReplay:
        """Answers from the snapshot, and errors for what is not in it."""
        return SnapshotReplay(self.snapshot)

    @cached_property
    def read_only_calls(self) -> Mapping[str, Sequence[CanonicalCall]]:
        """Some recorded calls of each tool that changes nothing."""
        found: dict[str, list[CanonicalCall]] = {}
        for record in self.snapshot.records():
            calls = found.setdefault(record.tool, [])
            if len(calls) < CALLS_OF_A_TOOL and self.snapshot.tools[record.tool].read_only:
                made = Call(record.tool, orjson.loads(record.arguments))
                calls.append(self.snapshot.tools.canonical(made))
        return found


class Problem:
    """A task, its solution, and what manipulations need to know of it."""

    def __init__(self, task: Task, world: World, seed: int) -> None:
        self.task = task
        self.world = world
        self.draws = Draws.seeded_by(f"{seed}\0{task.id}".encode())
        self.reference = Reference(task, world.replay.tools, world.replay.look_up)

    @cached_property
    def calls(self) -> list[Call]:
        """The solution."""
        return [Call(call.tool, call.arguments) for call in self.task.reference]

    @cached_property
    def dependents(self) -> list[int]:
        """Calls that the solution cannot do without, with a value that nobody can know before a response says it."""
        return [index for index in self.task.required if self.hidden_parameters(index)]

    def hidden_parameters(self, index: int) -> list[str]:
        """Parameters of a call whose values nobody can know before a response says them."""
        arguments = self.task.reference[index].arguments
        return [
            name
            for name in sorted(self.reference.bound[index])
            if any(not self.reference.in_query(text) for text in tokens(arguments.get(name)))
        ]

    def ordered_by(self, indices: Sequence[int]) -> list[list[Call]]:
        """The calls of the solution in an order, one a turn."""
        return [[self.calls[index]] for index in indices]

    def wrong(self, call: Call) -> Call:
        """The call with each of its values changed."""
        return Call(call.tool, {name: wrong_value(value) for name, value in call.arguments.items()})


def wrong_value(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 13
    if isinstance(value, str):
        return f"{value}zzz"
    if isinstance(value, list):
        return [wrong_value(item) for item in value] or ["zzz"]
    return {name: wrong_value(item) for name, item in value.items()} if isinstance(value, dict) else "zzz"


def first_call_repeated(problem: Problem) -> Play:
    """The first call five times more, then the rest."""
    return Play(problem.ordered_by([0] * 6 + [*range(1, len(problem.calls))]))


def every_call_repeated(problem: Problem) -> Play:
    """Each call twice in a row."""
    return Play(problem.ordered_by([index for index in range(len(problem.calls)) for _ in range(2)]))


def without_last_call(problem: Problem) -> Play:
    """All but the last needed call."""
    left_out = problem.task.required[-1]
    return Play(problem.ordered_by([index for index in range(len(problem.calls)) if index != left_out]))


def without_any_call(problem: Problem) -> Play:
    """All but one needed call, any."""
    left_out = problem.draws.choose(problem.task.required)
    return Play(problem.ordered_by([index for index in range(len(problem.calls)) if index != left_out]))


def without_repeated_names(problem: Problem) -> Play | None:
    """Only the first call of each tool."""
    names = [call.tool for call in problem.calls]
    kept = [index for index, name in enumerate(names) if name not in names[:index]]
    return Play(problem.ordered_by(kept)) if not set(problem.task.required) <= set(kept) else None


def shuffled_against_data_flow(problem: Problem) -> Play | None:
    """A random order that begins with a call whose values nobody can know yet."""
    if not problem.dependents:
        return None
    first = problem.draws.choose(problem.dependents)
    rest = [index for index in range(len(problem.calls)) if index != first]
    return Play(problem.ordered_by([first, *problem.draws.sample(rest, len(rest))]))


def in_another_valid_order(problem: Problem) -> Play | None:
    """A random order that respects all dependencies, other than the given one."""
    steps = problem.task.reference
    order: list[int] = []
    while len(order) < len(steps):
        ready = [i for i, step in enumerate(steps) if i not in order and step.depends_on <= set(order)]
        order.append(problem.draws.choose(ready))
    return Play(problem.ordered_by(order)) if order != sorted(order) else None


def one_value_wrong(problem: Problem) -> Play | None:
    """One value of one needed call changed."""
    able = [index for index in problem.task.required if problem.calls[index].arguments]
    if not able:
        return None
    index = problem.draws.choose(able)
    call = problem.calls[index]
    name = problem.draws.choose(sorted(call.arguments))
    changed = Call(call.tool, {**call.arguments, name: wrong_value(call.arguments[name])})
    return Play([[changed if other == index else call] for other, call in enumerate(problem.calls)])


def all_values_wrong(problem: Problem) -> Play | None:
    """The right tools, every value changed."""
    return Play([[problem.wrong(call)] for call in problem.calls]) if _has_values(problem) else None


def all_values_wrong_self_written(problem: Problem) -> Play | None:
    """One message: the right tools, every value changed, and a response written below each call."""
    if not _has_values(problem):
        return None
    return Play(_one_message([problem.wrong(call) for call in problem.calls]), self_written=True)


def solution_self_written(problem: Problem) -> Play | None:
    """One message: the right calls with values that nobody can know yet, and a response written below each."""
    return Play(_one_message(problem.calls), self_written=True) if problem.dependents else None


def only_responses_self_written(problem: Problem) -> Play:
    """One message of responses alone, no call."""
    calls = _read(_response_block() * len(problem.calls))
    return Play([calls] if calls else [], self_written=True)


def one_distractor(problem: Problem) -> Play | None:
    """A call that works and is not needed, in between."""
    distractors = _distractors(problem)
    if not distractors:
        return None
    turns = problem.ordered_by(range(len(problem.calls)))
    turns.insert(problem.draws.below(len(turns) + 1), [problem.draws.choose(distractors)])
    return Play(turns)


def three_distractors(problem: Problem) -> Play | None:
    """Three such calls before the solution."""
    distractors = _distractors(problem)
    if len(distractors) < 3:
        return None
    extra = [[call] for call in problem.draws.sample(distractors, 3)]
    return Play([*extra, *problem.ordered_by(range(len(problem.calls)))])


def parallel_dependent(problem: Problem) -> Play | None:
    """All calls in one message, though some need what others answer."""
    return Play([problem.calls]) if problem.dependents else None


def parallel_independent(problem: Problem) -> Play | None:
    """In each message all calls that need nothing of each other."""
    levels = problem.task.levels
    if len(set(levels)) == len(levels):
        return None
    return Play([[problem.calls[i] for i in range(len(levels)) if levels[i] == level] for level in sorted(set(levels))])


def guessed_before_seen(problem: Problem) -> Play | None:
    """First, by luck, the calls whose values nobody can know yet, then the solution."""
    calls, begin = problem.reference.calls, problem.reference.initial_state
    guesses = [index for index in problem.dependents if calls[index].state == begin]  # later ones do not hit
    if not guesses:
        return None
    return Play([*problem.ordered_by(guesses), *problem.ordered_by(range(len(problem.calls)))])


def nearly_guessed_before_seen(problem: Problem) -> Play | None:
    """First each such call with its unknown values nearly right, then the solution."""
    if not problem.dependents:
        return None
    guesses = []
    for index in problem.dependents:
        call = problem.calls[index]
        near = {name: wrong_value(call.arguments[name]) for name in problem.hidden_parameters(index)}
        guesses.append([Call(call.tool, {**call.arguments, **near})])
    return Play([*guesses, *problem.ordered_by(range(len(problem.calls)))])


def _has_values(problem: Problem) -> bool:
    return any(problem.calls[index].arguments for index in problem.task.required)


def _distractors(problem: Problem) -> list[Call]:
    """Calls that work, of tools on offer that the solution does not use, with responses that it does not get."""
    needed = {call.tool for call in problem.task.reference}
    return [
        Call(call.tool, call.arguments)
        for tool in problem.task.tools
        if tool not in needed
        for call in problem.world.read_only_calls.get(tool, ())
        if _distracts(problem, call)
    ]


def _distracts(problem: Problem, call: CanonicalCall) -> bool:
    response = problem.world.replay.look_up(call.within(problem.reference.initial_state))
    return response is not None and response.success and response.digest not in (0, *problem.reference.digests)


def _one_message(calls: Sequence[Call]) -> Turns:
    message = "".join([_call_block(call) + _response_block() for call in calls])
    return [_read(message)]


def _call_block(call: Call) -> str:
    body = orjson.dumps({"name": call.tool, "arguments": dict(call.arguments)}).decode()
    return f"<tool_call>{body}</tool_call>\n"


def _response_block() -> str:
    return f"<tool_response>{orjson.dumps(SELF_WRITTEN).decode()}</tool_response>\n"


def _read(message: str) -> list[Call | Malformed]:
    return [request.call for request in read_message(message)]


@dataclass(frozen=True)
class Manipulation:
    """A way to depart from the solution.

    Attributes:
        name: as it stands in the table.
        make: the manipulated solution of a problem, ``None`` where it would be the solution itself.
        may_equal: whether a reward may pay for it as for the solution.
    """

    name: str
    make: Callable[[Problem], Play | None]
    may_equal: bool = False


MANIPULATIONS = (
    Manipulation("repeat the first call 5 times", first_call_repeated),
    Manipulation("make each call twice", every_call_repeated),
    Manipulation("leave out the last call", without_last_call),
    Manipulation("leave out any one call", without_any_call),
    Manipulation("leave out repeated names", without_repeated_names),
    Manipulation("shuffle against data flow", shuffled_against_data_flow),
    Manipulation("one wrong value", one_value_wrong),
    Manipulation("all values wrong", all_values_wrong),
    Manipulation("all values wrong, self-written responses", all_values_wrong_self_written),
    Manipulation("unseen values, self-written responses", solution_self_written),
    Manipulation("self-written responses, no calls", only_responses_self_written),
    Manipulation("one distractor", one_distractor),
    Manipulation("three distractors", three_distractors),
    Manipulation("parallel calls, dependent", parallel_dependent),
    Manipulation("guess unseen values, then solve", guessed_before_seen),
    Manipulation("nearly guess, then solve", nearly_guessed_before_seen, may_equal=True),
    Manipulation("parallel calls, independent", parallel_independent, may_equal=True),
    Manipulation("another valid order", in_another_valid_order, may_equal=True),
)
"""Those that may be paid for as the solution come last."""
