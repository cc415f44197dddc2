"""The command that draws many tasks into a file."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from command_line import Command, files_in, told_in_one_line
from fresh_python import ROOT

from toolorch_env.generation.synthesis import synthesize
from toolorch_env.generation.synthesis_partial import partial_path
from toolorch_env.generation.task_files import read_tasks

SECONDS = 60


def test_a_file_and_what_came_of_it(toolorch: Command, library: Path, folder: Path) -> None:
    done = toolorch("synthesize", str(library), "--n", "1200", "--seed", "4", "--out", "t.jsonl", "--json", "s.json")
    assert (done.code, done.err) == (0, "")
    tasks = list(read_tasks("t.jsonl"))
    assert len(tasks) == 1200
    summary = json.loads(Path("s.json").read_text())
    assert {name: summary[name] for name in ("file", "drawn", "valid", "resumed", "problem")} == {
        "file": "t.jsonl", "drawn": 1200, "valid": 1200, "resumed": 0, "problem": None,
    }  # fmt: skip
    available = summary["available"]
    assert available["total"] == sum(workflow["tasks"] for workflow in available["workflows"])
    assert {task.workflow for task in tasks} <= {workflow["name"] for workflow in available["workflows"]}
    for told in ("drawn 1,200", "valid 1,200", f"different tasks to draw from, all splits {available['total']:,}"):
        assert told in done.words
    assert "compare_authors 96 0.6667" in done.words  # of 144, those with two authors and two towns
    synthesize(library, folder / "same.jsonl", n=1200, seed=4)
    assert Path("t.jsonl").read_bytes() == Path("same.jsonl").read_bytes()


def test_options_come_before_the_file_of_constraints(toolorch: Command, library: Path, folder: Path) -> None:
    for name, text in (
        ("c.yaml", "min_steps: 4\ndistractor_tools: 3\n"),
        ("c.json", '{"min_steps": 4, "split": "test"}'),
    ):
        (folder / name).write_text(text)
        file = ("--constraints", name)
        shared = ("synthesize", str(library), "--n", "40", "--out", "t.jsonl", "--overwrite", "--quiet", *file)
        flags = ("--distractor-tools", "0", "--include-tools", "get_author", "--include-tools", "get_town",
                 "--distractions", "0", "--max-depth", "3", "--split", "train")  # fmt: skip
        done = toolorch(*shared, *flags)
        assert (done.code, done.out, done.err) == (0, "", "")
        for task in read_tasks("t.jsonl"):
            called = {call.tool for call in task.reference}
            assert len(task.reference) >= 4
            assert set(task.tools) == called >= {"get_author", "get_town"}
            assert task.depth <= 3
            assert task.split == "train"
        assert toolorch(*shared).code == 0
        spare = {len(task.tools) - len({call.tool for call in task.reference}) for task in read_tasks("t.jsonl")}
        assert max(spare) == (3 if name == "c.yaml" else 7)


def test_bad_use_is_told_in_one_line_and_nothing_is_written(toolorch: Command, library: Path, folder: Path) -> None:
    (folder / "there.jsonl").write_text("by hand")
    (folder / "list.yaml").write_text("- 1\n")
    (folder / "broken.yaml").write_text("{")
    (folder / "wrong.yaml").write_text("colour: red\n")
    before = files_in(folder)
    for said, arguments in [
        ("0 tasks cannot be drawn", ("--n", "0")),
        ("-3 tasks cannot be drawn", ("--n", "-3")),
        ("cannot be drawn: ask for 1 to", ("--n", "1" + "0" * 30)),
        ("no snapshot", ("absent.sqlite",)),
        ("there.jsonl exists", ("--out", "there.jsonl")),
        ("cannot be written", ("--out", "absent/t.jsonl")),
        ("cannot be written", ("--json", "absent/s.json")),
        ("ends in", ("--out", "t.txt")),
        ("0 workers", ("--workers", "0")),
        ("not both", ("--workers", "2", "--ray", "auto")),
        ("there is no generator", ("--generator", "other")),
        ("no workflow of 'library' satisfies", ("--min-steps", "60")),
        ("min_steps is 5, above max_steps", ("--min-steps", "5", "--max-steps", "2")),
        ("split", ("--split", "other")),
        ("must hold constraints by name", ("--constraints", "list.yaml")),
        ("neither YAML nor JSON", ("--constraints", "broken.yaml")),
        ("there is no such constraint", ("--constraints", "wrong.yaml")),
        ("cannot be read", ("--constraints", "absent.yaml")),
    ]:
        chosen = {"": str(library), "--n": "5", "--out": "t.jsonl"}
        chosen |= {"": arguments[0]} if len(arguments) == 1 else dict(zip(arguments[::2], arguments[1::2], strict=True))
        place = chosen.pop("")
        done = toolorch("synthesize", place, *(word for pair in chosen.items() for word in pair))
        assert done.code == 2, arguments
        assert said in done.err
        assert told_in_one_line(done.err)
        assert files_in(folder) == before


def start(library: Path, folder: Path, *more: str, n: int) -> "subprocess.Popen[str]":
    """The command in a process group of its own, as a terminal starts it."""
    command = [sys.executable, "-m", "toolorch_env.cli", "synthesize", str(library), "--n", str(n), "--out", "t.jsonl"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT), COLUMNS="200", NO_COLOR="1")
    return subprocess.Popen(
        [*command, *more], cwd=folder, env=environment, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_until_some_are_kept(folder: Path) -> None:
    partial = partial_path(folder / "t.jsonl")
    deadline = time.monotonic() + SECONDS
    while not (partial.exists() and partial.stat().st_size > 100_000):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def group(leader: int) -> list[int]:
    """Processes of a group that live."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            if os.getpgid(process.pid) == leader and process.info["status"] != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except ProcessLookupError:
            continue
    return found


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_run_that_is_stopped_goes_on_with_the_same_bytes(
    number: signal.Signals, workers: str, library: Path, folder: Path
) -> None:
    n = 15_000
    with start(library, folder, "--workers", workers, n=n) as running:
        wait_until_some_are_kept(folder)
        if number == signal.SIGINT:
            os.killpg(running.pid, number)  # as a terminal does
        else:
            running.kill()
        out, err = running.communicate(timeout=SECONDS)
        deadline = time.monotonic() + SECONDS
        while group(running.pid):
            assert time.monotonic() < deadline, "a process is left behind"
            time.sleep(0.02)
    assert "Traceback" not in out + err
    if number == signal.SIGINT:
        assert running.returncode == 130
        assert " of 15,000 tasks are kept. Run the same command again to go on." in err
    assert not (folder / "t.jsonl").exists()
    with start(library, folder, "--workers", workers, "--json", "s.json", n=n) as again:
        assert again.communicate(timeout=SECONDS)[1] == ""
    assert again.returncode == 0
    summary = json.loads((folder / "s.json").read_text())
    assert 0 < summary["resumed"] < summary["drawn"] == summary["valid"] == n
    synthesize(library, folder / "whole.jsonl", n=n, check=False)
    assert (folder / "t.jsonl").read_bytes() == (folder / "whole.jsonl").read_bytes()
    assert files_in(folder) == ["s.json", "t.jsonl", "whole.jsonl"]
