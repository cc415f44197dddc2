"""A workflow on a snapshot is a join: count its valid traces exactly, and turn numbers into traces.

Rows are recorded responses. A literal that two steps share, or a binding of an argument to an earlier response, is an
equality between columns. The join is made a tree (:mod:`toolorch_env.generation.join_tree`), the completions below
every row are counted once by dynamic programming, and the k-th trace is found by descending with k: no draw is
rejected, and uniform k gives uniform traces. That rows are to be drawn by the number of their completions goes back to
Chaudhuri, Motwani and Narasayya, "On Random Sampling over Joins" (SIGMOD 1999); with exact weights on a tree it is the
sampler of Zhao et al., "Random Sampling over Joins Revisited" (SIGMOD 2018); numbered, it is the direct access of
Carmeli et al., "Answering (Unions of) Conjunctive Queries using Random Access and Random-Order Enumeration" (PODS
2020). A cyclic join that is too large for a tree is sampled from a tree that has more rows, as in Zhao et al., and what
is drawn is accepted or rejected; it stays uniform.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.generation.batches import descend, random_numbers
from toolorch_env.generation.broken_edges import broken_edges, broken_step
from toolorch_env.generation.estimates import Estimate, estimated
from toolorch_env.generation.join_tree import MAX_MERGED_ROWS, Node, count_tree
from toolorch_env.generation.relations import Relation, RelationBuilder
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.workflows import Workflow, WorkflowStep

MAX_ENUMERATED = 2_000_000
"""That many numbers are looked at one by one, where counting needs it."""

ESTIMATE_DRAWS = 200_000
"""Draws that an estimate stands on, where there are more numbers."""

_CHUNK = 100_000


class TraceJoin:
    """All traces of a workflow on a compiled snapshot, by number.

    Args:
        workflow: the workflow.
        compiled: the compiled snapshot.
        tools: its tools.
        max_merged_rows: relations of a cycle are joined up to so many rows; beyond, draws are rejected.

    Attributes:
        count: the numbers are those from 0 to ``count`` - 1, an exact integer of any size. Where :attr:`is_exact`
            holds, which only large cyclic joins do not, each of them is a trace.

    Raises:
        WorkflowError: the snapshot is not compiled for one of the workflow's selections.
    """

    def __init__(
        self, workflow: Workflow, compiled: Compiled, tools: ToolSet, max_merged_rows: int = MAX_MERGED_ROWS
    ) -> None:
        self.workflow = workflow
        self._builder = RelationBuilder(workflow, compiled, tools)
        self._max_merged_rows = max_merged_rows
        self._roots, self.count, self._equalities = count_tree(self.relations(), max_merged_rows)

    @property
    def roots(self) -> Sequence[Node]:
        """The counted trees: a number is divided by their counts in turn, and each tree descended with what remains."""
        return self._roots

    @property
    def is_exact(self) -> bool:
        """Whether every number is a trace."""
        return not self._equalities

    def relations(self) -> list[Relation]:
        """The relation of each step in order, made anew."""
        return [self._builder.build(step) for step in self.workflow.order]

    def trace(self, number: int) -> list[int]:
        """For each step in order its row in number ``number``, which lies in [0, count)."""
        chosen = [0] * len(self.workflow.order)
        for root in self._roots:
            number, rest = divmod(number, root.count)
            _descend(root, 0, rest, chosen)
        return chosen

    def traces(self, numbers: np.ndarray) -> np.ndarray:
        """:meth:`trace` of many numbers at once: int64, shape (n, steps).

        Args:
            numbers: in [0, count), int64, or objects where they are larger.
        """
        return descend(self._roots, numbers, len(self.workflow.order))

    def fit(self, rows: np.ndarray) -> np.ndarray:
        """Which of the rows of :meth:`traces` are traces: bool, shape (n,); all where :attr:`is_exact` holds."""
        fit = np.ones(len(rows), bool)
        for equality in self._equalities:
            fit &= equality.holds(rows)
        return fit

    def sample(self, rng: np.random.Generator, n: int) -> np.ndarray:
        """Uniform traces, each drawn independently of the others: int64, shape (n, steps).

        Raises:
            ValueError: there are no traces.
        """
        if not self.trace_count.value:
            raise ValueError(f"the workflow {self.workflow.name!r} has no traces here")
        found = [np.empty((0, len(self.workflow.order)), np.int64)]
        missing = n
        while missing:
            numbers = missing if self.is_exact else min(round(missing / self.acceptance) + 64, MAX_ENUMERATED)
            rows = self.traces(random_numbers(rng, self.count, numbers))
            found.append(rows[self.fit(rows)][:missing])
            missing -= len(found[-1])
        return np.concatenate(found)

    @cached_property
    def trace_count(self) -> Estimate:
        """Number of traces; exact unless the join is cyclic and too large both for a tree and for looking at all."""
        if self.is_exact or not self.count:
            return Estimate.exactly(self.count)
        return self.count_where(self.fit)

    @property
    def acceptance(self) -> float:
        """Share of all numbers that are traces; 1 where :attr:`is_exact` holds."""
        return self.trace_count.value / self.count if self.count else 1.0

    def count_where(self, wanted: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """How many numbers give rows that are wanted: exact if there are at most :data:`MAX_ENUMERATED`."""
        if self.count <= MAX_ENUMERATED:
            return Estimate.exactly(sum(int(wanted(rows).sum()) for rows in self.all_rows()))
        rng = np.random.default_rng(0)
        accepted = 0
        for _ in range(0, ESTIMATE_DRAWS, _CHUNK):
            accepted += int(wanted(self.traces(random_numbers(rng, self.count, _CHUNK))).sum())
        return estimated(self.count, ESTIMATE_DRAWS, accepted)

    def all_rows(self) -> Iterator[np.ndarray]:
        """The rows of all numbers in order, piece by piece."""
        for start in range(0, self.count, _CHUNK):
            yield self.traces(np.arange(start, min(start + _CHUNK, self.count)))

    def broken_step(self) -> WorkflowStep | None:
        """The first step for which no rows are left, where there are no traces at all; else ``None``."""
        if self.trace_count.value:
            return None
        return broken_step(self.workflow, self.relations(), self._max_merged_rows)

    def broken_edges(self) -> list[str]:
        """Which edges of :meth:`broken_step` no recorded responses fit, in words; nothing where it is ``None``."""
        step = self.broken_step()
        if step is None:
            return []
        return broken_edges(self.workflow, step, self.relations(), self._builder, self._max_merged_rows)


def _descend(node: Node, group: int, rest: int, chosen: list[int]) -> None:
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
