"""Values by number: how tools read them, which are equal, and which parameters take them as mentions."""

from typing import Any, NamedTuple

import numpy as np

from toolorch_env.core.canonical import canonical_json, rounded, token
from toolorch_env.envs.vocabulary import Vocabulary
from toolorch_env.store.interned import ABSENT

NO_TOKEN = -2
"""Stands in the place of a token for what nobody has to see before using it."""

MANY_TOKENS = -1
"""Stands in the place of a token for lists and objects."""

_ROOM = 1024


class ValueArrays(NamedTuple):
    """What is known of values, by number; n of them have room.

    Attributes:
        same: int32, shape (n,): equal for values that are equal when fractions are rounded.
        is_rounded: bool, shape (n,): whether rounding changes nothing.
        tokens: int32, shape (n,): equal for values that are recognised by the same text; :data:`NO_TOKEN`,
            :data:`MANY_TOKENS`.
        readings: int32, shape (parameters of tools, n): 0 where it is not known yet, else 1 + 2 (1 + number of the
            value as the tool reads it, ABSENT for the default) + (1 if it fits the schema).
        accepts: bool, shape (n, parameter names): which choices a mention of it opens.
        is_asked: bool, shape (n,): whether ``accepts`` is known.
    """

    same: np.ndarray
    is_rounded: np.ndarray
    tokens: np.ndarray
    readings: np.ndarray
    accepts: np.ndarray
    is_asked: np.ndarray


class Values:
    """Numbers all values that tasks and responses hold: those of the compiled form, and others as they come.

    Args:
        vocabulary: of a compiled snapshot.

    Attributes:
        arrays: what is known of them; other arrays after there was no room.
        parameters: (tool, parameter) by their number, tool by tool.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        compiled = vocabulary.snapshot.compiled
        assert compiled is not None
        self._vocabulary = vocabulary
        self._known = compiled.values
        self._more: list[Any] = []
        self._numbers: dict[bytes, int] = {}
        self._same: dict[bytes, int] = {}
        self._tokens: dict[str, int] = {}
        self.parameters = [
            (tool, name) for tool, pairs in zip(vocabulary.tools, vocabulary.tool_parameters, strict=True)
            for name, _ in pairs
        ]  # fmt: skip
        self.arrays = self._make_room(len(self._known) + _ROOM)
        self.arrays.same[: len(self._known)] = self._known.rounded_numbers
        for number, value in enumerate(self._known):
            self._describe(number, value)

    def __len__(self) -> int:
        return len(self._known) + len(self._more)

    def __getitem__(self, number: int) -> Any:
        return self._known[number] if number < len(self._known) else self._more[number - len(self._known)]

    def number(self, value: Any) -> int:
        """The number of a value; a new one gets the next."""
        written = canonical_json(value)
        number = self._numbers.get(written)
        if number is None:
            number = self._known.find(written)
            if number == ABSENT:
                number = self._add(value)
            self._numbers[bytes(memoryview(written))] = number
        return number

    def read(self, parameter: int, number: int) -> None:
        """Finds out how a tool reads a value.

        Args:
            parameter: number of the tool's parameter.
            number: of the value.
        """
        tool, name = self.parameters[parameter]
        reader = self._vocabulary.toolset.signature(tool).parameters[name]
        value = reader.read(self[number])
        is_default = reader.has_default and reader.is_default(value)
        read = ABSENT if is_default else self.number(value)
        self.arrays.readings[parameter, number] = 1 + 2 * (1 + read) + reader.fits(value)

    def accept(self, number: int) -> None:
        """Finds out which parameters take a value as a mention."""
        positions = self._vocabulary.first_mention_positions(self[number])
        self.arrays.accepts[number, self._vocabulary.offsets[1:].searchsorted(positions - 1)] = True
        self.arrays.is_asked[number] = True

    def _add(self, value: Any) -> int:
        number = len(self)
        if number >= len(self.arrays.same):
            self._grow()
        self._more.append(value)
        same = self._known.rounded_number(value)
        written = bytes(memoryview(canonical_json(rounded(value))))
        self.arrays.same[number] = self._same.setdefault(written, number) if same == ABSENT else same
        self._describe(number, value)
        return number

    def _describe(self, number: int, value: Any) -> None:
        arrays, kind = self.arrays, type(value)
        if kind is str or kind is int:
            arrays.is_rounded[number] = True
        else:
            arrays.is_rounded[number] = canonical_json(rounded(value)) == canonical_json(value)
        text = token(value)
        if text is not None:
            arrays.tokens[number] = self._tokens.setdefault(text, len(self._tokens))
        else:
            arrays.tokens[number] = MANY_TOKENS if kind is list or kind is dict else NO_TOKEN

    def _make_room(self, count: int) -> ValueArrays:
        names = len(self._vocabulary.parameters)
        return ValueArrays(
            np.zeros(count, np.int32),
            np.zeros(count, bool),
            np.zeros(count, np.int32),
            np.zeros((len(self.parameters), count), np.int32),
            np.zeros((count, names), bool),
            np.zeros(count, bool),
        )

    def _grow(self) -> None:
        before, count = self.arrays, len(self.arrays.same)
        self.arrays = self._make_room(2 * count)
        for new, old in zip(self.arrays, before, strict=True):
            new[tuple(map(slice, old.shape))] = old
