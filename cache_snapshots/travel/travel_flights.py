"""Flights, aircraft, airlines and routes: the endpoints over the flights that left New York City in 2013."""

from __future__ import annotations

import json
from statistics import mean, median

import travel_parameters as p
from fastapi import APIRouter
from travel_parameters import Body, Database, documented, not_found
from travel_places import listing, rows

router = APIRouter()

_NO_FLIGHT = "No flight has this id."
_NO_AIRCRAFT = "No aircraft has this tail number."
_NO_AIRLINE = "No airline has this code."
_NO_ROUTE = "There are no flights on this route."

# The only texts that are put into statements: everything that comes from a request is bound.
_FLIGHT_ORDER = {
    "departure": "departure, arrival_utc_scheduled",
    "arrival": "arrival_utc_scheduled, departure",
    "duration": "scheduled_minutes, departure",
}
_ROUTE_ORDER = {
    "flights": "flights DESC, destination",
    "distance": "distance_miles DESC, destination",
    "destination": "destination",
}


@router.get("/flights", operation_id="search_flights", summary="Search flights on a route and date")
def search_flights(
    connection: Database,
    origin: p.Origin,
    destination: p.Destination,
    date: p.Date,
    carrier: p.CarrierFilter = None,
    departure_after: p.EarliestDeparture = None,
    sort: p.FlightSort = "departure",
    limit: p.Limit = 10,
) -> Body:
    """Find the flights scheduled on a route on a date in 2013.

    Knows flights from the airports of New York City (EWR, JFK, LGA). Gives how many match (`count`) and a list
    `flights` of what was scheduled: id, airline, flight number, local times of departure and arrival, duration in
    minutes, and the tail number of the aircraft. How a flight went is told by get_flight.
    """
    found = rows(
        connection,
        "SELECT flight_id, carrier, flight_number, departure, arrival, scheduled_minutes, tail_number FROM"  # noqa: S608
        " (SELECT *, julianday(departure_utc) + scheduled_minutes / 1440.0 AS arrival_utc_scheduled FROM flights)"
        " WHERE origin = ? AND destination = ? AND date = ? AND (? IS NULL OR carrier = ?)"
        f" AND departure >= ? ORDER BY {_FLIGHT_ORDER[sort]}, carrier, flight_number, flight_id",
        *(origin, destination, date, carrier, carrier, departure_after or ""),
    )
    return listing("flights", found, limit)


@router.get(
    "/flights/{flight_id}",
    operation_id="get_flight",
    summary="Get how one flight went",
    responses=documented(_NO_FLIGHT),
)
def get_flight(connection: Database, flight_id: p.FlightId) -> Body:
    """Get the outcome of a flight by its id.

    Gives airline, aircraft, route, date and hour of the scheduled departure, scheduled and actual local times,
    whether it was cancelled, delays and time in the air in minutes (negative delays are early), distance in
    miles, the scheduled departure in UTC (`departure_utc`) and the actual arrival in UTC (`arrival_utc`). What is
    not known, such as the arrival of a cancelled flight, is null.
    """
    found = rows(connection, "SELECT * FROM flights WHERE flight_id = ?", flight_id)
    if not found:
        raise not_found(_NO_FLIGHT)
    flight = found[0]
    flight.pop("month")
    return flight | {"cancelled": bool(flight["cancelled"])}


@router.get(
    "/aircraft/{tail_number}",
    operation_id="get_aircraft",
    summary="Get one aircraft by its tail number",
    responses=documented(_NO_AIRCRAFT),
)
def get_aircraft(connection: Database, tail_number: p.TailNumber) -> Body:
    """Get an aircraft by its tail number.

    Gives year of manufacture, type, manufacturer, model, engines and seats; and from its flights out of New York
    City in 2013 their number, the airline that flew it most (`main_carrier`) and where it went most
    (`main_destination`).
    """
    found = rows(connection, "SELECT * FROM aircraft WHERE tail_number = ?", tail_number)
    if not found:
        raise not_found(_NO_AIRCRAFT)
    flown = connection.execute(
        "SELECT carrier, destination FROM flights WHERE tail_number = ?", (tail_number,)
    ).fetchall()
    carriers, destinations = ([flight[place] for flight in flown] for place in (0, 1))
    return found[0] | {
        "flights": len(flown),
        "main_carrier": _most_frequent(carriers),
        "main_destination": _most_frequent(destinations),
    }


def _most_frequent(values: list[str]) -> str | None:
    """The most frequent value, among equals the first in the alphabet."""
    return min(set(values), key=lambda value: (-values.count(value), value), default=None)


@router.get(
    "/aircraft/{tail_number}/flights",
    operation_id="aircraft_flights",
    summary="List the flights of one aircraft on a date",
)
def aircraft_flights(connection: Database, tail_number: p.TailNumber, date: p.Date) -> Body:
    """List the flights that an aircraft was scheduled to fly out of New York City on a date in 2013.

    Gives how many there are (`count`) and a list `flights`, by time of departure, with id, airline, flight
    number, route and local times of departure and arrival.
    """
    found = rows(
        connection,
        "SELECT flight_id, carrier, flight_number, origin, destination, departure, arrival FROM flights"
        " WHERE tail_number = ? AND date = ? ORDER BY departure_utc, flight_id",
        *(tail_number, date),
    )
    return {"tail_number": tail_number, "date": date} | listing("flights", found, len(found))


@router.get(
    "/airlines/{carrier}",
    operation_id="get_airline",
    summary="Get one airline by its code",
    responses=documented(_NO_AIRLINE),
)
def get_airline(connection: Database, carrier: p.Carrier) -> Body:
    """Get an airline by its code.

    Gives its name, and from its flights out of New York City in 2013 the numbers of flights, cancellations,
    aircraft and destinations, mean delays in minutes, the airport it left from most (`busiest_origin`) and flew
    to most (`busiest_destination`), and the aircraft (`most_used_tail_number`) and model (`most_used_model`) it
    used most.
    """
    found = rows(connection, "SELECT * FROM airlines WHERE carrier = ?", carrier)
    if not found:
        raise not_found(_NO_AIRLINE)
    airline = found[0]
    facts: Body = json.loads(airline.pop("facts"))
    return airline | facts


@router.get(
    "/routes/{origin}/{destination}",
    operation_id="route_statistics",
    summary="Get statistics of a route",
    responses=documented(_NO_ROUTE),
)
def route_statistics(
    connection: Database, origin: p.Origin, destination: p.Destination, month: p.MonthFilter = None
) -> Body:
    """Get how the flights of a route from EWR, JFK or LGA went in 2013, or in one month of it.

    Gives numbers of flights and cancellations, distance in miles, mean time in the air, mean and median delays in
    minutes, a list `carriers` of the airlines with their flights and mean arrival delay, and the flight with the
    longest departure delay (`worst_delay`).
    """
    flights = rows(
        connection,
        "SELECT flight_id, date, carrier, cancelled, departure_delay, arrival_delay, air_time, distance_miles"
        " FROM flights WHERE origin = ? AND destination = ? AND (? IS NULL OR month = ?) ORDER BY departure_utc",
        *(origin, destination, month, month),
    )
    if not flights:
        raise not_found(_NO_ROUTE)
    delayed = [flight for flight in flights if flight["departure_delay"] is not None]
    worst = max(delayed, key=lambda flight: (flight["departure_delay"], flight["flight_id"]), default=None)
    return {
        "origin": origin,
        "destination": destination,
        "month": month,
        "flights": len(flights),
        "cancelled": sum(flight["cancelled"] for flight in flights),
        "distance_miles": flights[0]["distance_miles"],
        "mean_air_time": _mean(flights, "air_time"),
        "departure_delay": {
            "mean": _mean(flights, "departure_delay"),
            "median": _median(flights, "departure_delay"),
        },
        "arrival_delay": {
            "mean": _mean(flights, "arrival_delay"),
            "median": _median(flights, "arrival_delay"),
        },
        "carriers": _carriers(flights),
        "worst_delay": worst and {name: worst[name] for name in ("flight_id", "date", "carrier", "departure_delay")},
    }


def _known(flights: list[Body], name: str) -> list[int]:
    return [flight[name] for flight in flights if flight[name] is not None]


def _mean(flights: list[Body], name: str) -> float | None:
    known = _known(flights, name)
    return round(mean(known), 2) if known else None


def _median(flights: list[Body], name: str) -> float | None:
    known = _known(flights, name)
    return median(known) if known else None


def _carriers(flights: list[Body]) -> list[Body]:
    """The airlines of the flights, alphabetical."""
    answer = []
    for carrier in sorted({flight["carrier"] for flight in flights}):
        own = [flight for flight in flights if flight["carrier"] == carrier]
        answer.append({"carrier": carrier, "flights": len(own), "mean_arrival_delay": _mean(own, "arrival_delay")})
    return answer


@router.get("/routes/{origin}", operation_id="list_routes", summary="List the routes from an airport")
def list_routes(
    connection: Database, origin: p.Origin, rank_by: p.RouteRanking = "flights", limit: p.Limit = 10
) -> Body:
    """List the destinations that had flights from EWR, JFK or LGA in 2013.

    Gives how many there are (`count`) and a list `routes` with destination, number of flights, number of airlines
    and distance in miles.
    """
    found = rows(
        connection,
        "SELECT destination, flights, carriers, distance_miles FROM routes WHERE origin = ?"  # noqa: S608
        f" ORDER BY {_ROUTE_ORDER[rank_by]}",
        origin,
    )
    return {"origin": origin} | listing("routes", found, limit)
