"""Splits by stable hash: no combination of literals and no held-out workflow is in two of them."""

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.draws import mix
from toolorch_env.generation.constraints import Split

_SHARES: tuple[tuple[Split, int], ...] = (("train", 70), ("validation", 80), ("test", 90), ("test_workflows", 100))
"""Upper bounds, in hundredths, of the hash range of each split."""

HELD_OUT_SHARE = 15
"""Hundredths of all workflows that only ``test_workflows`` draws from."""

_JSON_STARTS = frozenset("-0123456789tfn[{")
"""First characters of texts that may be the JSON of another value."""


_MASK = 2**64 - 1


def value_hash(value: Any) -> int:
    """A 64-bit hash: equal for values that a query says with the same words, and for those equal to a tool."""
    try:
        return _scalar_hash(value)
    except TypeError:  # lists and objects cannot be kept
        return _hash(_form(value))


@lru_cache(65_536, typed=True)
def _scalar_hash(value: Any) -> int:
    return _hash(_form(value))


def _hash(data: bytes) -> int:
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def range_of(split: Split) -> tuple[int, int]:
    """The hundredths of a split, from the first to before the second."""
    bounds = [0, *(bound for _, bound in _SHARES)]
    place = [name for name, _ in _SHARES].index(split)
    return bounds[place], bounds[place + 1]


def hundredth(hashes: int) -> int:
    """Where in the splits a combination stands, from 0 to 99.

    Args:
        hashes: the sum of :func:`toolorch_env.core.draws.mix` of the hashes of its values, of which 64 bits count.
    """
    return mix(hashes & _MASK) * 100 >> 64


def literals_split(literals: Iterable[Any]) -> Split:
    """The split of a combination of literal values, whatever workflow uses it and whichever literal has which value.

    70% of all combinations are for ``train``, 10% for each other split. Values that are one to a tool or in a query are
    one here: fractions by their fourth decimal, the text ``"2"`` and the number 2.
    """
    percent = hundredth(sum(mix(value_hash(value)) for value in literals))
    for split, bound in _SHARES:
        if percent < bound:
            return split
    raise AssertionError("the shares add up to 100")


def _form(value: Any) -> bytes:
    """Equal for values that a query says with the same words, and for those that are equal to a tool."""
    if isinstance(value, str) and value[:1] in _JSON_STARTS:
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return canonical_json(value)
    return canonical_json(rounded(value))


def is_held_out(workflow: str) -> bool:
    """Whether a workflow of that name is held out for ``test_workflows``."""
    name = workflow.encode()
    return _hash(b"\x00\x00\x00\x08workflow" + len(name).to_bytes(4, "big") + name) * 100 >> 64 < HELD_OUT_SHARE
