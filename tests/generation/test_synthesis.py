"""Tasks drawn into a file: the same bytes however they are drawn, nothing lost, nothing half written."""

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fresh_python import run_python
from hypothesis import given
from hypothesis import strategies as st
from small_world import TOOLS, WORKFLOWS, answers
from worlds import snapshot_path, world

from toolorch_env.core.errors import (
    ConfigurationError,
    ConstraintError,
    SnapshotWriteError,
    TaskError,
    ToolOrchError,
    WorkflowError,
)
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.synthesis import synthesize
from toolorch_env.generation.synthesis_chunks import CHUNK_TASKS, MAX_TASKS, IndexedTasks
from toolorch_env.generation.synthesis_partial import partial_path
from toolorch_env.generation.task_files import FORMATS, read_tasks
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

N = 2 * CHUNK_TASKS + 300


class Stop(BaseException):
    """Stands for what may end a process between two chunks."""


def stopping_after(chunks: int) -> Callable[[int], None]:
    """A progress that ends the run once so many chunks are there."""

    def progress(drawn: int) -> None:
        if drawn >= chunks * CHUNK_TASKS:
            raise Stop

    return progress


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(params=sorted(FORMATS))
def suffix(request: pytest.FixtureRequest) -> str:
    """Each format in turn."""
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    suffix: str = request.param
    return suffix


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(0, 2**40), min_size=1, max_size=6))
def test_a_task_depends_on_its_number_alone(seed: int, indices: list[int]) -> None:
    generator = world("library").generator
    drawn = IndexedTasks(generator, TaskConstraints(), seed)
    for index in indices:
        rng = np.random.Generator(np.random.Philox(key=seed, counter=index << 64))
        assert drawn[index] == generator.sample(rng)


def test_numbers_that_are_used_up_do_not_matter() -> None:
    """A generator may take any number of random numbers, also some that are kept for the next time."""

    class Greedy:
        def sample(self, rng: np.random.Generator, constraints: Any = None) -> Any:
            return [int(rng.integers(2**32, dtype=np.uint32)), rng.random(int(rng.integers(5))).tolist()]

        def task(self, task_id: str) -> Task:
            raise TaskError(task_id)

    forward, backward = (IndexedTasks(Greedy(), TaskConstraints(), 1) for _ in range(2))
    wanted: list[Any] = [forward[index] for index in range(50)]
    assert [backward[index] for index in reversed(range(50))] == wanted[::-1]
    assert len({str(task) for task in wanted}) == 50


def test_the_file_holds_what_was_asked_for(suffix: str, library: Path, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    told: list[int] = []
    found = synthesize(library, path, n=N, seed=5, progress=told.append)
    drawn = list(read_tasks(path))
    tasks = IndexedTasks(world("library").generator, TaskConstraints(), 5)
    assert drawn == [tasks[index] for index in range(N)]
    assert (found.drawn, found.valid, found.resumed, found.problem) == (N, N, 0, "")
    assert found.distinct == len({(t.workflow, str([(c.tool, c.arguments) for c in t.reference])) for t in drawn})
    assert told == [0, CHUNK_TASKS, 2 * CHUNK_TASKS, N]
    assert files(tmp_path) == [path.name]


def test_the_beginning_of_a_longer_file_is_the_shorter_file(library: Path, tmp_path: Path) -> None:
    synthesize(library, tmp_path / "short.jsonl", n=1001)
    synthesize(library, tmp_path / "long.jsonl", n=2500)
    assert (tmp_path / "long.jsonl").read_bytes().startswith((tmp_path / "short.jsonl").read_bytes())


def test_constraints_hold_for_every_task(library: Path, tmp_path: Path) -> None:
    asked = {"min_steps": 4, "include_tools": ["get_town"], "distractor_tools": 1, "distractions": 0}
    synthesize(library, tmp_path / "t.jsonl", n=50, constraints=asked)
    for task in read_tasks(tmp_path / "t.jsonl"):
        called = {call.tool for call in task.reference}
        assert len(task.reference) >= 4
        assert "get_town" in called
        assert len(task.tools) == len(called) + 1


def test_an_interrupted_run_goes_on_and_ends_with_the_same_bytes(suffix: str, library: Path, tmp_path: Path) -> None:
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"t{suffix}"
    synthesize(library, whole, n=N, seed=2)
    for chunks in (0, 1, 2):
        with pytest.raises(Stop):
            synthesize(library, path, n=N, seed=2, progress=stopping_after(chunks))
        assert not path.exists()
    told: list[int] = []
    found = synthesize(library, path, n=N, seed=2, progress=told.append)
    assert told == [2 * CHUNK_TASKS, N]
    assert (found.drawn, found.valid, found.resumed) == (N, N, 2 * CHUNK_TASKS)
    assert path.read_bytes() == whole.read_bytes()
    assert files(tmp_path) == sorted([path.name, whole.name])


DIFFERENT: list[tuple[str, dict[str, Any]]] = [
    ("n: 2300 there, 10 now", {"n": 10}),
    ("seed: 2 there, 3 now", {"seed": 3}),
    ('constraints: {} there, {"min_steps": 2} now', {"constraints": {"min_steps": 2}}),
    ('generator: null there, "workflows" now', {"generator": "workflows"}),
    ("check: true there, false now", {"check": False}),
]


@pytest.mark.parametrize(("told", "other"), DIFFERENT)
def test_another_request_does_not_go_on(told: str, other: dict[str, Any], library: Path, tmp_path: Path) -> None:
    path, asked = tmp_path / "t.jsonl", {"n": N, "seed": 2}
    with pytest.raises(Stop):
        synthesize(library, path, n=N, seed=2, progress=stopping_after(1))
    with pytest.raises(ConfigurationError) as error:
        synthesize(library, path, **{**asked, **other})
    assert told in str(error.value)
    assert "--overwrite" in str(error.value)
    assert synthesize(library, path, n=N, seed=2).resumed == CHUNK_TASKS  # it was not harmed


def test_another_snapshot_does_not_go_on(library: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        synthesize(library, tmp_path / "t.jsonl", n=N, progress=stopping_after(1))
    with pytest.raises(ConfigurationError, match="snapshot: "):
        synthesize(snapshot_path("bank"), tmp_path / "t.jsonl", n=N)


def test_overwriting_starts_anew(library: Path, tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    with pytest.raises(Stop):
        synthesize(library, path, n=N, progress=stopping_after(1))
    assert synthesize(library, path, n=10, overwrite=True).resumed == 0
    first = path.read_bytes()
    with pytest.raises(ConfigurationError, match=r"exists.*--overwrite"):
        synthesize(library, path, n=20)
    assert path.read_bytes() == first
    synthesize(library, path, n=20, overwrite=True)
    assert len(list(read_tasks(path))) == 20
    assert files(tmp_path) == ["t.jsonl"]


def test_what_is_in_the_way_is_told_and_left_alone(library: Path, tmp_path: Path) -> None:
    partial = partial_path(tmp_path / "t.jsonl")
    partial.write_bytes(b"by hand " * 200)
    for overwrite in (False, True):
        with pytest.raises(ConfigurationError, match="not the beginning of a file of tasks"):
            synthesize(library, tmp_path / "t.jsonl", n=10, overwrite=overwrite)
    assert partial.read_bytes() == b"by hand " * 200


def test_two_runs_do_not_write_one_file(library: Path, tmp_path: Path) -> None:
    tried: list[str] = []

    def progress(drawn: int) -> None:
        if drawn == CHUNK_TASKS:
            with pytest.raises(SnapshotWriteError, match="being written by another process"):
                synthesize(library, tmp_path / "t.jsonl", n=N)
            tried.append("again")

    assert synthesize(library, tmp_path / "t.jsonl", n=N, progress=progress).drawn == N
    assert tried == ["again"]


LIMITED = """
import resource
from toolorch_env.core.errors import SnapshotWriteError
from toolorch_env.generation.synthesis import synthesize
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, hard))
try:
    synthesize({library!r}, {path!r}, n=5000)
except SnapshotWriteError as error:
    assert {path!r} in str(error), error
else:
    raise AssertionError("it was written")
"""


@pytest.mark.parametrize("limit", [150_000, 1_500_000])
def test_a_disk_that_is_full_loses_nothing(limit: int, library: Path, tmp_path: Path) -> None:
    """The smaller limit is met while chunks are kept, the larger one when the whole file is written."""
    path = tmp_path / "t.jsonl"
    run_python(LIMITED.format(limit=limit, library=str(library), path=str(path)))
    assert files(tmp_path) == ["t.jsonl.partial"]
    found = synthesize(library, path, n=5000)
    assert 0 < found.resumed <= found.drawn == 5000
    synthesize(library, tmp_path / "whole.jsonl", n=5000)
    assert path.read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


BAD: list[tuple[type[ToolOrchError], str, dict[str, Any]]] = [
    (ConfigurationError, "0 tasks cannot be drawn", {"n": 0}),
    (ConfigurationError, "-5 tasks cannot be drawn", {"n": -5}),
    (ConfigurationError, "cannot be drawn: ask for 1 to", {"n": MAX_TASKS + 1}),
    (ConfigurationError, "cannot be drawn: ask for 1 to", {"n": 10**40}),
    (ConfigurationError, "a seed is a number", {"seed": -1}),
    (ConfigurationError, "a seed is a number", {"seed": 2**64}),
    (ConfigurationError, "there is no generator 'other'", {"generator": "other"}),
    (TaskError, "holds no tasks", {"generator": "tasks"}),
    (ConstraintError, "no workflow of 'library' satisfies", {"constraints": {"min_steps": 30}}),
    (ConstraintError, "no such constraint", {"constraints": {"colour": 1}}),
    (ConstraintError, "which is not in 'library'", {"constraints": {"include_tools": ["fly"]}}),
    (ConfigurationError, "its folder does not exist", {"path": "absent/t.jsonl"}),
    (ConfigurationError, "it is a folder", {"path": "folder.jsonl"}),
    (ConfigurationError, "ends in .jsonl", {"path": "t.csv"}),
]


@pytest.mark.parametrize(("kind", "told", "other"), BAD)
def test_bad_use_is_told_before_anything_is_written(
    kind: type[ToolOrchError], told: str, other: dict[str, Any], library: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder.jsonl").mkdir()
    asked = {"n": 10, **other, "path": tmp_path / other.get("path", "t.jsonl")}
    with pytest.raises(kind) as error:
        synthesize(library, **asked)
    assert told in str(error.value)
    assert files(tmp_path) == ["folder.jsonl"]


def test_a_file_that_would_not_fit_on_the_disk_is_not_begun(library: Path, tmp_path: Path) -> None:
    free = shutil.disk_usage(tmp_path).free
    if free > 700 * MAX_TASKS:
        pytest.skip("everything fits on this disk")
    with pytest.raises(SnapshotWriteError, match=r"take about [0-9,]+\.[0-9] GB, and [0-9,]+\.[0-9] GB are free"):
        synthesize(library, tmp_path / "t.jsonl", n=MAX_TASKS)
    assert files(tmp_path) == []


def write_library(path: Path, **more: Any) -> Path:
    with SnapshotWriter(path, TOOLS, name="library", **more) as writer:
        for call, status, body in answers():
            writer.add(call, status, body)
    return path


def test_a_snapshot_without_workflows_and_tasks(tmp_path: Path) -> None:
    path = write_library(tmp_path / "bare.sqlite")
    with pytest.raises(WorkflowError):
        synthesize(path, tmp_path / "t.jsonl", n=10)
    assert files(tmp_path) == ["bare.sqlite"]


def test_stored_tasks_are_drawn_from(tmp_path: Path) -> None:
    stored = list({task.id: task for task in world("library").tasks(12)}.values())
    path = write_library(tmp_path / "stored.sqlite", tasks=stored)
    found = synthesize(path, tmp_path / "t.jsonl", n=200, constraints={"max_steps": 4})
    drawn = list(read_tasks(tmp_path / "t.jsonl"))
    eligible = FixedTasks(stored).eligible({"max_steps": 4})
    assert {task.id for task in drawn} == {task.id for task in eligible}
    assert (found.drawn, found.valid) == (200, 200)
    assert found.supply is not None
    assert {w.name: w.tasks.value for w in found.supply.workflows} == Counter(task.workflow for task in eligible)


def test_tasks_that_are_not_valid_are_counted_and_told(tmp_path: Path) -> None:
    good = world("library").tasks(1)[0]
    bad = Task(id="bad", query="What now?", tools=good.tools, reference=good.reference, workflow=good.workflow)
    path = write_library(tmp_path / "stored.sqlite", tasks=[good, bad])
    found = synthesize(path, tmp_path / "t.jsonl", n=100)
    ids = Counter(task.id for task in read_tasks(tmp_path / "t.jsonl"))
    assert found.valid == ids[good.id]
    assert found.problem.startswith("task 'bad': ")
    assert "the query does not say" in found.problem
    assert found.distinct == 1
    unchecked = synthesize(path, tmp_path / "t.jsonl", n=100, check=False, overwrite=True)
    assert (unchecked.valid, unchecked.problem) == (None, "")


def enumerated(path: Path, name: str) -> int:
    """Number of tasks of a workflow, by trying every number."""
    source = WorkflowGenerator(path).sources[name]
    return sum(source.trace(number) is not None for number in range(source.join.count))


def test_what_there_is_to_draw_from_is_exact(tmp_path: Path) -> None:
    document = {**WORKFLOWS, "workflows": [*WORKFLOWS["workflows"], IMPOSSIBLE]}
    path = write_library(tmp_path / "s.sqlite", workflows=document)
    found = synthesize(path, tmp_path / "t.jsonl", n=1500)
    assert found.supply is not None
    by_name = {workflow.name: workflow for workflow in found.supply.workflows}
    for name, workflow in by_name.items():
        assert workflow.tasks.is_exact
        assert workflow.tasks.value == enumerated(path, name)
    assert by_name["compare_authors"].acceptance == pytest.approx(96 / 144)  # those with two authors and two towns
    assert by_name["author_town"].why_infeasible == ""
    assert "at step 'town'" in by_name["impossible"].why_infeasible
    assert found.supply.total.value == sum(workflow.tasks.value for workflow in by_name.values())
    assert found.distinct <= found.supply.total.value


IMPOSSIBLE: dict[str, Any] = {
    "name": "impossible",
    "literals": {"author_id": "author"},
    "steps": [
        {"id": "author", "tool": "get_author", "arguments": {"author_id": {"query": "author_id"}}},
        {"id": "town", "tool": "get_town", "arguments": {"town_id": {"from": "author", "select": "name"}}},
    ],
    "phrasings": ["Which town is named like {author_id}?"],
}


def test_a_drawn_file_does_not_depend_on_the_hash_seed(library: Path, tmp_path: Path) -> None:
    code = """
from toolorch_env.generation.synthesis import synthesize
synthesize({library!r}, {path!r}, n=300)
"""
    for hash_seed in (1, 2):
        path = tmp_path / f"{hash_seed}.jsonl"
        run_python(code.format(library=str(library), path=str(path)), hash_seed)
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()


def test_the_beginning_can_be_looked_into_with_any_sqlite_tool(library: Path, tmp_path: Path) -> None:
    with pytest.raises(Stop):
        synthesize(library, tmp_path / "t.jsonl", n=N, seed=4, progress=stopping_after(1))
    connection = sqlite3.connect(partial_path(tmp_path / "t.jsonl"))
    (header,) = connection.execute("SELECT document FROM header").fetchone()
    connection.close()
    assert f'"snapshot": "{Snapshot(library).meta["content_hash"]}"' in header
    assert '"seed": 4' in header
