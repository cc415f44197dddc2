"""Dates in words: by the calendar, counted from another date, or from today."""

from calendar import monthrange
from collections.abc import Collection, Iterator
from datetime import date, timedelta

from toolorch_env.core.draws import Draws
from toolorch_env.generation.described_phrasing import ordinal_ending
from toolorch_env.generation.sayings import Saying

MAX_DAYS = 14
"""Dates are counted from others that are at most that far away."""

_MONTHS = ("", "January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
           "November", "December")  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_NUMBERS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
            "thirteen", "fourteen")  # fmt: skip
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
             "twelfth", "thirteenth", "fourteenth")  # fmt: skip
_FEASTS = {
    (1, 1): "New Year's Day",
    (2, 14): "Valentine's Day",
    (4, 1): "April Fools' Day",
    (10, 31): "Halloween",
    (12, 24): "Christmas Eve",
    (12, 25): "Christmas Day",
    (12, 31): "New Year's Eve",
}
_NEAR_TODAY = {
    -2: "the day before yesterday",
    -1: "yesterday's date",
    0: "today's date",
    1: "tomorrow's date",
    2: "the day after tomorrow",
}


def is_date(value: object) -> bool:
    """Whether a value is a date, written as YYYY-MM-DD."""
    try:
        return isinstance(value, str) and date.fromisoformat(value).isoformat() == value
    except ValueError:
        return False


def say_date(value: str, draws: Draws, today: str = "", avoid: Collection[str] = ()) -> Saying:
    """A date in words that give it exactly and fit where a date stands.

    Args:
        value: the date, YYYY-MM-DD.
        draws: decides on the words.
        today: the date that the query gives as that of today, YYYY-MM-DD; empty if it gives none so far, then the words
            may need one, which the result names.
        avoid: dates that are not to be named.
    """
    day = date.fromisoformat(value)
    forms = [_by_calendar, _from_another_day]
    if not today or abs((day - date.fromisoformat(today)).days) <= MAX_DAYS:
        forms.append(_from_today)
    return draws.choose(forms)(day, draws, today, avoid)


def _by_calendar(day: date, draws: Draws, today: str, avoid: Collection[str]) -> Saying:
    text = draws.choose(list(_calendar_words(day)))
    return Saying(text, f"{text} = {day.isoformat()}")


def _calendar_words(day: date) -> Iterator[str]:
    month, year = f"{_MONTHS[day.month]} {day.year}", day.year
    yield f"the {day.day}{ordinal_ending(day.day)} of {month}"
    yield f"{_MONTHS[day.month]} {day.day}{ordinal_ending(day.day)}, {year}"
    yield f"the {_ORDINALS[(day.day - 1) // 7]} {_DAYS[day.weekday()]} of {month}"
    last = monthrange(year, day.month)[1]
    if last - day.day < 7:
        yield f"the last {_DAYS[day.weekday()]} of {month}"
    if day.day == last:
        yield f"the last day of {month}"
    if (day.month, day.day) in _FEASTS:
        yield f"{_FEASTS[day.month, day.day]} {year}"


def _from_another_day(day: date, draws: Draws, today: str, avoid: Collection[str]) -> Saying:
    other = draws.choose(_days_around(day, avoid))
    days = (day - other).days
    side, sign, count = ("after", "+", days) if days > 0 else ("before", "-", -days)
    number = "" if count == 1 else f"{_ORDINALS[count - 1]} "
    words = [f"the {number}day {side} {other.isoformat()}"]
    if count % 7 == 0:
        weeks = "one week" if count == 7 else "two weeks"
        words.append(f"the day {weeks} {side} {other.isoformat()}")
    return Saying(draws.choose(words), _sum(other, sign, count, day))


def _from_today(day: date, draws: Draws, today: str, avoid: Collection[str]) -> Saying:
    now = date.fromisoformat(today) if today else draws.choose(_days_around(day, avoid))
    days = (day - now).days
    count = abs(days)
    if days in _NEAR_TODAY:
        text = _NEAR_TODAY[days]
    else:
        text = (
            f"the day {_NUMBERS[count - 1]} days from today" if days > 0 else f"the day {_NUMBERS[count - 1]} days ago"
        )
    return Saying(text, _sum(now, "+" if days >= 0 else "-", count, day), now.isoformat())


def _sum(start: date, sign: str, count: int, day: date) -> str:
    return f"{start.isoformat()} {sign} {count} {'day' if count == 1 else 'days'} = {day.isoformat()}"


def _days_around(day: date, avoid: Collection[str]) -> list[date]:
    """Other days that are near, within the years 1 to 9999; those to avoid are left out where there are others."""
    low, high = (date.min - day).days, (date.max - day).days
    near = [day + timedelta(count) for count in range(-MAX_DAYS, MAX_DAYS + 1) if count and low <= count <= high]
    return [other for other in near if other.isoformat() not in avoid] or near
