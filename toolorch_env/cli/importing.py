"""Commands that turn published data sets into snapshots with tasks."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer
from rich.markup import escape

from toolorch_env.cli.display import (
    check_writable,
    console,
    counted,
    error_console,
    facts_table,
    megabytes,
    progress_bar,
    write_json,
)
from toolorch_env.cli.recording import check_installed
from toolorch_env.core.errors import ConfigurationError

if TYPE_CHECKING:
    from toolorch_env.evaluation.solutions import Solutions
    from toolorch_env.recording.importing.pipeline import ImportSummary
    from toolorch_env.recording.importing.traces import DataSet

app = typer.Typer(
    help="Turn a published data set into a snapshot that holds its responses and its problems as tasks.\n\n"
    "Exit code 0 if the known solution of every task solves it on the snapshot, 1 if not, 2 after an error.",
    no_args_is_help=True,
)

_HUB_REPOSITORY, _HUB_FILE = "THUDM/ComplexFuncBench", "ComplexFuncBench.jsonl"
_SHOWN_CONFLICTS = 5

OutOption = Annotated[Path, typer.Option(help="Snapshot to write.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write the summary as JSON.")]


@app.command("booking")
def import_booking(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...",
            help="Published files, told apart by what they hold: pickles of training and evaluation tasks, the cache "
            "(JSON), workflow templates (JSON), tool schemas (JSON lines).",
        ),
    ],
    out: OutOption,
    overwrite: OverwriteOption = False,
    json_file: JsonOption = None,
) -> None:
    """Import the Booking.com data published with arXiv 2603.24709."""
    check_installed("import")
    from toolorch_env.recording.importing.booking import read_booking

    _check_targets(out, overwrite, json_file)
    with error_console.status("Reading ..."):
        data_set = read_booking(files)
    _import(data_set, out, overwrite, json_file)


@app.command("complexfuncbench")
def import_complexfuncbench(
    out: OutOption,
    files: Annotated[list[Path] | None, typer.Argument(metavar="[FILE...]", help="Files of JSON lines.")] = None,
    from_hub: Annotated[
        bool, typer.Option("--from-hub", help="Download the data set; needs the package huggingface_hub.")
    ] = False,
    overwrite: OverwriteOption = False,
    json_file: JsonOption = None,
) -> None:
    """Import ComplexFuncBench, or a data set in its format."""
    from toolorch_env.recording.importing.complexfuncbench import read_complexfuncbench
    from toolorch_env.recording.importing.hub import download

    if from_hub == bool(files):
        raise ConfigurationError("name the files to import, or say --from-hub to download the data set")
    _check_targets(out, overwrite, json_file)
    with error_console.status("Reading ..."):
        paths = files or [download(_HUB_REPOSITORY, _HUB_FILE)]
        data_set = read_complexfuncbench(paths)
    _import(data_set, out, overwrite, json_file)


@app.command("bfcl")
def import_bfcl(
    out: OutOption,
    category: Annotated[
        list[str] | None, typer.Option(help="Multi-turn category. Repeatable; all of them by default.")
    ] = None,
    overwrite: OverwriteOption = False,
    json_file: JsonOption = None,
) -> None:
    """Import the multi-turn categories of the package bfcl-eval, by running its own executable back ends."""
    check_installed("bfcl")
    from toolorch_env.recording.importing.bfcl import CATEGORIES, read_bfcl

    _check_targets(out, overwrite, json_file)
    with error_console.status("Running the back ends ..."):
        data_set = read_bfcl(category or CATEGORIES)
    _import(data_set, out, overwrite, json_file)


def _check_targets(out: Path, overwrite: bool, json_file: Path | None) -> None:
    """Told before anything is read."""
    check_writable(out)
    if json_file is not None and json_file.resolve() == out.resolve():
        raise ConfigurationError(f"the snapshot and its summary cannot both be {out}: name two files")
    if out.exists() and not overwrite:
        raise ConfigurationError(f"there is a file at {out} already: name another, or say --overwrite")
    if json_file is not None:
        check_writable(json_file)


def _import(data_set: "DataSet", out: Path, overwrite: bool, json_file: Path | None) -> None:
    from toolorch_env.evaluation.solutions import check_solutions
    from toolorch_env.recording.importing.pipeline import import_data_set
    from toolorch_env.store.snapshot import Snapshot

    with error_console.status("Importing ..."):
        summary = import_data_set(data_set, out, overwrite=overwrite)
    with progress_bar("Playing the known solutions", summary.tasks) as advance:
        solutions = check_solutions(Snapshot(out), advance=advance)
    _show(summary, solutions)
    if json_file is not None:
        write_json(json_file, _document(summary, solutions))
    raise typer.Exit(1 if solutions.unsolved else 0)


def _show(summary: "ImportSummary", solutions: "Solutions") -> None:
    arguments = summary.arguments
    table = facts_table()
    table.add_row("snapshot", f"{escape(str(summary.path))}, {megabytes(summary.path)}")
    table.add_row("responses", f"{summary.responses:,}, {summary.without_body:,} of them without a body")
    table.add_row("answered differently", f"{counted(len(summary.conflicts), 'call')}: one answer is kept")
    table.add_row("tasks", f"{summary.tasks:,}, with {summary.calls:,} calls")
    if summary.tasks:
        explained = arguments.exact + arguments.rounded + arguments.query + arguments.parts
        table.add_row("arguments", f"{arguments.total:,}, {explained / max(1, arguments.total):.1%} of them explained")
        table.add_row("  from responses", f"{arguments.exact:,} exactly, {arguments.rounded:,} by rounded fractions")
        table.add_row("  from the query", f"{arguments.query:,}")
        table.add_row("  in parts", f"{arguments.parts:,} lists and objects from several places")
        table.add_row("  from nowhere", f"{arguments.neither:,} defaults, guesses or computed")
        table.add_row(
            "known solutions", f"{solutions.tasks - len(solutions.unsolved):,} of {solutions.tasks:,} return 1.0"
        )
        playable = solutions.tasks - len(solutions.words_only)
        table.add_row("playable in numbers", f"{playable:,} of {solutions.tasks:,}; in words all")
    console.print(table)
    for conflict in summary.conflicts[:_SHOWN_CONFLICTS]:
        told = (
            f"{conflict.tool} {conflict.arguments.decode()}: kept is {conflict.kept}, not {', '.join(conflict.others)}"
        )
        console.print(escape(told), soft_wrap=True, highlight=False)
    for note in summary.notes:
        console.print(escape(note), soft_wrap=True, highlight=False)
    for task_id in solutions.unsolved:
        console.print(f"[red]not solved by its own solution: {escape(task_id)}", soft_wrap=True)


def _document(summary: "ImportSummary", solutions: "Solutions") -> dict[str, Any]:
    conflicts = [
        {
            "tool": conflict.tool,
            "arguments": orjson.loads(conflict.arguments),
            "kept": conflict.kept,
            "others": list(conflict.others),
        }
        for conflict in summary.conflicts
    ]
    arguments = {name: getattr(summary.arguments, name) for name in summary.arguments.__slots__}
    return {
        "snapshot": str(summary.path),
        "bytes": summary.path.stat().st_size,
        "tasks": summary.tasks,
        "calls": summary.calls,
        "responses": summary.responses,
        "without_body": summary.without_body,
        "conflicts": conflicts,
        "arguments": arguments,
        "notes": list(summary.notes),
        "unsolved": list(solutions.unsolved),
        "words_only": solutions.words_only,
    }
