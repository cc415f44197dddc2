"""Hash tables of calls, in compiled code."""

import numpy as np
from numba.extending import register_jitable

from toolorch_env.core.draws import mix
from toolorch_env.envs.vector.compiling import compiled

_FREE = -1

register_jitable(mix)


@compiled
def call_hash(tool, arguments):
    """A 64-bit hash of a tool and the numbers of its arguments."""
    found = mix(np.uint64(tool + 1))
    for number in arguments:
        found = mix(found ^ np.uint64(number + 2))
    return found


@compiled
def find_call(table, tools, calls, tool, arguments):
    """Number of the call of these arguments, -1 if there is none.

    Args:
        table: of :func:`hash_table`.
        tools, calls: what it was made of.
        tool, arguments: the call.
    """
    last = np.uint64(len(table) - 1)
    place = call_hash(tool, arguments) & last
    while table[place] != _FREE:
        number = table[place]
        if tools[number] == tool:
            same = True
            for column in range(len(arguments)):
                if calls[number, column] != arguments[column]:
                    same = False
                    break
            if same:
                return np.int64(number)
        place = (place + np.uint64(1)) & last
    return np.int64(_FREE)


@compiled
def _fill(table, tools, calls, order):
    last = np.uint64(len(table) - 1)
    for number in order:
        if find_call(table, tools, calls, tools[number], calls[number]) != _FREE:
            continue
        place = call_hash(tools[number], calls[number]) & last
        while table[place] != _FREE:
            place = (place + np.uint64(1)) & last
        table[place] = number


def hash_table(tools: np.ndarray, calls: np.ndarray, order: np.ndarray) -> np.ndarray:
    """A hash table of calls, open addressing; of equal ones the first in order is kept.

    Args:
        tools: int32, shape (n,).
        calls: numbers of arguments, int32, shape (n, widest).
        order: in which they are put in, int64, shape (n,).

    Returns:
        Numbers of calls, int32, -1 where free; the size is a power of 2, at least 2 n.
    """
    table = np.full(1 << max(3, int(2 * len(order)).bit_length()), _FREE, np.int32)
    _fill(table, tools, np.ascontiguousarray(calls, np.int32), order.astype(np.int64))
    return table
