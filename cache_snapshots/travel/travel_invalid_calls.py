"""Plausible wrong calls of every tool: unknown codes, malformed values, values out of range, missing parameters."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from travel_pools import CURRENCIES, FLIGHT_DATES, MOMENTS, NEW_YORK, YEARS

Call = tuple[str, dict[str, Any]]
_Draw = Callable[[random.Random], Any]


def _one_of(*values: Any) -> _Draw:
    return lambda rng: rng.choice(values)


def _letters(count: int) -> _Draw:
    # Codes with Q, X and Z are rarely given; where one is, the call is simply a valid one that finds something.
    return lambda rng: "".join(rng.choice("QXZ") for _ in range(count))


def _digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choice("0123456789") for _ in range(count))


# The parameters of every tool that are needed for a valid call; those that may be missing come with a query string.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "search_airports": ("text",),
    "get_airport": ("iata",),
    "airports_near": ("latitude", "longitude"),
    "search_cities": ("city_name",),
    "get_city": ("city_id",),
    "get_country": ("country_code",),
    "get_exchange_rate": ("base", "quote", "date"),
    "list_holidays": ("country_code", "year"),
    "search_flights": ("origin", "destination", "date"),
    "get_flight": ("flight_id",),
    "get_aircraft": ("tail_number",),
    "aircraft_flights": ("tail_number", "date"),
    "get_airline": ("carrier",),
    "get_weather": ("iata", "date", "hour"),
    "route_statistics": ("origin", "destination"),
    "list_routes": ("origin",),
    "get_local_time": ("timezone", "utc_time"),
}
_OPTIONAL: dict[str, tuple[str, ...]] = {
    "search_airports": ("country_code", "limit"),
    "airports_near": ("radius_km",),
    "search_cities": ("country_code",),
    "list_holidays": ("month",),
    "search_flights": ("carrier", "departure_after", "sort"),
    "route_statistics": ("month",),
    "list_routes": ("rank_by", "limit"),
}
_MAY_BE_MISSING = {
    "search_airports": "text",
    "airports_near": "longitude",
    "search_cities": "city_name",
    "get_exchange_rate": "date",
    "list_holidays": "year",
    "search_flights": "date",
    "aircraft_flights": "date",
    "get_weather": "hour",
    "get_local_time": "timezone",
}

_VALID: dict[str, _Draw] = {
    "text": _one_of("London", "Denver", "Tokyo", "Lima"),
    "city_name": _one_of("London", "Denver", "Tokyo", "Lima"),
    "iata": _one_of(*NEW_YORK),
    "origin": _one_of(*NEW_YORK),
    "destination": _one_of("ATL", "BOS", "DEN", "LAX", "MIA", "ORD", "SFO"),
    "country_code": _one_of("BR", "CH", "DE", "JP", "US"),
    "city_id": _one_of(2643743, 2657896, 5128581),
    "latitude": lambda rng: round(rng.uniform(-60, 60), 4),
    "longitude": lambda rng: round(rng.uniform(-170, 170), 4),
    "base": _one_of(*CURRENCIES),
    "quote": _one_of(*CURRENCIES),
    "date": _one_of(*FLIGHT_DATES),
    "year": _one_of(*YEARS),
    "month": lambda rng: rng.randint(1, 12),
    "hour": lambda rng: rng.randint(0, 23),
    "carrier": _one_of("AA", "B6", "DL", "UA"),
    "tail_number": _one_of("N14228", "N24211", "N328AA"),
    "timezone": _one_of("America/New_York", "Asia/Tokyo", "Europe/Zurich"),
    "utc_time": _one_of(*MOMENTS),
}
# Well formed, but there is no such thing.
_UNKNOWN: dict[str, _Draw] = {
    "text": _one_of("Brigadoon", "Erewhon", "Shangri-La City", "Xanadu Springs"),
    "city_name": _one_of("Brigadoon", "Erewhon", "Shangri-La City", "Xanadu Springs"),
    "iata": _letters(3),
    "origin": _one_of("BOS", "LAX", "ORD", "QQQ", "XXX", "ZZZ"),
    "destination": _one_of("JFK", "LHR", "QQQ", "XXX", "ZRH", "ZZZ"),
    "country_code": _letters(2),
    "city_id": lambda rng: rng.randint(20_000_000, 90_000_000),
    "base": _letters(3),
    "quote": _one_of("ABC", "BTC", "XAU", "XXX", "ZZZ"),
    "date": _one_of("1998-06-15", "1997-12-24", "1990-01-01", "1985-03-09"),
    "flight_id": lambda rng: f"F{_digits(rng, 8)}",
    "tail_number": lambda rng: f"N{_digits(rng, 3)}ZZ",
    "carrier": _letters(2),
    "timezone": _one_of("America/Boston", "Asia/Peking", "Europe/Nowhere", "Mars/Olympus", "Zurich"),
}
_MALFORMED: dict[str, _Draw] = {
    "text": _one_of("L", "x"),
    "city_name": _one_of("L", "x"),
    "iata": _one_of("New York", "jfk", "KJFK", "JF"),
    "origin": _one_of("New York", "jfk", "KJFK", "EW"),
    "destination": _one_of("San Francisco", "sfo", "KSFO", "SF"),
    "country_code": _one_of("CHE", "Switzerland", "ch", "U"),
    "city_id": _one_of("Zurich", "London", 0, -5, 1.5),
    "latitude": _one_of(90.5, -123.4, "north", "47N"),
    "longitude": _one_of(180.5, -200.25, "east", "8E"),
    "base": _one_of("dollar", "usd", "US", "$"),
    "quote": _one_of("francs", "chf", "CH", "EURO"),
    "date": _one_of("2013-02-30", "2013-13-01", "04.05.2013", "May 4, 2013", "20130504", "yesterday"),
    "year": _one_of(1913, 1999, 2031, 20133, "last year"),
    "month": _one_of(0, 13, -1, "May"),
    "hour": _one_of(24, -1, 99, "noon", "07:30"),
    "limit": _one_of(0, -3, 26, 1000, "all"),
    "radius_km": _one_of(0, -10, 5000, "far"),
    "departure_after": _one_of("24:00", "7:5", "14.30", "noon", "25:15"),
    "sort": _one_of("price", "delay", "earliest"),
    "rank_by": _one_of("popularity", "delay", "name"),
    "carrier": _one_of("United", "UAL", "ua", "U"),
    "flight_id": _one_of("UA1545", "F123", "1545", "f53713858", "F123456789"),
    "tail_number": _one_of("N1", "n14228", "14228", "N14228XYZ", "Boeing 737"),
    "timezone": _one_of("UTC+2", "Europe.Zurich", "+02:00", "New York"),
    "utc_time": _one_of("2013-05-04", "18:30", "2013-05-04 18:30", "2013-02-30T10:00", "2013-05-04T18:30:00Z"),
}


def _cases() -> list[tuple[str, str, _Draw | None]]:
    """Every (tool, parameter to spoil, wrong value), the kinds of mistake in turn; no value means it is left out."""
    unknown, malformed, missing = [], [], []
    for tool, required in _REQUIRED.items():
        unknown += [(tool, name, _UNKNOWN[name]) for name in required if name in _UNKNOWN]
        malformed += [(tool, name, _MALFORMED[name]) for name in (*required, *_OPTIONAL.get(tool, ()))]
        if tool in _MAY_BE_MISSING:
            missing.append((tool, _MAY_BE_MISSING[tool], None))
    unknown.append(("airports_near", "latitude", lambda rng: round(rng.uniform(-88, -80), 4)))
    return [*unknown, *malformed, *missing]


def invalid_calls(rng: random.Random, n: int) -> list[Call]:
    """`n` wrong calls, all different where the values suffice. From about 80 on every kind of mistake is among them.

    The API answers those with unknown values with 404 (or an empty list), the others with 422.
    """
    calls: list[Call] = []
    seen: set[str] = set()
    cases = _cases()
    for attempt in range(20 * n):
        if len(calls) == n:
            break
        tool, spoiled, wrong = cases[attempt % len(cases)]
        arguments = {name: _VALID[name](rng) for name in _REQUIRED[tool] if name != spoiled}
        if wrong is not None:
            arguments[spoiled] = wrong(rng)
        call = (tool, arguments)
        if repr(call) not in seen:
            seen.add(repr(call))
            calls.append(call)
    return calls
