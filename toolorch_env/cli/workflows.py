"""Commands that make workflows."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from toolorch_env.cli.display import (
    check_writable,
    console,
    counted,
    error_console,
    facts_table,
    write_json,
    write_text,
)
from toolorch_env.core.errors import ConfigurationError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.task_files import read_tasks
from toolorch_env.store.bundled import bundled_snapshots, open_snapshot
from toolorch_env.store.snapshot import Snapshot

if TYPE_CHECKING:
    from toolorch_env.generation.mining import MinedWorkflows

app = typer.Typer(help="Make workflows: templates that tasks are drawn from.", no_args_is_help=True)

_SQLITE = b"SQLite format 3\0"
_SHOWN = 20


@app.callback()
def workflows() -> None:
    """Make workflows: templates that tasks are drawn from."""


@app.command("mine")
def workflows_mine(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="Snapshot with tasks, or file of tasks: JSON lines or Parquet.")
    ],
    out: Annotated[Path, typer.Option(metavar="FILE.yaml", help="Workflow file to write.")],
    min_frequency: Annotated[int, typer.Option(min=1, help="Leave out workflows with fewer tasks.")] = 1,
    snapshot: Annotated[
        str | None,
        typer.Option(help="Recorded calls of the tasks, where SOURCE is a file; the workflows are checked on them."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write frequencies and counts as JSON.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Turn solved tasks into workflows: which tools follow each other, and what flows from one to the next."""
    from toolorch_env.generation.mining import mine
    from toolorch_env.store.replay import SnapshotReplay
    from toolorch_env.store.workflow_yaml import workflows_to_yaml

    for path in filter(None, (out, json_file)):
        check_writable(path)
    if out.exists() and not overwrite:
        raise ConfigurationError(f"{out} exists: choose another name, or replace it with --overwrite")
    recorded, tasks = _read(source, snapshot)
    with error_console.status("Mining ..."):
        domain = Path(source).name.split(".")[0] if recorded is None else recorded.name
        replay = None if recorded is None else SnapshotReplay(recorded)
        mined = mine(tasks, domain=domain, min_frequency=min_frequency, replay=replay)
        traces = None if recorded is None else _count_traces(recorded, mined)
    write_text(out, workflows_to_yaml(mined.workflows))
    if json_file is not None:
        write_json(json_file, _document(mined, traces))
    _show(mined, traces)
    console.print(f"{escape(str(out))}: {counted(len(mined.frequencies), 'workflow')}", soft_wrap=True, highlight=False)


def _read(source: str, snapshot: str | None) -> tuple[Snapshot | None, tuple[Task, ...]]:
    """The tasks of a source and the snapshot that they are played on, if there is one.

    Raises:
        ConfigurationError: two snapshots are given.
        TaskError: there are no tasks.
    """
    if source not in bundled_snapshots() and _is_plain_file(Path(source)):
        return None if snapshot is None else open_snapshot(snapshot), tuple(read_tasks(source))
    if snapshot is not None:
        raise ConfigurationError(f"{source} is a snapshot itself: --snapshot is for a file of tasks")
    opened = open_snapshot(source)
    if not opened.tasks:
        raise TaskError(f"the snapshot {opened.name!r} holds no tasks: give one of a data set, or a file of tasks")
    return opened, opened.tasks


def _is_plain_file(path: Path) -> bool:
    """Whether there is a file that is no snapshot."""
    try:
        with path.open("rb") as file:
            return file.read(len(_SQLITE)) != _SQLITE
    except OSError:
        return False


def _count_traces(recorded: Snapshot, mined: "MinedWorkflows") -> dict[str, int]:
    """Number of traces of each workflow on a snapshot.

    Raises:
        WorkflowError: the workflows do not fit the snapshot's tools.
    """
    from toolorch_env.generation.generator import WorkflowGenerator

    return WorkflowGenerator(recorded, mined.workflows).counts()


def _show(mined: "MinedWorkflows", traces: dict[str, int] | None) -> None:
    report = mined.report
    table = facts_table()
    table.add_row("tasks", f"{report.tasks:,}")
    if report.prepared:
        table.add_row("left out: calls precede the task", f"{report.prepared:,}")
    if report.rare:
        table.add_row("left out: workflow too rare", f"{report.rare:,}")
    table.add_row("sequences of tools", f"{report.tool_sequences:,}")
    table.add_row("different workflows", f"{report.structures:,}")
    table.add_row("with phrasings of queries", f"{report.phrased:,} of {len(mined.frequencies):,}")
    table.add_row("arguments from responses", f"{report.bound:,}")
    table.add_row("arguments that the query mentions", f"{report.said:,}")
    table.add_row("arguments that neither gives", f"{report.unsaid:,}")
    for tool, envelope in report.envelopes.items():
        table.add_row("wrapped at times", escape(f"{tool} in {envelope}"))
    if traces is not None:
        feasible = sum(count > 0 for count in traces.values())
        table.add_row("feasible on the snapshot", f"{feasible:,} of {len(traces):,}")
    console.print(table)
    console.print(_workflow_table(mined, traces or {}))


def _workflow_table(mined: "MinedWorkflows", traces: dict[str, int]) -> Table:
    table = Table("workflow", "tasks", "traces", "tools")
    for workflow in mined.workflows.workflows[:_SHOWN]:
        count = f"{traces[workflow.name]:,}" if workflow.name in traces else "-"
        table.add_row(workflow.name, f"{workflow.frequency:,}", count, escape(workflow.description))
    if len(mined.frequencies) > _SHOWN:
        table.caption = f"and {len(mined.frequencies) - _SHOWN:,} more"
    return table


def _document(mined: "MinedWorkflows", traces: dict[str, int] | None) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        **asdict(mined.report),
        "feasible": None if traces is None else sum(count > 0 for count in traces.values()),
        "workflows": [
            {
                "name": workflow.name,
                "frequency": workflow.frequency,
                "tools": [step.tool for step in workflow.steps],
                "traces": None if traces is None else traces[workflow.name],
            }
            for workflow in mined.workflows.workflows
        ],
    }
