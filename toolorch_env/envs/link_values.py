"""What the links of a snapshot select from responses, also from those that are not in the snapshot."""

from typing import Any

import numpy as np

from toolorch_env.core.canonical import tokens
from toolorch_env.core.responses import Response
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot


class LinkValues:
    """The values that output expressions select in one episode, by number.

    The numbers are the value ids of the compiled form; what the API answered live gets numbers after them.

    Args:
        snapshot: a snapshot that is compiled.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._more: list[Any] = []

    @property
    def _compiled(self) -> Compiled:
        assert self._snapshot.compiled is not None
        return self._snapshot.compiled

    def __getitem__(self, number: int) -> Any:
        values = self._compiled.values
        return values[number] if number < len(values) else self._more[number - len(values)]

    def outputs(self, tool: str, response: Response) -> np.ndarray:
        """The numbers of what each output expression of a tool selects; int32, :data:`ABSENT` for nothing.

        Args:
            tool: tool name.
            response: what the API said to a call of it, or to a nearest one.
        """
        table = self._compiled.tables[tool]
        if response.row is None:
            return np.array([self._select(select, response) for select in table.selects], np.int32)
        place = table.find(response.row)
        return table.outputs[place] if place is not None else np.full(len(table.selects), ABSENT, np.int32)

    def _select(self, select: str, response: Response) -> int:
        value = Selector(select)(response.body)
        if value is None or not tokens(value) <= response.tokens:  # what is computed is no link
            return ABSENT
        self._more.append(value)
        return len(self._compiled.values) + len(self._more) - 1
