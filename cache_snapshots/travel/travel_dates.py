"""What holds on a date: public holidays, exchange rates, local times and the weather in New York City."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from datetime import date as calendar_date
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import holidays
import travel_parameters as p
from fastapi import APIRouter
from travel_parameters import Body, Database, documented, not_found
from travel_places import listing, rows

router = APIRouter()

_NO_CALENDAR = "No public holidays are known for this country."
_NO_RATE = "There is no reference rate between these currencies on this date."
_NO_ZONE = "No time zone has this name."
_NO_WEATHER = "There is no weather observation for this airport, date and hour."

# Reference rates are missing on weekends and holidays, never for longer than this unless a currency ended.
_LONGEST_GAP = timedelta(days=7)


@router.get(
    "/countries/{country_code}/holidays",
    operation_id="list_holidays",
    summary="List the public holidays of a country",
    responses=documented(_NO_CALENDAR),
)
def list_holidays(country_code: p.CountryCode, year: p.Year, month: p.MonthFilter = None) -> Body:
    """List the nationwide public holidays of a country in a year, or in one month of it.

    Gives how many there are (`count`) and a list `holidays`, by date, with `date` and `name`.
    """
    try:
        calendar = holidays.country_holidays(country_code, years=year, language="en_US")
    except NotImplementedError:
        raise not_found(_NO_CALENDAR) from None
    days = [{"date": day.isoformat(), "name": name} for day, name in sorted(calendar.items())]
    chosen = [day for day in days if day["date"].startswith(f"{year}-{month:02d}" if month else f"{year}-")]
    return {"country_code": country_code, "year": year, "month": month} | listing("holidays", chosen, len(chosen))


@router.get(
    "/exchange-rate",
    operation_id="get_exchange_rate",
    summary="Get the exchange rate between two currencies on a date",
    responses=documented(_NO_RATE),
)
def get_exchange_rate(connection: Database, base: p.BaseCurrency, quote: p.QuoteCurrency, date: p.Date) -> Body:
    """Get how many units of `quote` one unit of `base` was worth on a date.

    Taken from the reference rates of the European Central Bank since 1999. On days without rates the last day
    before counts; `rate_date` says which day that is.
    """
    found = connection.execute(
        "SELECT b.date, q.per_euro / b.per_euro FROM rates AS b JOIN rates AS q USING (date)"
        " WHERE b.currency = ? AND q.currency = ? AND b.date <= ? ORDER BY b.date DESC LIMIT 1",
        (base, quote, date),
    ).fetchone()
    day = calendar_date.fromisoformat(date)
    if found is None or day - calendar_date.fromisoformat(found[0]) > _LONGEST_GAP:
        raise not_found(_NO_RATE)
    # Six significant digits, as many as the central bank publishes.
    return {
        "base": base,
        "quote": quote,
        "date": date,
        "rate": float(f"{found[1]:.6g}"),
        "rate_date": found[0],
    }


@router.get(
    "/local-time",
    operation_id="get_local_time",
    summary="Convert a moment in UTC to the local time of a time zone",
    responses=documented(_NO_ZONE),
)
def get_local_time(timezone: p.Timezone, utc_time: p.UtcTime) -> Body:
    """Get what the clocks of a time zone show at a moment given in UTC.

    Gives local date and time, weekday, abbreviation of the zone, offset from UTC, and whether daylight saving
    time is on.
    """
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise not_found(_NO_ZONE) from None
    local = datetime.fromisoformat(utc_time).replace(tzinfo=UTC).astimezone(zone)
    return {
        "timezone": timezone,
        "utc_time": utc_time,
        "local_time": local.strftime("%Y-%m-%dT%H:%M"),
        "weekday": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")[local.weekday()],
        "abbreviation": local.tzname(),
        "utc_offset": _offset(local),
        "daylight_saving": bool(local.dst()),
    }


def _offset(local: datetime) -> str:
    """The offset from UTC as +HH:MM."""
    minutes = int((local.utcoffset() or timedelta()).total_seconds()) // 60
    return f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


@router.get(
    "/weather",
    operation_id="get_weather",
    summary="Get the weather at an airport of New York City in an hour of 2013",
    responses=documented(_NO_WEATHER),
)
def get_weather(connection: Database, iata: p.Iata, date: p.Date, hour: p.Hour) -> Body:
    """Get the weather observed at EWR, JFK or LGA (no other airport) in an hour of 2013, local time.

    Gives temperature and dew point in degrees Fahrenheit, humidity, wind in miles per hour, precipitation in
    inches, pressure in millibars and visibility in miles. What was not observed is null.
    """
    found = rows(connection, "SELECT * FROM weather WHERE iata = ? AND date = ? AND hour = ?", *(iata, date, hour))
    if not found:
        raise not_found(_NO_WEATHER)
    return found[0]
