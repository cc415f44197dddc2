"""Steps a second of the vector environment, against the scalar one in the same run.

    python benchmarks/vector_speed.py [--json FILE] [--seconds S] [--widths 64,256,1024,4096]

One process on one core plays random valid actions on the bundled snapshot; they are drawn from the masks between the
steps, and only ``env.step`` is timed, with the resets of ended episodes in it. In rounds that take turns, for each
number of copies:

- ``ToolOrch-v0`` with ``vectorization_mode="vector_entry_point"``, after a warm-up in which values are read for the
  first time
- the peer: the scalar environment under Gymnasium's ``SyncVectorEnv``, 256 copies that share a generator
- which part of a step goes into making the calls, drawing tasks and beginning their episodes, copying observations, and
  the rest

Goals: 500,000 steps a second at the best width, 10 times the peer at 256 copies, and a cost per step that does not rise
from 64 to 4,096 copies.
"""

import json
import os
import statistics
import time
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from rich.console import Console
from rich.table import Table

import toolorch_env
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.vector.env import ToolOrchVectorEnv
from toolorch_env.generation.generator import WorkflowGenerator

console = Console(width=120)

PEER_WIDTH = 256


def random_actions(masks: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Random open choices, shape (copies, components)."""
    keys = masks * rng.random(masks.shape, dtype=np.float32)
    parts = np.split(keys, np.cumsum(sizes)[:-1], axis=1)
    return np.stack([part.argmax(axis=1) for part in parts], axis=1)


class Player:
    """Plays random valid actions on a vector environment and keeps the time that its steps take."""

    def __init__(self, env: Any, masks: Any) -> None:
        self.env = env
        self._masks = masks
        self._rng = np.random.default_rng(0)
        self._sizes = env.single_action_space.nvec
        self.seconds = 0.0
        self.steps = self.ends = 0
        env.reset(seed=0)

    def play(self, seconds: float) -> float:
        """Plays for so many seconds of steps; returns microseconds per step of one copy."""
        self.seconds, self.steps, self.ends = 0.0, 0, 0
        while self.seconds < seconds:
            actions = random_actions(self._masks(), self._sizes, self._rng)
            begin = time.perf_counter()
            _, _, terminated, truncated, _ = self.env.step(actions)
            self.seconds += time.perf_counter() - begin
            self.steps += self.env.num_envs
            self.ends += int((terminated | truncated).sum())
        return self.seconds / self.steps * 1e6


def native(width: int) -> Player:
    """The vector environment."""
    env = ToolOrchVectorEnv(width)
    return Player(env, env.action_masks)


def peer() -> Player:
    """The scalar environment in a loop; all copies share a generator, which is what suits them best."""
    generator = WorkflowGenerator("travel")
    env = gym.vector.SyncVectorEnv([lambda: ToolOrchEnv(generator.snapshot, generator=generator)] * PEER_WIDTH)
    return Player(env, lambda: np.stack(env.call("action_masks")))


class Stopwatch:
    """Sums up the time that a method of an object takes, while it is open."""

    def __init__(self, owner: Any, name: str) -> None:
        self._owner, self._name, self._method = owner, name, getattr(owner, name)
        self.seconds = 0.0

    def __enter__(self) -> "Stopwatch":
        setattr(self._owner, self._name, self._timed)
        return self

    def __exit__(self, *_: object) -> None:
        delattr(self._owner, self._name)

    def _timed(self, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return self._method(*args, **kwargs)
        finally:
            self.seconds += time.perf_counter() - begin


def parts(player: Player, seconds: float) -> dict[str, float]:
    """Shares of a step: making the calls, drawing tasks and beginning their episodes, copying what is shown, the rest.

    The rest checks actions and finds out which episodes have ended.
    """
    env, engine = player.env, player.env._engine
    with (
        Stopwatch(engine, "step") as calls,
        Stopwatch(engine, "observations") as shown,
        Stopwatch(env, "_begin") as episodes,
    ):
        player.play(seconds)
    told = {"calls": calls.seconds, "episodes": episodes.seconds, "observations": shown.seconds}
    told["rest"] = player.seconds - sum(told.values())
    return {name: part / player.seconds for name, part in told.items()}


def main(
    seconds: Annotated[float, typer.Option(min=0.01, help="Seconds of steps in each round.")] = 1.0,
    warm_up: Annotated[float, typer.Option(min=0, help="Seconds of steps before.")] = 8.0,
    rounds: Annotated[int, typer.Option(min=1, help="Rounds that take turns.")] = 5,
    widths: Annotated[str, typer.Option(help="Numbers of copies.")] = "64,256,1024,4096",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Measures and prints steps a second by number of copies, and ratios."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    players = {int(width): native(int(width)) for width in widths.split(",")}
    looped = peer()
    for player in (*players.values(), looped):
        player.play(warm_up)
    costs: dict[int, list[float]] = {width: [] for width in players}
    ratios: list[float] = []
    peers: list[float] = []
    for _ in range(rounds):
        for width, player in players.items():
            costs[width].append(player.play(seconds))
        peers.append(looped.play(seconds))
        ratios.append(peers[-1] / costs.get(PEER_WIDTH, next(iter(costs.values())))[-1])
    figures: dict[int, dict[str, Any]] = {
        width: {
            "microseconds_per_step": statistics.median(costs[width]),
            "steps_per_second": 1e6 / statistics.median(costs[width]),
            "steps_per_episode": player.steps / max(1, player.ends),
            "parts": parts(player, seconds),
        }
        for width, player in players.items()
    }
    table = Table("copies", "steps/s", "us a step", "calls", "episodes", "observations", "rest", "steps an episode")
    for width, figure in figures.items():
        cost, shares = figure["microseconds_per_step"], figure["parts"]
        table.add_row(
            f"{width:,}",
            f"{1e6 / cost:,.0f}",
            f"{cost:.2f}",
            *(f"{shares[name]:.0%}" for name in ("calls", "episodes", "observations", "rest")),
            f"{figure['steps_per_episode']:.1f}",
        )
    console.print(table)
    ratio, looped_rate = statistics.median(ratios), 1e6 / statistics.median(peers)
    console.print(f"SyncVectorEnv of {PEER_WIDTH}: {looped_rate:,.0f} steps/s; native {ratio:.1f} times (goal: 10)")
    if json_file is not None:
        document = {
            "toolorch_env": toolorch_env.__version__,
            "native": figures,
            "sync_steps_per_second": looped_rate,
            "ratio_to_sync": ratio,
        }
        json_file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
