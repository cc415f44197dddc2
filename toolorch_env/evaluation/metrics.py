"""The metrics of an evaluation, defined once."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.core.responses import Source
from toolorch_env.core.scoring import Step

ERROR_KINDS = (
    "unknown_tool",
    "missing_parameter",
    "extra_parameter",
    "ill_typed_parameter",
    "wrong_value",
    "value_not_yet_seen",
    "repeated",
    "malformed",
)


@dataclass(frozen=True, slots=True)
class EpisodeResult:
    """What became of one episode.

    Attributes:
        task_id, workflow: which task.
        depth: number of calls on the longest chain of dependencies of its solution.
        success: all reference calls complete, and finished by the agent.
        clean_success: success with no call more than the reference has; optional ones may be made or left out.
        complete_calls, reference_calls: for the call accuracy; optional reference calls do not count.
        complete_turns, reference_turns: for the turn accuracy.
        total: the return.
        calls: number of calls that the agent made.
        finished: whether the agent finished, rather than being stopped at the call limit.
        errors: number of calls of each error kind.
    """

    task_id: str
    workflow: str
    depth: int
    success: bool
    clean_success: bool
    complete_calls: int
    reference_calls: int
    complete_turns: int
    reference_turns: int
    total: float
    calls: int
    finished: bool
    errors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Metrics:
    """Metrics over many episodes.

    Attributes:
        tasks: number of episodes.
        success_rate: share with all reference calls complete and finished by the agent.
        clean_success_rate: share of tasks that succeeded with no call more than the reference.
        call_accuracy: complete reference calls over all reference calls.
        turn_accuracy: reference turns all of whose calls are complete over all reference turns.
        mean_return: mean sum of rewards.
        mean_calls: mean number of calls.
        errors: number of failed calls by kind (:data:`ERROR_KINDS`).
        steps_per_second: calls and finishes a second of wall time, resets included.
    """

    tasks: int
    success_rate: float
    clean_success_rate: float
    call_accuracy: float
    turn_accuracy: float
    mean_return: float
    mean_calls: float
    errors: dict[str, int]
    steps_per_second: float

    def to_dict(self) -> dict[str, Any]:
        """The metrics by name."""
        return asdict(self)


def episode_result(episode: Episode) -> EpisodeResult:
    """The result of an episode that has ended."""
    task = episode.task
    complete = [episode.progress.complete[index] for index in task.required]
    turns: dict[int, bool] = {}
    for turn, done in zip([task.turns[index] for index in task.required], complete, strict=True):
        turns[turn] = turns.get(turn, True) and done
    kinds = Counter(kind for step in episode.steps if (kind := error_kind(episode, step)) is not None)
    return EpisodeResult(
        task_id=task.id,
        workflow=task.workflow,
        depth=task.depth,
        success=episode.success,
        clean_success=episode.clean_success,
        complete_calls=sum(complete),
        reference_calls=len(complete),
        complete_turns=sum(turns.values()),
        reference_turns=len(turns),
        total=episode.total,
        calls=len(episode.steps),
        finished=episode.finished,
        errors={kind: kinds[kind] for kind in ERROR_KINDS if kinds[kind]},
    )


def error_kind(episode: Episode, step: Step) -> str | None:
    """Why a call is no good for the solution, one of :data:`ERROR_KINDS`; ``None`` for a good one.

    A valid call that completes nothing, be it of a tool that is not needed, is a ``wrong_value``.
    """
    if step.match.completes:
        return None if step.match.ordered else "value_not_yet_seen"
    if step.canonical is None or step.response.source is Source.MALFORMED:
        return "malformed"
    if step.match.repeated:
        return "repeated"
    if step.response.source is Source.UNKNOWN_TOOL:
        return "unknown_tool"
    assert isinstance(step.call, Call)
    problems = episode.replay.tools.signature(step.call.tool).problems(step.canonical.arguments)
    first = next(problems, None)
    return first.kind if first is not None else "wrong_value"


def aggregate(results: Sequence[EpisodeResult], seconds: float) -> Metrics:
    """Metrics over episodes that took ``seconds`` of wall time together.

    Raises:
        ValueError: there are no results.
    """
    if not results:
        raise ValueError("there are no episodes to aggregate")
    count = len(results)
    errors: Counter[str] = Counter()
    for result in results:
        errors.update(result.errors)
    steps = sum(result.calls + result.finished for result in results)
    return Metrics(
        tasks=count,
        success_rate=_share(result.success for result in results),
        clean_success_rate=_share(result.clean_success for result in results),
        call_accuracy=sum(r.complete_calls for r in results) / sum(r.reference_calls for r in results),
        turn_accuracy=sum(r.complete_turns for r in results) / sum(r.reference_turns for r in results),
        mean_return=sum(result.total for result in results) / count,
        mean_calls=sum(result.calls for result in results) / count,
        errors={kind: errors[kind] for kind in ERROR_KINDS},
        steps_per_second=steps / seconds if seconds > 0 else 0.0,
    )


def _share(flags: Iterable[bool]) -> float:
    values = list(flags)
    return sum(values) / len(values)
