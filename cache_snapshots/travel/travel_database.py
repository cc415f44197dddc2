"""Builds the SQLite database behind the travel API from the open data packages.

`build_database` is deterministic: the same packages give the same file, byte for byte.
"""

from __future__ import annotations

import json
import sqlite3
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import travel_sources as sources
from travel_flight_rows import COLUMNS, flight_id, flight_row, number

_SCHEMA = """
CREATE TABLE airports (
    iata TEXT PRIMARY KEY, icao TEXT, name TEXT, city TEXT, subdivision TEXT, country_code TEXT,
    elevation_feet INTEGER, latitude REAL, longitude REAL, timezone TEXT, folded_city TEXT, folded_text TEXT);
CREATE INDEX airports_by_latitude ON airports (latitude);
CREATE TABLE cities (
    city_id INTEGER PRIMARY KEY, name TEXT, country_code TEXT, region_code TEXT, latitude REAL, longitude REAL,
    population INTEGER, timezone TEXT, folded_name TEXT);
CREATE INDEX cities_by_name ON cities (folded_name);
CREATE TABLE countries (
    country_code TEXT PRIMARY KEY, name TEXT, capital TEXT, continent_code TEXT, currency_code TEXT,
    currency_name TEXT, area_km2 INTEGER, population INTEGER, languages TEXT, neighbours TEXT);
CREATE TABLE rates (currency TEXT, date TEXT, per_euro REAL, PRIMARY KEY (currency, date)) WITHOUT ROWID;
CREATE TABLE airlines (carrier TEXT PRIMARY KEY, name TEXT, facts TEXT);
CREATE TABLE aircraft (
    tail_number TEXT PRIMARY KEY, year INTEGER, type TEXT, manufacturer TEXT, model TEXT, engines INTEGER,
    engine_type TEXT, seats INTEGER);
CREATE TABLE weather (
    iata TEXT, date TEXT, hour INTEGER, temperature_f REAL, dew_point_f REAL, humidity_percent REAL,
    wind_direction_degrees INTEGER, wind_speed_mph REAL, wind_gust_mph REAL, precipitation_inches REAL,
    pressure_millibars REAL, visibility_miles REAL, PRIMARY KEY (iata, date, hour)) WITHOUT ROWID;
CREATE TABLE flights (
    flight_id TEXT PRIMARY KEY, carrier TEXT, flight_number INTEGER, origin TEXT, destination TEXT, date TEXT,
    month INTEGER, hour INTEGER, departure TEXT, arrival TEXT, scheduled_minutes INTEGER, tail_number TEXT,
    cancelled INTEGER, actual_departure TEXT, actual_arrival TEXT, departure_delay INTEGER,
    arrival_delay INTEGER, air_time INTEGER, distance_miles INTEGER, departure_utc TEXT, arrival_utc TEXT);
CREATE TABLE routes (
    origin TEXT, destination TEXT, flights INTEGER, carriers INTEGER, distance_miles INTEGER,
    PRIMARY KEY (origin, destination)) WITHOUT ROWID;
CREATE INDEX flights_by_route ON flights (origin, destination, date);
CREATE INDEX flights_by_tail_number ON flights (tail_number, date);
CREATE INDEX flights_by_carrier ON flights (carrier);
"""

_WEATHER_VALUES = (
    "temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib",
)  # fmt: skip


def folded(text: str) -> str:
    """Text for comparing names: without case and without accents, so that Zurich finds Zürich."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def build_database(path: Path) -> None:
    """Write the database to `path`, replacing what is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.executescript(_SCHEMA)
        with connection:
            _fill_places(connection)
            _fill_rates(connection)
            _fill_aviation(connection)
            _fill_airlines(connection)
        connection.execute("ANALYZE")
        connection.commit()
    finally:
        connection.close()


def _insert(connection: sqlite3.Connection, table: str, rows: Iterable[Sequence[object]]) -> None:
    columns = len(connection.execute(f"PRAGMA table_info({table})").fetchall())
    marks = ", ".join("?" * columns)
    connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)  # noqa: S608  only our names


def _decimal(value: str | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)


def _airport(row: sources.Row) -> tuple[object, ...]:
    city, name = row["city"] or "", row["name"] or ""
    return (
        row["iata"], row["icao"], name, row["city"], row["subd"], row["country"], number(row["elevation"]),
        _decimal(row["lat"], 4), _decimal(row["lon"], 4), row["tz"], folded(city), folded(f"{name} | {city}"),
    )  # fmt: skip


def _city(city: dict[str, Any]) -> tuple[object, ...]:
    return (
        city["geonameid"], city["name"], city["countrycode"], city["admin1code"] or None,
        round(city["latitude"], 4), round(city["longitude"], 4), city["population"], city["timezone"],
        folded(city["name"]),
    )  # fmt: skip


def _country(country: dict[str, Any]) -> tuple[object, ...]:
    lists = (country["languages"], country["neighbours"])
    languages, neighbours = (json.dumps([code for code in text.split(",") if code]) for text in lists)
    return (
        country["iso"], country["name"], country["capital"] or None, country["continentcode"],
        country["currencycode"] or None, country["currencyname"] or None, country["areakm2"],
        country["population"], languages, neighbours,
    )  # fmt: skip


def _fill_places(connection: sqlite3.Connection) -> None:
    _insert(connection, "airports", map(_airport, sources.airports()))
    _insert(connection, "cities", map(_city, sources.cities()))
    _insert(connection, "countries", map(_country, sources.countries()))


def _fill_rates(connection: sqlite3.Connection) -> None:
    for row in sources.exchange_rates():
        day = row.pop("Date")
        rates = [(currency, day, float(rate)) for currency, rate in row.items() if currency and rate]
        _insert(connection, "rates", [*rates, ("EUR", day, 1.0)])


def _weather(row: sources.Row) -> tuple[object, ...]:
    day = f"{int(row['year'] or 0):04d}-{int(row['month'] or 0):02d}-{int(row['day'] or 0):02d}"
    return (row["origin"], day, row["hour"], *(_decimal(row[name], 2) for name in _WEATHER_VALUES))


def _aircraft(row: sources.Row) -> tuple[object, ...]:
    names = ("tailnum", "year", "type", "manufacturer", "model", "engines", "engine", "seats")
    return tuple(row[name] for name in names)


def _fill_aviation(connection: sqlite3.Connection) -> None:
    zones = dict(connection.execute("SELECT iata, timezone FROM airports"))
    taken: set[str] = set()
    rows = (flight_row(raw, flight_id(index, taken), zones) for index, raw in enumerate(sources.flights()))
    assert len(COLUMNS) == len(connection.execute("PRAGMA table_info(flights)").fetchall())
    _insert(connection, "flights", rows)
    connection.execute(
        "INSERT INTO routes SELECT origin, destination, COUNT(*), COUNT(DISTINCT carrier), MIN(distance_miles)"
        " FROM flights GROUP BY origin, destination"
    )
    _insert(connection, "aircraft", map(_aircraft, sources.planes()))
    _insert(connection, "weather", map(_weather, sources.weather()))


def _most(connection: sqlite3.Connection, value: str, carrier: str, source: str = "flights") -> str | None:
    row = connection.execute(
        f"SELECT {value} FROM {source} WHERE carrier = ? AND {value} IS NOT NULL"  # noqa: S608  only our names
        f" GROUP BY {value} ORDER BY COUNT(*) DESC, {value} LIMIT 1",
        (carrier,),
    ).fetchone()
    return row[0] if row else None


def _airline_facts(connection: sqlite3.Connection, carrier: str) -> dict[str, object]:
    """What the flights say about an airline, worked out once: it takes too long for every request."""
    totals = connection.execute(
        "SELECT COUNT(*), SUM(cancelled), COUNT(DISTINCT tail_number), COUNT(DISTINCT destination),"
        " ROUND(AVG(departure_delay), 2), ROUND(AVG(arrival_delay), 2) FROM flights WHERE carrier = ?",
        (carrier,),
    ).fetchone()
    names = ("flights", "cancelled", "aircraft", "destinations", "mean_departure_delay", "mean_arrival_delay")
    return dict(zip(names, totals, strict=True)) | {
        "busiest_origin": _most(connection, "origin", carrier),
        "busiest_destination": _most(connection, "destination", carrier),
        "most_used_tail_number": _most(connection, "tail_number", carrier),
        "most_used_model": _most(connection, "model", carrier, "flights JOIN aircraft USING (tail_number)"),
    }


def _fill_airlines(connection: sqlite3.Connection) -> None:
    for row in sources.airlines():
        facts = json.dumps(_airline_facts(connection, row["carrier"] or ""))
        _insert(connection, "airlines", [(row["carrier"], row["name"], facts)])
