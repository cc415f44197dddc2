"""Tables of what evaluations come to."""

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from toolorch_env.cli.display import console, counted
from toolorch_env.evaluation.statistics import Estimate
from toolorch_env.evaluation.summary import Summary

_TITLES = {
    "success_rate": "success",
    "clean_success_rate": "clean success",
    "call_accuracy": "calls right",
    "turn_accuracy": "turns right",
    "mean_return": "return",
    "mean_calls": "calls",
}
_SHOWN_WORKFLOWS = 20


def metrics_table() -> Table:
    """An empty table of metrics, a row for each policy."""
    return _table("policy", "tasks", *_TITLES.values())


def add_metrics(table: Table, name: str, summary: Summary) -> None:
    """Adds a row to a table of metrics."""
    values = (f"{summary.metrics[metric].value:.3f}" for metric in _TITLES)
    table.add_row(escape(name), f"{summary.tasks:,}", *values)


def show_summary(name: str, summary: Summary, prices: tuple[float, float] | None = None) -> None:
    """Shows the figures of one evaluation.

    Args:
        name: of the policy.
        summary: the figures.
        prices: of a million tokens that are read and of a million that are written.
    """
    played = counted(summary.episodes, "episode")
    tried = "" if summary.episodes == summary.tasks else f" of {counted(summary.tasks, 'task')}"
    table = _table("metric", escape(name), "95% interval", title=f"{played}{tried}")
    for metric, title in _TITLES.items():
        table.add_row(title, *_estimated(summary.metrics[metric]))
    for tries, share in summary.pass_hat.items() if len(summary.pass_hat) > 1 else ():
        table.add_row(f"pass^{tries}", f"{share:.3f}", "")
    console.print(table)
    if len(summary.pass_hat) > 1 and summary.pass_hat_tasks * len(summary.pass_hat) < summary.episodes:
        console.print(f"pass^k is of the {counted(summary.pass_hat_tasks, 'task')} of which every try was answered.\n")
    _show_groups("depth", summary.by_depth)
    hardest = sorted(summary.by_workflow, key=lambda name: summary.by_workflow[name]["success_rate"])
    _show_groups("workflow", {name: summary.by_workflow[name] for name in hardest[:_SHOWN_WORKFLOWS]})
    if len(hardest) > _SHOWN_WORKFLOWS:
        console.print(f"The hardest {_SHOWN_WORKFLOWS} of {len(hardest)} workflows; --json has all.\n")
    console.print("Failed calls: " + _counts(summary.errors))
    if summary.failures:
        total = sum(summary.failures.values())
        console.print(
            f"Not scored, as the model gave no answer: {counted(total, 'episode')} ({_counts(summary.failures)}). "
            f"If they counted as failures, success would be "
            f"{summary.metrics['success_rate'].value * summary.episodes / (summary.episodes + total):.3f}.",
            soft_wrap=True,
        )
    if any(summary.tokens.values()):
        cost = f", cost {summary.cost(*prices):,.2f}" if prices else ""
        cut_off = f", {counted(summary.tokens['cut_off'], 'answer')} cut off" if summary.tokens["cut_off"] else ""
        read, written = summary.tokens["prompt"], summary.tokens["completion"]
        console.print(f"Tokens: {read:,} read, {written:,} written{cut_off}{cost}")


def _show_groups(title: str, groups: Mapping[str, Mapping[str, float]] | Mapping[int, Mapping[str, float]]) -> None:
    if len(groups) < 2:
        return
    rates = ("success_rate", "clean_success_rate", "call_accuracy", "mean_return")
    table = _table(title, "episodes", *(_TITLES[name] for name in rates))
    for name, own in groups.items():
        table.add_row(escape(str(name)), f"{own['episodes']:,.0f}", *(f"{own[rate]:.3f}" for rate in rates))
    console.print(table)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count) or "none"


def _estimated(estimate: Estimate) -> Sequence[str]:
    return f"{estimate.value:.3f}", f"{estimate.low:.3f} to {estimate.high:.3f}"


def _table(*titles: str, title: str | None = None) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left", title_style="")
    for place, name in enumerate(titles):
        table.add_column(name, justify="right" if place else "left", overflow="fold")
    return table
