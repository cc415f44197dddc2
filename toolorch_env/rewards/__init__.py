"""Rewards by name: ``make_reward("graduated")``. One small file each."""

from collections.abc import Mapping
from dataclasses import asdict, is_dataclass
from typing import Any

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.scoring import Reward
from toolorch_env.rewards.atomic import AtomicReward
from toolorch_env.rewards.base import PotentialReward, rescore
from toolorch_env.rewards.binary import BinaryReward
from toolorch_env.rewards.execution import ExecutionReward, ExecutionWeights
from toolorch_env.rewards.graduated import GraduatedReward
from toolorch_env.rewards.orchestration import OrchestrationReward
from toolorch_env.rewards.published import PublishedReward
from toolorch_env.rewards.terminal import TerminalReward

REWARDS: dict[str, type[PotentialReward] | type[TerminalReward]] = {
    "graduated": GraduatedReward,
    "binary": BinaryReward,
    "atomic": AtomicReward,
    "orchestration": OrchestrationReward,
    "execution": ExecutionReward,
    "published": PublishedReward,
}
"""Reward classes by the name that environments and the command line take."""


def make_reward(name: str, parameters: Mapping[str, Any] | None = None) -> PotentialReward | TerminalReward:
    """The reward of that name.

    Args:
        name: one of :data:`REWARDS`.
        parameters: those that differ from its own, as :func:`changed_parameters` tells them.

    Raises:
        ConfigurationError: there is no such reward, or a parameter is none of its.
    """
    if name not in REWARDS:
        raise ConfigurationError(f"there is no reward {name!r}; choose one of {', '.join(REWARDS)}")
    plain = REWARDS[name]()
    given = {
        parameter: type(getattr(plain, parameter))(**value) if isinstance(value, Mapping) else value
        for parameter, value in (parameters or {}).items()
    }
    return REWARDS[name](**given) if given else plain


def changed_parameters(reward: Reward) -> dict[str, Any]:
    """What was changed of the parameters of one of :data:`REWARDS`, as JSON values; nothing of other rewards."""
    if type(reward) not in REWARDS.values():
        return {}
    plain = type(reward)()
    changed = {name: value for name, value in vars(reward).items() if value != getattr(plain, name)}
    return {name: asdict(value) if is_dataclass(value) else value for name, value in changed.items()}  # type: ignore[arg-type]


__all__ = [
    "REWARDS",
    "AtomicReward",
    "BinaryReward",
    "ExecutionReward",
    "ExecutionWeights",
    "GraduatedReward",
    "OrchestrationReward",
    "PotentialReward",
    "PublishedReward",
    "TerminalReward",
    "changed_parameters",
    "make_reward",
    "rescore",
]
