"""The command that draws many tasks into a file."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from toolorch_env.cli.constraint_options import with_constraint_options
from toolorch_env.cli.display import (
    check_writable,
    console,
    counted,
    error_console,
    facts_table,
    megabytes,
    write_json,
)
from toolorch_env.generation.constraints import TaskConstraints

if TYPE_CHECKING:
    from toolorch_env.generation.synthesis import Synthesis
    from toolorch_env.generation.synthesis_supply import Supply

_SHOWN = 100


@with_constraint_options
def synthesize(
    asked: TaskConstraints,
    snapshot: Annotated[str, typer.Argument(help="Name of a bundled snapshot, or path of one.")],
    n: Annotated[int, typer.Option("--n", help="Number of tasks.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write: .jsonl, .jsonl.zst or .parquet.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same file.")] = 0,
    generator: Annotated[
        str | None, typer.Option(help="What draws: workflows, tasks, graph, or a name that a package offers.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that draw. The file is the same with any number.")] = 1,
    ray: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Draw on this Ray cluster (auto, local, HOST:PORT).")
    ] = None,
    check: Annotated[bool, typer.Option(help="Check each task, by replaying it.")] = True,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the summary as JSON.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there, and start an interrupted run anew.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show errors alone.")] = False,
) -> None:
    """Draw many tasks into a file. Interrupted and run again, it goes on where it was.

    Exit code 0 if all tasks are valid, 1 if some are not, 2 after an error, 130 when interrupted.
    """
    from toolorch_env.generation.synthesis import Drawers
    from toolorch_env.generation.synthesis import synthesize as draw

    if json_file is not None:
        check_writable(json_file)
    drawers = Drawers(workers, ray)
    drawn = 0
    try:
        with _showing_progress(n, quiet) as show:

            def progress(done: int) -> None:
                nonlocal drawn
                drawn = done
                show(done)

            found = draw(
                snapshot,
                out,
                n=n,
                seed=seed,
                constraints=asked,
                generator=generator,
                check=check,
                drawers=drawers,
                overwrite=overwrite,
                progress=progress,
            )
    except KeyboardInterrupt:
        kept = f"interrupted: {drawn:,} of {n:,} tasks are kept. Run the same command again to go on"
        error_console.print(kept + " (without --overwrite)." * overwrite + "." * (not overwrite), soft_wrap=True)
        raise typer.Exit(130) from None
    if json_file is not None:
        write_json(json_file, _document(found))
    if not quiet:
        _show(found)
    raise typer.Exit(0 if found.valid in (None, found.drawn) else 1)


@contextmanager
def _showing_progress(n: int, quiet: bool) -> Iterator[Callable[[int], None]]:
    """Gives a function that shows how many tasks there are."""
    columns = (TextColumn("drawing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    disable = quiet or not error_console.is_terminal
    with Progress(*columns, console=error_console, transient=True, disable=disable) as bar:
        drawing = bar.add_task("drawing", total=max(n, 0))
        yield lambda drawn: bar.update(drawing, completed=drawn)


def _show(found: "Synthesis") -> None:
    table = facts_table()
    table.add_row("drawn", f"{found.drawn:,}")
    if found.resumed:
        table.add_row("of these by an earlier run", f"{found.resumed:,}")
    table.add_row("valid", "not checked" if found.valid is None else f"{found.valid:,}")
    table.add_row("different workflow or calls", f"{found.distinct:,}")
    if found.supply is not None:
        table.add_row("different tasks to draw from, all splits", str(found.supply.total))
    table.add_row("time", f"{found.seconds:,.1f} s, {(found.drawn - found.resumed) / found.seconds:,.0f} tasks/s")
    table.add_row("size", megabytes(found.path))
    console.print(table)
    if found.problem:
        console.print(f"[red]not valid, the first one:[/] {escape(found.problem)}", soft_wrap=True, highlight=False)
    if found.supply is not None:
        _show_supply(found.supply)
    told = f"{escape(str(found.path))}: {counted(found.drawn, 'task')}"
    console.print(told, soft_wrap=True, highlight=False)


def _show_supply(supply: "Supply") -> None:
    feasible = [workflow for workflow in supply.workflows if not workflow.why_infeasible]
    table = Table("workflow", "different tasks", "acceptance")
    for workflow in feasible[:_SHOWN]:
        acceptance = "" if workflow.acceptance == 1 else f"{workflow.acceptance:.4f}"
        table.add_row(escape(workflow.name), str(workflow.tasks), acceptance)
    if len(feasible) > _SHOWN:
        table.caption = f"and {len(feasible) - _SHOWN:,} more"
    console.print(table)
    for workflow in supply.workflows:
        if workflow.why_infeasible:
            console.print(f"[yellow]infeasible:[/] {escape(workflow.why_infeasible)}", soft_wrap=True, highlight=False)


def _document(found: "Synthesis") -> dict[str, Any]:
    return {
        "file": str(found.path),
        "drawn": found.drawn,
        "resumed": found.resumed,
        "valid": found.valid,
        "problem": found.problem or None,
        "distinct": found.distinct,
        "seconds": round(found.seconds, 3),
        "available": None if found.supply is None else _supply_document(found.supply),
    }


def _supply_document(supply: "Supply") -> dict[str, Any]:
    total = supply.total
    return {
        "total": total.value,
        "at_least": total.low,
        "at_most": total.high,
        "workflows": [
            {
                "name": workflow.name,
                "tasks": workflow.tasks.value,
                "at_least": workflow.tasks.low,
                "at_most": workflow.tasks.high,
                "acceptance": workflow.acceptance,
                "infeasible": workflow.why_infeasible or None,
            }
            for workflow in supply.workflows
        ],
    }
