"""Steps a second of the scalar environments, against CartPole in the same run.

    python benchmarks/step_speed.py [--json FILE] [--data FOLDER]

Everything is measured through ``gym.make`` with its default wrappers, resets included, in rounds that take turns, so
that drifts of the machine's speed hit all alike; medians of the rounds, and of the ratios in each round, are printed.

- ``ToolOrch-v0``, random valid actions (drawn from the masks beforehand and replayed: only the environment is timed),
  with ``compiled=True`` and without; the goal, 0.25 of the peer, which plays random actions, too, is about these rows
- ``ToolOrch-v0``, reference calls: every call hits a recorded response and is scored in full
- ``ToolOrchText-v0``, reference calls of distinct tasks, each call once; the goal is 40,000 steps a second
- ``ToolOrchText-v0``, the solutions of the published Booking.com tasks; the goal is 15,000 steps a second. The data is
  not part of the project: ``--data`` names the folder that it lies in, by default ``../shared/booking`` beside the
  checkout; without it the row is left out
- ``CartPole-v1``, random actions: the peer
"""

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import gymnasium as gym
import numpy as np
import typer
from rich.console import Console

import toolorch_env
from toolorch_env.policies.oracle import next_reference_call
from toolorch_env.policies.random import random_action
from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.pipeline import import_data_set

console = Console()

DATA = Path(__file__).parents[2] / "shared" / "booking"
DATA_FILES = ("bfcl_training_3_per_workflow.pkl", "booking_tools.jsonl")

GOALS = {
    "ToolOrch-v0, random valid actions": "goal: 0.250 of CartPole-v1",
    "ToolOrch-v0, compiled, random valid actions": "goal: 0.250 of CartPole-v1",
    "ToolOrchText-v0, distinct reference calls": "goal: 40,000 steps/s",
    "ToolOrchText-v0, published Booking.com tasks": "goal: 15,000 steps/s",
}

EpisodeScript = tuple[dict[str, Any], list[Any]]
"""What an episode is reset with, and the actions to replay."""


def random_scripts(env: gym.Env[Any, Any], episodes: int) -> list[EpisodeScript]:
    """Episodes of random valid actions, of tasks drawn one after the other."""
    rng = np.random.default_rng(0)
    unwrapped: Any = env.unwrapped
    scripts: list[EpisodeScript] = []
    for episode in range(episodes):
        how: dict[str, Any] = {} if episode else {"seed": 0}
        scripts.append((how, _record(env, how, lambda: random_action(unwrapped, rng))))
    return scripts


def reference_scripts(env: gym.Env[Any, Any], episodes: int) -> list[EpisodeScript]:
    """Episodes of reference calls, none of which was made in an earlier episode of the script."""
    unwrapped: Any = env.unwrapped
    seen: set[bytes] = set()
    scripts: list[EpisodeScript] = []
    env.reset(seed=0)
    while len(scripts) < episodes:
        actions = _record(env, {}, lambda: unwrapped.action_for(next_reference_call(unwrapped.episode)))
        keys = {call.key for call in unwrapped.episode.reference.calls}
        if not seen & keys:
            scripts.append(({"options": {"task_id": unwrapped.episode.task.id}}, actions))
        seen |= keys
    return scripts


def published_scripts(env: gym.Env[Any, Any]) -> list[EpisodeScript]:
    """The solutions of all stored tasks, each once."""
    unwrapped: Any = env.unwrapped
    scripts: list[EpisodeScript] = []
    for task in unwrapped.generator.tasks:
        how: dict[str, Any] = {"options": {"task_id": task.id}}
        env.reset(**how)
        actions = []
        while (call := next_reference_call(unwrapped.episode)) is not None:
            actions.append(unwrapped.action_for(call))
            env.step(actions[-1])
        scripts.append((how, [*actions, unwrapped.action_for(None)]))
    return scripts


def booking(data: Path, folder: Path) -> gym.Env[Any, Any] | None:
    """The text environment on the published tasks, ``None`` where the data is not there."""
    files = [data / name for name in DATA_FILES]
    if not all(file.is_file() for file in files):
        return None
    import_data_set(read_booking(files), folder / "booking.sqlite")
    return gym.make("ToolOrchText-v0", snapshot=folder / "booking.sqlite")


def _record(env: gym.Env[Any, Any], how: dict[str, Any], choose: Callable[[], Any]) -> list[Any]:
    env.reset(**how)
    actions = []
    ended = False
    while not ended:
        actions.append(choose())
        _, _, terminated, truncated, _ = env.step(actions[-1])
        ended = terminated or truncated
    return actions


def replay(env: gym.Env[Any, Any], scripts: list[EpisodeScript]) -> float:
    """Steps a second of replaying scripts, resets included: each draws its task."""
    steps = 0
    begin = time.perf_counter()
    for how, actions in scripts:
        env.reset(**how)
        for action in actions:
            env.step(action)
        steps += len(actions)
    return steps / (time.perf_counter() - begin)


def cart_pole(steps: int) -> float:
    """Steps a second of the peer with random actions, resets included."""
    env = gym.make("CartPole-v1")
    actions = np.random.default_rng(0).integers(0, 2, steps).tolist()
    env.reset(seed=0)
    begin = time.perf_counter()
    for action in actions:
        _, _, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return steps / (time.perf_counter() - begin)


def main(
    episodes: Annotated[int, typer.Option(help="Episodes of each script.")] = 600,
    rounds: Annotated[int, typer.Option(help="Rounds that take turns.")] = 7,
    data: Annotated[Path, typer.Option(help="Folder of the published data.")] = DATA,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Measures and prints steps a second and their ratios to CartPole."""
    with TemporaryDirectory() as folder:
        measure(episodes, rounds, booking(data, Path(folder)), json_file)


def measure(episodes: int, rounds: int, published: gym.Env[Any, Any] | None, json_file: Path | None) -> None:
    """The rounds, and what they come to."""
    numbers = gym.make("ToolOrch-v0")
    compiled = gym.make("ToolOrch-v0", compiled=True)
    words = gym.make("ToolOrchText-v0")
    subjects: dict[str, tuple[gym.Env[Any, Any], list[EpisodeScript]]] = {
        "ToolOrch-v0, compiled, random valid actions": (compiled, random_scripts(compiled, episodes)),
        "ToolOrch-v0, random valid actions": (numbers, random_scripts(numbers, episodes)),
        "ToolOrch-v0, reference calls": (numbers, reference_scripts(numbers, episodes)),
        "ToolOrchText-v0, distinct reference calls": (words, reference_scripts(words, episodes)),
    }
    if published is not None:
        scripts = published_scripts(published)
        subjects["ToolOrchText-v0, published Booking.com tasks"] = (
            published,
            scripts * max(1, episodes // len(scripts)),
        )
    rates: dict[str, list[float]] = {name: [] for name in ("CartPole-v1", *subjects)}
    for _ in range(rounds):
        rates["CartPole-v1"].append(cart_pole(20_000))
        for name, (env, scripts) in subjects.items():
            rates[name].append(replay(env, scripts))
    figures = {
        name: {
            "steps_per_second": statistics.median(values),
            "ratio_to_cart_pole": statistics.median(a / b for a, b in zip(values, rates["CartPole-v1"], strict=True)),
            "steps": sum(len(actions) for _, actions in subjects[name][1]) if name in subjects else 20_000,
        }
        for name, values in rates.items()
    }
    for name, figure in figures.items():
        rate, ratio = figure["steps_per_second"], figure["ratio_to_cart_pole"]
        goal = GOALS.get(name, "")
        console.print(f"{name:44} {rate:>9,.0f} steps/s   {ratio:.3f} of CartPole-v1   {goal}", soft_wrap=True)
    if json_file is not None:
        document = {"toolorch_env": toolorch_env.__version__, "rounds": rounds, "figures": figures}
        json_file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
