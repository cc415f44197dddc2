"""Mixtures: shares by weight, ids that lead back, constraints passed on, members left out where they have nothing."""

import pickle
from collections import Counter
from dataclasses import replace
from math import inf, nan
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import world

import toolorch_env  # noqa: F401  registers the environments
from toolorch_env.core.errors import ConfigurationError, ConstraintError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.curriculum import Curriculum
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator
from toolorch_env.generation.mixture import Mixture, leaves
from toolorch_env.policies.oracle import next_reference_call

seeds = st.integers(0, 2**32)


@pytest.fixture(scope="module")
def workflows() -> WorkflowGenerator:
    return world("library").generator


@pytest.fixture(scope="module")
def published() -> FixedTasks:
    drawn = {task.id: task for task in world("library").tasks(20)}
    return FixedTasks(replace(task, id=f"p:{number}", split="") for number, task in enumerate(drawn.values()))


@pytest.fixture(scope="module")
def mixture(workflows: WorkflowGenerator, published: FixedTasks) -> Mixture:
    return Mixture([(workflows, 3), (published, 1.0)], names=["drawn", "published"])


def draw(generator: TaskGenerator, seed: int, **constraints: Any) -> Task:
    return generator.sample(np.random.default_rng(seed), constraints)  # type: ignore[arg-type]


class Counting:
    """A generator that counts how often it is asked, and what it is told."""

    def __init__(self, generator: TaskGenerator) -> None:
        self.generator = generator
        self.asked = 0
        self.told: list[tuple[str, bool]] = []

    def sample(self, rng: np.random.Generator, constraints: Any = None) -> Task:
        self.asked += 1
        return self.generator.sample(rng, constraints)

    def task(self, task_id: str) -> Task:
        return self.generator.task(task_id)


class Spending(Counting):
    """One that refuses everything, but draws before it does."""

    def sample(self, rng: np.random.Generator, constraints: Any = None) -> Task:
        rng.integers(10)
        raise ConstraintError("no more")


class Learning(Counting):
    """One that is told results."""

    def report(self, task_id: str, success: bool) -> None:
        self.told.append((task_id, success))


@given(seeds, st.sampled_from(["train", "validation"]))
def test_the_same_seed_gives_the_same_task_and_its_id_gives_it_again(
    mixture: Mixture, workflows: WorkflowGenerator, published: FixedTasks, seed: int, split: str
) -> None:
    task = draw(mixture, seed, split=split)
    fresh = Mixture([(workflows, 3), (published, 1.0)], names=["drawn", "published"])
    assert draw(fresh, seed, split=split) == task
    assert draw(pickle.loads(pickle.dumps(mixture)), seed, split=split) == task
    assert mixture.task(task.id) == task


@given(seeds)
def test_a_member_without_tasks_is_left_out_whatever_was_drawn_before(
    workflows: WorkflowGenerator, published: FixedTasks, seed: int
) -> None:
    """What is remembered of refusals must not move what is drawn."""
    drawn = []
    for earlier in (0, 3):
        members = [(published, 5), (workflows, 1), (Spending(published), 3), (workflows, 2)]
        mixture = Mixture(members, names=["none", "some", "nothing", "more"])
        rng = np.random.default_rng(seed)
        for number in range(earlier):
            draw(mixture, number, split="train")
        drawn.append([mixture.sample(rng, {"split": "train"}) for _ in range(3)])
    assert drawn[0] == drawn[1]
    assert {task.id.partition(":")[0] for task in drawn[0]} <= {"some", "more"}


def test_tasks_come_in_proportion_to_weights(mixture: Mixture, workflows: WorkflowGenerator) -> None:
    rng = np.random.default_rng(1)
    found = Counter(mixture.sample(rng).id.partition(":")[0] for _ in range(2000))
    assert abs(found["drawn"] - 1500) < 5 * (2000 * 0.75 * 0.25) ** 0.5
    left = Mixture([(FixedTasks([draw(workflows, 0)]), 10.0), (workflows, 1.0), (workflows, 3.0)])
    found = Counter(left.sample(rng, {"split": "test"}).id.partition(":")[0] for _ in range(1000))
    assert set(found) == {"1", "2"}
    assert abs(found["2"] - 750) < 5 * (1000 * 0.75 * 0.25) ** 0.5


@given(seeds, st.sampled_from(["train", "test_workflows"]), st.integers(1, 5))
def test_constraints_are_passed_on(workflows: WorkflowGenerator, seed: int, split: str, most: int) -> None:
    mixture = Mixture([(workflows, 1), (Mixture([(workflows, 1)]), 1)])
    try:
        task = draw(mixture, seed, split=split, max_steps=most)
    except ConstraintError:
        with pytest.raises(ConstraintError):
            draw(workflows, seed, split=split, max_steps=most)
        return
    assert task.split == split
    assert len(task.reference) <= most


def test_a_refusal_is_not_worked_out_again(workflows: WorkflowGenerator, published: FixedTasks) -> None:
    asked = Counting(published)
    mixture = Mixture([(asked, 1), (workflows, 1)])
    for seed in range(20):
        draw(mixture, seed, split="train")
    assert asked.asked == 1
    draw(mixture, 0)  # that no split is asked for is another matter: published tasks have none
    assert {draw(mixture, seed).id[0] for seed in range(20)} == {"0", "1"}


def test_when_none_has_a_task_each_reason_is_told(mixture: Mixture) -> None:
    with pytest.raises(ConstraintError, match=r"'drawn': no workflow of 'library'.*; 'published': none of the"):
        draw(mixture, 0, min_steps=40)


def test_mixtures_nest(mixture: Mixture, workflows: WorkflowGenerator, published: FixedTasks) -> None:
    outer = Mixture([(mixture, 1), (workflows, 1)], names=["inner", "other"])
    tasks = [draw(outer, seed) for seed in range(30)]
    assert {task.id.split(":")[0] for task in tasks} == {"inner", "other"}
    assert any(task.id.startswith("inner:published:p:") for task in tasks)
    assert [outer.task(task.id) for task in tasks] == tasks
    assert list(leaves(outer)) == [workflows, published, workflows]
    assert isinstance(outer, TaskGenerator)


@pytest.mark.parametrize("task_id", ["", "drawn", "drawn:", "other:p:0", "p:0", "published:p:99", "drawn:x/0/0/7/2"])
def test_an_unknown_task_id_is_told(mixture: Mixture, task_id: str) -> None:
    with pytest.raises(TaskError, match="no task"):
        mixture.task(task_id)


def test_results_reach_the_member_that_drew_the_task(workflows: WorkflowGenerator, published: FixedTasks) -> None:
    learning, other = Learning(workflows), Counting(published)
    mixture = Mixture([(Mixture([(learning, 1)], ["l"]), 1), (other, 1)], names=["m", "o"])
    mixture.report("m:l:some/task", True)
    mixture.report("o:p:0", False)
    assert (learning.told, other.told) == ([("some/task", True)], [])
    with pytest.raises(TaskError, match="no task"):
        mixture.report("x:some/task", True)


def test_a_member_that_learns_may_draw_what_it_refused_before(workflows: WorkflowGenerator) -> None:
    curriculum = Curriculum(workflows, [{"max_steps": 2}, {"min_steps": 3}], window=1, review=0)
    mixture = Mixture([(curriculum, 1)], names=["c"])
    with pytest.raises(ConstraintError, match=r"'c': level 0"):
        draw(mixture, 0, min_steps=3)
    mixture.report(draw(mixture, 0).id, True)
    assert len(draw(mixture, 0, min_steps=3).reference) >= 3


@pytest.mark.parametrize(
    ("members", "names", "message"),
    [
        ([], (), "at least one"),
        ([("generator", 0)], (), "above 0, got 0"),
        ([("generator", -1.0)], (), "above 0"),
        ([("generator", inf)], (), "finite"),
        ([("generator", nan)], (), "finite"),
        ([("generator", "1")], (), "finite number"),
        ([("generator", True)], (), "finite number"),
        ([("generator",)], (), "pair"),
        (["generator"], (), "pair"),
        ([(WorkflowGenerator, 1)], (), "an object with sample"),
        ([(5, 1)], (), "an object with sample"),
        ([("generator", 1)], ("a", "b"), "1 different names"),
        ([("generator", 1), ("generator", 1)], ("a", "a"), "2 different names"),
        ([("generator", 1)], ("a:b",), "without ':'"),
        ([("generator", 1)], ("",), "without ':'"),
        ([("generator", 1)], "a", "different names"),
    ],
)
def test_members_weights_and_names_are_checked(
    workflows: WorkflowGenerator, members: list[Any], names: Any, message: str
) -> None:
    given_members = [
        (workflows, *pair[1:]) if isinstance(pair, tuple) and pair[0] == "generator" else pair for pair in members
    ]
    with pytest.raises(ConfigurationError, match=message):
        Mixture(given_members, names)


def test_generators_of_different_snapshots_are_refused(workflows: WorkflowGenerator, published: FixedTasks) -> None:
    bank = world("bank").generator
    with pytest.raises(ConfigurationError, match=r"different snapshots, 'library' .* and 'bank'"):
        Mixture([(workflows, 1), (Mixture([(published, 1), (bank, 1)]), 1)])
    again = WorkflowGenerator(world("library").path)
    assert Mixture([(published, 1), (again, 1), (workflows, 1)]).snapshot is again.snapshot
    assert Mixture([(published, 1)]).snapshot is None


def test_a_mixture_is_played(mixture: Mixture) -> None:
    env: Any = gym.make("ToolOrchText-v0", snapshot=world("library").path, generator=mixture)
    names = set()
    for seed in range(20):
        _, info = env.reset(seed=seed)
        names.add(info["task_id"].partition(":")[0])
        total, ended = 0.0, False
        while not ended:
            action = env.unwrapped.action_for(next_reference_call(env.unwrapped.episode))
            _, reward, ended, _, end = env.step(action)
            total += reward
        assert (end["is_success"], total) == (True, 1.0)
    assert names == {"drawn", "published"}
    env.close()
