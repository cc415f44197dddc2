"""The orchestration part of the graduated reward alone, for ablations."""

from collections.abc import Sequence

from toolorch_env.rewards.base import PotentialReward
from toolorch_env.rewards.formulas import weighted_mean


class OrchestrationReward(PotentialReward):
    """Credit for completed calls in a valid order, none for near misses: ``potential = mean of ordered``."""

    name = "orchestration"

    def potential(self, atomic: Sequence[float], complete: Sequence[bool], ordered: Sequence[bool]) -> float:
        """See the class."""
        return weighted_mean(0.0, atomic, ordered)
