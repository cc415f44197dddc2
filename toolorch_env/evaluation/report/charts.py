"""The charts of the report, as SVG (extra ``report``)."""

import io
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from toolorch_env.evaluation.metrics import ERROR_KINDS
from toolorch_env.evaluation.summary import Summary

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of the runs (Okabe and Ito's palette, which colour-blind people can tell apart); after six it begins anew."""

SHARES = {
    "success_rate": "success",
    "clean_success_rate": "clean success",
    "call_accuracy": "calls right",
    "turn_accuracy": "turns right",
}


def colour(run: int) -> str:
    """The colour of a run by its number."""
    return COLOURS[run % len(COLOURS)]


def shares_chart(summaries: Sequence[Summary]) -> str:
    """Each share with its 95% interval, a row for each metric and run."""
    with _styled():
        figure, axes = _figure(0.9 + 0.22 * len(SHARES) * (len(summaries) + 1))
        names = list(SHARES)
        for run, summary in enumerate(summaries):
            for row, name in enumerate(names):
                estimate = summary.metrics[name]
                place = row * (len(summaries) + 1) + run
                axes.plot([estimate.low, estimate.high], [place, place], color=colour(run), linewidth=2)
                axes.plot([estimate.value], [place], "o", color=colour(run), markersize=6)
        middles = [row * (len(summaries) + 1) + (len(summaries) - 1) / 2 for row in range(len(names))]
        axes.set_yticks(middles, [SHARES[name] for name in names])
        axes.invert_yaxis()
        axes.set_xlim(-0.02, 1.02)
        axes.grid(axis="x")
        return _svg(figure, "Shares of tasks and calls, with 95% intervals")


def depth_chart(summaries: Sequence[Summary]) -> str:
    """Success by the depth of the solution."""
    with _styled():
        figure, axes = _figure(2.6)
        for run, summary in enumerate(summaries):
            depths = sorted(summary.by_depth)
            values = [summary.by_depth[depth]["success_rate"] for depth in depths]
            axes.plot(depths, values, "o-", color=colour(run), linewidth=2, markersize=5)
        axes.set_xticks(sorted({depth for summary in summaries for depth in summary.by_depth}))
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("calls on the longest chain of the solution")
        axes.set_ylabel("success")
        axes.grid(axis="y")
        return _svg(figure, "Success by depth")


def errors_chart(summaries: Sequence[Summary]) -> str:
    """Failed calls for each episode, by kind; empty where no call failed."""
    kinds = [kind for kind in ERROR_KINDS if any(summary.errors.get(kind) for summary in summaries)]
    if not kinds:
        return ""
    with _styled():
        figure, axes = _figure(0.9 + 0.2 * len(kinds) * (len(summaries) + 1))
        for run, summary in enumerate(summaries):
            places = [row * (len(summaries) + 1) + run for row in range(len(kinds))]
            axes.barh(places, [_each(summary, kind) for kind in kinds], height=0.9, color=colour(run))
        middles = [row * (len(summaries) + 1) + (len(summaries) - 1) / 2 for row in range(len(kinds))]
        axes.set_yticks(middles, [kind.replace("_", " ") for kind in kinds])
        axes.invert_yaxis()
        axes.set_xlabel("calls an episode")
        axes.grid(axis="x")
        return _svg(figure, "Failed calls by kind")


def tries_chart(summaries: Sequence[Summary]) -> str:
    """pass^k by k; empty where no task was tried more than once."""
    most = max(len(summary.pass_hat) for summary in summaries)
    if most < 2:
        return ""
    with _styled():
        figure, axes = _figure(2.6)
        for run, summary in enumerate(summaries):
            points: Mapping[int, float] = summary.pass_hat
            axes.plot(list(points), list(points.values()), "o-", color=colour(run), linewidth=2, markersize=5)
        axes.set_xticks(range(1, most + 1))
        axes.set_ylim(-0.03, 1.03)
        axes.set_xlabel("tries k")
        axes.set_ylabel("all k succeed")
        axes.grid(axis="y")
        return _svg(figure, "Reliability over tries: pass^k")


def _each(summary: Summary, kind: str) -> float:
    return summary.errors.get(kind, 0) / summary.episodes


def _styled() -> AbstractContextManager[Any]:
    return rc_context(
        {
            "svg.fonttype": "none",  # text stays text
            "svg.hashsalt": "toolorch",  # the same picture has the same bytes
            "font.family": "sans-serif",
            "font.size": 10,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.edgecolor": "#888888",
            "axes.axisbelow": True,
            "grid.color": "#dddddd",
        }
    )


def _figure(height: float) -> tuple[Figure, Any]:
    figure = Figure(figsize=(6.4, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure, title: str) -> str:
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None, "Title": title})
    text = out.getvalue()
    return text[text.index("<svg") :].replace("<svg ", f'<svg role="img" aria-label="{title}" ', 1)
