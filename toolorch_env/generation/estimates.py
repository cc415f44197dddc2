"""Numbers that are counted where that is possible, and else estimated from a sample."""

from dataclasses import dataclass
from statistics import NormalDist

CONFIDENCE = 0.999
"""An estimated number lies within its bounds with about that probability."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number, exact or estimated.

    Attributes:
        value: the number.
        low, high: bounds, both included; equal to the number where it is exact, else an interval of confidence
            :data:`CONFIDENCE`.
    """

    value: int
    low: int
    high: int

    @classmethod
    def exactly(cls, value: int) -> "Estimate":
        """A number that was counted."""
        return cls(value, value, value)

    @property
    def is_exact(self) -> bool:
        """Whether the number was counted."""
        return self.low == self.high

    def __str__(self) -> str:
        if self.is_exact:
            return f"{self.value:,}"
        return f"about {self.value:,} ({self.low:,} to {self.high:,} at {CONFIDENCE:.1%} confidence)"


def estimated(total: int, drawn: int, accepted: int) -> Estimate:
    """How many of ``total`` things are of a kind, where ``accepted`` of ``drawn`` uniform draws were.

    The interval is Wilson's, which holds near 0 and 1 as well (Brown, Cai and DasGupta 2001).
    """
    z = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)
    share = accepted / drawn
    centre = (share + z * z / (2 * drawn)) / (1 + z * z / drawn)
    half = z / (1 + z * z / drawn) * (share * (1 - share) / drawn + z * z / (4 * drawn * drawn)) ** 0.5
    least = _floor_share(total, max(0.0, centre - half))
    most = total - _floor_share(total, max(0.0, 1 - centre - half))
    return Estimate(total * accepted // drawn, least, most)


def _floor_share(total: int, share: float) -> int:
    """A share of a whole number of any size, rounded down."""
    numerator, denominator = share.as_integer_ratio()
    return total * numerator // denominator
