"""Commands that show, check, move and compare recorded calls."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer
from rich.markup import escape
from rich.table import Table

from toolorch_env.cli.display import (
    check_writable,
    console,
    counted,
    error_console,
    facts_table,
    megabytes,
    place_name,
    write_json,
)
from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import ConfigurationError, SnapshotWriteError, ToolOrchError
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.snapshot import Snapshot

if TYPE_CHECKING:
    from toolorch_env.store.difference import Difference, DifferingCall
    from toolorch_env.store.records import Record
    from toolorch_env.store.sources import Source

app = typer.Typer(help="Show, check, move and compare snapshots.", no_args_is_help=True)

STANDARD_STREAM = "-"
JSON_LINES = (".jsonl", ".jsonl.zst")

_PLACES = "bundled name, snapshot, unfinished recording, JSON lines (- for standard input), or URL of a database"
PlaceArgument = Annotated[str, typer.Argument(metavar="SOURCE", help=f"Recorded calls: {_PLACES}.")]
OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]


class OnConflict(StrEnum):
    """What happens where a call was answered differently."""

    ERROR = "error"
    FIRST = "first"
    LAST = "last"


@app.command("info")
def snapshot_info(snapshot: PlaceArgument) -> None:
    """Show what a snapshot holds."""
    from toolorch_env.store.transfer import open_source

    with open_source(_place(snapshot)) as opened:
        console.print(escape(_name_of(opened)), soft_wrap=True)
        console.print(_facts(opened))
        console.print(_tools_table(opened.tools))


@app.command("verify")
def snapshot_verify(
    snapshot: Annotated[str, typer.Argument(help="Name of a bundled snapshot, or path of one.")],
) -> None:
    """Check a whole snapshot: every key, digest, hash and table.

    Exit code 1 if anything is wrong with it, 2 if it cannot be opened as a snapshot at all.
    """
    from toolorch_env.store.verify import verify_snapshot

    path = open_snapshot(snapshot).path
    with console.status(f"Reading {path} ..."):
        found = verify_snapshot(path)
    for problem in found.problems:
        console.print(f"[red]{escape(problem)}")
    verdict = "[green]sound" if found.ok else "[bold red]not sound"
    console.print(f"{escape(str(path))}: {found.responses:,} responses, {verdict}")
    raise typer.Exit(0 if found.ok else 1)


@app.command("copy")
def snapshot_copy(
    source: PlaceArgument,
    target: Annotated[
        str,
        typer.Argument(help="File to write (.jsonl or .jsonl.zst for JSON lines, else a snapshot), or database URL."),
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Copy recorded calls, whatever they are kept in: also makes a snapshot of an unfinished recording."""
    from toolorch_env.store.transfer import copy

    with error_console.status("Copying ..."):
        count = copy(_place(source), target, overwrite=overwrite)
    _tell_written(count, target)


@app.command("merge")
def snapshot_merge(
    sources: Annotated[list[str], typer.Argument(metavar="SOURCE...", help=f"Recorded calls, each a {_PLACES}.")],
    out: Annotated[str, typer.Option(help="File to write, or URL of a database.")],
    on_conflict: Annotated[
        OnConflict, typer.Option(help="Where a call was answered differently: an error, or which source wins.")
    ] = OnConflict.ERROR,
    overwrite: OverwriteOption = False,
) -> None:
    """Put the calls of several recordings of one API together."""
    from toolorch_env.store.transfer import merge

    with error_console.status("Merging ..."):
        count = merge([_place(source) for source in sources], out, on_conflict=on_conflict.value, overwrite=overwrite)
    _tell_written(count, out)


@app.command("diff")
def snapshot_diff(
    left: Annotated[str, typer.Argument(help=f"Recorded calls: {_PLACES}.")],
    right: Annotated[str, typer.Argument(help="What to compare them with.")],
    examples: Annotated[int, typer.Option(help="Calls to show of each kind of difference.", min=0)] = 5,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the difference as JSON.")] = None,
) -> None:
    """Compare two recordings: tools, workflows, calls and what was answered.

    Exit code 0 if there is no difference, 1 if there is one. Times and provenance do not count.
    """
    from toolorch_env.store.transfer import diff

    if json_file is not None:
        check_writable(json_file)
    with error_console.status("Comparing ..."):
        found = diff(_place(left), _place(right), max_examples=examples)
    _show_difference(found)
    if json_file is not None:
        write_json(json_file, _difference_document(found))
    raise typer.Exit(0 if found.same else 1)


@app.command("export")
def snapshot_export(
    source: PlaceArgument,
    target: Annotated[
        str, typer.Argument(metavar="FILE", help="File to write, .jsonl or .jsonl.zst; - for standard output.")
    ],
    overwrite: OverwriteOption = False,
) -> None:
    """Write recorded calls as JSON lines; `toolorch snapshot copy` reads them back."""
    from toolorch_env.store.transfer import copy

    if target == STANDARD_STREAM:
        _export_to_standard_output(source)
        return
    if not target.endswith(JSON_LINES):
        raise ConfigurationError(f"{target}: a file of JSON lines is named .jsonl or .jsonl.zst, or - for the output")
    with error_console.status("Exporting ..."):
        count = copy(_place(source), target, overwrite=overwrite)
    _tell_written(count, target)


def _export_to_standard_output(source: str) -> None:
    from toolorch_env.store.transfer import copy

    try:
        copy(_place(source), sys.stdout.buffer)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise  # who reads it has enough
    except OSError as error:
        raise SnapshotWriteError(f"standard output cannot be written: {error.strerror or error}") from None


def _place(where: str) -> str | BinaryIO:
    return sys.stdin.buffer if where == STANDARD_STREAM else where


def _tell_written(count: int, target: str) -> None:
    console.print(f"{escape(place_name(target))}: {counted(count, 'response')}", soft_wrap=True, highlight=False)


def _name_of(source: "Source") -> str:
    return str(source.path) if isinstance(source, Snapshot) else str(getattr(source, "name", source))


def _facts(source: "Source") -> Table:
    table = facts_table()
    meta = dict(sorted({**source.meta, "responses": f"{len(source):,}"}.items()))
    for name, value in meta.items():
        table.add_row(name, escape(value))
    if source.workflows is not None:
        table.add_row("workflows", escape(_workflows_in_words(source)))
    if source.tasks:
        table.add_row("tasks", f"{len(source.tasks):,}")
    if isinstance(source, Snapshot):
        table.add_row("size", megabytes(source.path))
    else:
        table.add_row("state", "not finished: no snapshot yet")
    return table


def _workflows_in_words(source: "Source") -> str:
    from toolorch_env.generation.generator import WorkflowGenerator
    from toolorch_env.store.workflows import parse_workflows

    try:
        if not isinstance(source, Snapshot):
            return str(len(parse_workflows(source.workflows or b"{}").workflows))
        counts = WorkflowGenerator(source).counts()
        return f"{len(counts)}, with {sum(counts.values()):,} traces"
    except ToolOrchError as error:
        return f"none that can be used: {error}"


def _tools_table(tools: ToolSet) -> Table:
    table = Table("tool", "parameters (* required)", "description", title=counted(len(tools), "tool"))
    for tool in tools.values():
        names = [f"{name}*" if name in tool.required else name for name in tool.properties]
        changes = "" if tool.read_only else "[yellow]changes state[/] "
        table.add_row(tool.name, escape(", ".join(names)), changes + escape(tool.description.split("\n")[0]))
    return table


def _show_difference(found: "Difference") -> None:
    if found.same:
        console.print("no difference")
        return
    for what, names in (
        ("removed", found.tools_removed),
        ("added", found.tools_added),
        ("changed", found.tools_changed),
    ):
        if names:
            console.print(f"tools {what}: {', '.join(names)}", soft_wrap=True)
    if found.workflows_changed:
        console.print("workflows changed")
    if found.tasks_changed:
        console.print("tasks changed")
    counts = (found.only_left, found.only_right, found.changed)
    table = Table("tool", "only left", "only right", "answered differently")
    for tool in sorted({name for count in counts for name in count}):
        table.add_row(tool, *(f"{count.get(tool, 0):,}" for count in counts))
    if table.row_count:
        console.print(table)
    for call in found.examples:
        _show_example(call)


def _show_example(call: "DifferingCall") -> None:
    import orjson

    from toolorch_env.envs.shortening import shorten_json

    console.print(f"[cyan]{escape(call.tool)}[/] {escape(orjson.dumps(call.arguments).decode())}", soft_wrap=True)
    for side, record in (("left ", call.left), ("right", call.right)):
        said = "-" if record is None else f"{record.response.status} {shorten_json(record.response.raw, 300)}"
        console.print(f"   {side} {escape(said)}", soft_wrap=True, highlight=False)


def _difference_document(found: "Difference") -> dict[str, Any]:
    return {
        "same": found.same,
        "tools": {"added": found.tools_added, "removed": found.tools_removed, "changed": found.tools_changed},
        "workflows_changed": found.workflows_changed,
        "tasks_changed": found.tasks_changed,
        "only_left": found.only_left,
        "only_right": found.only_right,
        "changed": found.changed,
        "examples": [
            {"tool": call.tool, "arguments": call.arguments, "left": _said(call.left), "right": _said(call.right)}
            for call in found.examples
        ],
    }


def _said(record: "Record | None") -> dict[str, Any] | None:
    return None if record is None else {"status": record.response.status, "body": record.response.body}
