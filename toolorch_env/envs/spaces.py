"""A space of Unicode texts that works in vector environments."""

import multiprocessing
from collections.abc import Sequence
from multiprocessing.sharedctypes import SynchronizedArray
from types import ModuleType
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector.utils import create_empty_array, create_shared_memory, read_from_shared_memory
from gymnasium.vector.utils.shared_memory import write_to_shared_memory

_SAMPLE_CHARACTERS = 'abcdefghijklmnopqrstuvwxyz 0123456789{}[]":,<>/_.?éß漢🛫'
_MAX_BYTES_PER_CHARACTER = 4
_LENGTH_BYTES = 8


class UnicodeText(gym.Space[str]):
    """All texts of up to ``max_length`` characters, the empty one among them.

    ``gymnasium.spaces.Text`` lists its characters and therefore holds neither most of Unicode nor JSON in practice.

    Args:
        max_length: largest number of characters, at least 1.
        seed: seed for :meth:`sample`.
    """

    def __init__(self, max_length: int, seed: int | np.random.Generator | None = None) -> None:
        self.max_length = max_length
        super().__init__(shape=None, dtype=None, seed=seed)

    def sample(self, mask: None = None, probability: None = None) -> str:
        """A random text of up to 64 characters."""
        length = int(self.np_random.integers(0, min(self.max_length, 64) + 1))
        picks = self.np_random.integers(0, len(_SAMPLE_CHARACTERS), length)
        return "".join(_SAMPLE_CHARACTERS[pick] for pick in picks)

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a text of the right length."""
        return isinstance(x, str) and len(x) <= self.max_length

    @property
    def is_np_flattenable(self) -> bool:
        """Texts cannot be flattened into arrays of a fixed size."""
        return False

    def __repr__(self) -> str:
        return f"UnicodeText({self.max_length})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, UnicodeText) and self.max_length == other.max_length


@create_empty_array.register(UnicodeText)
def _create_empty_texts(space: UnicodeText, n: int = 1, fn: Any = np.zeros) -> tuple[str, ...]:
    return ("",) * n


def _slot_bytes(space: UnicodeText) -> int:
    return _LENGTH_BYTES + _MAX_BYTES_PER_CHARACTER * space.max_length


@create_shared_memory.register(UnicodeText)
def _create_shared_texts(space: UnicodeText, n: int = 1, ctx: ModuleType = multiprocessing) -> "SynchronizedArray[Any]":
    shared: SynchronizedArray[Any] = ctx.Array("c", n * _slot_bytes(space))
    return shared


class _SharedTexts(Sequence[str]):
    """The texts in shared memory as they are now: vector environments read them once and copy them after each step."""

    def __init__(self, memory: "SynchronizedArray[Any]", count: int, slot_bytes: int) -> None:
        self._memory = memory
        self._count = count
        self._slot_bytes = slot_bytes

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        start = range(self._count)[index] * self._slot_bytes
        view = memoryview(self._memory.get_obj()).cast("B")
        first = start + _LENGTH_BYTES
        length = int.from_bytes(view[start:first], "little")
        return bytes(view[first : first + length]).decode("utf-8", "surrogatepass")

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return tuple(self)


@read_from_shared_memory.register(UnicodeText)
def _read_shared_texts(space: UnicodeText, shared_memory: "SynchronizedArray[Any]", n: int = 1) -> Sequence[str]:
    return _SharedTexts(shared_memory, n, _slot_bytes(space))


@write_to_shared_memory.register(UnicodeText)
def _write_shared_text(space: UnicodeText, index: int, value: str, shared_memory: "SynchronizedArray[Any]") -> None:
    data = value.encode("utf-8", "surrogatepass")
    start = index * _slot_bytes(space)
    view = memoryview(shared_memory.get_obj()).cast("B")
    view[start : start + _LENGTH_BYTES] = len(data).to_bytes(_LENGTH_BYTES, "little")
    view[start + _LENGTH_BYTES : start + _LENGTH_BYTES + len(data)] = data
