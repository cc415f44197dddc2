"""What `benchmarks/synthesis.py` measures in processes of their own: the first task, and ``toolorch synthesize``.

    python benchmarks/synthesis_runs.py SNAPSHOT CONSTRAINTS SEED

prints how many seconds it takes from opening a snapshot to the first task that its workflows give, when everything is
imported; constraints are JSON.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WORKERS = (1, 2)


def first_task(snapshot: str, constraints: dict[str, Any], rounds: int) -> float:
    """Median seconds from opening a snapshot to the first task, each time in a fresh process."""
    command = [sys.executable, __file__, snapshot, json.dumps(constraints)]
    told = [
        subprocess.run([*command, str(seed)], check=True, capture_output=True, text=True).stdout  # noqa: S603
        for seed in range(rounds)
    ]
    return statistics.median(map(float, told))


def draw_first(snapshot: str, constraints: dict[str, Any], seed: int) -> float:
    """Seconds from opening a snapshot to its first task, in this process."""
    import numpy as np

    from toolorch_env.generation.generator import WorkflowGenerator
    from toolorch_env.store.bundled import open_snapshot

    rng = np.random.default_rng(seed)
    begin = time.perf_counter()
    WorkflowGenerator(open_snapshot(snapshot)).sample(rng, constraints)
    return time.perf_counter() - begin


def synthesize(snapshot: str, tasks: int, rounds: int) -> dict[str, float]:
    """Tasks a second of the command with 1 and 2 workers, in turn.

    Returns:
        For each number of workers the median of the speeds that the command tells (``tasks_per_second_by_1``) and of
        the seconds until it ends (``seconds_by_1``), and the median of the ratios of the speeds in each round.
    """
    found = [{workers: _run(snapshot, tasks, workers) for workers in WORKERS} for _ in range(rounds)]
    figures = {"tasks": float(tasks)}
    for workers in WORKERS:
        figures[f"tasks_per_second_by_{workers}"] = statistics.median(rates[workers][0] for rates in found)
        figures[f"seconds_by_{workers}"] = statistics.median(rates[workers][1] for rates in found)
    figures["two_are_faster_by"] = statistics.median(rates[2][0] / rates[1][0] for rates in found)
    return figures


def _run(snapshot: str, tasks: int, workers: int) -> tuple[float, float]:
    """Tasks a second as the command tells, and seconds until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        out, summary = Path(folder) / "tasks.jsonl", Path(folder) / "summary.json"
        command = [sys.executable, "-m", "toolorch_env.cli", "synthesize", snapshot, "--n", str(tasks)]
        command += ["--workers", str(workers), "--out", str(out), "--json", str(summary), "--quiet"]
        begin = time.perf_counter()
        subprocess.run(command, check=True)  # noqa: S603
        seconds = time.perf_counter() - begin
        document = json.loads(summary.read_bytes())
    if document["valid"] != tasks:
        raise RuntimeError(f"{document['valid']:,} of {tasks:,} tasks are valid: {document['problem']}")
    return tasks / document["seconds"], seconds


if __name__ == "__main__":
    print(draw_first(sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])))  # noqa: T201
