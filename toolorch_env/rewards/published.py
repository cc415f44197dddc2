"""The reward of the published implementation, for comparison only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.core.progress import Reference
from toolorch_env.core.scoring import Step
from toolorch_env.core.tasks import ReferenceCall
from toolorch_env.core.tools import Tool
from toolorch_env.rewards.published_syntax import accepts
from toolorch_env.rewards.terminal import TerminalReward

NAME_WEIGHT, STRUCTURE_WEIGHT, VALUES_WEIGHT = 0.33, 0.33, 0.34
FAILED = {"error": "the call failed"}
"""What the published environment answers where an API says so with a status."""


@dataclass(frozen=True, slots=True)
class PublishedScore:
    """The published score and its components, each in [0, 1].

    Attributes:
        name: 0.33 times the share of calls of a function that the reference calls, too.
        structure: 0.33 times the mean share of parameters with a value of the right Python type.
        values: 0.34 times the share of calls that BFCL's syntax check accepts.
        semantic: share of calls of such a function whose response is no error.
        orchestration: share of reference calls whose function was called after all that it depends on.
    """

    name: float
    structure: float
    values: float
    semantic: float
    orchestration: float

    @property
    def syntax(self) -> float:
        """Mean syntax score of the calls."""
        return self.name + self.structure + self.values

    @property
    def atomic(self) -> float:
        """Mean score of the calls."""
        return (self.syntax + self.semantic) / 2

    @property
    def total(self) -> float:
        """The score."""
        return (self.atomic + self.orchestration) / 2


def published_score(
    reference: Sequence[ReferenceCall], tools: Mapping[str, Tool], made: Sequence[tuple[Call, Any]]
) -> PublishedScore:
    """The published score of calls and their responses.

    Args:
        reference: the reference calls, with what each depends on.
        tools: the tools by name.
        made: calls as the agent wrote them, each with the body of its response, from wherever that came.
    """
    parts = [_parts_of(reference, tools, call, body) for call, body in made]
    name, structure, values, semantic = map(fmean, zip(*parts, strict=True)) if parts else (0.0,) * 4
    orchestration = _orchestration(reference, [call.tool for call, _ in made])
    return PublishedScore(
        NAME_WEIGHT * name, STRUCTURE_WEIGHT * structure, VALUES_WEIGHT * values, semantic, orchestration
    )


def _parts_of(
    reference: Sequence[ReferenceCall], tools: Mapping[str, Tool], call: Call, body: Any
) -> tuple[float, float, float, float]:
    """Name, structure, values and semantic of one call, against the first reference call of its function."""
    wanted = next((step.arguments for step in reference if step.tool == call.tool), None)
    if wanted is None:
        return 0.0, 0.0, 0.0, 0.0
    accepted = accepts(tools[call.tool], call.arguments, wanted)
    return 1.0, _structure(call.arguments, wanted), float(accepted), float(says_something(body))


def _structure(arguments: Mapping[str, Any], wanted: Mapping[str, Any]) -> float:
    if not wanted:
        return float(not arguments)
    return sum(name in arguments and _one_type(arguments[name], wanted[name]) for name in wanted) / len(wanted)


def _one_type(left: Any, right: Any) -> bool:
    return type(left) is type(right) or {type(left), type(right)} == {int, float}


def says_something(body: Any) -> bool:
    """Whether a response counts as executed: it is not an error in the published form, nor an empty object."""
    return not isinstance(body, Mapping) or bool(body and "error" not in body and body.get("status") is not False)


def _orchestration(reference: Sequence[ReferenceCall], called: Sequence[str]) -> float:
    places: dict[int, int] = {}
    for index, step in enumerate(reference):
        if step.depends_on <= places.keys():
            begin = 1 + max((places[other] for other in step.depends_on), default=-1)
            if step.tool in called[begin:]:
                places[index] = called.index(step.tool, begin)
    return len(places) / len(reference)


class PublishedReward(TerminalReward):
    """What the published implementation of arXiv 2603.24709 pays, when the episode ends::

        score         = 0.5 * atomic + 0.5 * orchestration
        atomic        = mean over the calls of (syntax + semantic) / 2, 0 if there are none
        syntax        = 0.33 for the name + 0.33 * structure + 0.34 if BFCL's syntax check accepts the call
        structure     = share of the reference's parameters that the call passes with a value of the same Python type
        semantic      = 1 if the response is no error and not empty
        orchestration = share of reference calls whose function was called after all that it depends on

    A call is compared with the FIRST reference call of its function; a call of another function scores 0. Order looks
    at names alone.

    It is there to compare with, not to train on: it pays for repeated calls and for leaving needed ones out, and many
    a reference solution scores less than 1 (measured in ``docs/rewards.md``).
    """

    name = "published"

    def final(self, reference: Reference, steps: Sequence[Step], answer: str | None) -> float:
        """See the class. What is no call is left out, as the published implementation reads calls only.

        Nor is a call one whose arguments no JSON can hold: it stands in runs as what could not be read.
        """
        made = [
            (step.call, _body_of(step)) for step in steps if isinstance(step.call, Call) and step.canonical is not None
        ]
        return published_score(reference.task.reference, reference.tools, made).total


def _body_of(step: Step) -> Any:
    return step.response.body if step.response.success else FAILED
