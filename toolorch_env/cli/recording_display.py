"""What the commands that record show: progress, what came of it, what would come of it."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from toolorch_env.cli.display import console, counted, error_console, facts_table, megabytes, place_name
from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import SnapshotError

if TYPE_CHECKING:
    from toolorch_env.recording.record import Forecast, Recording
    from toolorch_env.recording.summary import Summary

REFRESH_SECONDS = 0.1
LINE_SECONDS = 10.0


@contextmanager
def showing_progress(quiet: bool) -> Iterator[Callable[["Summary"], None]]:
    """Gives a function that shows how far a recording is: a bar, or a line now and then where there is no terminal."""
    if quiet:
        yield lambda summary: None
    elif not error_console.is_terminal:
        yield _NowAndThen(LINE_SECONDS, _show_line)
    else:
        columns = (MofNCompleteColumn(), BarColumn(), TextColumn("{task.fields[rate]}"), TimeRemainingColumn())
        with Progress(*columns, console=error_console, transient=True) as progress:
            bar = progress.add_task("recording", total=None, rate="")
            tell = _NowAndThen(REFRESH_SECONDS, lambda summary: _update(progress, bar, summary))
            yield tell
            tell.finish()


class _NowAndThen:
    """Shows a summary at most every so many seconds; telling it is cheap."""

    def __init__(self, seconds: float, show: Callable[["Summary"], None]) -> None:
        self._seconds = seconds
        self._show = show
        self._shown = time.monotonic()
        self._summary: Summary | None = None

    def __call__(self, summary: "Summary") -> None:
        self._summary = summary
        if time.monotonic() - self._shown >= self._seconds:
            self._show(summary)
            self._shown = time.monotonic()

    def finish(self) -> None:
        """Shows how it ended."""
        if self._summary is not None:
            self._show(self._summary)


def _update(progress: Progress, bar: TaskID, summary: "Summary") -> None:
    progress.update(bar, completed=_done(summary), total=summary.planned, rate=_rate_in_words(summary))


def _show_line(summary: "Summary") -> None:
    left = summary.planned - _done(summary)
    rate = summary.recorded / summary.seconds
    estimate = f", about {left / rate:,.0f} s left" if rate else ""
    line = f"{_done(summary):,} of {summary.planned:,} calls, {_rate_in_words(summary)}{estimate}"
    error_console.print(line, soft_wrap=True, highlight=False)


def _done(summary: "Summary") -> int:
    return summary.known + summary.recorded + summary.unanswered.counts.total()


def _rate_in_words(summary: "Summary") -> str:
    failed = f", {summary.failed:,} not answered" if summary.failed else ""
    return f"{summary.recorded / max(summary.seconds, 1e-9):,.1f} responses/s{failed}"


def show_recording(recording: "Recording", target: str) -> None:
    """Shows what came of a recording."""
    summary = recording.summary
    table = facts_table()
    table.add_row("responses", f"{recording.responses:,}")
    table.add_row("of these recorded now", f"{summary.recorded:,}")
    table.add_row("recorded before", f"{recording.responses - summary.recorded:,}")
    for status, count in sorted(summary.statuses.items()):
        table.add_row(f"status {status}", f"{count:,}")
    for kind, count in sorted(summary.unanswered.counts.items()):
        table.add_row(f"not answered, {kind}", f"{count:,}, such as: {escape(summary.unanswered.examples[kind])}")
    if summary.runs:
        table.add_row("runs of workflows", f"{summary.complete_runs:,} of {summary.runs:,} complete")
    if summary.changed:
        table.add_row("answered otherwise", f"{summary.changed:,} calls: the API is not deterministic")
    table.add_row("time", f"{summary.seconds:,.1f} s, {summary.recorded / max(summary.seconds, 1e-9):,.1f} responses/s")
    if Path(target).is_file():
        table.add_row("size", megabytes(Path(target)))
    console.print(escape(place_name(target)), soft_wrap=True)
    console.print(table)
    show_unreached(recording.unreached)
    if summary.failed:
        console.print("Run the same command again to ask what was not answered.")


def show_unreached(unreached: Mapping[str, str]) -> None:
    """Shows of which tools no call is planned, and why."""
    if not unreached:
        return
    tools: dict[str, list[str]] = {}
    for tool, why in unreached.items():
        tools.setdefault(why, []).append(tool)
    table = Table("not reached", "why")
    for why, names in tools.items():
        table.add_row(escape(", ".join(names)), escape(why))
    console.print(table)


def show_forecast(forecast: "Forecast", tools: ToolSet) -> None:
    """Shows what a recording would do."""
    table = Table("tool", "planned", "known already", "calls that depend on responses still to come", show_footer=True)
    for tool in tools:
        if tool in forecast.by_tool or tool in forecast.depends:
            most = forecast.depends.get(tool, 0)
            further = "no limit" if most is None else f"at most {most:,}" if most else ""
            counts = (forecast.by_tool.get(tool, 0), forecast.known_by_tool.get(tool, 0))
            table.add_row(escape(tool), *(f"{count:,}" for count in counts), further)
    footers = ("all", f"{forecast.planned:,}", f"{forecast.known:,}", "")
    for column, footer in zip(table.columns, footers, strict=True):
        column.footer = footer
    console.print(table)
    if forecast.run_calls:
        console.print(f"Runs of workflows make at most {forecast.run_calls:,} further calls.")


def show_kept(target: str) -> None:
    """Tells what an unfinished recording has kept, and how to go on."""
    from toolorch_env.recording.record import working_file
    from toolorch_env.store.databases import is_url
    from toolorch_env.store.locks import WritingLock
    from toolorch_env.store.record_store import RecordStore

    where = target if is_url(target) else working_file(target)
    try:
        if isinstance(where, Path):
            if not where.is_file():
                return
            WritingLock(where).release()  # else it is another recorder's
        with RecordStore(where, create=False) as store:
            count = len(store)
    except SnapshotError:  # it is the database that is gone, or somebody else's
        return
    if not count:
        return
    other = "" if is_url(target) else f", or `toolorch snapshot copy {where} FILE` to make a snapshot of what is there"
    kept = f"{counted(count, 'response')} kept in {store.name}. Run the same command again to go on{other}."
    error_console.print(escape(kept), soft_wrap=True, highlight=False)
