"""JSON files of data sets, and what is wrong with them in words."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import ValidationError

from toolorch_env.core.errors import DataSetError


def read_json(path: Path) -> Any:
    """The value of a JSON file.

    Raises:
        DataSetError: the file cannot be read, or is not JSON.
    """
    try:
        return _parsed(path.read_bytes(), str(path))
    except OSError as error:
        raise unreadable(path, error) from None


def read_json_lines(path: Path) -> Iterator[tuple[str, Any]]:
    """The values of a file of JSON lines, each with its place in words: ``the file, line 3``. Empty lines are none.

    Raises:
        DataSetError: the file cannot be read, or a line is not JSON.
    """
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    place = f"{path}, line {number}"
                    yield place, _parsed(line, place)
    except OSError as error:
        raise unreadable(path, error) from None


def _parsed(data: bytes, place: str) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise DataSetError(f"{place}: not JSON: {error}") from None


def unreadable(path: object, error: OSError) -> DataSetError:
    """The error that says why a file cannot be read."""
    return DataSetError(f"{path} cannot be read: {error.strerror}")


def stream_complaint(error: Exception) -> str:
    """What ijson, which reads JSON as a stream, found wrong, in one line."""
    complaint = re.split(r"\\n|\n", str(error))[0].removeprefix("b'").strip()
    return f"truncated JSON: {complaint}" if "premature EOF" in complaint else f"not JSON: {complaint}"


def shape_complaint(error: ValidationError) -> str:
    """Where a document is first of another shape than expected, and how."""
    problem = error.errors(include_url=False, include_input=False)[0]
    return ": ".join([".".join(map(str, problem["loc"])), problem["msg"]]).removeprefix(": ")
