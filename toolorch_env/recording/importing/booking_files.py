"""What a file of the published Booking.com data is."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import ijson  # type: ignore[import-untyped]

from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.json_files import stream_complaint, unreadable

Kind = Literal["tasks", "tools", "templates", "cache"]

_EXPECTED = (
    "expected a pickle of tasks, a cache ({function: [{arguments, response}, ...]}), workflow templates "
    "({workflows: [...]}) or tool schemas (one JSON object a line, or a JSON array)"
)
_PICKLE_STARTS = (b"\x80", b"(", b"]", b"}")


def kind_of(path: Path) -> Kind:
    """What a file of the data set is, by how it begins.

    Raises:
        DataSetError: it is missing or none of the kinds.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4096).lstrip()[:1]
            file.seek(0)
            kind = _json_kind(ijson.parse(file, multiple_values=True)) if start == b"{" else None
    except OSError as error:
        raise unreadable(path, error) from None
    except ijson.JSONError as error:
        raise DataSetError(f"{path}: {stream_complaint(error)}; {_EXPECTED}") from None
    if start == b"[":
        return "tools"
    if start in _PICKLE_STARTS:
        return "tasks"
    if kind is None:
        raise DataSetError(f"{path} is not one of the published formats: {_EXPECTED}")
    return kind


def _json_kind(events: Iterator[tuple[str, str, Any]]) -> Kind | None:
    """The kind of a JSON object, read as far as that takes."""
    key: str | None = None
    holds_lists = True
    for prefix, event, value in events:
        if (prefix, event) == ("", "map_key"):
            key = value
        elif (prefix, event) == ("workflows", "start_array"):
            return "templates"
        elif event == "string" and prefix in ("name", "function.name"):
            return "tools"
        elif (prefix, event) == (f"{key}.item", "map_key") and holds_lists and value in ("arguments", "response"):
            return "cache"
        elif prefix == key and event not in ("start_array", "end_array"):
            holds_lists = False
        elif (prefix, event) == ("", "end_map"):
            break
    return None
