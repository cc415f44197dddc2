"""The values that literals are drawn from: wide enough to be diverse, few enough that they recur across workflows."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from functools import lru_cache

import travel_api

NEW_YORK = ("EWR", "JFK", "LGA")
CURRENCIES = (
    "AUD", "BRL", "CAD", "CHF", "CNY", "CZK", "DKK", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "JPY", "KRW",
    "MXN", "NOK", "NZD", "PLN", "SEK", "SGD", "THB", "TRY", "USD", "ZAR",
)  # fmt: skip
YEARS = tuple(range(2010, 2025))
FLIGHT_DATES = tuple(f"2013-{month:02d}-{day:02d}" for month in range(1, 13) for day in (3, 9, 15, 21, 27))
RATE_DATES = tuple(f"{year}-{date[5:]}" for year in (2012, 2013, 2016, 2019, 2021) for date in FLIGHT_DATES)
MOMENTS = tuple(
    f"2013-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}"
    for month in range(1, 13)
    for day, hour, minute in (
        (3, 2, 30),
        (9, 6, 0),
        (9, 21, 45),
        (15, 9, 15),
        (15, 13, 0),
        (21, 16, 20),
        (27, 23, 5),
    )
)
DEPARTURE_TIMES = tuple(f"{hour:02d}:{minute}" for hour in range(6, 19) for minute in ("00", "30"))


@dataclass(frozen=True)
class Pools:
    """What the database adds to the constants above."""

    routes: tuple[tuple[str, str], ...]
    carriers: tuple[str, ...]
    tail_numbers: tuple[str, ...]
    airports: tuple[str, ...]
    cities: tuple[tuple[str, str], ...]
    countries: tuple[str, ...]


@lru_cache(maxsize=4)
def pools(connection: sqlite3.Connection) -> Pools:
    """Routes flown about twice a day or more, the busiest aircraft, the most populous cities, their countries."""
    cities = _cities(connection)
    return Pools(
        routes=tuple(
            connection.execute(
                "SELECT origin, destination FROM routes WHERE flights >= 700 ORDER BY origin, destination"
            )
        ),
        carriers=tuple(row[0] for row in connection.execute("SELECT carrier FROM airlines ORDER BY carrier")),
        tail_numbers=_tail_numbers(connection),
        airports=_airports(connection, {name for name, _ in cities}),
        cities=cities,
        countries=_countries(connection),
    )


def _cities(connection: sqlite3.Connection, size: int = 300) -> tuple[tuple[str, str], ...]:
    """The most populous cities with plain names that lead the search for their name."""
    found: dict[str, str] = {}
    rows = connection.execute(
        "SELECT name, country_code, folded_name FROM cities ORDER BY population DESC, city_id LIMIT 700"
    )
    for name, country, folded in rows.fetchall():
        plain = folded == name.lower() and name.replace(" ", "").isalpha() and len(name) >= 4
        if plain and name not in found and len(found) < size and _leads(connection, name):
            found[name] = country
    return tuple(sorted(found.items()))


def _leads(connection: sqlite3.Connection, name: str) -> bool:
    answer = travel_api.answer(connection, "search_cities", {"city_name": name})
    return bool(max(answer["cities"], key=lambda city: city["population"])["name"] == name)


def _tail_numbers(connection: sqlite3.Connection, size: int = 400) -> tuple[str, ...]:
    rows = connection.execute(
        "SELECT tail_number FROM flights JOIN aircraft USING (tail_number) GROUP BY tail_number"
        " ORDER BY COUNT(*) DESC, tail_number LIMIT ?",
        (size,),
    )
    return tuple(sorted(row[0] for row in rows))


def _airports(connection: sqlite3.Connection, cities: set[str]) -> tuple[str, ...]:
    """The airports that the flights use, and the international airports of the cities in the pool."""
    used = {code for route in connection.execute("SELECT origin, destination FROM routes") for code in route}
    rows = connection.execute("SELECT iata, city FROM airports WHERE name LIKE '%International Airport'")
    return tuple(sorted(used | {iata for iata, city in rows if city in cities}))


def _countries(connection: sqlite3.Connection) -> tuple[str, ...]:
    """Countries of more than two million people whose currency has reference rates."""
    marks = ", ".join("?" * len(CURRENCIES))
    rows = connection.execute(
        "SELECT country_code FROM countries WHERE population > 2000000 AND capital IS NOT NULL"  # noqa: S608  marks only
        f" AND currency_code IN ({marks}) ORDER BY country_code",
        CURRENCIES,
    )
    return tuple(row[0] for row in rows)
