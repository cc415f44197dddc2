"""What two recordings of an API do not have in common."""

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import orjson

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.tools import Tool
from toolorch_env.store.records import Record
from toolorch_env.store.sources import Source
from toolorch_env.store.stored_tasks import same_tasks


@dataclass(frozen=True, slots=True)
class DifferingCall:
    """A call that only one side holds, or that was answered differently.

    Attributes:
        left: its record on the left, ``None`` if there is none.
        right: its record on the right, ``None`` if there is none.
    """

    left: Record | None
    right: Record | None

    @property
    def tool(self) -> str:
        """Name of the tool."""
        return self._either.tool

    @property
    def arguments(self) -> dict[str, Any]:
        """The canonical arguments."""
        arguments: dict[str, Any] = orjson.loads(self._either.arguments)
        return arguments

    @property
    def _either(self) -> Record:
        record = self.left or self.right
        assert record is not None
        return record


@dataclass(frozen=True)
class Difference:
    """What two recordings do not have in common.

    Attributes:
        tools_added, tools_removed: names of tools that only the right or the left one holds.
        tools_changed: names of tools that both hold, but not alike; the answer to unknown input counts, which a
            recording learns only when it is finished.
        workflows_changed: whether the workflow documents differ.
        tasks_changed: whether the stored tasks differ.
        only_left, only_right, changed: number of calls by tool that only one holds, or that were answered differently.
        examples: some of these calls.
    """

    tools_added: tuple[str, ...]
    tools_removed: tuple[str, ...]
    tools_changed: tuple[str, ...]
    workflows_changed: bool
    tasks_changed: bool
    only_left: dict[str, int]
    only_right: dict[str, int]
    changed: dict[str, int]
    examples: tuple[DifferingCall, ...]

    @property
    def same(self) -> bool:
        """Whether there is no difference. Times, latencies and provenance do not count."""
        tools = self.tools_added or self.tools_removed or self.tools_changed
        calls = self.only_left or self.only_right or self.changed
        return not (tools or self.workflows_changed or self.tasks_changed or calls)


def difference(left: Source, right: Source, max_examples: int = 5) -> Difference:
    """Compares two recordings, in memory that does not grow with them.

    Args:
        left, right: the recordings.
        max_examples: how many calls to show of each kind of difference.

    Raises:
        SnapshotError: one of them cannot be read.
    """
    counts: dict[str, Counter[str]] = {"left": Counter(), "right": Counter(), "both": Counter()}
    examples = _count_calls(left, right, counts, max_examples)
    return Difference(
        *_tools(left, right),
        left.workflows != right.workflows,
        not same_tasks(left.tasks, right.tasks),
        dict(counts["left"]),
        dict(counts["right"]),
        dict(counts["both"]),
        tuple(examples),
    )


def _count_calls(
    left: Source, right: Source, counts: dict[str, Counter[str]], max_examples: int
) -> list[DifferingCall]:
    examples: list[DifferingCall] = []
    for pair in grouped_calls([left, right]):
        call = DifferingCall(*pair)
        if call.left is not None and call.right is not None:
            if same_answer(call.left, call.right):
                continue
            kind = "both"
        else:
            kind = "right" if call.left is None else "left"
        if counts[kind].total() < max_examples:
            examples.append(call)
        counts[kind][call.tool] += 1
    return examples


def _tools(left: Source, right: Source) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    added = tuple(name for name in right.tools if name not in left.tools)
    removed = tuple(name for name in left.tools if name not in right.tools)
    both = (name for name in left.tools if name in right.tools)
    return added, removed, tuple(n for n in both if _described(left.tools[n]) != _described(right.tools[n]))


def _described(tool: Tool) -> bytes:
    return canonical_json([tool.description, tool.parameters, tool.miss_status, tool.miss_body, tool.read_only])


def same_answer(left: Record, right: Record) -> bool:
    """Whether a call was answered alike; times and latencies do not count."""
    return left.response.status == right.response.status and left.response.raw == right.response.raw


def grouped_calls(sources: Sequence[Source]) -> Iterator[list[Record | None]]:
    """Each call that any of the sources holds, once: its record in each of them. In the order of rows."""

    def tagged(index: int, source: Source) -> Iterator[tuple[tuple[int, bytes], int, Record]]:
        for record in source.records():
            yield (record.response.row or 0, record.key), index, record

    merged = heapq.merge(*(tagged(*pair) for pair in enumerate(sources)), key=lambda entry: entry[0])
    for _, group in groupby(merged, key=lambda entry: entry[0]):
        found: list[Record | None] = [None] * len(sources)
        for _, index, record in group:
            found[index] = record
        yield found
