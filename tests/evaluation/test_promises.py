"""What the bundled snapshot promises: the oracle solves everything, random actions next to nothing."""

import gymnasium as gym
import numpy as np
import pytest

import toolorch_env
from toolorch_env.evaluation.runner import evaluate, play_episodes
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.policies.random import RandomPolicy
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.replay import SnapshotReplay


@pytest.mark.long
@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("env_id", toolorch_env.ENVIRONMENTS)
def test_the_oracle_returns_exactly_one_on_1000_tasks_of_each_split(env_id: str, split: str) -> None:
    env = gym.make(env_id, constraints={"split": split})
    for result in play_episodes(env, OraclePolicy(env_id), tasks=1000, seed=1):
        assert result.total == 1.0, result
        assert result.success, result
        assert result.clean_success, result


@pytest.mark.long
@pytest.mark.parametrize("split", SPLITS)
def test_random_actions_solve_next_to_nothing_cleanly(split: str) -> None:
    env = gym.make("ToolOrch-v0", constraints={"split": split})
    assert evaluate(env, RandomPolicy(), tasks=400, seed=1).clean_success_rate < 0.02


@pytest.mark.long
@pytest.mark.parametrize("split", SPLITS)
def test_500_tasks_of_each_split_are_well_posed(split: str) -> None:
    snapshot = open_snapshot("travel")
    generator, replay = WorkflowGenerator(snapshot), SnapshotReplay(snapshot, "raise")
    rng = np.random.default_rng(1)
    for _ in range(500):
        task = generator.sample(rng, {"split": split})
        assert not list(task_problems(task, replay)), task
        assert task.split == split
        assert len(task.tools) >= min(len(snapshot.tools), len({call.tool for call in task.reference}) + 7)


def test_every_workflow_of_the_bundle_is_feasible() -> None:
    counts = WorkflowGenerator(open_snapshot("travel")).counts()
    assert len(counts) >= 25
    assert min(counts.values()) > 0
