"""Policies by name, and what they are played on: what the commands share that play."""

from collections.abc import Callable
from typing import Annotated, Any

import gymnasium as gym
import typer

from toolorch_env.cli.display import error_console
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.generation.registry import BUILT_IN, as_generator
from toolorch_env.integrations.sb3_policy import TrainedPolicy
from toolorch_env.policies.base import Policy
from toolorch_env.policies.loading import load_policy
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.policies.random import RandomPolicy
from toolorch_env.rewards import REWARDS
from toolorch_env.store.snapshot import Snapshot

POLICIES: dict[str, Callable[[], Policy]] = {"oracle": OraclePolicy, "random": RandomPolicy}
POLICY_NAMES = f"{', '.join(POLICIES)}, sb3:FILE.zip, openai:MODEL or package.module:object"

SnapshotOption = Annotated[str, typer.Option(help="Name of a bundled snapshot, or path of one.")]
GeneratorOption = Annotated[
    str | None,
    typer.Option(
        help=f"What draws the tasks: {', '.join(BUILT_IN)}, or a name that a package offers; by default stored tasks "
        "where there are any, else workflows."
    ),
]
RewardOption = Annotated[str, typer.Option(help=f"Reward: {', '.join(REWARDS)}.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same tasks.", min=0)]


def named_policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        ConfigurationError: there is none.
    """
    kind, _, path = name.partition(":")
    if kind == "sb3" and path:
        return TrainedPolicy(path)
    if path and kind != "sb3":
        return load_policy(name)
    if name not in POLICIES:
        raise ConfigurationError(f"there is no policy {name!r}; choose one of {POLICY_NAMES}")
    return POLICIES[name]()


def named_generator(generator: str | None, snapshot: Snapshot, env_id: str) -> TaskGenerator:
    """What draws the tasks; in numbers a graph of what the snapshot is compiled for, as nothing else is an action."""
    from toolorch_env.generation.graph_generator import GraphGenerator

    found = as_generator(generator, snapshot)
    if isinstance(found, GraphGenerator) and env_id == "ToolOrch-v0":
        return found.within(snapshot.links)
    return found


def listed_tasks(env: gym.Env[Any, Any]) -> list[str]:
    """The ids of all listed tasks that satisfy the constraints and can be played; none where tasks are generated."""
    plain: Any = env.unwrapped
    if not isinstance(plain.generator, FixedTasks):
        return []
    left_out = len(getattr(plain, "words_only", ()))
    if left_out:
        error_console.print(f"{left_out} of {left_out + len(plain.generator)} tasks can be played in words only")
    return [task.id for task in plain.generator.eligible(plain.constraints)]
