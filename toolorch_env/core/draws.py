"""Random choices that are the same on every machine and with every version of Python and numpy."""

from collections.abc import Sequence
from hashlib import blake2b
from typing import TypeVar

_MASK = 2**64 - 1
_GAMMA = 0x9E3779B97F4A7C15

Item = TypeVar("Item")


def mix(value: int) -> int:
    """A 64-bit hash of a 64-bit integer (the finaliser of SplitMix64; Steele, Lea and Flood 2014)."""
    value = (value ^ (value >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    value = (value ^ (value >> 27)) * 0x94D049BB133111EB & _MASK
    return value ^ (value >> 31)


class Draws:
    """A stream of random choices from one seed (SplitMix64).

    Args:
        seed: any integer; its lowest 64 bits count.
    """

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    @classmethod
    def seeded_by(cls, text: bytes) -> "Draws":
        """The stream of a text: its seed is the first 64 bits of a BLAKE2b hash of it."""
        return cls(int.from_bytes(blake2b(text, digest_size=8).digest(), "big"))

    def word(self) -> int:
        """A uniform integer in [0, 2^64)."""
        self._state = (self._state + _GAMMA) & _MASK
        return mix(self._state)

    def below(self, limit: int) -> int:
        """An integer in [0, limit), for limits of any size; no value more likely than another by over 2^-32."""
        if limit < 2**32:  # the usual case, written out: it is drawn a dozen times for each task
            self._state = state = (self._state + _GAMMA) & _MASK
            return mix(state) * limit >> 64
        words = 2 + limit.bit_length() // 64
        value = 0
        for _ in range(words):
            value = value << 64 | self.word()
        return value * limit >> 64 * words

    def choose(self, items: Sequence[Item]) -> Item:
        """One of the items, uniformly."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[Item], count: int) -> list[Item]:
        """``count`` different items in random order."""
        pool = list(items)
        for index in range(count):
            other = index + self.below(len(pool) - index)
            pool[index], pool[other] = pool[other], pool[index]
        return pool[:count]
