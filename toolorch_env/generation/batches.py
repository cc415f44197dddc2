"""Many traces in one numpy pass: the descent through a join tree for all numbers at once.

Numbers beyond 2^63 are Python integers in arrays of objects, exact but slow; below the first few nodes of a tree what
is left of them fits 64 bits.
"""

from collections.abc import Sequence

import numpy as np

from toolorch_env.generation.join_tree import Node

_LIMIT = 2**63


def random_numbers(rng: np.random.Generator, limit: int, n: int) -> np.ndarray:
    """``n`` uniform integers in [0, ``limit``): int64, or objects where ``limit`` is larger than 2^63."""
    if limit <= _LIMIT:
        return rng.integers(limit, size=n, dtype=np.int64)
    bits = limit.bit_length()
    found: list[int] = []
    while len(found) < n:  # at least every other one is below the limit
        data = rng.bytes(n * (bits // 8 + 1))
        words = (data[start : start + bits // 8 + 1] for start in range(0, len(data), bits // 8 + 1))
        found += [number for word in words if (number := int.from_bytes(word, "big") >> (8 - bits % 8)) < limit]
    return np.array(found[:n], object)


def descend(roots: Sequence[Node], numbers: np.ndarray, steps: int) -> np.ndarray:
    """For each number and each step in order its row: int64, shape (n, steps)."""
    chosen = np.zeros((len(numbers), steps), np.int64)
    for root in roots:
        numbers, rest = _divided(numbers, root.count)
        _descend(root, np.zeros(len(numbers), np.int64), rest, chosen)
    return chosen


def _divided(numbers: np.ndarray, divisors: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Quotients and remainders, as int64 where all of them fit."""
    if numbers.dtype != object and np.asarray(divisors).dtype != object:
        return np.divmod(numbers, divisors)
    numbers = numbers.astype(object)  # numpy divides objects, but not with both results at once
    quotients: np.ndarray = numbers // divisors
    return _narrow(quotients), _narrow(numbers - quotients * divisors)


def _narrow(numbers: np.ndarray) -> np.ndarray:
    if numbers.dtype == object and int(numbers.max(initial=0)) < _LIMIT:
        return numbers.astype(np.int64)
    return numbers


def _descend(node: Node, groups: np.ndarray, rest: np.ndarray, chosen: np.ndarray) -> None:
    """Writes completions of the groups of a node's rows into ``chosen``, one for each number."""
    arrays = node.arrays
    starts = _taken(arrays.group_start, groups)
    targets = _taken(arrays.cumulative, starts) + rest
    if arrays.cumulative is None:
        rows, rest = targets, np.zeros(len(targets), np.int64)
    else:
        rows = np.searchsorted(arrays.cumulative, targets, side="right") - 1
        rest = _narrow(targets - arrays.cumulative[rows])
    for step, positions in zip(node.relation.steps, arrays.positions, strict=True):
        chosen[:, step] = _taken(positions, rows)
    for child in node.children:
        inner = _taken(child.arrays.group_of_parent_row, rows)
        rest, share = _shares(child, inner, rest)
        _descend(child, inner, share, chosen)


def _shares(child: Node, groups: np.ndarray, rest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is left for the other children, and the number of a completion in groups of one child."""
    starts, cumulative = child.arrays.group_start, child.arrays.cumulative
    sizes = _taken(cumulative, _taken(starts, groups + 1)) - _taken(cumulative, _taken(starts, groups))
    return _divided(rest, sizes)


def _taken(values: np.ndarray | None, indices: np.ndarray) -> np.ndarray:
    """Values at indices."""
    return indices if values is None else values[indices]
