"""Breaking the cycles of a join: which equalities to give up so that what is left is a tree.

The relations are joined along a spanning tree, the one whose joins are most selective, as in the skeleton of Zhao et
al., "Random Sampling over Joins Revisited" (SIGMOD 2018). By a theorem of Bernstein and Goodman (1981) a tree is a
join tree when the relations with a column are neighbours for every column; where they fall apart, the column gets a
name of its own in each part, and the equality of the parts is to be checked on what is drawn.
"""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import numpy as np

from toolorch_env.generation.relations import Attribute, Relation, join_size


class Equality(NamedTuple):
    """Two steps whose rows must have the same value in a column.

    Attributes:
        left, right: indices of the steps (columns of the rows of a trace).
        left_values, right_values: the value of each row of the step's table.
    """

    left: int
    right: int
    left_values: np.ndarray
    right_values: np.ndarray

    def holds(self, rows: np.ndarray) -> np.ndarray:
        """Whether it holds in rows of a join, int64, shape (n, steps); bool, shape (n,)."""
        holds: np.ndarray = self.left_values[rows[:, self.left]] == self.right_values[rows[:, self.right]]
        return holds


class BrokenCycles(NamedTuple):
    """What to do for relations to form a tree.

    Attributes:
        renamed: for each relation, new names of its columns.
        equalities: those that are given up thereby.
    """

    renamed: list[dict[Attribute, Attribute]]
    equalities: list[Equality]


def break_cycles(relations: Sequence[Relation]) -> BrokenCycles:
    """Makes a tree of relations by giving equalities up."""
    edges = _spanning_tree(relations)
    renamed: list[dict[Attribute, Attribute]] = [{} for _ in relations]
    equalities = []
    for attribute in sorted(set().union(*(relation.columns for relation in relations))):
        holders = [index for index, relation in enumerate(relations) if attribute in relation.columns]
        first, *others = _parts(holders, edges)
        for number, part in enumerate(others, 1):
            equalities.append(_equality(relations[first[0]], relations[part[0]], attribute))
            for index in part:
                renamed[index][attribute] = (*attribute, f"part {number}")
    return BrokenCycles(renamed, equalities)


def _spanning_tree(relations: Sequence[Relation]) -> list[tuple[int, int]]:
    """The edges of a spanning forest, those preferred that leave the smallest share of all pairs of rows."""
    edges = []
    for left, relation in enumerate(relations):
        for right in range(left + 1, len(relations)):
            if relation.columns.keys() & relations[right].columns.keys():
                pairs = len(relation.rows) * len(relations[right].rows)
                share = log(max(join_size(relation, relations[right]), 1)) - log(max(pairs, 1))
                edges.append((share, left, right))
    tree: list[tuple[int, int]] = []
    for _, left, right in sorted(edges):
        if not any(left in part and right in part for part in _parts(range(len(relations)), tree)):
            tree.append((left, right))
    return tree


def _parts(indices: Sequence[int], edges: Sequence[tuple[int, int]]) -> list[list[int]]:
    """The connected parts of some vertices, by the edges between them."""
    parts = [[index] for index in indices]
    for left, right in edges:
        touched = [part for part in parts if left in part or right in part]
        if len(touched) == 2 and left in indices and right in indices:
            parts = [part for part in parts if part not in touched]
            parts.append(sorted(touched[0] + touched[1]))
    return sorted(parts)


def _equality(left: Relation, right: Relation, attribute: Attribute) -> Equality:
    left_step, left_values = _by_row(left, attribute)
    right_step, right_values = _by_row(right, attribute)
    return Equality(left_step, right_step, left_values, right_values)


def _by_row(relation: Relation, attribute: Attribute) -> tuple[int, np.ndarray]:
    """A step that settles the value of a column, and the value for each row of its table."""
    place = relation.places.get(attribute, 0)
    rows = relation.rows[:, place]
    values = np.zeros(int(rows.max(initial=-1)) + 1, np.int64)
    values[rows] = relation.columns[attribute]
    return relation.steps[place], values
