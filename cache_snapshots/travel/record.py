"""Rebuilds the travel snapshot: builds the database, serves the API, records it by ``plan.yaml``, verifies.

    python cache_snapshots/travel/record.py [--out FILE] [--seed N]

Needs the extra ``travel``. Killed and called again, it goes on where it was: what was answered is kept in
``FILE.new.recording`` until the snapshot is whole. Remove that file to begin anew.
"""

import asyncio
import shutil
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from travel_api import open_database
from travel_database import build_database
from travel_server import serve
from travel_values import write_values

from toolorch_env.cli.display import console
from toolorch_env.cli.recording_display import show_recording, showing_progress
from toolorch_env.recording.http import open_http_api
from toolorch_env.recording.plans.plan import Plan, load_plan
from toolorch_env.recording.record import Recording, record
from toolorch_env.recording.summary import Summary
from toolorch_env.store.verify import verify_snapshot

FOLDER = Path(__file__).resolve().parent


def complete_plan(database: Path, folder: Path) -> Plan:
    """The recording plan, in a folder that holds all files that it names.

    Args:
        database: the API's database, which most of the files are taken from.
        folder: an empty folder, needed as long as the plan is.
    """
    for name in ("plan.yaml", "workflows.yaml"):
        shutil.copy(FOLDER / name, folder)
    with closing(open_database(database)) as connection:
        write_values(connection, folder)
    return load_plan(folder / "plan.yaml")


def record_travel(
    database: Path, plan: Plan, out: Path, progress: Callable[[Summary], None] | None = None
) -> Recording:
    """Serves the API and records it; a snapshot that is at ``out`` is replaced when the new one is whole.

    Raises:
        ToolOrchError: the recording failed. What was answered is kept, for the next call to go on from.
    """
    fresh = out.with_name(f"{out.name}.new")  # what an older snapshot holds is not taken over
    with serve(database) as url:
        recording = record(asyncio.run(open_http_api(f"{url}/openapi.json")), fresh, plan, progress=progress)
    fresh.replace(out)
    return recording


def main(
    out: Annotated[Path, typer.Option(help="Where the snapshot goes.")] = FOLDER / "travel.sqlite",
    seed: Annotated[int | None, typer.Option(help="Seed of all draws, instead of the plan's.")] = None,
) -> None:
    """Rebuilds the travel snapshot."""
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "travel.db"
        console.print("Building the database from the data packages ...")
        build_database(database)
        plan = complete_plan(database, Path(folder))
        if seed is not None:
            plan = plan.model_copy(update={"seed": seed})
        with showing_progress(quiet=False) as progress:
            recording = record_travel(database, plan, out, progress)
    show_recording(recording, str(out))
    problems = verify_snapshot(out).problems
    for problem in problems:
        console.print(f"[red]{problem}")
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    typer.run(main)
