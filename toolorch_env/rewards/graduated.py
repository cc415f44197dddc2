"""The graduated reward."""

from collections.abc import Sequence

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.rewards.base import PotentialReward
from toolorch_env.rewards.credit import AtomicWeights
from toolorch_env.rewards.formulas import weighted_mean


class GraduatedReward(PotentialReward):
    """Credit for each call, and for calls made in an order that respects data flow.

    ::

        potential = alpha * mean of atomic  +  (1 - alpha) * mean of ordered

    over the reference calls. The idea of weighing atomic validity against orchestration is that of arXiv 2603.24709;
    the formula is ToolOrch's own: it cannot be raised by repeated, unneeded or invented calls.

    Args:
        alpha: weight of the atomic part, in [0, 1].
        penalty: taken off for each call that raises nothing.
        weights: weights of the atomic score.

    Raises:
        ConfigurationError: alpha or penalty lie outside [0, 1].
    """

    name = "graduated"

    def __init__(self, alpha: float = 0.5, penalty: float = 0.05, weights: AtomicWeights | None = None) -> None:
        super().__init__(penalty, weights)
        if not isinstance(alpha, (int, float)) or not 0 <= alpha <= 1:
            raise ConfigurationError(f"alpha must lie in [0, 1], got {alpha!r}")
        self.alpha = alpha

    def potential(self, atomic: Sequence[float], complete: Sequence[bool], ordered: Sequence[bool]) -> float:
        """See the class."""
        return weighted_mean(self.alpha, atomic, ordered)
