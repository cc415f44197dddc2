"""Commands that make workflows, have them worded, and store them."""

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
    progress_bar,
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
    from toolorch_env.generation.rewriting import Rewriting
    from toolorch_env.store.workflows import WorkflowSet

app = typer.Typer(help="Make, word and store workflows: templates that tasks are drawn from.", no_args_is_help=True)

_SQLITE = b"SQLite format 3\0"
_SHOWN = 20


@app.callback()
def workflows() -> None:
    """Make, word and store workflows: templates that tasks are drawn from."""


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

    _check_target(out, overwrite)
    if json_file is not None:
        check_writable(json_file)
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


@app.command("rewrite")
def workflows_rewrite(
    source: Annotated[
        str, typer.Argument(metavar="SNAPSHOT", help="Snapshot with workflows, or a workflow file (YAML).")
    ],
    model: Annotated[str, typer.Option(help="Name of the model, as the endpoint knows it.")],
    base_url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible endpoint, as in http://localhost:8000/v1.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What to write; by default the snapshot itself.")
    ] = None,
    versions: Annotated[int, typer.Option(min=1, help="How many versions each phrasing is to have.")] = 1,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests that are under way at once.")] = 8,
    check_roles: Annotated[
        bool, typer.Option("--check-roles", help="Have the model find each value's role in what it wrote.")
    ] = False,
    temperature: Annotated[float | None, typer.Option(min=0, help="How much answers vary.")] = None,
    seed: Annotated[int | None, typer.Option(help="For answers that repeat, where the endpoint can do that.")] = None,
    timeout: Annotated[float, typer.Option(help="Seconds after which an answer is given up.")] = 120,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Have a language model word the phrasings in other ways, for queries of the style `rewritten`.

    Each version is verified; what there is already is not asked for again. The key of the endpoint is taken from
    OPENAI_API_KEY. Exit code 0 if all requests were answered, 1 if some were not, 2 after an error, 130 when
    interrupted: what was accepted by then is kept.
    """
    from toolorch_env.generation.chat_models import OpenAIChat
    from toolorch_env.generation.rewriting import missing_versions, rewrite

    is_file = source not in bundled_snapshots() and _is_plain_file(Path(source))
    target = _target_of_rewriting(source, is_file, out, overwrite)
    before = _workflows_of(source, is_file)
    chat = OpenAIChat(model, base_url, temperature=temperature, seed=seed, timeout=timeout)
    with progress_bar("Asking", sum(missing_versions(before, versions).values())) as advance:
        found = rewrite(
            before,
            chat,
            versions=versions,
            concurrency=concurrency,
            check_roles=check_roles,
            progress=lambda done, total: advance(),
        )
    if found.workflows != before or target.resolve() != Path(source).resolve():
        _store(source, is_file, found.workflows, target)
    _show_rewriting(found, target)
    raise typer.Exit(130 if found.interrupted else 1 if found.failed else 0)


@app.command("store")
def workflows_store(
    file: Annotated[Path, typer.Argument(metavar="FILE.yaml", help="Workflow file.")],
    snapshot: Annotated[str, typer.Argument(help="Name of a bundled snapshot, or path of one.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Snapshot to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Write a snapshot with the workflows of a file in place of its own."""
    from toolorch_env.store.transfer import with_workflows
    from toolorch_env.store.workflows import load_workflows

    _check_target(out, overwrite)
    loaded = load_workflows(file)
    with error_console.status("Writing ..."):
        count = with_workflows(open_snapshot(snapshot), loaded, out, overwrite=overwrite)
    told = f"{counted(len(loaded.workflows), 'workflow')}, {counted(count, 'response')}"
    console.print(f"{escape(str(out))}: {told}", soft_wrap=True, highlight=False)


def _target_of_rewriting(source: str, is_file: bool, out: Path | None, overwrite: bool) -> Path:
    """Where rewritten workflows go, told before anything is asked.

    Raises:
        ConfigurationError: nothing can be written there, or something would be lost.
    """
    if out is not None:
        _check_target(out, overwrite or out.resolve() == Path(source).resolve())
        return out
    if source in bundled_snapshots():
        raise ConfigurationError(f"{source} is part of this package: name a snapshot to write, with --out")
    if is_file and not overwrite:
        raise ConfigurationError(f"{source} would lose its comments: name a file with --out, or say --overwrite")
    check_writable(Path(source))
    return Path(source)


def _check_target(out: Path, overwrite: bool) -> None:
    """Checks that a file can be written.

    Raises:
        ConfigurationError: it cannot, or there is something already.
    """
    check_writable(out)
    if out.exists() and not overwrite:
        raise ConfigurationError(f"{out} exists: choose another name, or replace it with --overwrite")


def _workflows_of(source: str, is_file: bool) -> "WorkflowSet":
    from toolorch_env.store.workflows import load_workflows, snapshot_workflows

    return load_workflows(source) if is_file else snapshot_workflows(open_snapshot(source))


def _store(source: str, is_file: bool, found: "WorkflowSet", target: Path) -> None:
    from toolorch_env.store.transfer import with_workflows
    from toolorch_env.store.workflow_yaml import workflows_to_yaml

    if is_file:
        write_text(target, workflows_to_yaml(found))
        return
    with error_console.status("Writing ..."):
        with_workflows(open_snapshot(source), found, target, overwrite=True)


def _show_rewriting(found: "Rewriting", target: Path) -> None:
    table = facts_table()
    table.add_row("versions asked for", f"{found.asked:,}")
    table.add_row("accepted", f"{found.accepted:,}")
    for heading, counts in (("rejected", found.rejected), ("failed", found.failed)):
        table.add_row(heading, f"{sum(counts.values()):,}")
        for reason, count in sorted(counts.items(), key=lambda item: -item[1]):
            table.add_row(escape(f"  {reason}"), f"{count:,}")
    console.print(table)
    if found.interrupted:
        error_console.print(
            f"interrupted: what was accepted is kept. To go on, rewrite {escape(str(target))}, in place."
        )
    phrasings = sum(map(bool, found.workflows.rewrites.values()))
    told = f"{counted(phrasings, 'phrasing')} with other versions"
    console.print(f"{escape(str(target))}: {told}", soft_wrap=True, highlight=False)


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
