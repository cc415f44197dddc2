"""Tasks from workflows that nobody wrote: well posed, solvable, as asked for, and the same everywhere."""

import pickle
import sys
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from booking_data import needs_booking, published
from fresh_python import ROOT, run_python
from hypothesis import given
from hypothesis import strategies as st
from worlds import WORLD_NAMES, snapshot_path, world

import toolorch_env
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import ConstraintError, TaskError
from toolorch_env.core.tasks import Task, dependency_levels
from toolorch_env.evaluation.runner import play_episodes
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.generation.graph_generator import GraphGenerator
from toolorch_env.generation.splits import is_held_out, literals_split
from toolorch_env.generation.tool_graph import infer_tool_graph
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

sys.path.insert(0, str(ROOT / "benchmarks"))

SMALL = ("library", "bank")
seeds = st.integers(0, 2**32)
SMALL_SPLITS = [*(("library", split) for split in SPLITS), *(("bank", split) for split in SPLITS[:3])]
"""None of the few workflows that fit the bank's recorded sessions is held out."""

needs_travel = pytest.mark.skipif("travel" not in WORLD_NAMES, reason="the bundled snapshot was not built")

Text = "ToolOrchText-v0"


def generator(name: str) -> GraphGenerator:
    return world(name).graph_generator


@cache
def replay(name: str) -> SnapshotReplay:
    return SnapshotReplay(Snapshot(snapshot_path(name)), "raise")


def draw(name: str, seed: int, **constraints: Any) -> Task:
    return generator(name).sample(np.random.default_rng(seed), constraints)


def check(task: Task, replay: SnapshotReplay) -> None:
    """What holds for every task of the generator."""
    assert list(task_problems(task, replay)) == []
    calls = [(call.tool, canonical_json(call.arguments)) for call in task.reference]
    assert len(set(calls)) == len(calls)
    taken = [call.arguments.get(binding.parameter) for call in task.reference for binding in call.bindings]
    literals = [
        value
        for call in task.reference
        for name, value in call.arguments.items()
        if name not in {binding.parameter for binding in call.bindings}
    ]
    assert not [value for value in taken if value in literals], "a value that the query says is taken from a response"
    levels = dependency_levels([call.depends_on for call in task.reference])
    assert (task.depth, task.width) == (max(levels) + 1, max(map(levels.count, levels)))
    fed = {source for call in task.reference for source in call.depends_on}
    alone = [i for i, call in enumerate(task.reference) if i not in fed and not call.depends_on]
    assert not alone or len(task.reference) == 1, "a step has nothing to do with the others"
    assert is_held_out(task.workflow) == (task.split == "test_workflows")


def test_it_is_a_task_generator() -> None:
    assert isinstance(generator("library"), TaskGenerator)


@pytest.mark.parametrize(("name", "split"), SMALL_SPLITS)
@given(seed=seeds)
def test_every_task_is_well_posed(name: str, split: str, seed: int) -> None:
    task = draw(name, seed, split=split)
    assert task.split == split
    check(task, replay(name))


@pytest.mark.parametrize("name", SMALL)
@given(seed=seeds)
def test_a_task_is_made_again_from_its_seed_and_from_its_id(name: str, seed: int) -> None:
    task = draw(name, seed)
    fresh = pickle.loads(pickle.dumps(generator(name))) if seed % 10 == 0 else generator(name)
    assert fresh.task(task.id) == task
    assert fresh.sample(np.random.default_rng(seed)) == task


def test_what_was_drawn_before_does_not_matter() -> None:
    fresh = GraphGenerator(snapshot_path("library"))
    for seed in reversed(range(30)):
        assert fresh.sample(np.random.default_rng(seed)) == draw("library", seed)


@pytest.mark.parametrize("hash_seed", [1, 2])
def test_tasks_are_the_same_in_every_process(hash_seed: int) -> None:
    code = f"""
import numpy as np
from toolorch_env.generation.graph_generator import GraphGenerator
generator = GraphGenerator({str(snapshot_path("library"))!r})
rng = np.random.default_rng(5)
for split in {SPLITS!r} * 3:
    print(generator.sample(rng, {{"split": split}}).to_json().hex())
"""
    rng = np.random.default_rng(5)
    tasks = [generator("library").sample(rng, {"split": split}) for split in SPLITS * 3]
    assert [Task.from_json(bytes.fromhex(line)) for line in run_python(code, hash_seed).split()] == tasks


LIBRARY_TOOLS = ("search_authors", "get_author", "books_of_author", "get_book", "book_by_title", "get_town")


@st.composite
def structures(draw: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, largest in (("steps", 5), ("depth", 4), ("width", 3)):
        low = draw(st.integers(1, largest))
        found |= {f"min_{name}": low, f"max_{name}": draw(st.integers(low, largest + 1))}
    found["include_tools"] = draw(st.lists(st.sampled_from(LIBRARY_TOOLS), max_size=2, unique=True))
    others = [name for name in LIBRARY_TOOLS if name not in found["include_tools"]]
    found["exclude_tools"] = draw(st.lists(st.sampled_from(others), max_size=2, unique=True))
    return {name: found[name] for name in draw(st.sets(st.sampled_from(sorted(found))))}


@given(seed=st.integers(0, 20), asked=structures())
def test_constraints_hold_or_are_refused(seed: int, asked: dict[str, Any]) -> None:
    try:
        task = draw("library", seed, **asked)
    except ConstraintError:
        return  # what can be given is in a test below
    for name, value in (("steps", len(task.reference)), ("depth", task.depth), ("width", task.width)):
        assert asked.get(f"min_{name}", 1) <= value <= asked.get(f"max_{name}", 64)
    called = {call.tool for call in task.reference}
    assert called.issuperset(asked.get("include_tools", ()))
    assert not called & set(asked.get("exclude_tools", ()))
    assert not set(task.tools) & set(asked.get("exclude_tools", ()))
    check(task, replay("library"))


@pytest.mark.parametrize(
    "asked",
    [
        {"min_steps": 5, "max_steps": 5, "min_depth": 5},
        {"min_steps": 4, "min_width": 3},
        {"min_steps": 1, "max_steps": 1},
        {"min_depth": 4, "max_depth": 4, "max_width": 1},
        {"include_tools": ["towns_near", "get_book"]},
        {"exclude_tools": ["search_authors", "book_by_title"]},
    ],
)
def test_what_the_graph_can_give_is_given(asked: dict[str, Any]) -> None:
    assert draw("library", 1, **asked)


@pytest.mark.parametrize(
    "asked",
    [
        {"include_tools": ["no_such_tool"]},
        {"exclude_tools": ["no_such_tool"]},
        {"workflows": ["author_town"]},
        {"min_depth": 40, "max_steps": 40, "max_depth": 40},
        {"min_steps": 2, "max_steps": 3, "min_depth": 4},
        {"exclude_tools": [*LIBRARY_TOOLS, "towns_near", "convert_price", "opening_hours"]},
    ],
)
def test_what_it_cannot_give_is_refused(asked: dict[str, Any]) -> None:
    with pytest.raises(ConstraintError):
        draw("library", 1, **asked)


@pytest.mark.parametrize("change", ["", "x", "/1", "0" * 8, "../"])
def test_an_id_of_no_task_is_refused(change: str) -> None:
    task = draw("library", 3)
    for wrong in (change, task.id + change + "!", change + "-" + task.id, task.id.replace("o", "o9", 1)):
        with pytest.raises(TaskError):
            generator("library").task(wrong)


def test_the_graph_of_another_snapshot_has_other_ids() -> None:
    with pytest.raises(TaskError):
        generator("bank").task(draw("library", 3).id)


def test_workflows_are_many_and_of_many_shapes() -> None:
    tasks = [draw("library", seed) for seed in range(300)]
    assert len({task.workflow for task in tasks}) > 60
    assert {len(task.reference) for task in tasks} == {2, 3, 4, 5, 6}
    assert {task.width for task in tasks} >= {1, 2, 3}
    assert max(task.depth for task in tasks) >= 4


def test_workflows_that_fit_no_responses_are_counted_and_not_given() -> None:
    fresh = GraphGenerator(snapshot_path("bank"), variety=20)
    fresh.sample(np.random.default_rng(0))
    assert 0 < fresh.counts["infeasible"] < fresh.counts["drawn"]


def test_splits_share_no_literals_and_no_held_out_workflow() -> None:
    tasks = {split: [draw("library", seed, split=split) for seed in range(60)] for split in SPLITS}
    for split, drawn in tasks.items():
        for task in drawn:
            said = [
                value
                for call in task.reference
                for name, value in call.arguments.items()
                if name not in {binding.parameter for binding in call.bindings}
            ]
            if len({canonical_json(value) for value in said}) == len(task.mentions):
                assert literals_split(said) == split
    held_out = {task.workflow for task in tasks["test_workflows"]}
    assert not held_out & {task.workflow for split in SPLITS[:3] for task in tasks[split]}


@pytest.mark.parametrize("name", SMALL)
def test_the_oracle_returns_exactly_one_in_words(name: str) -> None:
    env = gym.make(Text, snapshot=snapshot_path(name), generator=generator(name))
    for result in play_episodes(env, OraclePolicy(Text), tasks=150, seed=2):
        assert result.total == 1.0, result
        assert result.clean_success, result


@pytest.mark.parametrize("env_id", toolorch_env.ENVIRONMENTS)
@pytest.mark.parametrize("name", SMALL)
def test_the_oracle_returns_exactly_one_where_the_snapshot_is_compiled_for_the_links(name: str, env_id: str) -> None:
    snapshot = Snapshot(snapshot_path(name))
    graph = infer_tool_graph(snapshot).within(snapshot.links)
    env = gym.make(env_id, snapshot=snapshot, generator=GraphGenerator(snapshot, graph, variety=60))
    for result in play_episodes(env, OraclePolicy(env_id), tasks=100, seed=2):
        assert result.total == 1.0, result
        assert result.clean_success, result


@needs_travel
@pytest.mark.long
def test_400_tasks_on_travel_are_well_posed_and_solved() -> None:
    drawn = world("travel").graph_generator
    rng = np.random.default_rng(7)
    tasks = [drawn.sample(rng, {"split": SPLITS[index % 3]}) for index in range(100)]
    for task in tasks:
        check(task, replay("travel"))
    assert any(len(call.depends_on) > 1 for task in tasks for call in task.reference)
    for _ in range(50):
        check(drawn.sample(rng, {"split": "test_workflows"}), replay("travel"))
    for result in play_episodes(gym.make(Text, generator=drawn), OraclePolicy(Text), tasks=400, seed=7):
        assert result.total == 1.0, result
        assert result.clean_success, result


@needs_travel
@pytest.mark.long
def test_tasks_on_what_travel_is_compiled_for_are_solved_in_numbers() -> None:
    snapshot = Snapshot(snapshot_path("travel"))
    drawn = GraphGenerator(snapshot, infer_tool_graph(snapshot).within(snapshot.links), variety=150)
    env = gym.make("ToolOrch-v0", snapshot=snapshot, generator=drawn)
    for result in play_episodes(env, OraclePolicy("ToolOrch-v0"), tasks=250, seed=7):
        assert result.total == 1.0, result
        assert result.clean_success, result


@needs_booking
@pytest.mark.long
def test_tasks_on_the_published_responses_are_well_posed_and_solved() -> None:
    snapshot = published(templates=True).snapshot
    drawn = GraphGenerator(snapshot, variety=60)
    own = SnapshotReplay(snapshot, "raise")
    rng = np.random.default_rng(7)
    tasks = [drawn.sample(rng) for _ in range(150)]
    for task in tasks:
        check(task, own)
    assert len({task.workflow for task in tasks}) > 25
    env = gym.make(Text, snapshot=snapshot, generator=drawn)
    for result in play_episodes(env, OraclePolicy(Text), tasks=150, seed=7):
        assert result.total == 1.0, result
        assert result.clean_success, result
