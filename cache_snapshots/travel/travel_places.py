"""Airports, cities and countries."""

from __future__ import annotations

import json
import math
import sqlite3

import travel_parameters as p
from fastapi import APIRouter
from travel_database import folded
from travel_parameters import Body, Database, documented, not_found

router = APIRouter()

_NO_AIRPORT = "No airport has this code."
_NO_CITY = "No city has this id."
_NO_COUNTRY = "No country has this code."

_KM_PER_DEGREE = 111.1949


def rows(connection: sqlite3.Connection, statement: str, *values: object) -> list[Body]:
    """The rows of a query as dictionaries."""
    cursor = connection.execute(statement, values)
    names = [column[0] for column in cursor.description]
    return [dict(zip(names, row, strict=True)) for row in cursor]


def listing(name: str, entries: list[Body], limit: int) -> Body:
    """The common form of a list: how many match, and the first `limit` of them."""
    return {"count": len(entries), name: entries[:limit]}


@router.get("/airports", operation_id="search_airports", summary="Search airports by name or city")
def search_airports(
    connection: Database,
    text: p.SearchText,
    country_code: p.CountryFilter = None,
    limit: p.Limit = 8,
) -> Body:
    """Find airports whose name, or the city they serve, contains the text.

    Gives how many match (`count`) and a list `airports` with code, name, city, country and elevation in feet.
    Airports whose city is exactly the text come first, then by name.
    """
    sought = folded(text)
    found = rows(
        connection,
        "SELECT iata, name, city, country_code, elevation_feet FROM airports"
        " WHERE instr(folded_text, ?) AND (? IS NULL OR country_code = ?) ORDER BY folded_city != ?, name, iata",
        *(sought, country_code, country_code, sought),
    )
    return listing("airports", found, limit)


@router.get("/airports/near", operation_id="airports_near", summary="Find the airports near a position")
def airports_near(
    connection: Database,
    latitude: p.Latitude,
    longitude: p.Longitude,
    radius_km: p.RadiusKm = 100,
    limit: p.Limit = 5,
) -> Body:
    """Find airports around a position.

    Gives how many lie within the radius (`count`) and a list `airports`, nearest first, each with code, name,
    city, country and `distance_km`. An airport at the position itself is in the list.
    """
    reach = radius_km / _KM_PER_DEGREE
    candidates = rows(
        connection,
        "SELECT iata, name, city, country_code, latitude, longitude FROM airports WHERE latitude BETWEEN ? AND ?",
        *(latitude - reach, latitude + reach),
    )
    for airport in candidates:
        position = airport.pop("latitude"), airport.pop("longitude")
        airport["distance_km"] = _distance_km((latitude, longitude), position)
    near = [airport for airport in candidates if airport["distance_km"] <= radius_km]
    return listing("airports", sorted(near, key=lambda airport: (airport["distance_km"], airport["iata"])), limit)


def _distance_km(one: tuple[float, float], other: tuple[float, float]) -> float:
    """The great-circle distance, in steps of 100 metres."""
    (phi, lam), (phi2, lam2) = (tuple(map(math.radians, position)) for position in (one, other))
    a = math.sin((phi2 - phi) / 2) ** 2 + math.cos(phi) * math.cos(phi2) * math.sin((lam2 - lam) / 2) ** 2
    return round(2 * math.degrees(math.asin(min(1.0, math.sqrt(a)))) * _KM_PER_DEGREE, 1)


@router.get(
    "/airports/{iata}",
    operation_id="get_airport",
    summary="Get one airport by its code",
    responses=documented(_NO_AIRPORT),
)
def get_airport(connection: Database, iata: p.Iata) -> Body:
    """Get an airport by its code.

    Gives its codes, name, the city it serves, subdivision, country, position, elevation in feet and time zone.
    """
    found = rows(
        connection,
        "SELECT iata, icao, name, city, subdivision, country_code, latitude, longitude, elevation_feet, timezone"
        " FROM airports WHERE iata = ?",
        iata,
    )
    if not found:
        raise not_found(_NO_AIRPORT)
    return found[0]


@router.get("/cities", operation_id="search_cities", summary="Search cities by name")
def search_cities(
    connection: Database,
    city_name: p.CityName,
    country_code: p.CountryFilter = None,
    limit: p.Limit = 8,
) -> Body:
    """Find cities with more than 15,000 people whose name begins with the given text.

    Gives how many match (`count`) and a list `cities` with id, name, country, region code and population. The
    most populous ones are listed, in the alphabetical order of country and name.
    """
    sought = folded(city_name)
    found = rows(
        connection,
        "SELECT city_id, name, country_code, region_code, population FROM cities"
        " WHERE substr(folded_name, 1, ?) = ? AND (? IS NULL OR country_code = ?) ORDER BY population DESC, city_id",
        *(len(sought), sought, country_code, country_code),
    )
    listed = sorted(found[:limit], key=lambda city: (city["country_code"], city["name"], city["city_id"]))
    return {"count": len(found), "cities": listed}


@router.get(
    "/cities/{city_id}",
    operation_id="get_city",
    summary="Get one city by its id",
    responses=documented(_NO_CITY),
)
def get_city(connection: Database, city_id: p.CityId) -> Body:
    """Get a city by its id.

    Gives its name, country, region code, position, population and time zone.
    """
    found = rows(
        connection,
        "SELECT city_id, name, country_code, region_code, latitude, longitude, population, timezone FROM cities"
        " WHERE city_id = ?",
        city_id,
    )
    if not found:
        raise not_found(_NO_CITY)
    return found[0]


@router.get(
    "/countries/{country_code}",
    operation_id="get_country",
    summary="Get one country by its code",
    responses=documented(_NO_COUNTRY),
)
def get_country(connection: Database, country_code: p.CountryCode) -> Body:
    """Get a country by its code.

    Gives its name, capital, continent, the currency that it has today, area in square kilometres, population,
    `languages`, and the codes of its neighbours by land (`neighbours`).
    """
    found = rows(connection, "SELECT * FROM countries WHERE country_code = ?", country_code)
    if not found:
        raise not_found(_NO_COUNTRY)
    country = found[0]
    return country | {name: json.loads(country[name]) for name in ("languages", "neighbours")}
