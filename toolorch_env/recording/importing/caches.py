"""Caches of API responses as one JSON object, read as a stream."""

import math
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import ijson  # type: ignore[import-untyped]

from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.json_files import stream_complaint, unreadable
from toolorch_env.recording.importing.pickles import MAX_DEPTH
from toolorch_env.recording.importing.statuses import answered
from toolorch_env.recording.importing.traces import UNKNOWN, Answered

_STARTS = frozenset({"start_map", "start_array"})
_ENDS = frozenset({"end_map", "end_array"})
Events = Iterator[tuple[str, Any]]


def read_cache(path: str | Path) -> Iterator[Answered]:
    """The calls of a cache with their responses: ``{function: [{"arguments": {...}, "response": ...}, ...]}``.

    The file is streamed; one entry at a time is in memory. Numbers are read as ``orjson`` reads them: exact, whole ones
    beyond 64 bits as floats. A lone half of a surrogate pair, which no JSON text can hold, is replaced. A response that
    is missing or ``""`` is unknown. See
    :func:`toolorch_env.recording.importing.statuses.answered` for the status.

    Raises:
        DataSetError: the file is missing, not JSON, truncated, or of another shape; says in which function and at which
            of its entries, counted from 0.
    """
    reader = _Reader()
    try:
        with Path(path).open("rb") as file:
            yield from reader.read(ijson.basic_parse(file))
    except OSError as error:
        raise unreadable(path, error) from None
    except DataSetError as error:
        raise DataSetError(f"the cache {path}, {reader.place}: {error}") from None
    except (ijson.JSONError, ValueError, OverflowError) as error:
        raise DataSetError(f"the cache {path}, {reader.place}: {stream_complaint(error)}") from None


class _Reader:
    """Reads a cache out of parser events and knows where it is."""

    def __init__(self) -> None:
        self.place = "at its start"

    def read(self, events: Events) -> Iterator[Answered]:
        self._expect(next(events)[0], "start_map", "an object with a list of entries for each function")
        for event, function in events:
            if event == "end_map":
                break
            self.place = f"function {function!r}"
            self._expect(next(events)[0], "start_array", "a list of entries")
            yield from self._entries(function, events)
            self.place = f"after function {function!r}"
        next(events, None)  # complains about what follows

    def _entries(self, function: str, events: Events) -> Iterator[Answered]:
        for number, (event, value) in enumerate(events):
            if event == "end_array":
                return
            self.place = f"function {function!r}, entry {number}"
            yield self._answered(function, _value(event, value, events))

    def _answered(self, function: str, entry: Any) -> Answered:
        if not isinstance(entry, dict) or not isinstance(entry.get("arguments"), dict):
            raise DataSetError('expected {"arguments": {...}, "response": ...}')
        return answered(function, entry["arguments"], entry.get("response", UNKNOWN))

    @staticmethod
    def _expect(event: str, wanted: str, expected: str) -> None:
        if event != wanted:
            raise DataSetError(f"expected {expected}")


def _value(event: str, value: Any, events: Events) -> Any:
    """The JSON value that begins with an event."""
    builder = ijson.ObjectBuilder()
    depth = 0
    while True:
        builder.event(event, _number(value) if event == "number" else value)
        depth += (event in _STARTS) - (event in _ENDS)
        if depth > MAX_DEPTH:
            raise DataSetError(f"it is nested deeper than {MAX_DEPTH}")
        if depth == 0:
            return builder.value
        event, value = next(events)


def _number(value: int | Decimal) -> int | float:
    if isinstance(value, int) and -(2**63) <= value < 2**64:
        return value
    number = float(value)
    if not math.isfinite(number):
        raise DataSetError(f"the number {str(value)[:50]} is too large")
    return number
