"""Splits by stable hash: no combination of literals and no held-out workflow is in two of them."""

from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from toolorch_env.core.canonical import canonical_json
from toolorch_env.generation.constraints import Split

_SHARES: tuple[tuple[Split, int], ...] = (("train", 70), ("validation", 80), ("test", 90), ("test_workflows", 100))
"""Upper bounds, in hundredths, of the hash range of each split."""

HELD_OUT_SHARE = 15
"""Hundredths of all workflows that only ``test_workflows`` draws from."""


def _percent(*parts: bytes) -> int:
    data = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big") * 100 >> 64


def literals_split(literals: Iterable[Any]) -> Split:
    """The split of a combination of literal values, whatever workflow uses it and whichever literal has which value.

    70% of all combinations are for ``train``, 10% for each other split.
    """
    percent = _percent(*sorted(map(canonical_json, literals)))
    for split, bound in _SHARES:
        if percent < bound:
            return split
    raise AssertionError("the shares add up to 100")


def is_held_out(workflow: str) -> bool:
    """Whether a workflow of that name is held out for ``test_workflows``."""
    return _percent(b"workflow", workflow.encode()) < HELD_OUT_SHARE
