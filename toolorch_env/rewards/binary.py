"""All or nothing."""

from collections.abc import Sequence

from toolorch_env.rewards.base import PotentialReward


class BinaryReward(PotentialReward):
    """1 when every reference call is complete, else 0; no penalties unless asked for.

    Args:
        penalty: taken off for each call that does not complete a reference call in a valid order.
    """

    name = "binary"

    def __init__(self, penalty: float = 0.0) -> None:
        super().__init__(penalty)

    def potential(self, atomic: Sequence[float], complete: Sequence[bool], ordered: Sequence[bool]) -> float:
        """See the class."""
        return float(all(complete))
