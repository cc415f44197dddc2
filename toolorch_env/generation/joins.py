"""A workflow on a snapshot is a join: count its valid traces exactly, and turn numbers into traces.

Rows are recorded responses. A literal that two steps share, or a binding of an argument to an earlier response, is an
equality between columns. Where the join has cycles, relations are joined pairwise until it is a tree (acyclic in the
sense of Graham, Yu and Ozsoyoglu); that stays small, since a step's row is settled by what its arguments are bound to.
On the tree the completions below every row are counted once by dynamic programming, and the k-th trace is found by
descending with k: every draw is valid, none is rejected, and uniform k gives uniform traces (Zhao et al., "Random
Sampling over Joins Revisited", SIGMOD 2018).
"""

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.generation.relations import Relation, RelationBuilder, common_groups, join_size, merge
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.workflows import Workflow, WorkflowStep


@dataclass(eq=False)
class _Node:
    """One relation in the join tree. Its rows are those that can be completed, sorted by group.

    Attributes:
        relation: the relation, emptied once it is counted.
        children: its neighbours further down.
        positions: for each of its steps, the rows of the step's table.
        cumulative: number of completions of the first k rows, exact integers of any size.
        group_start: where each group of rows begins, and where the last one ends.
        group_of_parent_row: for each row of the parent the group that joins it.
    """

    relation: Relation
    children: "list[_Node]" = field(default_factory=list)
    positions: Sequence[Sequence[int]] = ()
    cumulative: Sequence[int] = ()
    group_start: Sequence[int] = ()
    group_of_parent_row: Sequence[int] = ()


class TraceJoin:
    """All traces of a workflow on a compiled snapshot, numbered from 0 to :attr:`count` - 1.

    Args:
        workflow: the workflow.
        compiled: the compiled snapshot.
        tools: its tools.

    Attributes:
        count: number of traces, an exact integer of any size.

    Raises:
        WorkflowError: the snapshot is not compiled for one of the workflow's selections, or a cyclic join is too large.
    """

    def __init__(self, workflow: Workflow, compiled: Compiled, tools: ToolSet) -> None:
        self.workflow = workflow
        self._builder = RelationBuilder(workflow, compiled, tools)
        self._roots, self.count = _count_tree([self._builder.build(step) for step in workflow.order])

    def trace(self, number: int) -> list[int]:
        """For each step in order its row in trace ``number``, which lies in [0, count)."""
        chosen = [0] * len(self.workflow.order)
        for root in self._roots:
            number, rest = divmod(number, root.cumulative[-1])
            _descend(root, 0, rest, chosen)
        return chosen

    def broken_step(self) -> WorkflowStep | None:
        """The first step for which no rows are left, where there are no traces at all; else ``None``."""
        if self.count:
            return None
        relations = [self._builder.build(step) for step in self.workflow.order]
        for prefix, step in enumerate(self.workflow.order, 1):
            if not _count_tree(relations[:prefix])[1]:
                return step
        return None


def _descend(node: _Node, group: int, rest: int, chosen: list[int]) -> None:
    """Writes the ``rest``-th completion of a group of a node's rows into ``chosen``."""
    start, end = node.group_start[group], node.group_start[group + 1]
    target = node.cumulative[start] + rest
    row = bisect_right(node.cumulative, target, start + 1, end + 1) - 1
    for step, positions in zip(node.relation.steps, node.positions, strict=True):
        chosen[step] = positions[row]
    rest = target - node.cumulative[row]
    for child in node.children:
        inner = child.group_of_parent_row[row]
        size = child.cumulative[child.group_start[inner + 1]] - child.cumulative[child.group_start[inner]]
        rest, share = divmod(rest, size)
        _descend(child, inner, share, chosen)


def _count_tree(relations: Sequence[Relation]) -> tuple[list[_Node], int]:
    """The roots of the join tree, counted, and the number of traces."""
    roots = _build_tree(relations)
    for root in roots:
        _count(root, None)
        _forget_rows(root)
    return roots, prod(root.cumulative[-1] for root in roots)


def _build_tree(relations: Sequence[Relation]) -> list[_Node]:
    """Hangs ears on their parents one by one; what an ear shares with the rest, it shares with its parent."""
    remaining = [_Node(relation) for relation in relations]
    roots = []
    while remaining:
        found = _find_ear(remaining)
        if found is None:
            _merge_closest(remaining)
            continue
        ear, parent = found
        remaining.remove(ear)
        if parent is None:
            roots.append(ear)
        else:
            parent.children.append(ear)
    return roots


def _find_ear(remaining: list[_Node]) -> tuple[_Node, _Node | None] | None:
    for node in reversed(remaining):
        others = [other for other in remaining if other is not node]
        shared = _shared(node, others)
        if not shared:
            return node, None
        for other in others:
            if shared <= other.relation.columns.keys():
                return node, other
    return None


def _shared(node: _Node, others: list[_Node]) -> set[tuple[str, ...]]:
    return node.relation.columns.keys() & set().union(*(other.relation.columns for other in others))


def _merge_closest(remaining: list[_Node]) -> None:
    """Joins the two relations whose join is smallest; it takes over their ears."""
    pairs = [(left, right) for i, left in enumerate(remaining) for right in remaining[i + 1 :]]
    sharing = [pair for pair in pairs if _shared(pair[0], [pair[1]])]
    left, right = min(sharing, key=lambda pair: join_size(pair[0].relation, pair[1].relation))
    joined = _Node(merge(left.relation, right.relation), left.children + right.children)
    remaining[remaining.index(left)] = joined
    remaining.remove(right)


def _count(node: _Node, parent: _Node | None) -> np.ndarray:
    """Weighs each row by the number of its completions, and groups rows by what the parent asks for.

    Returns:
        For each row of the parent, the number of completions in this node: int64, or exact integers of any size.
    """
    relation, rows = node.relation, len(node.relation.rows)
    factors = [_count(child, node) for child in node.children]
    bound = rows * prod(int(factor.max(initial=0)) for factor in factors)
    weights = np.ones(rows, np.int64 if bound < 2**63 else object)
    for factor in factors:
        weights = weights * factor
    groups, parent_groups, count = np.zeros(rows, np.int64), np.zeros(1, np.int64), 1
    if parent is not None:
        groups, parent_groups, count = common_groups(relation, parent.relation)
    order = np.argsort(groups, kind="stable")
    order = order[weights[order] != 0]
    cumulative = np.cumsum(np.concatenate([np.zeros(1, weights.dtype), weights[order]]))
    starts = np.searchsorted(groups[order], np.arange(count + 1))
    for child in node.children:
        child.group_of_parent_row = _compact(np.array(child.group_of_parent_row, np.int64)[order])
    node.positions = [_compact(column[order]) for column in relation.rows.T]
    node.cumulative = _compact(cumulative)
    node.group_start = _compact(starts)
    node.group_of_parent_row = _compact(parent_groups)
    totals: np.ndarray = (cumulative[starts[1:]] - cumulative[starts[:-1]])[parent_groups]
    return totals


def _forget_rows(node: _Node) -> None:
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
