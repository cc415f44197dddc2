"""The command that mines workflows."""

import json
from pathlib import Path

import numpy as np
import orjson
import pytest
from command_line import Command, files_in, told_in_one_line

from toolorch_env.core.calls import Call
from toolorch_env.core.tasks import Task
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.mining import mine
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import load_workflows
from toolorch_env.store.writer import SnapshotWriter


@pytest.fixture
def tasks(library: Path) -> list[Task]:
    """Tasks of the small library, each once."""
    generator, rng = WorkflowGenerator(library), np.random.default_rng(0)
    return list({task.id: task for task in (generator.sample(rng) for _ in range(60))}.values())


@pytest.fixture
def lines(folder: Path, tasks: list[Task]) -> str:
    """A file of tasks."""
    (folder / "tasks.jsonl").write_bytes(b"\n".join(task.to_json() for task in tasks) + b"\n\n")
    return "tasks.jsonl"


@pytest.fixture
def with_tasks(folder: Path, library: Path, tasks: list[Task]) -> str:
    """The small library with its tasks in it."""
    recorded = Snapshot(library)
    with SnapshotWriter("library-tasks.sqlite", recorded.tools.values(), name="library", tasks=tasks) as writer:
        for record in recorded.records():
            call = Call(record.tool, orjson.loads(record.arguments))
            writer.add(call, record.response.status, record.response.body)
    return "library-tasks.sqlite"


def test_a_file_of_tasks_becomes_a_workflow_file(toolorch: Command, lines: str, tasks: list[Task]) -> None:
    done = toolorch("workflows", "mine", lines, "--out", "mined.yaml", "--json", "mined.json")
    assert (done.code, done.err) == (0, "")
    mined = mine(tasks, domain="tasks")
    assert load_workflows("mined.yaml") == mined.workflows
    assert f"mined.yaml: {len(mined.frequencies)} workflows" in done.words
    document = json.loads(Path("mined.json").read_text())
    assert {found["name"]: found["frequency"] for found in document["workflows"]} == mined.frequencies
    assert (document["tasks"], document["feasible"], document["unsaid"]) == (len(tasks), None, 0)


def test_a_snapshot_with_tasks_says_what_is_feasible_on_it(toolorch: Command, with_tasks: str) -> None:
    done = toolorch("workflows", "mine", with_tasks, "--out", "mined.yaml", "--json", "mined.json")
    assert (done.code, done.err) == (0, "")
    mined = load_workflows("mined.yaml")
    assert mined.domain == "library"
    mined.check_tools(Snapshot(with_tasks).tools)
    counts = WorkflowGenerator(with_tasks, mined).counts()
    assert f"feasible on the snapshot {len(mined.workflows)} of {len(mined.workflows)}" in done.words
    document = json.loads(Path("mined.json").read_text())
    assert {found["name"]: found["traces"] for found in document["workflows"]} == counts


def test_a_file_of_tasks_is_checked_on_the_snapshot_that_is_named(toolorch: Command, lines: str, library: Path) -> None:
    done = toolorch("workflows", "mine", lines, "--out", "mined.yaml", "--snapshot", str(library))
    assert (done.code, done.err) == (0, "")
    assert "feasible on the snapshot" in done.words


def test_rare_workflows_are_left_out(toolorch: Command, lines: str, tasks: list[Task]) -> None:
    frequencies = mine(tasks).frequencies
    least = sorted(frequencies.values())[-1]
    done = toolorch("workflows", "mine", lines, "--out", "mined.yaml", "--min-frequency", str(least))
    assert done.code == 0
    assert [w.frequency for w in load_workflows("mined.yaml").workflows] == [least]
    assert "left out: workflow too rare" in done.words


def test_a_file_is_replaced_only_when_that_is_said(toolorch: Command, lines: str) -> None:
    Path("mined.yaml").write_text("by hand")
    refused = toolorch("workflows", "mine", lines, "--out", "mined.yaml")
    assert (refused.code, Path("mined.yaml").read_text()) == (2, "by hand")
    assert "--overwrite" in refused.err
    assert toolorch("workflows", "mine", lines, "--out", "mined.yaml", "--overwrite").code == 0
    assert load_workflows("mined.yaml").workflows


def test_bad_use_is_told_in_one_line_and_nothing_is_written(
    toolorch: Command, lines: str, library: Path, folder: Path
) -> None:
    (folder / "broken.jsonl").write_text(Path(lines).read_text() + '{"id": 1}\n')
    (folder / "empty.jsonl").write_text("")
    before = files_in(folder)
    for said, arguments in [
        ("holds no tasks", (str(library),)),
        ("no snapshot", ("absent.sqlite",)),
        ("line", ("broken.jsonl",)),
        ("no tasks", ("empty.jsonl",)),
        ("no workflow has 1,000 tasks", (lines, "--min-frequency", "1000")),
        ("is for a file of tasks", (str(library), "--snapshot", str(library))),
        ("cannot be written", (lines, "--json", "absent/mined.json")),
    ]:
        done = toolorch("workflows", "mine", *arguments, "--out", "mined.yaml")
        assert done.code == 2
        assert said in done.err
        assert told_in_one_line(done.err)
    assert files_in(folder) == before


def test_tasks_of_another_api_do_not_fit(toolorch: Command, lines: str, folder: Path) -> None:
    with SnapshotWriter("other.sqlite", [], name="other"):
        pass
    done = toolorch("workflows", "mine", lines, "--out", "mined.yaml", "--snapshot", "other.sqlite")
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert not Path("mined.yaml").exists()
