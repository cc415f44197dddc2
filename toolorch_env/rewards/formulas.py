"""The formulas of the rewards that are differences of a potential, on plain numbers.

The vector environment compiles these very functions, so that both environments score alike to the last bit.
"""

from collections.abc import Sequence
from math import floor

GRID = 2.0**32
"""Potentials and penalties are multiples of 1 / GRID: their sums and differences are exact in 64-bit floats, so that
the rewards of an episode add up to its potential minus its penalties to the last bit, for a solved one to 1.0."""


def on_grid(value: float) -> float:
    """The nearest multiple of 1 / :data:`GRID`."""
    return floor(value * GRID + 0.5) / GRID


def atomic_score(weights: Sequence[float], structure: float, values: float, execution: float) -> float:
    """The atomic score of a call of the right tool, in [0, 1].

    Args:
        weights: of name, structure, values and execution.
        structure, values, execution: parts of the score, each in [0, 1].
    """
    total = weights[0] + weights[1] * structure + weights[2] * values + weights[3] * execution
    return min(1.0, total)  # weights add up to 1 but for rounding


def share(part: int, whole: int) -> float:
    """What share a part is; 1 of nothing."""
    return part / whole if whole else 1.0


def weighted_mean(alpha: float, atomic: Sequence[float], ordered: Sequence[bool]) -> float:
    """``alpha * mean of atomic + (1 - alpha) * mean of ordered``."""
    done = 0.0
    for score in atomic:
        done += score
    in_order = 0
    for step in ordered:
        in_order += step
    return (alpha * done + (1 - alpha) * in_order) / len(atomic)


def penalty_of(rise: float, ordered: bool, penalty: float) -> float:
    """What is taken off for a call: nothing where it raises the potential or completes a step in a valid order.

    A reward that pays only at the end must not punish the way there.
    """
    return 0.0 if rise > 0 or ordered else penalty
