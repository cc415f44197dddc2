"""Making the report."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from toolorch_env.core.errors import ConfigurationError, RunError
from toolorch_env.core.version import VERSION
from toolorch_env.envs.call_graph import BOX
from toolorch_env.evaluation.metrics import EpisodeResult
from toolorch_env.evaluation.report.views import FailureView, TranscriptView, transcript_view
from toolorch_env.evaluation.run_files import Run
from toolorch_env.evaluation.runs import RunHeader, play_again, replay_of, reward_of, same_task
from toolorch_env.evaluation.statistics import LEAST_TASKS, Estimate, differences
from toolorch_env.evaluation.summary import Summary, summarize
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.snapshot import Snapshot

TRANSCRIPTS = 200


@dataclass(frozen=True)
class RunView:
    """A run as the report shows it.

    Attributes:
        number, name, colour: what it is called, and shown in.
        header: its first line.
        summary: its figures.
        left_out: number of episodes without a transcript in the report.
    """

    number: int
    name: str
    colour: str
    header: RunHeader
    summary: Summary
    left_out: int


def render_report(
    runs: Sequence[tuple[str, Run]], *, transcripts: int = TRANSCRIPTS, snapshots: Sequence[Snapshot] = ()
) -> str:
    """One HTML document that needs nothing else: figures of the runs, their comparison, and transcripts.

    Args:
        runs: names and runs, at least one, each with an episode that was played.
        transcripts: how many are shown of each run; failures come first.
        snapshots: where to look for those that were played on; else they are opened by the names in the runs.

    Raises:
        ConfigurationError: the extra ``report`` is not installed.
        RunError: there is nothing to report, or a snapshot is not the one that was played on.
    """
    try:
        from jinja2 import Environment, PackageLoader

        from toolorch_env.evaluation.report import charts
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"reports need the extra 'report' ({error.name} is not installed): pip install 'toolorch-env[report]'"
        ) from None
    if not runs:
        raise RunError("there is no run to report")
    views: list[RunView] = []
    shown: list[TranscriptView] = []
    failures: list[FailureView] = []
    for number, (name, run) in enumerate(runs):
        if not run.episodes:
            raise RunError(f"there is nothing to report of {name}: no episode was played to its end")
        own = _transcripts(run, number, transcripts, len(shown), snapshots)
        shown += own
        failures += [FailureView(number, line) for line in run.failures]
        left_out = len(run.episodes) - len(own)
        views.append(RunView(number, name, charts.colour(number), run.header, summarize(run.outcomes), left_out))
    summaries = [view.summary for view in views]
    environment = Environment(loader=PackageLoader("toolorch_env.evaluation.report", "."), autoescape=True)
    document: str = environment.get_template("report.html.jinja").render(
        runs=views,
        differences=_differences(runs),
        least_tasks=LEAST_TASKS,
        charts=[
            ("Shares of tasks and calls, with 95% intervals", charts.shares_chart(summaries)),
            ("Success by depth of the solution", charts.depth_chart(summaries)),
            ("Failed calls by kind", charts.errors_chart(summaries)),
            ("Reliability: all of k tries succeed", charts.tries_chart(summaries)),
        ],
        metrics=[*charts.SHARES.items(), ("mean_return", "return"), ("mean_calls", "calls")],
        transcripts=shown,
        failures=failures,
        workflows=sorted({transcript.result.workflow for transcript in shown}),
        box=BOX,
        version=VERSION,
        written=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
    )
    return document


def _transcripts(run: Run, number: int, most: int, first: int, snapshots: Sequence[Snapshot]) -> list[TranscriptView]:
    snapshot = _snapshot_of(run.header, snapshots)
    replay, reward = replay_of(run.header, snapshot), reward_of(run.header)
    by_outcome = sorted(run.episodes, key=lambda episode: (episode.result.success, episode.result.clean_success))
    chosen = sorted(by_outcome[:most], key=lambda episode: (episode.index, episode.attempt))
    return [
        transcript_view(first + place, number, line, play_again(line, replay, reward, run.header.max_calls))
        for place, line in enumerate(chosen)
    ]


def _snapshot_of(header: RunHeader, snapshots: Sequence[Snapshot]) -> Snapshot:
    for snapshot in snapshots:
        if snapshot.content_hash == header.content_hash:
            return snapshot
    snapshot = open_snapshot(header.snapshot)
    if snapshot.content_hash != header.content_hash:
        raise RunError(f"{header.snapshot} is not what the run was played on any more: name the snapshot that was")
    return snapshot


def _differences(runs: Sequence[tuple[str, Run]]) -> list[tuple[int, int, dict[str, Estimate]]]:
    """Of each run to the first one: its number, how many tasks both have played, by how much its metrics are above.

    Runs that were answered or limited in another way are not compared, nor are returns of different rewards.
    """
    found = []
    first, played, scored = _by_task(runs[0][1]), _played_under(runs[0][1]), _scored_by(runs[0][1])
    for number, (_, run) in enumerate(runs[1:], 1):
        own = _by_task(run) if _played_under(run) == played else {}
        both = sorted(first.keys() & own.keys())
        if both:
            above = differences([first[key] for key in both], [own[key] for key in both])
            if _scored_by(run) != scored:
                del above["mean_return"]
            found.append((number, len(both), above))
    return found


def _played_under(run: Run) -> tuple[str, str, int]:
    return run.header.content_hash, run.header.on_miss, run.header.max_calls


def _scored_by(run: Run) -> tuple[str, dict[str, Any]]:
    return run.header.reward, run.header.reward_parameters


def _by_task(run: Run) -> dict[tuple[str, str, tuple[str, ...]], list[EpisodeResult]]:
    found: dict[tuple[str, str, tuple[str, ...]], list[EpisodeResult]] = {}
    for episode in run.episodes:
        found.setdefault(same_task(episode.task), []).append(episode.result)
    return found
