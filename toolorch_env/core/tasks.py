"""Tasks: one concrete problem with its known solution."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import not_
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from toolorch_env.core.errors import TaskError


@dataclass(frozen=True, slots=True)
class Mention:
    """A value that stands in the query.

    Attributes:
        value: the value as a call takes it.
        kind: the form of the value (``airport``, ``date``, ...), never its role.
        start, end: the query's characters ``[start, end)`` that say it.
        resolution: how these words give the value where they do not say it as it is, for "three days after 2013-03-04"
            ``"2013-03-04 + 3 days = 2013-03-07"``; empty where they do.
    """

    value: Any
    kind: str
    start: int
    end: int
    resolution: Annotated[str, Field(exclude_if=not_)] = ""


@dataclass(frozen=True, slots=True)
class Binding:
    """An argument taken from an earlier response.

    Attributes:
        parameter: name of the parameter.
        step: index of the reference call whose response holds the value.
        select: JMESPath expression on that response's body.
    """

    parameter: str
    step: int
    select: str


@dataclass(frozen=True, slots=True)
class ReferenceCall:
    """One call of the known solution.

    Attributes:
        tool: tool name.
        arguments: resolved arguments.
        bindings: arguments taken from responses; all others come from the query.
        after: indices of calls that must precede this one without any data flowing.
        turn: group of calls that may be made together, where the data set gives one.
        optional: whether the solution may do without this call. It earns nothing and costs nothing, and what others
            take from it need not be seen: an agent may know it already.
    """

    tool: str
    arguments: dict[str, Any]
    bindings: tuple[Binding, ...] = ()
    after: tuple[int, ...] = ()
    turn: int | None = None
    optional: bool = False

    @property
    def depends_on(self) -> frozenset[int]:
        """Indices of the reference calls that must be made before this one."""
        return frozenset([binding.step for binding in self.bindings]).union(self.after)


@dataclass(frozen=True)
class Task:
    """A query in words, the tools on offer, and the reference solution.

    Attributes:
        id: unique in its generator; a generator makes the same task from the same id.
        query: what the user asks for.
        tools: names of the tools on offer, needed ones and distractors.
        reference: reference calls in an order that respects their dependencies.
        mentions: values in the query, in the order of the query, needed ones and others.
        workflow: name of the workflow that the task was drawn from, or the data set's name.
        split: ``train``, ``validation``, ``test``, ``test_workflows``, or empty.
        setup: calls that were made before the episode begins, not by the agent: they lead a fresh session to the state
            that the task begins in. Their tools need not be on offer.
        answer: values that the agent's last words have to say; empty where the task has no checkable answer.
    """

    id: str
    query: str
    tools: tuple[str, ...]
    reference: tuple[ReferenceCall, ...]
    mentions: tuple[Mention, ...] = ()
    workflow: str = ""
    split: str = ""
    setup: tuple[ReferenceCall, ...] = ()
    answer: tuple[Any, ...] = ()

    def __post_init__(self) -> None:
        if not self.required:
            raise TaskError(f"task {self.id!r} has no reference calls" + (" but optional ones" * bool(self.reference)))
        if not all([0 <= m.start <= m.end <= len(self.query) for m in self.mentions]):  # noqa: C419  cheaper so
            raise TaskError(f"task {self.id!r}: a mention lies outside the query")
        for index, call in enumerate(self.reference):
            if call.tool not in self.tools:
                raise TaskError(f"task {self.id!r}: the reference calls {call.tool!r}, which is not on offer")
            if (call.bindings or call.after) and not all(0 <= step < index for step in call.depends_on):
                raise TaskError(f"task {self.id!r}: reference call {index} depends on a call that does not precede it")

    @cached_property
    def required(self) -> tuple[int, ...]:
        """Indices of the reference calls that are not optional, ascending."""
        return tuple([index for index, call in enumerate(self.reference) if not call.optional])

    @cached_property
    def levels(self) -> tuple[int, ...]:
        """For each reference call, the length of the longest dependency chain that ends in it, minus one."""
        return dependency_levels([call.depends_on for call in self.reference])

    @property
    def depth(self) -> int:
        """Number of calls on the longest dependency chain."""
        return 1 + max(self.levels)

    @property
    def width(self) -> int:
        """Largest number of calls on one dependency level."""
        return max(self.levels.count(level) for level in set(self.levels))

    @property
    def turns(self) -> tuple[int, ...]:
        """The turn of each reference call: the data set's own, else its dependency level."""
        given = [call.turn for call in self.reference]
        if all(turn is not None for turn in given):
            return tuple(turn for turn in given if turn is not None)
        return self.levels

    def to_json(self) -> bytes:
        """The task as JSON; :meth:`from_json` reads it back."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_json(cls, data: bytes | str | dict[str, Any]) -> "Task":
        """The task from its JSON text or parsed object.

        Raises:
            TaskError: the JSON does not describe a task.
        """
        try:
            return _ADAPTER.validate_python(data) if isinstance(data, dict) else _ADAPTER.validate_json(data)
        except ValidationError as error:
            raise TaskError(f"this is not a task: {error}") from None


def dependency_levels(depends_on: Sequence[Collection[int]]) -> tuple[int, ...]:
    """For each call the length of the longest dependency chain that ends in it, minus one; all depend on earlier ones.

    Args:
        depends_on: for each call, in order, the indices of those that must be made before it.
    """
    levels: list[int] = []
    for earlier in depends_on:
        levels.append(1 + max((levels[step] for step in earlier), default=-1))
    return tuple(levels)


_ADAPTER: TypeAdapter[Task] = TypeAdapter(Task)
