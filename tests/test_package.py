"""The wheel: what is in it, and whether it works where it is installed."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from fresh_python import ROOT

pytestmark = pytest.mark.long

IN_THE_WHEEL = (
    "toolorch_env/__init__.py",
    "toolorch_env/py.typed",
    "toolorch_env/cli/__init__.py",
    "toolorch_env/cache_snapshots/travel/travel.sqlite",
    "toolorch_env/cache_snapshots/travel/README.md",
)

PLAY = """
from pathlib import Path

import gymnasium as gym
import toolorch_env
from toolorch_env.store.workflows import snapshot_workflows
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.evaluation.runner import evaluate
from toolorch_env.store.bundled import open_snapshot

snapshot = open_snapshot("travel")
print(Path(toolorch_env.__file__).parent)
print(snapshot.path)
print(len(snapshot) > 0 and len(snapshot_workflows(snapshot).workflows) > 0)
print(evaluate(gym.make("ToolOrch-v0"), OraclePolicy(), tasks=3).mean_return)
"""


def run(*command: str, **environment: str) -> str:
    """What a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ, **environment))
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built with what is installed and without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder))
    run(sys.executable, "-m", "pip", "wheel", *options, str(ROOT))
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed in, without its dependencies."""
    folder = tmp_path_factory.mktemp("installed")
    options = ("--quiet", "--no-deps", "--no-index", "--no-compile", "--target", str(folder))
    run(sys.executable, "-m", "pip", "install", *options, str(wheel))
    return folder


def test_the_wheel_holds_what_is_needed_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = [name for name in names if name.endswith(".dist-info/METADATA")]
        described = archive.read(metadata).decode()
    assert set(IN_THE_WHEEL) <= set(names)
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    for source in (ROOT / "toolorch_env").rglob("*"):
        if source.is_file() and "__pycache__" not in source.parts:
            assert source.relative_to(ROOT).as_posix() in names
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"toolorch_env", "toolorch_taskset.py"}
    assert [name for name in names if "__pycache__" in name or name.endswith(".partial")] == []
    assert "License-Expression: Apache-2.0" in described
    assert "# ToolOrch" in described  # the README


def test_the_wheel_works_where_it_is_installed(installed: Path, tmp_path: Path) -> None:
    run_here = subprocess.run(
        [sys.executable, "-c", PLAY],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=dict(os.environ, PYTHONPATH=str(installed)),
    )
    assert run_here.returncode == 0, run_here.stderr
    package, snapshot, full, score = run_here.stdout.splitlines()
    assert Path(package) == installed / "toolorch_env"
    assert Path(snapshot) == installed / "toolorch_env" / "cache_snapshots" / "travel" / "travel.sqlite"
    assert (full, score) == ("True", "1.0")


def test_the_command_is_installed(installed: Path) -> None:
    command = installed / "bin" / "toolorch"
    told = run(sys.executable, str(command), "snapshot", "info", "travel", PYTHONPATH=str(installed), COLUMNS="300")
    assert str(installed) in told
