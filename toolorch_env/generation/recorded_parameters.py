"""Which parameters the recorded calls of each tool pass, and which of them go together."""

from functools import cached_property, lru_cache

import numpy as np

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.draws import Draws
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.interned import ABSENT

LONGEST_SAID = 60
"""Texts of more characters are nothing that a user would say."""

_TOGETHER = 1.05
_LOOKED_AT = 100


class RecordedParameters:
    """What the recorded successes of each tool pass.

    Args:
        compiled: the compiled snapshot.
        tools: its tools.
    """

    def __init__(self, compiled: Compiled, tools: ToolSet) -> None:
        self._compiled = compiled
        self._tools = tools
        self.partners = lru_cache(None)(self._partners)
        self.unsayable = lru_cache(None)(self._unsayable)
        self.required = lru_cache(None)(self._required)
        self._patterns = lru_cache(None)(self._count_patterns)

    @cached_property
    def tools(self) -> tuple[str, ...]:
        """The tools that have any recorded success."""
        return tuple(name for name in self._tools if len(self._compiled.tables[name].rows))

    def is_passed(self, tool: str, parameter: str) -> bool:
        """Whether any recorded success passes a parameter."""
        table = self._compiled.tables[tool]
        return bool((table.arguments[:, table.parameters.index(parameter)] != ABSENT).any())

    def _unsayable(self, tool: str) -> frozenset[str]:
        """Required parameters whose recorded values are mostly texts that nobody would say, such as long tokens."""
        found = set()
        for name in self._required(tool):
            values = [self._compiled.values[number] for number in self._compiled.argument_ids(tool, name)[:_LOOKED_AT]]
            long = sum(isinstance(value, str) and len(value) > LONGEST_SAID for value in values)
            if 2 * long > len(values):
                found.add(name)
        return frozenset(found)

    def _required(self, tool: str) -> tuple[str, ...]:
        """Parameters that every call of a tool has to pass."""
        parameters = self._tools.signature(tool).parameters.values()
        return tuple(parameter.name for parameter in parameters if parameter.required and not parameter.has_default)

    def draw_optional(self, draws: Draws, tool: str, passed: frozenset[str]) -> frozenset[str]:
        """Optional parameters that recorded calls pass together, as often as they do.

        Args:
            draws: decides.
            tool: the tool.
            passed: optional parameters that are passed in any case; alone, where no recorded call passes them all.
        """
        patterns = [(names, count) for names, count in self._patterns(tool) if names >= passed]
        if not patterns:
            return passed
        rest = draws.below(sum(count for _, count in patterns))
        for names, count in patterns:
            if rest < count:
                return names
            rest -= count
        raise AssertionError("the counts add up")

    def _count_patterns(self, tool: str) -> list[tuple[frozenset[str], int]]:
        """The sets of optional parameters that recorded calls pass, and by how many calls."""
        table, required = self._compiled.tables[tool], self._required(tool)
        columns = [index for index, name in enumerate(table.parameters) if name not in required]
        passed, counts = np.unique(table.arguments[:, columns] != ABSENT, axis=0, return_counts=True)
        return [
            (
                frozenset(
                    table.parameters[column] for column, is_passed in zip(columns, row, strict=True) if is_passed
                ),
                n,
            )
            for row, n in zip(passed.tolist(), counts.tolist(), strict=True)
        ]

    def _partners(self, tool: str, parameter: str) -> frozenset[str]:
        """Required parameters whose value settles that of this one and is settled by it, as the two of a position."""
        own = self._column(tool, parameter)
        distinct = len(np.unique(own))
        found = set()
        for name in self._required(tool):
            other = self._column(tool, name)
            pairs = len(np.unique(np.stack([own, other]), axis=1).T)
            if name != parameter and 1 < pairs <= _TOGETHER * min(distinct, len(np.unique(other))):
                found.add(name)
        return frozenset(found)

    def _column(self, tool: str, parameter: str) -> np.ndarray:
        table = self._compiled.tables[tool]
        column: np.ndarray = table.arguments[:, table.parameters.index(parameter)]
        return column
