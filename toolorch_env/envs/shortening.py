"""Shortening long responses without breaking their JSON: list elements are left out, and counted."""

from functools import lru_cache
from typing import Any

import orjson

MIN_CHARACTERS = 64


def shorten_json(raw: bytes, max_characters: int) -> str:
    """A JSON body as text of at most ``max_characters``.

    Elements are left out from the ends of its lists until it fits, the same number from each at first; how many
    stands in the list's place. Where that does not suffice, long texts are cut, and at last only the size is told.

    Args:
        raw: the body, UTF-8 JSON; nothing for one that is not known, which reads as null.
        max_characters: at least :data:`MIN_CHARACTERS`.
    """
    if len(raw) <= max_characters:
        return raw.decode() or "null"
    return _shortened(raw, max_characters)


@lru_cache(256)  # a snapshot gives the same bytes again as long as it keeps them, and these it hashes once
def _shortened(raw: bytes, max_characters: int) -> str:
    text = raw.decode()
    if len(text) <= max_characters:
        return text
    body = orjson.loads(raw)
    longest_list = _longest_list(body)
    for longest_text in (None, 400, 40):
        fitting = _largest_fitting(body, longest_list, longest_text, max_characters)
        if fitting is not None:
            return fitting
    return _dump({"left_out": f"all {len(text)} characters"})


def _largest_fitting(body: Any, longest_list: int, longest_text: int | None, limit: int) -> str | None:
    """The text with the largest number of elements kept in each list that fits, by bisection."""
    low, high = 0, longest_list
    best: str | None = None
    while low <= high:
        keep = (low + high) // 2
        candidate = _dump(_cut(body, keep, longest_text))
        if len(candidate) <= limit:
            best, low = candidate, keep + 1
        else:
            high = keep - 1
    return best


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()


def _longest_list(value: Any) -> int:
    if isinstance(value, list):
        return max([len(value), *map(_longest_list, value)])
    if isinstance(value, dict):
        return max(map(_longest_list, value.values()), default=0)
    return 0


def _cut(value: Any, keep: int, longest_text: int | None) -> Any:
    if isinstance(value, list):
        kept = [_cut(item, keep, longest_text) for item in value[:keep]]
        missing = len(value) - len(kept)
        return [*kept, f"{missing} more left out"] if missing else kept
    if isinstance(value, dict):
        return {key: _cut(item, keep, longest_text) for key, item in value.items()}
    if isinstance(value, str) and longest_text is not None and len(value) > longest_text:
        return f"{value[:longest_text]} ({len(value) - longest_text} more characters left out)"
    return value
