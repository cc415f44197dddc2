"""From a trace to a task: its query, the tools on offer, and its identifier."""

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.checking import unreadable_literals
from toolorch_env.generation.constraints import Split, TaskConstraints
from toolorch_env.generation.phrasing import Template, compose
from toolorch_env.generation.sources import Trace, TraceSource


class TaskComposer:
    """Makes tasks of traces.

    Args:
        pools: for each kind the values that sentences with values nobody needs may mention.
        distractions: such sentences; their slots are kinds.
    """

    def __init__(self, pools: Mapping[str, Sequence[Any]], distractions: Sequence[Template]) -> None:
        self._pools = pools
        self._distractions = [template for template in distractions if all(pools.get(kind) for kind in template.slots)]

    def task(self, name: str, source: TraceSource, trace: Trace, variant: int, constraints: TaskConstraints) -> Task:
        """The task of a trace.

        Args:
            name: what the identifier begins with; the workflow is to be found by it.
            source: the workflow.
            trace: one of its traces.
            variant: decides everything but the trace, from 0 to 2^32 - 1.
            constraints: how many distractor tools and distractions there are, and which tools are not offered.

        Raises:
            TaskError: the query does not say every literal of the reference.
        """
        draws = Draws(variant)
        literals, kinds = trace.literals, source.workflow.literals
        sentences = [(draws.choose(source.phrasings), literals, kinds)]
        reference = source.reference(trace)
        needed = [value for call in reference for value in call.arguments.values()]
        for template in self._draw_distractions(draws, constraints):
            values = {kind: self._other_value(draws, kind, needed) for kind in template.slots}
            sentence = (template, values, {kind: kind for kind in template.slots})
            sentences.insert(0 if draws.below(2) else len(sentences), sentence)
        query, mentions = compose(sentences)
        task = Task(
            id=_task_id(name, trace, variant, constraints),
            query=query,
            tools=_offer(draws, source, constraints),
            reference=reference,
            mentions=mentions,
            workflow=source.workflow.name,
            split=trace.split,
        )
        problems = list(unreadable_literals(task))
        if problems:
            raise TaskError(f"task {task.id!r} is not well posed: {'; '.join(problems)}")
        return task

    def again(
        self, task_id: str, name: str, source: TraceSource, accept: Callable[[Trace], bool] | None = None
    ) -> Task:
        """The task of an identifier, made once more.

        Args:
            task_id: the identifier.
            name, source: the workflow that it names.
            accept: whether tasks are made of a trace; by default of all.

        Raises:
            ValueError, KeyError: no task has this identifier.
        """
        _, number, variant, constraints = read_task_id(task_id)
        trace = source.trace(number) if 0 <= number < source.join.count else None
        if trace is None or source.held_out != (trace.split == "test_workflows"):
            raise ValueError
        if accept is not None and not accept(trace):
            raise ValueError
        task = self.task(name, source, trace, variant, constraints)
        if task.id != task_id:
            raise ValueError
        return task

    def _draw_distractions(self, draws: Draws, constraints: TaskConstraints) -> list[Template]:
        if not constraints.distractions or not self._distractions:
            return []
        count = min(1 + draws.below(constraints.distractions), len(self._distractions))
        return draws.sample(self._distractions, count)

    def _other_value(self, draws: Draws, kind: str, needed: Sequence[Any]) -> Any:
        """A value of a kind that no reference call needs, if there is one."""
        pool = self._pools[kind]
        value = draws.choose(pool)
        for _ in range(20):
            if value not in needed:
                break
            value = draws.choose(pool)
        return value


def draw_trace(source: TraceSource, draws: Draws, split: Split, tries: int) -> Trace | None:
    """A trace of a split, uniformly; ``None`` if none was found in so many draws, or there are no traces at all."""
    for _ in range(tries if source.is_feasible else 0):
        trace = source.trace(draws.below(source.join.count))
        if trace is not None and trace.split == split:
            return trace
    return None


def read_task_id(task_id: str) -> tuple[str, int, int, TaskConstraints]:
    """What an identifier of :class:`TaskComposer` stands for: name, number of the trace, variant, and constraints.

    Raises:
        ValueError: it is no such identifier.
    """
    name, number, variant, distractor_tools, distractions, *excluded = task_id.split("/")
    if not 0 <= int(variant, 16) < 2**32:
        raise ValueError
    constraints = _variant_constraints(int(distractor_tools), int(distractions), tuple(map(unquote, excluded)))
    return name, int(number), int(variant, 16), constraints


def _task_id(name: str, trace: Trace, variant: int, constraints: TaskConstraints) -> str:
    excluded = [quote(tool, safe="") for tool in constraints.exclude_tools]
    parts = (trace.number, f"{variant:x}", constraints.distractor_tools, constraints.distractions)
    return "/".join(map(str, (name, *parts, *excluded)))


def _offer(draws: Draws, source: TraceSource, constraints: TaskConstraints) -> tuple[str, ...]:
    others = source.other_tools
    if constraints.exclude_tools:
        others = [name for name in others if name not in constraints.exclude_tools]
    left_out = draws.sample(others, max(0, len(others) - constraints.distractor_tools))
    left_out += constraints.exclude_tools
    return tuple([name for name in source.all_tools if name not in left_out])


@lru_cache(256)
def _variant_constraints(distractor_tools: int, distractions: int, excluded: tuple[str, ...]) -> TaskConstraints:
    return TaskConstraints(distractor_tools=distractor_tools, distractions=distractions, exclude_tools=excluded)
