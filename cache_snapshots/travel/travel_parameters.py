"""The parameters of all endpoints, each defined once: the same name means the same thing everywhere."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import date as calendar_date
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, HTTPException, Request
from pydantic import AfterValidator, Field
from pydantic.json_schema import SkipJsonSchema

Body = dict[str, Any]
Absent = SkipJsonSchema[None]  # An optional parameter is left out, never null, so its schema names no null.


def _connection(request: Request) -> sqlite3.Connection:
    connection: sqlite3.Connection = request.app.state.connection
    return connection


Database = Annotated[sqlite3.Connection, Depends(_connection)]


def not_found(detail: str) -> HTTPException:
    """The answer to unknown input. Its text is fixed for each endpoint and never repeats the input."""
    return HTTPException(status_code=404, detail=detail)


def documented(detail: str) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entry for the 404 answer of an endpoint."""
    return {404: {"description": detail}}


def _must_parse(parse: Callable[[str], object]) -> AfterValidator:
    """The text stays text, so that it is passed on exactly as it came, but it must be a real date or time."""

    def check(text: str) -> str:
        parse(text)
        return text

    return AfterValidator(check)


def _text(description: str, **constraints: Any) -> Any:
    return Field(description=description, **constraints)


Iata = Annotated[str, _text("An airport, by its IATA code of three letters.", pattern="^[A-Z]{3}$", examples=["JFK"])]
Origin = Annotated[
    str,
    _text("The airport of departure, by its IATA code of three letters.", pattern="^[A-Z]{3}$", examples=["JFK"]),
]
Destination = Annotated[
    str,
    _text("The airport of arrival, by its IATA code of three letters.", pattern="^[A-Z]{3}$", examples=["SFO"]),
]
Carrier = Annotated[
    str,
    _text("An airline, by its IATA code of two characters.", pattern="^[A-Z0-9]{2}$", examples=["UA"]),
]
TailNumber = Annotated[
    str,
    _text("The registration of an aircraft (tail number).", pattern="^[A-Z][A-Z0-9]{3,5}$", examples=["N14228"]),
]
FlightId = Annotated[
    str,
    _text(
        "The id of one flight on one day, as given in lists of flights.",
        pattern="^F[0-9]{8}$",
        examples=["F53713858"],
    ),
]
CountryCode = Annotated[
    str, _text("A country, by its ISO 3166 code of two letters.", pattern="^[A-Z]{2}$", examples=["CH"])
]
CityId = Annotated[
    int,
    Field(description="The id of a city, as given in lists of cities.", ge=1, le=99_999_999, examples=[2657896]),
]
CityName = Annotated[
    str,
    _text(
        "The name of a city or its beginning; case and accents do not matter.",
        min_length=2,
        max_length=60,
        examples=["Zurich"],
    ),
]
SearchText = Annotated[
    str,
    _text(
        "A part of the airport's name or of the name of the city it serves; case and accents do not matter.",
        min_length=2,
        max_length=60,
        examples=["Heathrow"],
    ),
]
BaseCurrency = Annotated[
    str,
    _text("The currency to convert from, by its ISO 4217 code.", pattern="^[A-Z]{3}$", examples=["USD"]),
]
QuoteCurrency = Annotated[
    str, _text("The currency to convert to, by its ISO 4217 code.", pattern="^[A-Z]{3}$", examples=["CHF"])
]
Date = Annotated[
    str,
    _text(
        "A calendar date, YYYY-MM-DD.",
        pattern="^[0-9]{4}-[0-9]{2}-[0-9]{2}$",
        json_schema_extra={"format": "date"},
        examples=["2013-05-04"],
    ),
    _must_parse(calendar_date.fromisoformat),
]
Year = Annotated[int, Field(description="A calendar year.", ge=2000, le=2030, examples=[2013])]
Month = Annotated[int, Field(description="A month, 1 for January to 12 for December.", ge=1, le=12)]
Hour = Annotated[int, Field(description="An hour of the day in local time, 0 to 23.", ge=0, le=23)]
ClockTime = Annotated[
    str,
    _text(
        "A local time of day, HH:MM.",
        pattern="^([01][0-9]|2[0-3]):[0-5][0-9]$",
        examples=["14:30"],
    ),
]
Timezone = Annotated[
    str,
    _text(
        "A time zone, by its name in the IANA database.",
        pattern="^[A-Za-z_]+(/[A-Za-z0-9_+-]+){0,2}$",
        max_length=40,
        examples=["Europe/Zurich"],
    ),
]
UtcTime = Annotated[
    str,
    _text(
        "A moment in UTC to the minute, YYYY-MM-DDTHH:MM.",
        pattern="^(19|20)[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}$",
        examples=["2013-05-04T18:30"],
    ),
    _must_parse(datetime.fromisoformat),
]
Latitude = Annotated[float, Field(description="Degrees north, negative in the south.", ge=-90, le=90)]
Longitude = Annotated[float, Field(description="Degrees east, negative in the west.", ge=-180, le=180)]
RadiusKm = Annotated[float, Field(description="Search within this distance in kilometres.", gt=0, le=1000)]
Limit = Annotated[int, Field(description="List at most this many entries.", ge=1, le=25)]
FlightSort = Annotated[
    Literal["departure", "arrival", "duration"],
    Field(
        description="List flights by scheduled time of departure, scheduled time of arrival (both earliest first),"
        " or scheduled duration (shortest first)."
    ),
]
RouteRanking = Annotated[
    Literal["flights", "distance", "destination"],
    Field(
        description="List routes by number of flights (most first), distance (farthest first),"
        " or code of the destination (alphabetical)."
    ),
]

# Parameters that narrow a search and may be left out.
CountryFilter = Annotated[CountryCode | Absent, Field(description="Only in this country, by its ISO 3166 code.")]
CarrierFilter = Annotated[Carrier | Absent, Field(description="Only flights of this airline, by its IATA code.")]
MonthFilter = Annotated[Month | Absent, Field(description="Only this month, 1 for January to 12 for December.")]
EarliestDeparture = Annotated[
    ClockTime | Absent,
    Field(description="Only flights that are scheduled to leave at this local time or later, HH:MM."),
]
