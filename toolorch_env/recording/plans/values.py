"""The values that a plan lists, reads from files, or counts off."""

import csv
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import orjson

from toolorch_env.core.errors import PlanError
from toolorch_env.recording.plans.plan import Constant, FileValues, ListedValues, Plan, Range, RangeValues, ValueSource

MAX_RANGE = 10_000_000


def enumerate_values(source: ValueSource, plan: Plan) -> Sequence[Any]:
    """The values of a source, in its order. Crawled values have to be taken from responses instead.

    Raises:
        PlanError: a file is missing or not as it should be, or a range has no end.
    """
    if isinstance(source, ListedValues):
        if isinstance(source.values, str):
            return enumerate_values(plan.values[source.values], plan)
        return [_json_value(value) for value in source.values]
    if isinstance(source, RangeValues):
        return _range_values(source.range)
    if isinstance(source, FileValues):
        return _file_values(plan.folder / source.file, source.column)
    if isinstance(source, Constant):
        return [_json_value(source.value)]
    raise TypeError(f"{source!r} has no values of its own")


def _json_value(value: Any) -> Any:
    """YAML reads dates; APIs take texts."""
    return value.isoformat() if isinstance(value, date) else value


def _range_values(bounds: Range) -> list[Any]:
    if isinstance(bounds.start, date) and isinstance(bounds.stop, date):
        days = (bounds.stop - bounds.start).days
        return [(bounds.start + timedelta(offset)).isoformat() for offset in range(0, days + 1, int(bounds.step))]
    assert not isinstance(bounds.start, date)
    assert not isinstance(bounds.stop, date)
    count = int((bounds.stop - bounds.start) / bounds.step + 1e-9) + 1
    if count > MAX_RANGE:
        raise PlanError(f"the range from {bounds.start} to {bounds.stop} has {count:,} values")
    # rounded, because 0.1 + 2 * 0.1 is not 0.3
    return [round(bounds.start + index * bounds.step, 10) for index in range(count)]


def _file_values(path: Path, column: str | None) -> list[Any]:
    try:
        if path.suffix == ".json":
            values = orjson.loads(path.read_bytes())
            if not isinstance(values, list):
                raise PlanError(f"{path} must hold a JSON list")
            return values
        text = path.read_text(encoding="utf-8")
        if path.suffix != ".csv":
            return [line.strip() for line in text.splitlines() if line.strip()]
        rows = csv.DictReader(text.splitlines())
        if column is None or column not in (rows.fieldnames or ()):
            raise PlanError(f"{path} has no column {column!r}; its columns are: {', '.join(rows.fieldnames or ())}")
        return [row[column] for row in rows]
    except (OSError, UnicodeDecodeError) as error:
        raise PlanError(f"the values in {path} cannot be read: {error}") from None
    except orjson.JSONDecodeError as error:
        raise PlanError(f"{path} is not JSON: {error}") from None
