"""Handing many arrays to compiled code at once, by their addresses.

numba takes arrays one by one, and a step needs some seventy of them, which costs about ten microseconds a call. Here
they are written down once, as addresses and shapes in one array, and compiled code makes them of it again: half of one.
"""

from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from zlib import crc32

import numpy as np
from numba import types
from numba.core import cgutils
from numba.core.typing.npydecl import parse_dtype
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from toolorch_env.envs.vector.compiling import compiled


class Bound:
    """A compiled function whose first arguments are bound.

    Args:
        function: a compiled function.
        *structures: its first arguments: named tuples of arrays (contiguous), numbers and further named tuples.
    """

    def __init__(self, function: Callable[..., Any], *structures: Any) -> None:
        self._function = function
        self._expression = _expression(structures)
        self._entry = _entry(function, len(structures), self._expression, _kinds(structures))
        self.bind(*structures)

    def __reduce__(self) -> Any:
        return Bound, (self._function, *self._structures)  # addresses of a copy are other ones

    def __call__(self, *arguments: Any) -> Any:
        """Calls the function with the bound arguments and these."""
        return self._entry(self._whole, self._real, *arguments)

    def bind(self, *structures: Any) -> None:
        """Binds other structures instead, of the same kinds: compiled code would read others wrongly."""
        assert _expression(structures) == self._expression
        self._structures = structures  # which keeps their memory
        whole: list[int] = []
        real: list[float] = []
        for value in _leaves(structures):
            if isinstance(value, np.ndarray):
                assert value.flags.c_contiguous
                whole += [value.ctypes.data, *value.shape]
            elif isinstance(value, float):
                real.append(value)
            else:
                whole.append(int(value))
        self._whole, self._real = np.array(whole, np.int64), np.array(real, np.float64)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for item in value:
            yield from _leaves(item)
    else:
        yield value


def _kinds(value: Any) -> dict[str, type]:
    """The named tuples in a value, by name."""
    found: dict[str, type] = {}
    for item in value if isinstance(value, tuple) else ():
        found |= _kinds(item)
    return found if not hasattr(value, "_fields") else {**found, type(value).__name__: type(value)}


def _entry(function: Callable[..., Any], bound: int, expression: str, kinds: dict[str, type]) -> Callable[..., Any]:
    """A compiled function that makes the structures of their table and calls the function with them."""
    code = function.py_func.__code__  # type: ignore[attr-defined]
    more = ", ".join(code.co_varnames[bound : code.co_argcount])
    # what is kept on disk goes by the name, and it reads the table as these structures are written
    name = f"bound_{function.__name__}_{crc32(expression.encode()):08x}"
    source = f"def {name}(whole, real, {more}):\n    return function({expression}, {more})\n"
    # under the name of this file, for numba to find a place where it can keep what it compiles
    namespace: dict[str, Any] = {"__name__": __name__, "np": np, "array_at": array_at, "function": function, **kinds}
    exec(compile(source, __file__, "exec"), namespace)  # noqa: S102  made of names of fields and types alone
    made: Callable[..., Any] = compiled(namespace[name])
    return made


def _expression(structures: tuple[Any, ...]) -> str:
    """Source text that makes structures of their table: which numbers of it are what, and of which types."""
    whole, real = count(), count()

    def written(value: Any) -> str:
        if isinstance(value, tuple):
            return f"{type(value).__name__}({', '.join(map(written, value))})"
        if isinstance(value, np.ndarray):
            address, *shape = (f"whole[{next(whole)}]" for _ in range(1 + value.ndim))
            return f"array_at({address}, ({', '.join(shape)},), np.{value.dtype.type.__name__})"
        if isinstance(value, float):
            return f"real[{next(real)}]"
        return f"(whole[{next(whole)}] != 0)" if isinstance(value, bool) else f"whole[{next(whole)}]"

    return ", ".join(map(written, structures))


@intrinsic
def array_at(typing_context: Any, address: Any, shape: Any, dtype: Any) -> Any:
    """The contiguous array at an address (int64) with a shape (tuple of int64) and a dtype. It owns no memory."""
    item = parse_dtype(dtype)
    dimensions = len(shape)
    result = types.Array(item, dimensions, "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        shapes = cgutils.unpack_tuple(builder, arguments[1], dimensions)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(item)))
        strides = [size]
        for length in reversed(shapes[1:]):
            strides.insert(0, builder.mul(strides[0], length))
        array = make_array(result)(context, builder)
        data = builder.inttoptr(arguments[0], context.get_data_type(item).as_pointer())
        populate_array(array, data=data, shape=shapes, strides=strides, itemsize=size, meminfo=None)
        return array._getvalue()

    return result(types.int64, shape, dtype), generate
