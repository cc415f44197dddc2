"""Splits by stable hash: no combination of literals and no held-out workflow is in two of them."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import orjson

from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.generation.constraints import Split

_SHARES: tuple[tuple[Split, int], ...] = (("train", 70), ("validation", 80), ("test", 90), ("test_workflows", 100))
"""Upper bounds, in hundredths, of the hash range of each split."""

HELD_OUT_SHARE = 15
"""Hundredths of all workflows that only ``test_workflows`` draws from."""

_JSON_STARTS = frozenset("-0123456789tfn[{")
"""First characters of texts that may be the JSON of another value."""


def _percent(*parts: bytes) -> int:
    data = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") * 100 >> 64


def literals_split(literals: Iterable[Any]) -> Split:
    """The split of a combination of literal values, whatever workflow uses it and whichever literal has which value.

    70% of all combinations are for ``train``, 10% for each other split. Values that are one to a tool or in a query are
    one here: fractions by their fourth decimal, the text ``"2"`` and the number 2.
    """
    percent = _percent(*sorted(map(_form, literals)))
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
    return _percent(b"workflow", workflow.encode()) < HELD_OUT_SHARE
