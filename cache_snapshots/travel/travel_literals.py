"""Draws the literals of a workflow's query so that its chain of calls usually succeeds."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any

import jmespath
import travel_api
from fastapi import HTTPException
from jmespath.exceptions import JMESPathError
from travel_invalid_calls import invalid_calls
from travel_pools import (
    CURRENCIES,
    DEPARTURE_TIMES,
    FLIGHT_DATES,
    MOMENTS,
    NEW_YORK,
    RATE_DATES,
    YEARS,
    Pools,
    pools,
)

__all__ = ["draw_literals", "invalid_calls", "succeeds"]

Literal = str | int | float
Literals = dict[str, Literal]

_ATTEMPTS = 80
_FLIGHT_TOOLS = frozenset({"search_flights", "aircraft_flights", "get_weather"})
_EXTREME = re.compile(r"^(?:max|min)_by\((\w+), &(\w+)\)")

_compiled = lru_cache(maxsize=1024)(jmespath.compile)


def draw_literals(workflow: dict[str, Any], connection: sqlite3.Connection, rng: random.Random) -> Literals:
    """Values for all literals of a workflow, drawn together.

    Related literals come from one fact (an airline that flies the route that day). A draw under which some call fails,
    some selection is empty or two entries tie for an extreme is drawn again, a bounded number of times.
    """
    literals: Literals = {}
    for _ in range(_ATTEMPTS):
        literals = _draw(workflow, connection, rng)
        if succeeds(workflow, literals, connection):
            break
    return literals


def succeeds(workflow: dict[str, Any], literals: Literals, connection: sqlite3.Connection) -> bool:
    """Whether every call of the workflow finds something and every selection is one value."""
    responses: dict[str, Any] = {}
    for step in workflow["steps"]:
        arguments = {}
        for name, binding in step["arguments"].items():
            value = literals[binding["query"]] if "query" in binding else _select(responses, binding)
            if value is None or isinstance(value, list | dict):
                return False
            arguments[name] = value
        try:
            responses[step["id"]] = travel_api.answer(connection, step["tool"], arguments)
        except HTTPException:
            return False
        if responses[step["id"]].get("count") == 0 or _is_pointless(arguments):
            return False
    return True


def _is_pointless(arguments: dict[str, Any]) -> bool:
    """Nobody asks for the rate of a currency to itself."""
    return "base" in arguments and arguments["base"] == arguments["quote"]


def _select(responses: dict[str, Any], binding: dict[str, str]) -> Any:
    body, expression = responses[binding["from"]], binding["select"]
    extreme = _EXTREME.match(expression)
    try:
        if extreme:
            keys = [entry[extreme[2]] for entry in body[extreme[1]]]
            pick = max if expression.startswith("max") else min
            trivial = pick is min and len(keys) < 2
            if trivial or None in keys or keys.count(pick(keys, default=None)) != 1:
                return None
        return _compiled(expression).search(body)
    except JMESPathError:
        return None


def _draw(workflow: dict[str, Any], connection: sqlite3.Connection, rng: random.Random) -> Literals:
    names: Collection[str] = workflow["literals"]
    used = {step["tool"] for step in workflow["steps"]}
    chosen = pools(connection)
    drawn: Literals = {}
    _draw_date(drawn, used, rng)
    _draw_route(drawn, names, connection, chosen, rng)
    if "tail_number" in names:
        _draw_tail_number(drawn, names, connection, chosen, rng)
    _draw_places(drawn, chosen, rng, with_city=bool({"city_name", "text"} & set(names)))
    weather_only = "get_weather" in used and "search_flights" not in used
    drawn["iata"], drawn["other_iata"] = rng.sample(NEW_YORK if weather_only else chosen.airports, 2)
    # Holidays on which flights or the weather are looked up must lie in the year of the flights.
    drawn["year"] = 2013 if used & _FLIGHT_TOOLS else rng.choice(YEARS)
    drawn["base"], drawn["quote"] = rng.sample(CURRENCIES, 2)
    for name, draw in _SIMPLE.items():
        drawn[name] = draw(rng)
    return {name: drawn[name] for name in names}


_SIMPLE: dict[str, Callable[[random.Random], Literal]] = {
    "utc_time": lambda rng: rng.choice(MOMENTS),
    "month": lambda rng: rng.randint(1, 12),
    "hour": lambda rng: rng.randint(0, 23),
    "limit": lambda rng: rng.randint(4, 20),
    "sort": lambda rng: rng.choice(("departure", "arrival", "duration")),
    "rank_by": lambda rng: rng.choice(("flights", "distance", "destination")),
    "departure_after": lambda rng: rng.choice(DEPARTURE_TIMES),
}


def _draw_date(drawn: Literals, used: set[str], rng: random.Random) -> None:
    drawn["date"] = rng.choice(FLIGHT_DATES if used & _FLIGHT_TOOLS else RATE_DATES)


def _draw_route(
    drawn: Literals, names: Collection[str], connection: sqlite3.Connection, chosen: Pools, rng: random.Random
) -> None:
    """A route, another destination from the same origin, and an airline: one of the route's if both are asked for."""
    origin = rng.choice(NEW_YORK)
    destinations = [destination for start, destination in chosen.routes if start == origin]
    drawn["origin"] = origin
    drawn["destination"], drawn["other_destination"] = rng.sample(destinations, 2)
    carriers: list[str] = list(chosen.carriers)
    if "origin" in names and "carrier" in names:
        flown = connection.execute(
            "SELECT DISTINCT carrier FROM flights WHERE origin = ? AND destination = ? AND date = ? ORDER BY carrier",
            (origin, drawn["destination"], drawn["date"]),
        )
        carriers = [row[0] for row in flown] or carriers
    drawn["carrier"] = rng.choice(carriers)


def _draw_tail_number(
    drawn: Literals, names: Collection[str], connection: sqlite3.Connection, chosen: Pools, rng: random.Random
) -> None:
    """An aircraft and, where a date is asked for, a date on which it flew."""
    drawn["tail_number"] = rng.choice(chosen.tail_numbers)
    if "date" in names:
        flown = connection.execute(
            "SELECT DISTINCT date FROM flights WHERE tail_number = ? ORDER BY date", (drawn["tail_number"],)
        )
        dates = [row[0] for row in flown if row[0] in FLIGHT_DATES]
        drawn["date"] = rng.choice(dates or FLIGHT_DATES)


def _draw_places(drawn: Literals, chosen: Pools, rng: random.Random, with_city: bool) -> None:
    """Two cities, and a country: the country of the first city if a city is asked for."""
    (city, country), (other_city, _) = rng.sample(chosen.cities, 2)
    drawn["city_name"] = drawn["text"] = city
    drawn["other_city_name"] = other_city
    drawn["country_code"] = country if with_city else rng.choice(chosen.countries)
