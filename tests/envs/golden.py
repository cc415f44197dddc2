"""Golden values of the bundled travel snapshot: seed -> task, query and observations.

``python tests/envs/golden.py`` writes them anew. Change them only with a change that is meant to change tasks or
observations, and say so in the changelog: results before and after are not comparable.
"""

import json
from pathlib import Path
from typing import Any
from zlib import crc32

import gymnasium as gym

import toolorch_env  # noqa: F401  registers the environments
from toolorch_env.core.calls import Call

FILE = Path(__file__).with_name("golden.json")
SEEDS = range(8)
SPLITS = ("train", "test_workflows")


def golden_values(snapshot: Path) -> dict[str, Any]:
    """What is pinned, by split and seed."""
    numeric = gym.make("ToolOrch-v0", snapshot=snapshot).unwrapped
    text = gym.make("ToolOrchText-v0", snapshot=snapshot).unwrapped
    return {
        f"{split} {seed}": _episode(numeric, text, seed, {"constraints": {"split": split}})
        for split in SPLITS
        for seed in SEEDS
    }


def _episode(numeric: Any, text: Any, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    observation, info = numeric.reset(seed=seed, options=options)
    first, text_info = text.reset(seed=seed, options=options)
    assert first == info["query"]
    assert text_info["task_id"] == info["task_id"]
    checksums = [_checksum(observation)]
    answers = []
    for reference in numeric.episode.task.reference:
        call = Call(reference.tool, reference.arguments)
        checksums.append(_checksum(numeric.step(numeric.action_for(call))[0]))
        answers.append(crc32(text.step(text.action_for(call))[0].encode()))
    return {**info, "observations": checksums, "answers": answers, "mask": crc32(numeric.action_masks().tobytes())}


def _checksum(observation: dict[str, Any]) -> dict[str, int]:
    return {name: crc32(array.tobytes()) for name, array in observation.items()}


def write(snapshot: Path) -> None:
    """Writes the golden file."""
    FILE.write_text(json.dumps(golden_values(snapshot), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[2] / "cache_snapshots" / "travel" / "travel.sqlite")
