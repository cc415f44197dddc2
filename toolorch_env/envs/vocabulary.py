"""The choices of the numeric environment: tools, and for each parameter name its own ways to fill it.

All of it comes from the snapshot, none from a task.
"""

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import orjson

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.tasks import Task
from toolorch_env.store.compiled import Link
from toolorch_env.store.snapshot import Snapshot

MAX_MENTIONS = 12
"""Number of mentions of a query that can be referred to."""

RECENT_RESPONSES = 2
"""Links refer to the latest or the second-latest response of their tool."""

LEAVE_OUT = 0
FINISH = 0


class Vocabulary:
    """What the components of an action mean.

    Attributes:
        snapshot: the snapshot.
        tools: tool names; action component 0 is 0 to finish, else 1 + the index of a tool.
        parameters: parameter names, sorted; action component 1 + i fills parameter i: 0 leaves it out, 1 + k takes the
            k-th value mentioned in the query, larger numbers take link l from the latest response
            (1 + MAX_MENTIONS + 2 l) or from the second-latest one (2 + MAX_MENTIONS + 2 l) of the link's tool.
        links: for each parameter its links, as (tool, column of the tool's compiled outputs).
        sizes: number of choices of each action component, int64.
        offsets: where each component begins in the flat mask.

    Raises:
        ConfigurationError: the snapshot is not compiled, so there are no links.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        compiled = snapshot.compiled
        if compiled is None:
            raise ConfigurationError(
                f"the snapshot {snapshot.name!r} is not compiled: ToolOrch-v0 has no links to offer"
            )
        self.snapshot = snapshot
        self.toolset: ToolSet = snapshot.tools
        self.tools = tuple(snapshot.tools)
        self.tool_index = {name: index for index, name in enumerate(self.tools)}
        signatures = {name: snapshot.tools.signature(name) for name in self.tools}
        self.parameters = tuple(sorted({name for signature in signatures.values() for name in signature.parameters}))
        position = {name: index for index, name in enumerate(self.parameters)}
        self.tool_parameters = tuple(
            tuple((name, position[name]) for name in signatures[tool].parameters) for tool in self.tools
        )
        self.link_list: tuple[Link, ...] = tuple(link for link in compiled.links if link.parameter in position)
        self.links = tuple(
            tuple(self._column(snapshot, link) for link in self.link_list if link.parameter == name)
            for name in self.parameters
        )
        sizes = [1 + len(self.tools)]
        sizes += [1 + MAX_MENTIONS + RECENT_RESPONSES * len(links) for links in self.links]
        self.sizes = np.array(sizes, np.int64)
        self.offsets = np.concatenate([[0], np.cumsum(self.sizes)[:-1]]).astype(np.int64)
        self.mask_size = int(self.sizes.sum())
        self._owners = tuple(
            tuple(tool for tool in self.tools if name in signatures[tool].parameters) for name in self.parameters
        )
        self.link_slots = self._slots_by_tool()
        self._accepting = lru_cache(4096)(self._accepting_uncached)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_accepting"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._accepting = lru_cache(4096)(self._accepting_uncached)

    @staticmethod
    def _column(snapshot: Snapshot, link: Link) -> tuple[str, int]:
        assert snapshot.compiled is not None
        return link.tool, snapshot.compiled.tables[link.tool].selects.index(link.select)

    def _slots_by_tool(self) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """For each tool three arrays over its links.

        The output columns; where the latest-response choices stand in the mask; and where among link choices alone.
        """
        found: dict[str, list[tuple[int, int]]] = {name: [] for name in self.tools}
        for parameter, links in enumerate(self.links):
            first = int(self.offsets[1 + parameter]) + 1 + MAX_MENTIONS
            for number, (tool, column) in enumerate(links):
                found[tool].append((column, first + RECENT_RESPONSES * number))
        slots = {}
        for tool, pairs in found.items():
            columns, positions = np.array(pairs, np.int64).reshape(-1, 2).T
            slots[tool] = (columns, positions, self.link_mask_positions.searchsorted(positions))
        return slots

    def first_mention_positions(self, value: Any) -> np.ndarray:
        """Where the choices of the first mention stand in the mask, for the parameters that take the value, int64."""
        # as a text, because the bytes that orjson makes hold on to the 4 KB that they were written into
        return self._accepting(canonical_json(value).decode())

    def accepts(self, parameter: int, value: Any) -> bool:
        """Whether the choices of a mention of this value are open for a parameter."""
        return bool((self.first_mention_positions(value) == self.offsets[1 + parameter] + 1).any())

    def _accepting_uncached(self, value: str) -> np.ndarray:
        fitting = [self._fits(name, orjson.loads(value)) for name in range(len(self.parameters))]
        positions: np.ndarray = self.offsets[1:][np.array(fitting, bool)] + 1
        return positions

    def _fits(self, parameter: int, value: Any) -> bool:
        name = self.parameters[parameter]
        signatures = (self.toolset.signature(tool) for tool in self._owners[parameter])
        return any(s.parameters[name].fits(s.parameters[name].read(value)) for s in signatures)

    @property
    def required(self) -> list[list[bool]]:
        """For each tool and each of its parameters whether a call has to pass it."""
        signatures = [self.toolset.signature(tool).parameters for tool in self.tools]
        return [
            [parameters[name].required and not parameters[name].has_default for name, _ in pairs]
            for parameters, pairs in zip(signatures, self.tool_parameters, strict=True)
        ]

    def initial_mask(self, task: Task) -> np.ndarray:
        """The choices that are open when the episode of a task begins, flat, bool; links are not."""
        mask = np.zeros(self.mask_size, bool)
        mask[self.offsets] = True  # finish, and leave out
        for name in task.tools:
            mask[1 + self.tool_index[name]] = True
        for index, mention in enumerate(task.mentions):
            mask[self.first_mention_positions(mention.value) + index] = True
        return mask

    @cached_property
    def link_mask_positions(self) -> np.ndarray:
        """Where the choices that are links stand in the flat mask, int64."""
        spans = [
            np.arange(offset + 1 + MAX_MENTIONS, offset + size)
            for offset, size in zip(self.offsets[1:], self.sizes[1:], strict=True)
        ]
        return np.concatenate(spans) if spans else np.empty(0, np.int64)
