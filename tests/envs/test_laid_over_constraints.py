"""Constraints of a reset are laid over those of the environment."""

import pytest
from envs.driving import ENVIRONMENT_IDS, make

from toolorch_env.generation.constraints import TaskConstraints


@pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
def test_a_mapping_keeps_what_it_does_not_name(env_id: str) -> None:
    env = make(env_id, "library", constraints={"split": "test_workflows", "distractions": 0})
    for seed in range(5):
        env.reset(seed=seed, options={"constraints": {"distractor_tools": 2}})
        task = env.unwrapped.episode.task
        assert task.split == "test_workflows"
        assert len(task.tools) == len({call.tool for call in task.reference}) + 2


@pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
def test_none_keeps_all_and_full_constraints_replace_all(env_id: str) -> None:
    env = make(env_id, "library", constraints={"split": "test"})
    env.reset(seed=0, options={"constraints": None})
    assert env.unwrapped.episode.task.split == "test"
    env.reset(seed=0, options={"constraints": TaskConstraints(distractions=0)})
    assert env.unwrapped.episode.task.split == "train"
