"""What a run comes to."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from toolorch_env.evaluation.metrics import EpisodeResult, aggregate
from toolorch_env.evaluation.runs import Outcome
from toolorch_env.evaluation.statistics import Estimate, estimates, grouped, pass_hat


@dataclass(frozen=True)
class Summary:
    """The figures of a run.

    Attributes:
        episodes: number of episodes that were played to their end; all figures but the last three are about them.
        tasks: number of different tasks that they are of.
        metrics: each metric and its 95% interval (see :data:`toolorch_env.evaluation.statistics.RATES`).
        pass_hat: for k = 1, 2, ... the chance that k tries at a task all succeed, over the tasks that were tried most
            often: where tries came to nothing, these are not all.
        pass_hat_tasks: how many tasks these are, counting one that was drawn twice as two.
        errors: number of failed calls by kind.
        by_workflow, by_depth: for each workflow and each depth the number of episodes and the rates.
        failures: number of episodes that came to nothing, by what was wrong with the model's answer.
        tokens: what a language model's endpoint counted: ``prompt``, ``completion``, and ``cut_off`` answers.
        seconds: sum of the episodes' wall times.
    """

    episodes: int
    tasks: int
    metrics: dict[str, Estimate]
    pass_hat: dict[int, float]
    pass_hat_tasks: int
    errors: dict[str, int]
    by_workflow: dict[str, dict[str, float]]
    by_depth: dict[int, dict[str, float]]
    failures: dict[str, int]
    tokens: dict[str, int]
    seconds: float

    def cost(self, per_million_prompt: float, per_million_completion: float) -> float:
        """What the tokens cost, at prices for a million of each."""
        return (
            self.tokens["prompt"] * per_million_prompt + self.tokens["completion"] * per_million_completion
        ) / 1_000_000

    def to_dict(self) -> dict[str, Any]:
        """The figures by name, for JSON: the metrics themselves, and their ``intervals`` as pairs."""
        document = asdict(self)
        del document["metrics"]
        return {
            **{name: estimate.value for name, estimate in self.metrics.items()},
            "intervals": {name: [estimate.low, estimate.high] for name, estimate in self.metrics.items()},
            **document,
        }


def summarize(outcomes: Iterable[Outcome]) -> Summary:
    """The figures of these episodes, whatever their order.

    Raises:
        ValueError: none was played to its end.
    """
    ordered = sorted(outcomes, key=lambda outcome: (outcome.index, outcome.attempt))
    tries: dict[int, list[EpisodeResult]] = {}
    for outcome in ordered:
        if outcome.result is not None:
            tries.setdefault(outcome.index, []).append(outcome.result)
    results = [result for own in tries.values() for result in own]
    by_task = list(grouped(results, lambda r: r.task_id).values())  # a task may be drawn more than once
    most = max(map(len, tries.values()), default=0)
    tried_most = [own for own in tries.values() if len(own) == most]
    return Summary(
        episodes=len(results),
        tasks=len(by_task),
        metrics=estimates(by_task),
        pass_hat={k: pass_hat(tried_most, k) for k in range(1, most + 1)},
        pass_hat_tasks=len(tried_most),
        errors=aggregate(results, 0).errors,
        by_workflow={str(name): _rates(own) for name, own in grouped(results, lambda r: r.workflow).items()},
        by_depth={int(str(depth)): _rates(own) for depth, own in grouped(results, lambda r: r.depth).items()},
        failures=dict(sorted(Counter(outcome.failure for outcome in ordered if outcome.result is None).items())),
        tokens={
            "prompt": sum(outcome.prompt_tokens for outcome in ordered),
            "completion": sum(outcome.completion_tokens for outcome in ordered),
            "cut_off": sum(outcome.cut_off for outcome in ordered),
        },
        seconds=sum(outcome.seconds for outcome in ordered),
    )


def _rates(results: Sequence[EpisodeResult]) -> dict[str, float]:
    metrics = aggregate(results, 0)
    return {
        "episodes": metrics.tasks,
        "success_rate": metrics.success_rate,
        "clean_success_rate": metrics.clean_success_rate,
        "call_accuracy": metrics.call_accuracy,
        "mean_return": metrics.mean_return,
    }
