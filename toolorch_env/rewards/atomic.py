"""The atomic part of the graduated reward alone, for ablations."""

from collections.abc import Sequence

from toolorch_env.rewards.base import PotentialReward
from toolorch_env.rewards.formulas import weighted_mean


class AtomicReward(PotentialReward):
    """Credit for each call, whatever the order: ``potential = mean of atomic`` over the reference calls."""

    name = "atomic"

    def potential(self, atomic: Sequence[float], complete: Sequence[bool], ordered: Sequence[bool]) -> float:
        """See the class."""
        return weighted_mean(1.0, atomic, ordered)
