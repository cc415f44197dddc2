"""Splits: no query, no combination of literals and no held-out workflow is in two of them, anywhere, ever."""

import copy
from collections import Counter
from typing import Any

import numpy as np
import pytest
from fresh_python import run_python
from generation.crossings import Crossings, combination, traces
from hypothesis import given
from hypothesis import strategies as st
from small_world import WORKFLOWS
from worlds import WORLD_NAMES, World, snapshot_path, world

from toolorch_env.core.canonical import read_number
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.phrasing import value_text
from toolorch_env.generation.splits import is_held_out, literals_split
from toolorch_env.generation.structures import held_out_workflows
from toolorch_env.rewards.credit import same_value
from toolorch_env.store.workflows import parse_workflows

DRAWS = 20_000
every_world = pytest.mark.parametrize("name", WORLD_NAMES)
fractions = st.floats(-1e6, 1e6, allow_nan=False)
values = st.text("ab019.-etrufalsn[]", max_size=6) | st.integers(-(2**63), 2**63 - 1) | fractions | st.booleans()


@every_world
def test_nothing_crosses_over_the_traces_of_all_workflows(name: str) -> None:
    found = Crossings()
    for distractions in ("0", "3"):
        for task in traces(world(name).generator, distractions):
            found.add(task)
    found.check_workflows()
    assert set(found.combinations.values()) == set(world(name).splits)
    assert name == "bank" or found.shared > 5


def test_each_trace_is_drawn_in_the_split_that_it_tells(library: Any) -> None:
    """And what is looked at above is all of a small world."""
    generator = WorkflowGenerator(library)
    every = {tuple(task.id.split("/")[:2]): task.split for task in traces(generator)}
    drawn = {}
    for split, draws in (("train", 1500), ("test_workflows", 200)):
        rng = np.random.default_rng(0)
        for _ in range(draws):
            task = generator.sample(rng, {"split": split})
            drawn[tuple(task.id.split("/")[:2])] = task.split
    assert drawn == {trace: split for trace, split in every.items() if split in ("train", "test_workflows")}


@pytest.mark.long
@pytest.mark.skipif("travel" not in WORLD_NAMES, reason="the bundled snapshot was not built")
def test_nothing_crosses_in_many_draws() -> None:
    """With distractions, as tasks are drawn by default."""
    generator, found = world("travel").generator, Crossings()
    rng = np.random.default_rng(0)
    for number in range(DRAWS):
        found.add(generator.sample(rng, {"split": SPLITS[number % len(SPLITS)], "distractions": 1 + number // 4 % 3}))
    found.check_workflows()
    assert len(found.workflows) == len(generator.workflows.workflows)
    assert Counter(found.combinations.values()).keys() == set(SPLITS)
    assert found.shared > 100


def shared_literals(name: str) -> WorkflowGenerator:
    """The library with a copy of each workflow under another name, and with words of its own."""
    document: dict[str, Any] = copy.deepcopy(WORKFLOWS)
    for workflow in copy.deepcopy(WORKFLOWS["workflows"]):
        workflow["name"] = f"{workflow['name']}_{name}"
        document["workflows"].append(workflow)
    return WorkflowGenerator(snapshot_path("library"), parse_workflows(document))


@pytest.mark.parametrize("name", ["twin", "again", "x2"])
def test_a_combination_of_two_workflows_is_in_one_split_also_where_one_is_held_out(name: str) -> None:
    generator, found = shared_literals(name), Crossings()
    assert {is_held_out(workflow.name) for workflow in generator.workflows.workflows} == {True, False}
    for task in traces(generator):
        found.add(task)
    found.check_workflows(held_out_workflows(generator.workflows.workflows).__contains__)
    assert found.shared > 40


@pytest.mark.parametrize("hash_seed", [1, 2])
@every_world
def test_splits_are_the_same_in_every_process(name: str, hash_seed: int) -> None:
    code = f"""
from generation.test_splits import of_some_traces
from worlds import World, snapshot_path
from pathlib import Path
print(of_some_traces(World(Path({str(snapshot_path(name))!r}))))
"""
    assert run_python(code, hash_seed).strip() == of_some_traces(world(name))


def of_some_traces(some: World) -> str:
    """What split each of many traces is in."""
    return " ".join(sorted(f"{task.id}={task.split}" for task in traces(some.generator)))


def test_splits_stay_what_they_are() -> None:
    """Scores on a split can be compared between versions only while this holds: say so where it is changed."""
    combinations = [["A3"], ["JFK", "2013-07-04"], ["2013-07-04", "JFK"], [1998, "CHF", "Monday"], ["Zürich"], []]
    assert [literals_split(literals) for literals in combinations] == [
        "validation", "test", "test", "train", "train", "train",
    ]  # fmt: skip
    sizes = Counter(literals_split([number]) for number in range(2000))
    assert [sizes[split] for split in SPLITS] == [1369, 221, 203, 207]
    assert [number for number in range(40) if is_held_out(f"workflow_{number}")] == [19, 22, 30, 35]


@every_world
def test_the_sizes_of_splits_are_as_documented(name: str) -> None:
    """What is not held out draws from 70%, 10% and 10% of all combinations of literals."""
    found = {combination(task): task.split for task in traces(world(name).generator) if not is_held_out(task.workflow)}
    sizes, total = Counter(found.values()), len(found)
    assert total > 40
    for split, share in (("train", 7 / 9), ("validation", 1 / 9), ("test", 1 / 9)):
        assert abs(sizes[split] - share * total) < 4 * (total * share * (1 - share)) ** 0.5, (sizes, total)


@given(values, st.integers(-3, 3))
def test_values_that_cannot_be_told_apart_are_in_one_split(value: Any, hundred_thousandths: int) -> None:
    others = [value_text(value)]
    if isinstance(value, float):
        others.append(value + hundred_thousandths / 100_000)
    if isinstance(value, str) and read_number(value) is not None:
        others.append(read_number(value))
    for other in others:
        if value_text(value) == value_text(other) or same_value(value, other):
            assert literals_split([value, "A3"]) == literals_split([other, "A3"])
