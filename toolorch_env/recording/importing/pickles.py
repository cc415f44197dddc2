"""Pickles of unknown origin, read without running anything that they ask for."""

import io
import pickle
import pickletools
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, NoReturn

from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.json_files import unreadable

MAX_DEPTH = 200
"""Containers nested deeper are refused: JSON writers stop not far above."""

MAX_VALUES_PER_BYTE = 100
"""A file may hold shared containers, but its values, each counted wherever it stands, at most this often its bytes."""

_GLOBALS = frozenset({"GLOBAL", "STACK_GLOBAL", "INST"})
_STORES = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_OTHER_PLAIN = """
    PROTO FRAME STOP MARK POP POP_MARK DUP GET BINGET LONG_BINGET MEMOIZE
    NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT
    STRING BINSTRING SHORT_BINSTRING UNICODE SHORT_BINUNICODE BINUNICODE BINUNICODE8
    SHORT_BINBYTES BINBYTES BINBYTES8 EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3
    EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS EMPTY_SET ADDITEMS
"""
_PLAIN = _STORES.union(_OTHER_PLAIN.split())
_ADMITTED = "only dict, list, tuple, set, str, bytes, int, float, bool and None are read"


class _PlainUnpickler(pickle.Unpickler):
    """Looks nothing up, whatever a pickle asks for."""

    def find_class(self, module_name: str, global_name: str) -> NoReturn:
        raise DataSetError(f"it asks for {module_name}.{global_name}, which may run code; {_ADMITTED}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise DataSetError(f"it asks for the outside object {pid!r}; {_ADMITTED}")


def load_plain(path: str | Path) -> Any:
    """What a pickle holds, if that is plain containers and scalars.

    Every opcode is checked before the first one is carried out. So a set is read from protocol 4 on and bytes from
    protocol 3 on; below, pickles make them with a global. Containers may be shared, not hold themselves.

    Args:
        path: of a file with one pickle, protocol 0 to 5; it is read into memory.

    Raises:
        DataSetError: the file is missing, no whole pickle, or asks for more than plain values, naming what it asks for;
            or its containers hold themselves, are nested deeper than :data:`MAX_DEPTH`, or hold more than
            :data:`MAX_VALUES_PER_BYTE` values for each byte of the file; or a text has half a surrogate pair.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise unreadable(path, error) from None
    try:
        return _load(data)
    except DataSetError as error:
        raise DataSetError(f"the pickle {path} is refused: {error}") from None
    except Exception as error:  # what is no pickle fails in any of a dozen ways
        raise DataSetError(f"{path} is not a whole pickle: {str(error) or type(error).__name__}") from None


def _load(data: bytes) -> Any:
    asks_for_global = _check_opcodes(data)
    value = _PlainUnpickler(io.BytesIO(data)).load()
    if asks_for_global:
        raise DataSetError(f"it asks for a global; {_ADMITTED}")
    _measure(value, MAX_VALUES_PER_BYTE * len(data), set(), {})
    return value


def _check_opcodes(data: bytes) -> bool:
    """Whether the pickle looks up a global; all opcodes before that, or else all, are plain."""
    position = -1
    for opcode, argument, place in pickletools.genops(data):
        position = place or 0
        if opcode.name in _GLOBALS:
            return True
        if opcode.name not in _PLAIN:
            asked = opcode.name if argument is None else f"{opcode.name} {argument!r}"
            raise DataSetError(f"it has the opcode {asked[:100]} at byte {position}, which may run code; {_ADMITTED}")
        if opcode.name in _STORES and not 0 <= int(argument or 0) <= len(data):
            raise DataSetError(f"it stores a value under the number {argument} at byte {position}, to fill the memory")
    if position + 1 < len(data):
        raise DataSetError(f"{len(data) - position - 1} bytes follow after its end")
    return False


def _measure(value: Any, limit: int, above: set[int], known: dict[int, tuple[int, int]]) -> tuple[int, int]:
    """Number of values in a value, shared ones counted wherever they stand, and how deep it is nested.

    Args:
        value: what to measure.
        limit: largest number of values.
        above: identities of the containers that it stands in.
        known: what was measured already, by identity.
    """
    if isinstance(value, str):
        _check_text(value)
    if not isinstance(value, (dict, list, tuple, set)):
        return 1, 0
    if id(value) in above:
        raise DataSetError(f"a {type(value).__name__} in it holds itself")
    if id(value) not in known:
        if len(above) >= MAX_DEPTH:
            raise DataSetError(f"its containers are nested deeper than {MAX_DEPTH}")
        above.add(id(value))
        inner: Iterable[Any] = chain(value, value.values()) if isinstance(value, dict) else value
        sizes = [_measure(item, limit, above, known) for item in inner]
        above.remove(id(value))
        known[id(value)] = (1 + sum(size for size, _ in sizes), 1 + max((depth for _, depth in sizes), default=0))
    size, depth = known[id(value)]
    if size > limit or len(above) + depth > MAX_DEPTH:
        raise DataSetError(f"written out it has over {limit} values, or is nested deeper than {MAX_DEPTH}")
    return size, depth


def _check_text(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise DataSetError(f"the text {text!r:.100} has half a surrogate pair, which no JSON text can hold") from None
