"""JSON values by number: many of them in little memory, decoded when they are asked for."""

from array import array
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any, overload

import numpy as np
import orjson

from toolorch_env.core.canonical import canonical_json, rounded

ABSENT = -1
"""Stands for: no such value."""

_MOST_DECODED = 16_384


class InternedValues(Sequence[Any]):
    """Different JSON values, in the order of their canonical JSON; a value's number is its place.

    Args:
        text: the canonical JSON of all values, one after the other.
        ends: where each one ends, int64, shape (n,).
        rounded_numbers: for each value the smallest number of those equal to it when fractions are rounded; int32,
            shape (n,).
    """

    def __init__(self, text: bytes, ends: np.ndarray, rounded_numbers: np.ndarray) -> None:
        self.text = text
        self.rounded_numbers = rounded_numbers
        self._places = array("q", [0])  # where each value begins, and the last one ends
        self._places.frombytes(ends.astype(np.int64).tobytes())
        self._decoded: dict[int, Any] = {}

    @property
    def ends(self) -> np.ndarray:
        """Where each value ends in the text, int64, shape (n,)."""
        return np.frombuffer(self._places, np.int64)[1:]

    @classmethod
    def of(cls, written: Iterable[bytes]) -> "InternedValues":
        """The values of which the canonical JSON is given, in any order."""
        pieces = sorted(set(written))
        ends = np.cumsum(np.array([len(piece) for piece in pieces], np.int64))
        values = cls(b"".join(pieces), ends.astype(np.int64), np.arange(len(pieces), dtype=np.int32))
        for number in values._fractional():
            values.rounded_numbers[number] = values.rounded_number(values[number])
        for rounded_json, number in values._fractions.items():  # a whole number may be what fractions are rounded to
            exact = values.find(rounded_json)
            if exact != ABSENT:
                values.rounded_numbers[exact] = min(exact, number)
        return values

    def __len__(self) -> int:
        return len(self._places) - 1

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        found = self._decoded.get(index)
        if found is not None:
            return found
        value = orjson.loads(self._written(range(len(self))[index]))
        if isinstance(value, str | int | float):  # what cannot be changed by whoever gets it
            if len(self._decoded) >= _MOST_DECODED:
                self._decoded.clear()
            self._decoded[index] = value
        return value

    def _written(self, number: int) -> bytes:
        return self.text[self._places[number] : self._places[number + 1]]

    def find(self, written: bytes) -> int:
        """The number of a value by its canonical JSON, :data:`ABSENT` if it is not there."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self._written(middle) < written:
                low = middle + 1
            else:
                high = middle
        return low if low < len(self) and self._written(low) == written else ABSENT

    def rounded_number(self, value: Any) -> int:
        """The smallest number of a value equal to ``value`` when fractions are rounded, :data:`ABSENT` if none is."""
        written = canonical_json(rounded(value))
        found = [number for number in (self.find(written), self._fractions.get(written, ABSENT)) if number != ABSENT]
        return min(found, default=ABSENT)

    def _fractional(self) -> list[int]:
        """Numbers of the values in which fractions may stand."""
        return [number for number in range(len(self)) if _may_hold_fraction(self._written(number))]

    @cached_property
    def _fractions(self) -> dict[bytes, int]:
        """Smallest number of those values that rounding changes, by what they are then."""
        found: dict[bytes, int] = {}
        for number in self._fractional():
            # copied, because the bytes that orjson makes hold on to the 4 KB that they were written into
            written = bytes(memoryview(canonical_json(rounded(self[number]))))
            if written != self._written(number):
                found.setdefault(written, number)
        return found


def _may_hold_fraction(written: bytes) -> bool:
    return written[:1] != b'"' and (b"." in written or b"e" in written)
