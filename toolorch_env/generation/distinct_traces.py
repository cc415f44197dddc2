"""How many traces repeat nothing: the same call twice, or one value for two literals, makes no task.

Counted by inclusion and exclusion over what could be repeated. Each term is the number of traces in which some of it
is, and that is a join with more equalities, counted like any other. What is repeated in one step is filtered from its
rows beforehand, and what never comes without something else (two equal towns have equal countries) needs no term.
"""

from collections.abc import Iterable, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

from toolorch_env.generation.join_tree import join_count
from toolorch_env.generation.relations import Attribute, Relation

MAX_PAIRS = 10
"""With more pairs that need terms, which makes 2^10 of them, nothing is counted."""

MAX_CANDIDATES = 60
"""Nor where there are more pairs altogether."""


class Place(NamedTuple):
    """What could be repeated: a literal, by a step that takes it, or the whole call of a step.

    Attributes:
        step: index of the step.
        literal: the literal, empty for a call.
        tool: the tool that is called, empty for a literal.
    """

    step: int
    literal: str = ""
    tool: str = ""


Pair = tuple[Place, Place]


class Repetitions(NamedTuple):
    """What the steps of a workflow could repeat.

    Attributes:
        values: for each place the value of each row of the step's table, whole numbers from 0 on.
        pairs: places that repeat something where their values are equal.
    """

    values: dict[Place, np.ndarray]
    pairs: tuple[Pair, ...]

    def absent(self, rows: np.ndarray) -> np.ndarray:
        """Which rows of a join, int64, shape (n, steps), repeat nothing: bool, shape (n,)."""
        absent = np.ones(len(rows), bool)
        values = {place: column[rows[:, place.step]] for place, column in self.values.items()}
        for left, right in self.pairs:
            absent &= values[left] != values[right]
        return absent


def possible_repetitions(relations: Sequence[Relation], values: dict[Place, np.ndarray]) -> Repetitions:
    """The pairs of places that have a value in common, of two literals or of two calls of one tool.

    Args:
        relations: those of the steps, in order.
        values: see :class:`Repetitions`.
    """
    used = {place: np.unique(column[relations[place.step].rows[:, 0]]) for place, column in values.items()}
    pairs = [
        (left, right)
        for left, right in combinations(values, 2)
        if left.tool == right.tool and len(np.intersect1d(used[left], used[right], assume_unique=True))
    ]
    return Repetitions(values, tuple(pairs))


def count_distinct(relations: Sequence[Relation], repetitions: Repetitions) -> int:
    """Number of rows of a join that repeat nothing.

    Raises:
        OverflowError: there are too many pairs, or a term is a join that is too large to be counted.
    """
    own = [pair for pair in repetitions.pairs if pair[0].step == pair[1].step]
    counter = _Counter(_filtered(relations, repetitions, own), repetitions.values)
    across = [pair for pair in repetitions.pairs if pair not in own]
    pairs = counter.weakest(across) if len(across) <= MAX_CANDIDATES else across
    if len(pairs) > MAX_PAIRS:
        raise OverflowError(f"{len(pairs)} pairs of steps can repeat something, more than {MAX_PAIRS}")
    return counter.count_without(pairs, frozenset())


def _filtered(relations: Sequence[Relation], repetitions: Repetitions, own: Iterable[Pair]) -> list[Relation]:
    """Relations without the rows that repeat something in themselves."""
    filtered = list(relations)
    for left, right in own:
        relation = filtered[left.step]
        rows = relation.rows[:, 0]
        filtered[left.step] = relation.where(repetitions.values[left][rows] != repetitions.values[right][rows])
    return filtered


class _Counter:
    """Counts the rows of a join in which some pairs are equal, and others are not."""

    def __init__(self, relations: Sequence[Relation], values: dict[Place, np.ndarray]) -> None:
        self._relations = relations
        self._values = values
        self._counts: dict[frozenset[Pair], int] = {}

    def count(self, equal: frozenset[Pair]) -> int:
        """Number of rows in which all of these pairs are equal."""
        if equal not in self._counts:
            relations = list(self._relations)
            for number, places in enumerate(_classes(equal)):
                attribute: Attribute = ("repeated", str(number))
                for place in places:
                    relations[place.step] = self._with_values(relations[place.step], attribute, place)
            self._counts[equal] = join_count(relations)
        return self._counts[equal]

    def _with_values(self, relation: Relation, attribute: Attribute, place: Place) -> Relation:
        column = self._values[place][relation.rows[:, 0]]
        if attribute in relation.columns:
            return relation.where(relation.columns[attribute] == column)
        return relation.with_column(attribute, column)

    def weakest(self, pairs: Iterable[Pair]) -> list[Pair]:
        """Those pairs that are equal at all, without those that are only where another one is."""
        kept: list[Pair] = []
        for pair in sorted(pairs, key=lambda pair: -self.count(frozenset([pair]))):
            count = self.count(frozenset([pair]))
            if count and not any(self.count(frozenset([pair, other])) == count for other in kept):
                kept.append(pair)
        return kept

    def count_without(self, pairs: Sequence[Pair], equal: frozenset[Pair]) -> int:
        """Number of rows in which none of ``pairs`` and all of ``equal`` are equal."""
        count = self.count(equal)
        if not pairs or not count:
            return count
        first, *others = pairs
        return self.count_without(others, equal) - self.count_without(others, equal | {first})


def _classes(equal: Iterable[Pair]) -> list[list[Place]]:
    """The places that pairs make equal, taken together."""
    classes: list[set[Place]] = []
    for pair in equal:
        touched = [places for places in classes if not places.isdisjoint(pair)]
        classes = [places for places in classes if places not in touched]
        classes.append(set(pair).union(*touched))
    return [sorted(places) for places in classes]
