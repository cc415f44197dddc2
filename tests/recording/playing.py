"""What a recording is for: tasks that can be solved on it."""

from pathlib import Path

import gymnasium as gym

import toolorch_env  # noqa: F401  registers the environments
from toolorch_env.core.errors import ConstraintError
from toolorch_env.evaluation.runner import evaluate
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.policies.oracle import OraclePolicy


def assert_oracle_succeeds(path: Path, tasks: int = 20) -> None:
    """On tasks of every split that has any, in both environments."""
    played = 0
    for split in SPLITS:
        for env_id in ("ToolOrch-v0", "ToolOrchText-v0"):
            env = gym.make(env_id, snapshot=path, constraints={"split": split, "distractor_tools": 3})
            try:
                metrics = evaluate(env, OraclePolicy(env_id), tasks=tasks, seed=0)
            except ConstraintError:
                continue
            assert (metrics.success_rate, metrics.clean_success_rate, metrics.mean_return) == (1.0, 1.0, 1.0)
            played += metrics.tasks
    assert played >= 2 * tasks
