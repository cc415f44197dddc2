"""The examples run as they are, on a small snapshot."""

import subprocess
import sys
from pathlib import Path

import pytest
from worlds import snapshot_path

pytest.importorskip("numba", reason="the extra 'vector' is not installed")
pytest.importorskip("sb3_contrib", reason="the extra 'sb3' is not installed")

pytestmark = pytest.mark.long

FOLDER = Path(__file__).parents[2] / "examples"


def run(name: str, *arguments: str) -> str:
    command = [sys.executable, str(FOLDER / name), "--snapshot", str(snapshot_path("library")), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_stable_baselines(tmp_path: Path) -> None:
    told = run("train_sb3.py", "--steps", "2000", "--copies", "16", "--out", str(tmp_path / "agent.zip"))
    assert "500 tasks with unseen values" in told
    assert (tmp_path / "agent.zip").stat().st_size > 10_000


def test_small_steps() -> None:
    told = run("train_micro_steps.py", "--steps", "600", "--copies", "4")
    assert "ep_rew_mean" in told
    assert "total_timesteps" in told
