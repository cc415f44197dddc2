"""Variants of calls that an API should refuse: its errors are part of its world."""

import string
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.draws import Draws

_CLASSES = (string.ascii_lowercase, string.ascii_uppercase, string.digits)


def refused_variants(calls: Sequence[CanonicalCall], tools: ToolSet, seed: bytes) -> Iterator[dict[str, Any]]:
    """Arguments like those of ``calls``, one of them changed: without end, some of them alike.

    In turn: a text or number of the same form that is probably unknown, a value of another type, a required argument
    left out.
    """
    draws = Draws.seeded_by(seed + b"refusals")
    if not any(call.arguments for call in calls):
        return
    for turn in count():
        call = draws.choose(calls)
        if not call.arguments:
            continue
        name = draws.choose(sorted(call.arguments))
        parameter = tools.signature(call.tool).parameters.get(name)
        if turn % 4 == 3 and parameter is not None and parameter.required:
            yield {other: value for other, value in call.arguments.items() if other != name}
        elif turn % 4 == 2:
            yield {**call.arguments, name: _other_type(call.arguments[name])}
        else:
            yield {**call.arguments, name: _unknown(call.arguments[name], draws)}


def _unknown(value: Any, draws: Draws) -> Any:
    """A value of the same form: each letter replaced by a letter, each digit by a digit."""
    if isinstance(value, str):
        return "".join(_other_character(character, draws) for character in value) or "?"
    if isinstance(value, bool) or value is None:
        return "?"
    if isinstance(value, (int, float)):
        return -1 - draws.below(10**6) if draws.below(2) else 10**8 + draws.below(10**9)
    return []


def _other_character(character: str, draws: Draws) -> str:
    for alphabet in _CLASSES:
        if character in alphabet:
            return draws.choose(alphabet)
    return character


def _other_type(value: Any) -> Any:
    return "not a number" if isinstance(value, (int, float)) else 0
