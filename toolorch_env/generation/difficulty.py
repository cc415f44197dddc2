"""How hard a task is, as a number: a fixed function of what can be read off the task, whoever plays it.

Each part is a count or a share, and makes a task harder the larger it is. A count ``n`` enters as ``n / (n + half)``,
which rises from 0 towards 1 and has come half of the way at ``half``: the first additional step matters more than the
tenth. The total is the weighted mean. Weights and halves are a convention, not a measurement: what a task costs a
policy is for that policy's success rate to say.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.tasks import ReferenceCall, Task, dependency_levels
from toolorch_env.generation.phrasing import value_text

WEIGHTS = {"steps": 0.35, "depth": 0.25, "distractor_tools": 0.1, "distractor_mentions": 0.15, "implicitness": 0.15}
"""Share of each part in the total; they add up to 1. What has to be done counts more than what is in the way of it."""

HALVES = {"steps": 4, "depth": 3, "distractor_tools": 8, "distractor_mentions": 3}
"""Where each count has come half of the way: 4 calls beyond the first, 3 links of a chain, 8 tools, 3 values."""


@dataclass(frozen=True, slots=True)
class Difficulty:
    """How hard a task is.

    Attributes:
        steps: calls that the solution needs, at least 1.
        depth: calls on the longest chain of calls that depend on each other, in [1, steps].
        distractor_tools: tools on offer that the solution does not call.
        distractor_mentions: values in the query that the solution does not pass.
        implicitness: share of the solution's literals that the query does not say as they are, in [0, 1]: a date that
            is said as "the day after Christmas", or a currency that goes without saying.
    """

    steps: int
    depth: int
    distractor_tools: int = 0
    distractor_mentions: int = 0
    implicitness: float = 0.0

    @property
    def total(self) -> float:
        """The difficulty, in [0, 1]; it rises with each part, from 0 for a single call with nothing around it."""
        counts = {
            "steps": self.steps - 1,
            "depth": self.depth - 1,
            "distractor_tools": self.distractor_tools,
            "distractor_mentions": self.distractor_mentions,
        }
        risen = sum(WEIGHTS[name] * count / (count + HALVES[name]) for name, count in counts.items())
        return risen + WEIGHTS["implicitness"] * self.implicitness


def difficulty(task: Task) -> Difficulty:
    """How hard a task is. Calls that the solution may do without do not count.

    Raises:
        ValueError: a value of the task is not JSON.
    """
    needed = [task.reference[index] for index in task.required]
    called = {call.tool for call in needed}
    passed = {_form(value) for call in needed for value in call.arguments.values()}
    literals = {_form(value) for call in needed for value in _literals(call)}
    mentioned = [(mention, _form(mention.value)) for mention in task.mentions]
    said = {form for mention, form in mentioned if task.query[mention.start : mention.end] == value_text(mention.value)}
    return Difficulty(
        steps=len(needed),
        depth=_depth(task),
        distractor_tools=len(set(task.tools) - called),
        distractor_mentions=sum(form not in passed for _, form in mentioned),
        implicitness=len(literals - said) / len(literals) if literals else 0.0,
    )


def _form(value: Any) -> bytes:
    """Equal for equal values, fractions by their fourth decimal."""
    return canonical_json(rounded(value))


def _literals(call: ReferenceCall) -> Iterator[Any]:
    bound = {binding.parameter for binding in call.bindings}
    return (value for name, value in call.arguments.items() if name not in bound)


def _depth(task: Task) -> int:
    """Calls on the longest dependency chain, optional ones left out."""
    calls = task.reference
    depends_on: list[list[int]] = [
        [] if call.optional else [index for index in call.depends_on if not calls[index].optional] for call in calls
    ]
    return 1 + max(dependency_levels(depends_on))
