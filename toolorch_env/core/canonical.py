"""Canonical JSON and the numbers in it: what makes two values the same value."""

import math
import re
from collections.abc import Iterator
from typing import Any

import orjson

FRACTION_DECIMALS = 4
"""Fractional numbers are compared after rounding to this many decimals."""

MAX_SAFE_FLOAT = 2.0**53
"""Whole floats below this are exact integers; larger ones stay floats."""

MAX_DEPTH = 64
"""Arguments that are nested deeper are none: not every JSON reader could read them again."""

_NUMBER_STARTS = frozenset("-0123456789")
_JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys, no white space and whole floats written as integers (after RFC 8785).

    The bytes are the same on every machine and Python version.

    Raises:
        ValueError: the value is not JSON (NaN, infinity, integers beyond 64 bits, lone surrogates, other types).
    """
    try:
        return orjson.dumps(plain(value), option=orjson.OPT_SORT_KEYS)
    except (TypeError, RecursionError) as error:  # orjson's encoding error is a TypeError
        raise ValueError(f"not a JSON value: {error}") from None


def plain(value: Any) -> Any:
    """``value`` with every whole float as an integer, at any depth.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return value
    if kind is float:
        return _plain_float(value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value


def _plain_float(value: float) -> int | float:
    if not math.isfinite(value):
        raise ValueError("NaN and infinity are not JSON numbers")
    return int(value) if value.is_integer() and abs(value) < MAX_SAFE_FLOAT else value


def rounded(value: Any) -> Any:
    """``value`` with every fraction rounded to :data:`FRACTION_DECIMALS`, at any depth; whole numbers stay."""
    kind = type(value)
    if kind is float:
        return _plain_float(round(value, FRACTION_DECIMALS))
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(item) for item in value]
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether there are lists or objects within each other in ``value``, more than this many of them."""
    if not isinstance(value, (dict, list, tuple)):
        return False
    items = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(item, levels - 1) for item in items)


def read_number(text: str) -> int | float | None:
    """The number that ``text`` is in JSON's own notation, else ``None`` (``"007"`` and ``" 7"`` are no numbers)."""
    if len(text) > 64 or not _JSON_NUMBER.fullmatch(text):
        return None
    number = float(text)
    if not math.isfinite(number):
        return None
    return int(text) if text.lstrip("-").isdigit() else _plain_float(number)


def token(value: Any) -> str | None:
    """The text under which a scalar is recognised across responses, queries and arguments.

    Numbers are rounded and written canonically, so that ``47.4436988830566`` and ``47.4437`` are one token, and so are
    ``2``, ``2.0``. Booleans and null have no token: nobody has to see them before using them.
    """
    kind = type(value)
    if kind is str:
        return str(value)
    if kind is int:
        return str(value)
    if kind is float:
        return orjson.dumps(rounded(value)).decode()
    return None


def tokens(value: Any) -> frozenset[str]:
    """Tokens of all scalars in ``value``, object keys included. A text in number notation counts as that number too."""
    found: set[str] = set()
    _collect_tokens(value, found)
    return frozenset(found)


def _collect_tokens(value: Any, found: set[str]) -> None:
    kind = type(value)
    if kind is str:
        found.add(value)
        if value[:1] in _NUMBER_STARTS:
            number = read_number(value)
            if number is not None:
                _collect_tokens(number, found)
    elif kind is dict:
        found.update(value)
        for item in value.values():
            _collect_tokens(item, found)
    elif kind is list or kind is tuple:
        for item in value:
            _collect_tokens(item, found)
    else:
        text = token(value)
        if text is not None:
            found.add(text)


def scalars(value: Any) -> Iterator[Any]:
    """All scalars in ``value``, in its order. Object keys are none."""
    if isinstance(value, (dict, list, tuple)):
        for item in value.values() if isinstance(value, dict) else value:
            yield from scalars(item)
    else:
        yield value


def is_empty(value: Any) -> bool:
    """Whether a body says nothing: all its values are null, false, zero or empty, at any depth."""
    if isinstance(value, dict):
        return all(is_empty(item) for item in value.values())
    if isinstance(value, list):
        return all(is_empty(item) for item in value)
    return not value
