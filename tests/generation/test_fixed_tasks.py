"""Fixed tasks: drawn uniformly, the same from the same seed, and only those that satisfy the constraints."""

import pickle
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fresh_python import run_python
from hypothesis import given
from hypothesis import strategies as st
from small_world import WORKFLOWS
from worlds import World, world

from toolorch_env.core.errors import ConstraintError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import SPLITS, TaskConstraints
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator, stored_generator
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

seeds = st.integers(0, 2**32)


def some_tasks(here: World) -> list[Task]:
    """Different tasks of all splits, and some that belong to none."""
    found = {task.id: task for task in here.tasks(60)}
    loose = [replace(task, id=f"loose {task.id}", split="") for task in list(found.values())[:5]]
    return [*found.values(), *loose]


@pytest.fixture(scope="module")
def tasks() -> list[Task]:
    return some_tasks(world("library"))


@pytest.fixture(scope="module")
def generator(tasks: list[Task]) -> FixedTasks:
    return FixedTasks(tasks)


def draw(generator: FixedTasks, seed: int, **constraints: Any) -> Task:
    return generator.sample(np.random.default_rng(seed), constraints)


def test_it_is_a_generator(generator: FixedTasks, tasks: list[Task]) -> None:
    assert isinstance(generator, TaskGenerator)
    assert len(generator) == len(tasks)
    assert generator.tasks == tuple(tasks)


def test_every_task_is_drawn_as_often_as_any_other(tasks: list[Task]) -> None:
    generator = FixedTasks(tasks[:10])
    rng = np.random.default_rng(7)
    draws = 10_000
    counts = Counter(generator.sample(rng).id for _ in range(draws))
    expected = draws / 10
    chi_square = sum((counts[task.id] - expected) ** 2 / expected for task in tasks[:10])
    assert 1.0 < chi_square < 27.88  # 99.9% of what is uniform lies below, at 9 degrees of freedom; near 0 is no chance


def test_under_constraints_too(tasks: list[Task]) -> None:
    generator = FixedTasks(tasks)
    eligible = generator.eligible({"split": "train"})
    assert 5 < len(eligible) < len(tasks)
    rng = np.random.default_rng(7)
    draws = 1000 * len(eligible)
    counts = Counter(generator.sample(rng, {"split": "train"}).id for _ in range(draws))
    assert counts.keys() == {task.id for task in eligible}
    chi_square = sum((count - 1000) ** 2 / 1000 for count in counts.values())
    degrees = len(eligible) - 1
    assert chi_square < degrees + 4 * np.sqrt(2 * degrees)  # its mean and four standard deviations


@given(seeds)
def test_the_same_seed_gives_the_same_task(generator: FixedTasks, tasks: list[Task], seed: int) -> None:
    task = draw(generator, seed)
    assert draw(generator, seed) == draw(FixedTasks(tasks), seed) == task
    assert draw(pickle.loads(pickle.dumps(generator)), seed) == task


def test_and_so_in_every_process(generator: FixedTasks) -> None:
    code = (
        "import numpy as np\nfrom worlds import world\n"
        "from toolorch_env.generation.fixed_tasks import FixedTasks\n"
        "generator = FixedTasks(world('library').tasks(12))\n"
        "print([generator.sample(np.random.default_rng(seed)).id for seed in range(20)])"
    )
    here = FixedTasks(world("library").tasks(12))
    expected = [draw(here, seed).id for seed in range(20)]
    assert run_python(code, 1) == run_python(code, 2) == f"{expected}\n"


@st.composite
def constraints(draw: st.DrawFn) -> dict[str, Any]:
    """Constraints of all kinds that concern fixed tasks, some of which no task satisfies."""
    tools = st.sampled_from(sorted(world("library").snapshot.tools))
    names = st.sampled_from([workflow.name for workflow in world("library").generator.workflows.workflows])
    included = draw(st.lists(tools, max_size=2))
    asked: dict[str, Any] = {
        "split": draw(st.sampled_from(SPLITS)),
        "workflows": tuple(draw(st.lists(names, max_size=3))),
        "include_tools": tuple(included),
        "exclude_tools": tuple(draw(st.lists(tools.filter(lambda name: name not in included), max_size=2))),
        "distractor_tools": draw(st.integers(0, 9)),
        "distractions": draw(st.integers(0, 3)),
    }
    for name in ("steps", "depth", "width"):
        asked[f"min_{name}"] = draw(st.integers(1, 4))
        asked[f"max_{name}"] = draw(st.integers(asked[f"min_{name}"], 6))
    return {name: asked[name] for name in draw(st.sets(st.sampled_from(sorted(asked)), max_size=4))}


def satisfies(task: Task, asked: dict[str, Any]) -> bool:
    """Whether a task is what was asked for, one constraint after the other."""
    called = {call.tool for call in task.reference}
    measured = {"steps": len(task.reference), "depth": task.depth, "width": task.width}
    checks = {
        "split": lambda split: task.split == split,
        "workflows": lambda names: not names or task.workflow in names,
        "include_tools": lambda tools: all(tool in called for tool in tools),
        "exclude_tools": lambda tools: not any(tool in called for tool in tools),
        "distractor_tools": lambda number: True,
        "distractions": lambda number: True,
    }
    for name, value in measured.items():
        checks[f"min_{name}"] = lambda low, value=value: value >= low
        checks[f"max_{name}"] = lambda high, value=value: value <= high
    return all(checks[name](wanted) for name, wanted in asked.items())


@given(constraints(), seeds)
def test_what_is_drawn_satisfies_the_constraints_and_all_that_does_can_be_drawn(
    generator: FixedTasks, tasks: list[Task], asked: dict[str, Any], seed: int
) -> None:
    wanted = [task for task in tasks if satisfies(task, asked)]
    if not wanted:
        with pytest.raises(ConstraintError, match=f"none of the {len(tasks)} tasks") as told:
            draw(generator, seed, **asked)
        assert all(repr(name) in str(told.value) for name in asked)
        return
    assert list(generator.eligible(asked)) == wanted
    assert list(generator.eligible(TaskConstraints(**asked))) == wanted
    assert draw(generator, seed, **asked) in wanted


def test_a_split_counts_only_where_it_was_asked_for(generator: FixedTasks, tasks: list[Task]) -> None:
    """The default split of the constraints, ``train``, must not hide the tasks of others, asked before or after."""
    for _ in range(2):
        assert list(generator.eligible()) == tasks
        assert list(generator.eligible(TaskConstraints())) == tasks
        train = generator.eligible({"split": "train"})
        assert train == generator.eligible(TaskConstraints(split="train"))
        assert {task.split for task in train} == {"train"}
        assert list(generator.eligible({"min_steps": 1})) == tasks


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"split": "nowhere"}, "split"),
        ({"min_steps": 5, "max_steps": 2}, "min_steps is 5"),
        ({"colour": "red"}, "there is no such constraint"),
        (7, "must be a mapping"),
    ],
)
def test_what_is_no_constraint_is_refused(generator: FixedTasks, asked: Any, told: str) -> None:
    with pytest.raises(ConstraintError, match=told):
        generator.sample(np.random.default_rng(0), asked)


def test_a_task_is_given_again_by_its_id(generator: FixedTasks, tasks: list[Task]) -> None:
    assert [generator.task(task.id) for task in tasks] == tasks
    for unknown in ("", "nothing", tasks[0].id + " "):
        with pytest.raises(TaskError, match=f"no task {unknown!r} among these {len(tasks)}"):
            generator.task(unknown)


def test_no_tasks_and_two_of_one_id_are_refused(tasks: list[Task]) -> None:
    with pytest.raises(TaskError, match="no tasks"):
        FixedTasks([])
    with pytest.raises(TaskError, match="the same id"):
        FixedTasks([tasks[0], replace(tasks[1], id=tasks[0].id)])


def test_some_of_them_are_a_generator_too(generator: FixedTasks, tasks: list[Task]) -> None:
    short = generator.where(lambda task: len(task.reference) == 2)
    assert list(short.tasks) == [task for task in tasks if len(task.reference) == 2]
    assert 0 < len(short) < len(generator)
    with pytest.raises(TaskError):
        generator.where(lambda task: False)


def test_pickled_it_draws_on_alike(generator: FixedTasks) -> None:
    generator.eligible({"split": "test"})
    back = pickle.loads(pickle.dumps(generator))
    assert back.tasks == generator.tasks
    assert [draw(back, seed, split="test") for seed in range(20)] == [
        draw(generator, seed, split="test") for seed in range(20)
    ]


def test_a_snapshot_decides_what_is_drawn_from_it(library_snapshot: Snapshot, tmp_path: Any, tasks: list[Task]) -> None:
    assert isinstance(stored_generator(library_snapshot), WorkflowGenerator)
    tools = library_snapshot.tools.values()
    with SnapshotWriter(tmp_path / "s.sqlite", tools, name="s", workflows=WORKFLOWS, tasks=tasks):
        pass
    found = stored_generator(Snapshot(tmp_path / "s.sqlite"))
    assert isinstance(found, FixedTasks)
    assert list(found.tasks) == tasks
