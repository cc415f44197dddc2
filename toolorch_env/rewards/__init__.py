"""Rewards by name: ``make_reward("graduated")``. One small file each."""

from toolorch_env.core.errors import ConfigurationError
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


def make_reward(name: str) -> PotentialReward | TerminalReward:
    """The reward of that name with its default weights.

    Raises:
        ConfigurationError: there is no such reward.
    """
    if name not in REWARDS:
        raise ConfigurationError(f"there is no reward {name!r}; choose one of {', '.join(REWARDS)}")
    return REWARDS[name]()


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
    "make_reward",
    "rescore",
]
