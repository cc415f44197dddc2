"""Memory of a process that plays, and the time until it can.

    python benchmarks/memory.py [--json FILE]

For each environment a fresh process imports everything, makes the environment, plays reference calls and random calls,
and tells its resident memory before and after; the limit that it is held against is 60 MB over the imports. The time
from opening the snapshot to the end of the first reset is measured in the same process.

Then 16 processes play ``ToolOrch-v0`` at the same time on the same snapshot, once started anew (``spawn``), once forked
from a process that has imported everything (``fork``, as ``AsyncVectorEnv`` does it on Linux). Printed is the largest
private memory among them: pages that no other process shares, which is what one more process costs. The limit that it
is held against is 40 MB, for processes that are started anew over their imports.
"""

import json
import os
import subprocess
import sys
import time
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

LIMIT_MB = 60.0
LIMIT_SECONDS = 0.5
LIMIT_PRIVATE_MB = 40.0
PROCESSES = 16
console = Console(soft_wrap=True)


def resident_mb() -> float:
    """Resident memory of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def private_mb() -> float:
    """Memory of this process that no other shares, in MB (Linux)."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("Private_"))


def import_everything() -> None:
    """What playing imports."""
    import gymnasium  # noqa: F401
    import numpy as np  # noqa: F401

    import toolorch_env.envs.tool_orch
    import toolorch_env.envs.tool_orch_text
    import toolorch_env.policies.oracle
    import toolorch_env.policies.random  # noqa: F401


def play(env_id: str, episodes: int) -> dict[str, float]:
    """Plays in this process; returns seconds to the first reset and MB after it and after all episodes."""
    import_everything()
    import gymnasium as gym
    import numpy as np

    import toolorch_env
    from toolorch_env.policies.oracle import next_reference_call
    from toolorch_env.policies.random import random_action

    assert env_id in toolorch_env.ENVIRONMENTS
    imported = resident_mb()
    begin = time.perf_counter()
    env = gym.make(env_id)
    env.reset(seed=0)
    seconds = time.perf_counter() - begin
    first = resident_mb()
    unwrapped: Any = env.unwrapped
    rng = np.random.default_rng(0)
    for episode in range(episodes):
        env.reset()
        ended = False
        while not ended:
            if episode % 2 or env_id != "ToolOrch-v0":
                action = unwrapped.action_for(next_reference_call(unwrapped.episode))
            else:
                action = random_action(unwrapped, rng)
            _, _, terminated, truncated, _ = env.step(action)
            ended = terminated or truncated
    return {
        "imports_mb": imported,
        "first_reset_seconds": seconds,
        "after_first_reset_mb": first - imported,
        "after_playing_mb": resident_mb() - imported,
    }


def play_beside_others(seat: int, barrier: Barrier, episodes: int, found: Any) -> None:
    """One of several processes that play: puts down its private MB after the imports and after playing."""
    import_everything()
    barrier.wait()
    imported = private_mb()
    barrier.wait()
    play("ToolOrch-v0", episodes)
    barrier.wait()
    found[2 * seat : 2 * seat + 2] = imported, private_mb()
    barrier.wait()  # nobody leaves before all have looked: what the last one shares would be its own


def play_together(method: str, episodes: int) -> dict[str, float]:
    """Largest private MB of :data:`PROCESSES` processes after the imports and after playing."""
    import_everything()
    context: Any = get_context(method)
    barrier = context.Barrier(PROCESSES)
    found = context.Array("d", 2 * PROCESSES)
    seats = [context.Process(target=play_beside_others, args=(s, barrier, episodes, found)) for s in range(PROCESSES)]
    for process in seats:
        process.start()
    for process in seats:
        process.join()
    imported, played = found[::2], found[1::2]
    over = [after - before for before, after in zip(imported, played, strict=True)]
    return {"imports_mb": max(imported), "private_mb": max(played), "private_over_imports_mb": max(over)}


def main(
    episodes: Annotated[int, typer.Option(help="Episodes to play.")] = 2000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    child: Annotated[str, typer.Option(hidden=True)] = "",
) -> None:
    """Measures and prints memory over the imports, and seconds to the first reset."""
    if child:
        sys.stdout.write(json.dumps(play(child, episodes)))
        return
    figures = {}
    for env_id in ("ToolOrch-v0", "ToolOrchText-v0"):
        command = [sys.executable, __file__, "--child", env_id, "--episodes", str(episodes)]
        figures[env_id] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603
        figure = figures[env_id]
        figure["share_of_memory_limit"] = figure["after_playing_mb"] / LIMIT_MB
        figure["share_of_time_limit"] = figure["first_reset_seconds"] / LIMIT_SECONDS
        console.print(
            f"{env_id:16} first reset after {figure['first_reset_seconds']:.3f} s "
            f"({figure['share_of_time_limit']:.2f} of the limit), {figure['after_playing_mb']:.1f} MB over the imports "
            f"after {episodes} episodes ({figure['share_of_memory_limit']:.2f} of the limit)"
        )
    for method in ("spawn", "fork"):
        figures[f"processes, {method}"] = figure = play_together(method, episodes)
        held = figure["private_over_imports_mb"] if method == "spawn" else figure["private_mb"]
        figure["share_of_memory_limit"] = held / LIMIT_PRIVATE_MB
        console.print(
            f"{PROCESSES} processes, {method:5} {figure['private_mb']:.1f} MB private each, "
            f"{figure['private_over_imports_mb']:.1f} MB over the imports after {episodes} episodes "
            f"({figure['share_of_memory_limit']:.2f} of the limit)"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
