"""Dates and times that an English text says, each with its place and what it means.

Nothing here depends on the day, the time zone or the locale of the process: a date is found only where the text itself
holds enough to work it out. ``Nov 7`` takes its year from the dates around it, ``the 5th`` its month as well, ``the
next day`` follows the date before it, and ``tomorrow`` is found where the text says which day today is.

Python's date parsers read a date well once it is cut out, but where they search a text themselves they cut wrongly:
ranges (``December 1-4, 2024``), ``3 in the afternoon`` and ``10 o'clock`` are lost or misread, ``the sun`` becomes a
day, and what lacks a year gets today's. Cut out by these patterns a date is numbers already: nothing is left to parse.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from typing import NamedTuple

MONTHS = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november",
    "december",
)  # fmt: skip
HOURS = (
    "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
)  # fmt: skip


class Said(NamedTuple):
    """What a part of a text says.

    Attributes:
        start, end: the characters ``[start, end)``.
        value: what they say, ISO 8601: ``2024-11-25``, ``11:00``, ``2024-11`` for a month.
        kind: ``date``, ``time`` or ``month``.
    """

    start: int
    end: int
    value: str
    kind: str


_MONTH = r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
_MONTH += r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
_DAY = r"(?:0?[1-9]|[12][0-9]|3[01])(?:st|nd|rd|th)?(?!\w|:[0-9])"
_YEAR = r"(?P<year>(?:19|20)[0-9]{2})(?![\w-]|:[0-9])"
_TO = r"\s*(?:[-\u2013\u2014]|\b(?:to|through|until|and)\b(?:\s+the\b)?)\s*"
_DAYS = rf"(?P<day>{_DAY})(?:{_TO}(?P<last>{_DAY}))?"


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./-])(?:{text})", re.IGNORECASE)


_PATTERNS = (
    _pattern(r"(?P<year>[0-9]{4})(?P<mark>[-/])(?P<month>[0-9]{2})(?P=mark)(?P<day>[0-9]{2})(?![\w/-])"),
    _pattern(r"(?P<month>[0-9]{1,2})/(?P<day>[0-9]{1,2})/(?P<year>[0-9]{4})(?![\w/])"),
    _pattern(rf"{_MONTH}\s+{_DAYS}(?:(?:\s*,)?\s*{_YEAR})?"),
    _pattern(rf"(?P<the>the\s+)?{_DAYS}\s+(?:of\s+)?{_MONTH}(?:(?:\s*,)?\s*{_YEAR})?"),
    _pattern(rf"{_MONTH}(?:\s*,)?\s+(?:of\s+)?{_YEAR}"),
    _pattern(rf"\b(?:in|of|the|for)\s+{_YEAR}"),
    _pattern(
        r"\b(?:on|by|until|till|to|before|from)\s+(?P<the>the\s+)(?P<day>[0-9]{1,2}(?:st|nd|rd|th))\b(?!\s+(?:day|leg))"
    ),
    _pattern(r"\bthe\s+(?:next|following)\s+(?P<next>day)\b"),
    _pattern(r"(?P<today>\b(?:today|tonight)\b(?!\s+is)|\btomorrow\b)|\bthe\s+(?P<after>day\s+after\s+tomorrow)\b"),
)
"""How dates are said; where two patterns find overlapping parts, the earlier one is right."""

_TODAY_IS = re.compile(r"\btoday\s+is\s*(?:\w+day\s*,?\s*)?$", re.IGNORECASE)

_PART = r"(?:\s*(?P<{0}>[ap](?:m\b|\.\s?m\b\.?)|\bnoon\b|(?:in\s+the|at)\s+(?:morning|afternoon|evening|night)\b))"
_HOUR = rf"(?:[01]?[0-9]|2[0-3]|{'|'.join(HOURS)})"
_TIME = re.compile(
    rf"""(?<![\w.:/,-])(?:
    (?P<hour>[01]?[0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?::[0-5][0-9])?(?:{_PART.format("clock_part")}|(?![\w:]))
    | (?P<fraction>half|quarter)\s+(?P<side>past|to)\s+(?P<fraction_hour>{_HOUR})\b{_PART.format("fraction_part")}?
    | (?P<oclock>{_HOUR})\s*o[’'‘]?clock\b{_PART.format("oclock_part")}?
    | (?P<bare>{_HOUR}){_PART.format("bare_part")}
    | (?P<word>noon|midday|midnight)\b
    )""",  # noqa: RUF001  typographic apostrophes are meant
    re.VERBOSE | re.IGNORECASE,
)


def find_times(text: str) -> list[Said]:
    """Times of day, in the order of the text, as ``HH:MM`` of 24 hours."""
    found = []
    for match in _TIME.finditer(text):
        minutes = _minutes(match)
        if minutes is not None:
            found.append(Said(match.start(), match.end(), f"{minutes // 60:02}:{minutes % 60:02}", "time"))
    return found


def _minutes(match: re.Match[str]) -> int | None:
    """Minutes since midnight, ``None`` if there is no such time, as at 13 AM."""
    part = match["clock_part"] or match["fraction_part"] or match["oclock_part"] or match["bare_part"] or ""
    if match["word"]:
        return 0 if match["word"].lower() == "midnight" else 12 * 60
    hour = _in_part_of_day(_hour(match["hour"] or match["fraction_hour"] or match["oclock"] or match["bare"]), part)
    if hour is None:
        return None
    if match["fraction"]:
        shift = 30 if match["fraction"].lower() == "half" else 15
        return (hour * 60 + (shift if match["side"].lower() == "past" else -shift)) % (24 * 60)
    return hour * 60 + int(match["minute"] or 0)


def _hour(text: str) -> int:
    return int(text) if text.isdigit() else 1 + HOURS.index(text.lower())


def _in_part_of_day(hour: int, part: str) -> int | None:
    """The hour of 24 that ``hour`` is in a part of the day: ``pm``, ``in the morning``, ..., or none."""
    words = part.lower().replace(".", "").replace(" ", "")
    if not words or words == "noon" or hour > 12:
        return None if words in ("am", "pm") and hour > 12 else hour
    if words in ("am", "inthemorning") or (words.endswith("night") and (hour == 12 or hour < 6)):
        return hour % 12
    return hour % 12 + 12


class _Partial(NamedTuple):
    """A date as far as its own words say it.

    Attributes:
        start, end: the characters ``[start, end)``.
        year, month, day: what is said of it.
        after: days after the date that it refers to, ``None`` if it refers to none.
        today: whether that date is today, else the date before in the text.
    """

    start: int
    end: int
    year: int | None = None
    month: int | None = None
    day: int | None = None
    after: int | None = None
    today: bool = False


def find_dates(text: str) -> list[Said]:
    """Dates and months, in the order of the text. Those are left out that the text does not say completely.

    A date such as ``12/07/2024`` is read month first, unless there is no such month.
    """
    partials = _partials(text)
    reader = _Reader(text, next((partial for partial in partials if partial.year), None))
    found = [reader.read(partial) for partial in partials]
    return [said for said in found if said is not None]


def _partials(text: str) -> list[_Partial]:
    found: list[_Partial] = []
    for pattern in _PATTERNS:
        for match in pattern.finditer(text):
            if all(match.end() <= other.start or other.end <= match.start() for other in found):
                found.extend(_days_of(match))
    return sorted(found)


def _days_of(match: re.Match[str]) -> Iterator[_Partial]:
    """The date that a pattern found, or the two of a range, each with its own characters."""
    said = {name: text for name, text in match.groupdict().items() if text}
    year = int(said["year"]) if "year" in said else None
    if "next" in said or "today" in said or "after" in said:
        after = 1 if "next" in said else 2 if "after" in said else int(said["today"].lower() == "tomorrow")
        yield _Partial(match.start(), match.end(), after=after, today="next" not in said)
        return
    month, day = _month(said.get("month")), _day(said.get("day"))
    if month is not None and month > 12 and day is not None:
        month, day = day, month
    start = match.start("the") if "the" in said else match.start("day") if month is None and day else match.start()
    if "last" not in said:
        yield _Partial(start, match.end(), year, month, day)
        return
    month_first = match.start("month") < match.start("day")
    yield _Partial(start, match.end("day"), year, month, day)
    yield _Partial(
        match.start("last"),
        match.end() if not month_first or year else match.end("last"),
        year,
        month,
        _day(said["last"]),
    )


def _month(text: str | None) -> int | None:
    if text is None or text.isdigit():
        return None if text is None else int(text)
    return next(number for number, name in enumerate(MONTHS, 1) if name.startswith(text.lower()[:3]))


def _day(text: str | None) -> int | None:
    return None if text is None else int(text.rstrip("stndrhSTNDRH"))


class _Reader:
    """Completes the dates of a text, one after the other, each from those before it.

    Args:
        text: the text.
        first: the first part of it that says a year, for the dates before it.
    """

    def __init__(self, text: str, first: _Partial | None) -> None:
        self._text = text
        self._year = first.year if first else None
        self._coming = _date(first.year, first.month, first.day) if first else None
        self._before: date | None = None
        self._today: date | None = None
        self._found: list[date] = []

    def read(self, partial: _Partial) -> Said | None:
        """What a date says, ``None`` if it remains open; a year alone is only kept for the dates that follow."""
        if partial.year:
            self._coming = None
        if partial.day is None and partial.after is None:
            self._year, self._before = partial.year, None
            return self._whole_month(partial)
        found = self._referred(partial) if partial.after is not None else self._completed(partial)
        if found is None:
            return None
        self._found.append(found)
        self._before, self._year = found, found.year
        if _TODAY_IS.search(self._text, 0, partial.start):
            self._today = found
        return Said(partial.start, partial.end, found.isoformat(), "date")

    @staticmethod
    def _whole_month(partial: _Partial) -> Said | None:
        if partial.month is None:
            return None
        return Said(partial.start, partial.end, f"{partial.year}-{partial.month:02}", "month")

    def _referred(self, partial: _Partial) -> date | None:
        reference = self._today if partial.today else self._before
        return None if reference is None or partial.after is None else reference + timedelta(days=partial.after)

    def _completed(self, partial: _Partial) -> date | None:
        if partial.month is None:
            return None if self._before is None else self._with_day(self._before, partial.day)
        year = partial.year or self._year
        found = _date(year, partial.month, partial.day)
        if partial.year or found is None:
            return found
        others = (_date(found.year + shift, partial.month, partial.day) for shift in (0, -1, 1))
        return min((other for other in others if other), key=self._gap)

    def _gap(self, made: date) -> timedelta:
        """How far a date is from the one before it, for the first ones from the one that says its year."""
        return _distance(made, self._coming or made) if self._before is None else _distance(self._before, made)

    def _with_day(self, before: date, day: int | None) -> date | None:
        """The latest date of the text so far that falls on a day of the month, else the first from ``before`` on."""
        said = [made for made in reversed(self._found) if made.day == day]
        this = _date(before.year, before.month, day)
        if said or (this is not None and this >= before):
            return said[0] if said else this
        return _date(before.year + before.month // 12, before.month % 12 + 1, day)


def _distance(before: date, other: date) -> timedelta:
    """How far a date is from the one before it in a text; a text goes on in time, so going back counts threefold."""
    return other - before if other >= before else 3 * (before - other)


def _date(year: int | None, month: int | None, day: int | None) -> date | None:
    try:
        return None if year is None or month is None or day is None else date(year, month, day)
    except ValueError:  # there is no such day
        return None
