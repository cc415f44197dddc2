"""Join trees: the relations of a join, hung below each other so that each shares columns with its parent alone.

A join is acyclic when ears can be taken off one by one (Graham; Yu and Ozsoyoglu 1979). Where that gets stuck, the two
relations with the smallest join are joined, as in a hypertree decomposition; that stays small, since a step's row is
mostly settled by what its arguments are bound to. Where even the smallest is too large, equalities are given up until
a tree is left (:mod:`toolorch_env.generation.cycle_breaking`), to be checked on what is drawn.
"""

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NamedTuple

import numpy as np

from toolorch_env.generation.cycle_breaking import Equality, break_cycles
from toolorch_env.generation.relations import Attribute, Relation, common_groups, join_size, merge

MAX_MERGED_ROWS = 5_000_000
"""Two relations of a cycle are joined if that gives at most so many rows."""


@dataclass(eq=False)
class Node:
    """One relation in the join tree. Counted, its rows are those that can be completed, sorted by group.

    Attributes:
        relation: the relation, emptied once it is counted.
        children: its neighbours further down.
        positions: for each of its steps, the rows of the step's table.
        cumulative: number of completions of the first k rows, exact integers of any size.
        group_start: where each group of rows begins, and where the last one ends.
        group_of_parent_row: for each row of the parent the group that joins it.
    """

    relation: Relation
    children: "list[Node]" = field(default_factory=list)
    positions: Sequence[Sequence[int]] = ()
    cumulative: Sequence[int] = ()
    group_start: Sequence[int] = ()
    group_of_parent_row: Sequence[int] = ()

    @property
    def count(self) -> int:
        """Number of ways to complete any of the rows, once it is counted."""
        return self.cumulative[-1]

    @cached_property
    def arrays(self) -> "NodeArrays":
        """What is counted, as arrays."""
        return NodeArrays(
            [_as_array(positions) for positions in self.positions],
            _as_array(self.cumulative),
            _as_array(self.group_start),
            _as_array(self.group_of_parent_row),
        )


class NodeArrays(NamedTuple):
    """The sequences of a :class:`Node` as arrays; ``None`` stands for 0, 1, 2 and so on."""

    positions: list[np.ndarray | None]
    cumulative: np.ndarray | None
    group_start: np.ndarray | None
    group_of_parent_row: np.ndarray | None


class JoinTree(NamedTuple):
    """A counted join.

    Attributes:
        roots: a tree for each part that shares nothing with the others.
        size: number of their rows.
        equalities: those that a row must satisfy besides, for it to be one of the join.
    """

    roots: list[Node]
    size: int
    equalities: tuple[Equality, ...]


def count_tree(relations: Sequence[Relation], max_merged_rows: int = MAX_MERGED_ROWS) -> JoinTree:
    """The join of some relations, counted by dynamic programming, for its rows to be numbered."""
    roots, equalities = _build_tree(relations, max_merged_rows)
    for root in roots:
        _count(root, None)
        _forget_rows(root)
    return JoinTree(roots, prod(root.count for root in roots), tuple(equalities))


def join_count(relations: Sequence[Relation]) -> int:
    """Number of rows of a join.

    Raises:
        OverflowError: the join has cycles and is too large to be counted.
    """
    roots, equalities = _build_tree(relations, MAX_MERGED_ROWS)
    if equalities:
        raise OverflowError(f"two relations of a cycle have more than {MAX_MERGED_ROWS:,} rows joined")
    return prod(int(_completions(root, None)[0]) for root in roots)


def _build_tree(relations: Sequence[Relation], max_merged_rows: int) -> tuple[list[Node], list[Equality]]:
    """Hangs ears on their parents one by one; what an ear shares with the rest, it shares with its parent."""
    remaining = [Node(relation) for relation in relations]
    roots: list[Node] = []
    equalities: list[Equality] = []
    while remaining:
        found = _find_ear(remaining)
        if found is None:
            if not _merge_closest(remaining, max_merged_rows):
                equalities += _give_up_equalities(remaining)
            continue
        ear, parent = found
        remaining.remove(ear)
        if parent is None:
            roots.append(ear)
        else:
            parent.children.append(ear)
    return roots, equalities


def _find_ear(remaining: list[Node]) -> tuple[Node, Node | None] | None:
    for node in reversed(remaining):
        others = [other for other in remaining if other is not node]
        shared = _shared(node, others)
        if not shared:
            return node, None
        for other in others:
            if shared <= other.relation.columns.keys():
                return node, other
    return None


def _shared(node: Node, others: Iterable[Node]) -> set[Attribute]:
    return node.relation.columns.keys() & set().union(*(other.relation.columns for other in others))


def _merge_closest(remaining: list[Node], max_merged_rows: int) -> bool:
    """Joins the two relations whose join is smallest, which takes over their ears, unless that is too large."""
    pairs = [(left, right) for i, left in enumerate(remaining) for right in remaining[i + 1 :]]
    sharing = [pair for pair in pairs if _shared(pair[0], [pair[1]])]
    sizes = [join_size(left.relation, right.relation) for left, right in sharing]
    if min(sizes) > max_merged_rows:
        return False
    left, right = sharing[sizes.index(min(sizes))]
    joined = Node(merge(left.relation, right.relation), left.children + right.children)
    remaining[remaining.index(left)] = joined
    remaining.remove(right)
    return True


def _give_up_equalities(remaining: list[Node]) -> list[Equality]:
    """Renames columns until the relations are acyclic; those of ears go with the relation that they hang on."""
    broken = break_cycles([node.relation for node in remaining])
    for node, renamed in zip(remaining, broken.renamed, strict=True):
        _rename(node, renamed)
    return broken.equalities


def _rename(node: Node, renamed: dict[Attribute, Attribute]) -> None:
    node.relation = node.relation.renamed(renamed)
    for child in node.children:
        _rename(child, renamed)


def _weights(node: Node, factors: Sequence[np.ndarray]) -> np.ndarray:
    """For each row the number of its completions: int64, or exact integers of any size."""
    rows = len(node.relation.rows)
    bound = rows * prod(int(factor.max(initial=0)) for factor in factors)
    weights = np.ones(rows, np.int64 if bound < 2**63 else object)
    for factor in factors:
        weights = weights * factor
    return weights


def _groups(node: Node, parent: Node | None) -> tuple[np.ndarray, np.ndarray, int]:
    """Group of each row of a node, that of each row of its parent (of the only one there is), and their number."""
    if parent is None:
        return np.zeros(len(node.relation.rows), np.int64), np.zeros(1, np.int64), 1
    return common_groups(node.relation, parent.relation)


def _completions(node: Node, parent: Node | None) -> np.ndarray:
    """For each row of the parent, the number of completions in a node: int64, or exact integers of any size."""
    weights = _weights(node, [_completions(child, node) for child in node.children])
    groups, parent_groups, count = _groups(node, parent)
    totals = np.zeros(count, weights.dtype)
    np.add.at(totals, groups, weights)
    found: np.ndarray = totals[parent_groups]
    return found


def _count(node: Node, parent: Node | None) -> np.ndarray:
    """Weighs each row by the number of its completions, and groups rows by what the parent asks for.

    Returns:
        What :func:`_completions` does.
    """
    weights = _weights(node, [_count(child, node) for child in node.children])
    groups, parent_groups, count = _groups(node, parent)
    order = np.argsort(groups, kind="stable")
    order = order[weights[order] != 0]
    cumulative = np.cumsum(np.concatenate([np.zeros(1, weights.dtype), weights[order]]))
    starts = np.searchsorted(groups[order], np.arange(count + 1))
    for child in node.children:
        child.group_of_parent_row = _compact(np.array(child.group_of_parent_row, np.int64)[order])
    node.positions = [_compact(column[order]) for column in node.relation.rows.T]
    node.cumulative = _compact(cumulative)
    node.group_start = _compact(starts)
    node.group_of_parent_row = _compact(parent_groups)
    totals: np.ndarray = (cumulative[starts[1:]] - cumulative[starts[:-1]])[parent_groups]
    return totals


def _forget_rows(node: Node) -> None:
    """Gives the memory of the relations back: the counted tree does without."""
    node.relation = Relation(node.relation.steps, np.empty((0, 0), np.int64), {})
    for child in node.children:
        _forget_rows(child)


def _compact(values: np.ndarray) -> Sequence[int]:
    """Integers for reading one by one, in as little memory as they allow (numpy reads single elements slowly)."""
    largest = int(values.max()) if len(values) else 0
    if largest == len(values) - 1 and bool((values == np.arange(len(values))).all()):
        return range(len(values))
    for code, limit in (("H", 2**16), ("i", 2**31), ("q", 2**63)):
        if largest < limit:
            return array(code, values.astype(code).tobytes())
    return list(map(int, values))


def _as_array(values: Sequence[int]) -> np.ndarray | None:
    """Compact integers as an array, int64 or objects; ``None`` for those from 0 on."""
    if isinstance(values, range):
        return None
    if isinstance(values, array):
        return np.frombuffer(values, values.typecode).astype(np.int64)
    return np.array(values, object)
