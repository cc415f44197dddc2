"""What a snapshot costs as it grows: bytes a response, and time and memory to open and read it.

    python benchmarks/snapshot_size.py [--json FILE] [--folder FOLDER] [--small 100000] [--large 1000000]

Builds a small and a large snapshot out of the bundled travel snapshot, whose calls are repeated with other values until
there are enough, and measures each in fresh processes. Opening must not depend on the size; memory and reading speed
may differ by no more than the limits below. Building both takes about ten minutes on two cores; snapshots that lie in
the folder from an earlier run are used again.
"""

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from toolorch_env.core.calls import CanonicalCall

OPEN_LIMIT_SECONDS = 0.05
MEMORY_RATIO_LIMIT = 2.0
READ_RATIO_LIMIT = 1.5
READS = 20_000
ROUNDS = 10
OPENINGS = 20
console = Console()


def varied_calls() -> Iterator[tuple[str, dict[str, Any], int, Any]]:
    """Tool, arguments, status and body: travel's calls, then without end travel's with other values."""
    from toolorch_env.store.bundled import open_snapshot

    for variation in count():
        for record in open_snapshot("travel").records():
            arguments, raw = orjson.loads(record.arguments), record.response.raw
            for name, value in arguments.items() if variation else ():
                arguments[name] = varied(value, variation)
                raw = raw.replace(orjson.dumps(value), orjson.dumps(arguments[name])) if type(value) is str else raw
            yield record.tool, arguments, record.response.status, orjson.loads(raw)


def varied(value: Any, variation: int) -> Any:
    """Another value of the same kind, about as long."""
    if type(value) is str:
        return f"{value[:-2]}{variation:02d}{value[-2:]}"
    return value + variation if type(value) in (int, float) else value


def build(path: Path, size: int) -> dict[str, float]:
    """Writes a snapshot of ``size`` responses; returns seconds and the most memory needed."""
    from toolorch_env.core.calls import Call
    from toolorch_env.store.bundled import open_snapshot
    from toolorch_env.store.writer import SnapshotWriter

    travel = open_snapshot("travel")
    begin = time.perf_counter()
    with SnapshotWriter(
        path,
        travel.tools.values(),
        name=f"travel-{size}",
        workflows=orjson.loads(travel.workflows or b"null"),
        links=travel.links,
    ) as writer:
        for tool, arguments, status, body in varied_calls():
            writer.add(Call(tool, arguments), status, body, latency=0.002, recorded_at=1_700_000_000)
            if len(writer) == size:
                break
    seconds = time.perf_counter() - begin
    return {"build_seconds": seconds, "build_peak_mb": peak_mb()}


def peak_mb() -> float:
    """The most resident memory that this process ever had, in MB (Linux)."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1e3


def private_mb() -> float:
    """Memory of this process that it shares with no other, in MB (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1e3


def opening(path: Path) -> dict[str, float]:
    """Seconds to open a snapshot in this process."""
    from toolorch_env.store.snapshot import Snapshot

    begin = time.perf_counter()
    Snapshot(path)
    return {"seconds": time.perf_counter() - begin}


def reading(path: Path) -> dict[str, float]:
    """Private memory after random reads, and random reads a second when all is warm."""
    from toolorch_env.store.snapshot import Snapshot

    keys = path.with_suffix(".keys").read_bytes()
    calls = [CanonicalCall("", {}, keys[at : at + 16], keys[at : at + 16]) for at in range(0, len(keys), 16)]
    before = private_mb()
    snapshot = Snapshot(path)
    assert all(snapshot.look_up(call) is not None for call in calls)
    after = private_mb()
    rates = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        for call in calls:
            snapshot.look_up(call)
        rates.append(len(calls) / (time.perf_counter() - begin))
    return {"private_mb": after, "private_mb_of_reading": after - before, "reads_per_second": max(rates)}


def playing(path: Path) -> dict[str, float]:
    """Seconds and private memory to the first reset of an environment."""
    import gymnasium as gym

    import toolorch_env  # noqa: F401

    begin = time.perf_counter()
    env = gym.make("ToolOrch-v0", snapshot=str(path))
    env.reset(seed=0)
    return {"first_reset_seconds": time.perf_counter() - begin, "playing_private_mb": private_mb()}


def choose_keys(path: Path) -> None:
    """Writes the keys of random responses beside a snapshot."""
    from toolorch_env.store.snapshot import Snapshot

    keys = [record.key for record in Snapshot(path).records()]
    chosen = random.Random(0).sample(keys, min(READS, len(keys)))  # noqa: S311  no secret
    path.with_suffix(".keys").write_bytes(b"".join(chosen))


def in_fresh_process(what: str, path: Path, size: int = 0) -> dict[str, float]:
    """Figures that one of the functions above returns in a process of its own."""
    command = [sys.executable, __file__, "--child", what, "--folder", str(path), "--small", str(size)]
    found: dict[str, float] = json.loads(
        subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    )
    return found


def measure(path: Path, size: int, play: bool) -> dict[str, float]:
    """All figures of one size."""
    figures: dict[str, float] = {}
    if not path.exists():
        figures |= in_fresh_process("build", path, size)
    choose_keys(path)
    figures["bytes_per_response"] = path.stat().st_size / size
    figures["open_seconds"] = statistics.median(in_fresh_process("opening", path)["seconds"] for _ in range(OPENINGS))
    figures |= in_fresh_process("reading", path)
    if play:
        figures |= in_fresh_process("playing", path)
    for name, value in figures.items():
        console.print(f"  {name:24} {value:14,.4f}")
    return figures


def main(
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where the snapshots go; else a temporary folder.")] = None,
    small: Annotated[int, typer.Option(help="Responses in the small snapshot.")] = 100_000,
    large: Annotated[int, typer.Option(help="Responses in the large snapshot.")] = 1_000_000,
    play: Annotated[bool, typer.Option(help="Also play an episode on each.")] = True,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Builds a small and a large snapshot, measures both, and compares them."""
    if child:
        path = Path(str(folder))
        function = {"opening": opening, "reading": reading, "playing": playing}.get(child)
        sys.stdout.write(json.dumps(function(path) if function else build(path, small)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        figures = {}
        for size in (small, large):
            console.print(f"{size:,} responses")
            figures[size] = measure(Path(folder or temporary) / f"travel-{size}.sqlite", size, play)
    ratios = {
        "large_open_share_of_limit": figures[large]["open_seconds"] / OPEN_LIMIT_SECONDS,
        "memory_ratio": figures[large]["private_mb"] / figures[small]["private_mb"],
        "read_ratio": figures[small]["reads_per_second"] / figures[large]["reads_per_second"],
    }
    limits = {"large_open_share_of_limit": 1.0, "memory_ratio": MEMORY_RATIO_LIMIT, "read_ratio": READ_RATIO_LIMIT}
    for name, value in ratios.items():
        console.print(f"{name:26} {value:6.2f} (limit {limits[name]})")
    if json_file is not None:
        json_file.write_text(json.dumps({"sizes": figures, "ratios": ratios}, indent=2) + "\n")
    raise typer.Exit(0 if all(value <= limits[name] for name, value in ratios.items()) else 1)


if __name__ == "__main__":
    typer.run(main)
