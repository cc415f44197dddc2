"""The benchmark of synthesis prints all of its figures, on a snapshot that a test can afford."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fresh_python import ROOT
from worlds import snapshot_path

WORDINGS = {"tasks, written", "tasks, composed", "tasks, implicit", "tasks, both"}


@pytest.mark.long
def test_all_figures_are_printed_and_written(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "synthesis.py"), "--snapshot", str(snapshot_path("library"))]
    command += ["--data", str(tmp_path), "--rounds", "1", "--seconds", "0.05", "--tasks", "60", "--json", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, "")
    document = json.loads(path.read_text())
    assert document["rounds"] == 1
    found = document["snapshots"]["library"]
    assert found["feasible"] == found["workflows"]
    assert found["all_exact"]
    assert found["figures"].keys() == {"join, batched", *WORDINGS, "independent", "retrying as published"}
    for figures in found["figures"].values():
        assert figures["valid_per_second"] > 0
    for name in WORDINGS:
        assert found["figures"][name]["yield_per_attempt"] == 1
    for name in ("independent", "retrying as published"):
        assert 0 < found["figures"][name]["yield_per_attempt"] <= 1
        assert 0 < found["figures"][name]["yield_per_attempt_over_all_workflows"] <= 1
    runs = document["runs"]
    assert runs["seconds_to_first_task"].keys() == WORDINGS
    assert runs["synthesize"]["tasks"] == 60
    for number in (1, 2):
        assert runs["synthesize"][f"tasks_per_second_by_{number}"] > 0
        assert runs["synthesize"][f"seconds_by_{number}"] > 0
    for told in ("library", "goal: 200,000", "goal: 10,000", "first task after opening", "with two", *WORDINGS):
        assert told in done.stdout
