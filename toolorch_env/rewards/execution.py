"""A reward that needs no reference solution: were the calls well formed, did they work, is the answer right?"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json, read_number, scalars, token
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.progress import Reference, stands_alone
from toolorch_env.core.responses import Source
from toolorch_env.core.scoring import Step
from toolorch_env.rewards.terminal import TerminalReward

_NUMBER = re.compile(r"-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class ExecutionWeights:
    """Weights of the parts of a call's quality; they add up to 1.

    Attributes:
        format: it can be read as a call of a tool on offer.
        schema: no parameter is missing, unknown, or of a value that does not fit its schema.
        success: the API answered it with success.
    """

    format: float = 0.2
    schema: float = 0.3
    success: float = 0.5

    def __post_init__(self) -> None:
        parts = (self.format, self.schema, self.success)
        if not (min(parts) >= 0 and abs(sum(parts) - 1) <= 1e-12):  # NaN fails both
            raise ConfigurationError(f"execution weights must not be negative and must add up to 1, got {parts}")


@dataclass(frozen=True, slots=True)
class ExecutionScore:
    """The parts of the reward, each in [0, 1].

    Attributes:
        format: share of calls that can be read as calls of tools on offer.
        schema: share of calls that fit their tool's schema.
        success: share of calls that the API answered with success.
        answer: whether the last words hold the answer; ``None`` where the task has no checkable one.
    """

    format: float
    schema: float
    success: float
    answer: bool | None


class ExecutionReward(TerminalReward):
    """What can be said of an episode without a reference solution, paid when it ends::

        quality = mean over the calls of (0.2 * format + 0.3 * schema + 0.5 * success), 0 if there are none
        reward  = quality                              where the task has no checkable answer, else
                  quality * (1 - 0.5 * (1 - answer))

    A call that was made before scores 0, as does what is no call of a tool on offer: each lowers the mean. ``answer``
    is 1 when the agent's last words hold every value of :attr:`toolorch_env.core.tasks.Task.answer`, as words of their
    own, numbers by their fourth decimal; else 0.

    The formula follows two published ones: a format term beside a correctness term, as in ToolRL (arXiv 2504.13958),
    and the share of calls that achieve something which no call before them has achieved, as in FTRL (arXiv 2508.08791).
    Both take correctness from annotations, ToolRL from reference calls, FTRL from the known answers of single steps;
    here it is the success that the API reports. And the answer is a factor, no summand: a guessed answer without
    working calls is worth nothing.

    What it cannot see: needed calls that are left out, calls that are not needed, their order, and whether a value was
    guessed. A single call that works is worth as much as the solution where there is no answer to check, and last words
    that list every value that might be asked for hold the answer, too; only their end is read.

    Args:
        weights: weights of the parts of a call's quality.
        answer_weight: share of the reward that a wrong answer costs, in [0, 1].
        answer_characters: so many characters at the end of the last words are read, at least 1.

    Raises:
        ConfigurationError: a weight lies outside [0, 1], or no characters are to be read.
    """

    name = "execution"

    def __init__(
        self, weights: ExecutionWeights | None = None, answer_weight: float = 0.5, answer_characters: int = 1000
    ) -> None:
        if weights is not None and not isinstance(weights, ExecutionWeights):
            raise ConfigurationError(f"the weights must be ExecutionWeights, got {weights!r}")
        if not isinstance(answer_weight, (int, float)) or not 0 <= answer_weight <= 1:
            raise ConfigurationError(f"answer_weight must lie in [0, 1], got {answer_weight!r}")
        if not isinstance(answer_characters, int) or answer_characters < 1:
            raise ConfigurationError(f"answer_characters must be at least 1, got {answer_characters!r}")
        self.weights = weights or ExecutionWeights()
        self.answer_weight = answer_weight
        self.answer_characters = answer_characters

    def final(self, reference: Reference, steps: Sequence[Step], answer: str | None) -> float:
        """See the class."""
        score = self.components(reference, steps, answer)
        weights = self.weights
        quality = weights.format * score.format + weights.schema * score.schema + weights.success * score.success
        factor = 1.0 if score.answer is None else 1.0 - self.answer_weight * (1.0 - score.answer)
        return min(1.0, quality * factor)  # weights add up to 1 but for rounding

    def components(self, reference: Reference, steps: Sequence[Step], answer: str | None) -> ExecutionScore:
        """The parts of the reward."""
        parts = [_quality(reference.tools, step) for step in steps]
        well_formed, fitting, successful = map(fmean, zip(*parts, strict=True)) if parts else (0.0,) * 3
        wanted = reference.task.answer
        held = holds_all(_end_of(answer or "", self.answer_characters), wanted) if wanted else None
        return ExecutionScore(well_formed, fitting, successful, held)


def _quality(tools: ToolSet, step: Step) -> tuple[float, float, float]:
    """Format, schema and success of a call; nothing for one that was made before."""
    call = step.canonical
    if call is None or step.match.repeated or step.response.source is Source.UNKNOWN_TOOL:
        return 0.0, 0.0, 0.0
    fits = next(tools.signature(call.tool).problems(call.arguments), None) is None
    return 1.0, float(fits), float(step.response.success)


def _end_of(text: str, characters: int) -> str:
    """The end of a text, from the first word that is whole."""
    return text if len(text) <= characters else text[-characters:].partition(" ")[2]


def holds_all(text: str, values: Sequence[Any]) -> bool:
    """Whether every scalar in ``values`` stands in ``text`` as words of its own, numbers by their fourth decimal."""
    return all(_holds(text, scalar) for value in values for scalar in scalars(value))


def _holds(text: str, value: Any) -> bool:
    wanted = token(value)
    if wanted is None:
        wanted = canonical_json(value).decode()  # true, false, null
    if not wanted or stands_alone(wanted, text):
        return True
    return type(value) in (int, float) and any(
        token(read_number(number.replace(",", ""))) == wanted and stands_alone(number, text)
        for number in _NUMBER.findall(text)
    )
