"""Speed of recording over HTTP, against what the recorded server can answer at all.

    python benchmarks/recording_speed.py [--calls N] [--json FILE]

Serves the travel API (extra ``travel``) in a process of its own on loopback. A bare load generator, which sends
prepared requests over keep-alive connections and only counts the answers, measures the server's ceiling; then the
recorder records other calls of the same kind into a snapshot; then the load generator runs once more, for the drift of
the machine. Printed: answers a second of both, the recorder's share of the ceiling, and the goal of 500 a second.
Sealing the snapshot is timed apart.
"""

import asyncio
import contextlib
import json
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from toolorch_env.recording.asking import Patience
from toolorch_env.recording.http import HttpApi
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.plans.plan import parse_plan
from toolorch_env.recording.record import record

GOAL = 500.0
TRAVEL = Path(__file__).resolve().parents[1] / "cache_snapshots" / "travel"
console = Console()


@contextlib.contextmanager
def travel_server() -> Iterator[str]:
    """The travel API in another process; gives its address."""
    sys.path.insert(0, str(TRAVEL))  # the recipe is no package
    from travel_database import build_database
    from travel_server import serve

    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "travel.db"
        build_database(database)
        with serve(database) as address:
            yield address


async def answers_a_second(address: str, paths: Sequence[str], connections: int) -> float:
    """The load generator."""
    host, port = address.removeprefix("http://").split(":")
    left = iter(paths)

    async def send() -> None:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in left:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().split(b"content-length:")[1].split(b"\r\n")[0]
            await reader.readexactly(int(length))
        writer.close()
        await writer.wait_closed()

    begin = time.perf_counter()
    await asyncio.gather(*(send() for _ in range(connections)))
    return len(paths) / (time.perf_counter() - begin)


def times(year: int, calls: int) -> list[tuple[str, str]]:
    """Different calls of one kind: time zones at moments of a year."""
    zones = ["Europe/Zurich", "America/New_York", "Asia/Tokyo", "Australia/Sydney", "Africa/Lagos"]
    moments = [f"{year}-{1 + n // 672:02d}-{1 + n // 24 % 28:02d}T{n % 24:02d}:00" for n in range(calls // 5)]
    return [(zone, moment) for moment in moments for zone in zones]


def main(
    calls: Annotated[int, typer.Option(help="Calls of each measurement, 100 to 40,000.", min=100, max=40_000)] = 6000,
    sessions: Annotated[int, typer.Option(help="Calls under way at once.")] = 8,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Measures and prints the speeds."""
    figures: dict[str, Any] = {}
    with travel_server() as address, tempfile.TemporaryDirectory() as folder:
        document = httpx.get(f"{address}/openapi.json", trust_env=False).json()
        api = HttpApi(operations_from_openapi(document), address)
        paths = [f"/local-time?timezone={zone}&utc_time={moment}" for zone, moment in times(2011, calls)]
        before = asyncio.run(answers_a_second(address, paths, sessions))
        pairs = times(2012, calls)
        arguments = {"timezone": {"values": [zone for zone, _ in pairs]}, "utc_time": {"values": [m for _, m in pairs]}}
        plan = parse_plan({"requests": [{"tool": "get_local_time", "combine": "zip", "arguments": arguments}]})
        begin = time.perf_counter()
        last = begin

        def note(summary: Any) -> None:
            nonlocal last
            last = time.perf_counter()

        done = record(api, Path(folder) / "s.sqlite", plan, patience=Patience(sessions=sessions), progress=note)
        figures["sealing_seconds"] = time.perf_counter() - last
        figures["recorded_a_second"] = done.summary.recorded / (last - begin)
        after = asyncio.run(answers_a_second(address, paths, sessions))
    figures["ceiling_a_second"] = (before + after) / 2
    figures["ceiling_drift"] = after / before
    figures["share_of_ceiling"] = figures["recorded_a_second"] / figures["ceiling_a_second"]
    table = Table("what", "value", title=f"Recording {done.summary.recorded:,} answers over HTTP, {sessions} sessions")
    table.add_row("server's ceiling, bare load generator", f"{figures['ceiling_a_second']:,.0f}/s")
    table.add_row("recorder", f"{figures['recorded_a_second']:,.0f}/s (goal: at least {GOAL:,.0f})")
    table.add_row("recorder / ceiling", f"{figures['share_of_ceiling']:.2f}")
    table.add_row("ceiling after / before", f"{figures['ceiling_drift']:.2f}")
    table.add_row("sealing the snapshot", f"{figures['sealing_seconds']:.1f} s")
    console.print(table)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
