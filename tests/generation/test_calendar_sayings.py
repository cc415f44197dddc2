"""Dates in words: whoever reads them arrives at the date."""

import calendar
import re
from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from toolorch_env.core.draws import Draws
from toolorch_env.generation.calendar_sayings import MAX_DAYS, is_date, say_date
from toolorch_env.generation.sayings import Saying

MONTHS = {"January": 1, "February": 2, "March": 3, "April": 4, "May": 5, "June": 6, "July": 7, "August": 8,
          "September": 9, "October": 10, "November": 11, "December": 12}  # fmt: skip
WEEKDAYS = {"Monday": 0, "Tuesday": 1, "Wednesday": 2, "Thursday": 3, "Friday": 4, "Saturday": 5, "Sunday": 6}
COUNTED = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
           "thirteen", "fourteen"]  # fmt: skip
PLACES = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
          "twelfth", "thirteenth", "fourteenth"]  # fmt: skip
FEASTS = {
    "New Year's Day": "01-01",
    "Valentine's Day": "02-14",
    "April Fools' Day": "04-01",
    "Halloween": "10-31",
    "Christmas Eve": "12-24",
    "Christmas Day": "12-25",
    "New Year's Eve": "12-31",
}
NEAR = {"the day before yesterday": -2, "yesterday's date": -1, "today's date": 0, "tomorrow's date": 1,
        "the day after tomorrow": 2}  # fmt: skip
ISO = r"(\d{4}-\d\d-\d\d)"


def read(saying: Saying) -> tuple[str, date]:
    """The form of the words and the date that they give, worked out from the words alone."""
    text = saying.text
    if text in NEAR:
        return "near", date.fromisoformat(saying.today) + timedelta(NEAR[text])
    if found := re.fullmatch(r"the day (\w+) days (from today|ago)", text):
        sign = 1 if found[2] == "from today" else -1
        return found[2], date.fromisoformat(saying.today) + timedelta(sign * (COUNTED.index(found[1]) + 1))
    assert not saying.today
    if found := re.fullmatch(rf"the (?:(\w+) )?day (after|before) {ISO}", text):
        count = PLACES.index(found[1]) + 1 if found[1] else 1
        return found[2], date.fromisoformat(found[3]) + timedelta(count if found[2] == "after" else -count)
    if found := re.fullmatch(rf"the day (one week|two weeks) (after|before) {ISO}", text):
        weeks = {"one week": 1, "two weeks": 2}[found[1]]
        return "weeks", date.fromisoformat(found[3]) + timedelta(weeks=weeks if found[2] == "after" else -weeks)
    if found := re.fullmatch(r"the (\d+)(?:st|nd|rd|th) of (\w+) (\d+)", text):
        return "day of month", date(int(found[3]), MONTHS[found[2]], int(found[1]))
    if found := re.fullmatch(r"(\w+) (\d+)(?:st|nd|rd|th), (\d+)", text):
        return "month and day", date(int(found[3]), MONTHS[found[1]], int(found[2]))
    if found := re.fullmatch(r"the (\w+) (\w+day|day) of (\w+) (\d+)", text):
        year, month = int(found[4]), MONTHS[found[3]]
        days = [date(year, month, number + 1) for number in range(calendar.monthrange(year, month)[1])]
        if found[2] != "day":
            days = [day for day in days if day.weekday() == WEEKDAYS[found[2]]]
        return f"{found[1] == 'last'} {found[2] == 'day'}", days[-1 if found[1] == "last" else PLACES.index(found[1])]
    found = re.fullmatch(r"(.*) (\d+)", text)
    assert found is not None, text
    return "feast", date.fromisoformat(f"{int(found[2]):04}-{FEASTS[found[1]]}")


days = st.dates(date(1, 2, 1), date(9999, 11, 30))


@given(day=days, seed=st.integers(0, 2**64 - 1), offset=st.none() | st.integers(-20, 20))
@example(day=date(2012, 2, 29), seed=0, offset=None)
@example(day=date(2013, 12, 25), seed=1, offset=14)
@example(day=date(2013, 12, 31), seed=5, offset=-15)
def test_the_words_give_the_date(day: date, seed: int, offset: int | None) -> None:
    today = "" if offset is None else (day + timedelta(offset)).isoformat()
    for number in range(8):
        saying = say_date(day.isoformat(), Draws(seed + number), today)
        assert read(saying)[1] == day
        assert day.isoformat() not in saying.text
        assert saying.resolution.endswith(f"= {day.isoformat()}")
        assert saying.today in ("", today) or not today
        assert saying == say_date(day.isoformat(), Draws(seed + number), today)
        if saying.today:
            assert abs((date.fromisoformat(saying.today) - day).days) <= MAX_DAYS


@given(day=days, seed=st.integers(0, 2**64 - 1))
def test_dates_to_avoid_are_not_named(day: date, seed: int) -> None:
    avoid = {(day + timedelta(count)).isoformat() for count in range(-MAX_DAYS, MAX_DAYS) if count}
    saying = say_date(day.isoformat(), Draws(seed), avoid=avoid)
    assert saying.today not in avoid
    assert not avoid & set(re.findall(ISO, saying.text))


def test_the_words_do_not_follow_the_locale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calendar, "month_name", ["", *["?"] * 12])
    monkeypatch.setattr(calendar, "day_name", ["?"] * 7)
    assert not any("?" in say_date("2013-03-07", Draws(seed)).text for seed in range(100))


def test_every_form_is_used() -> None:
    forms = {
        read(say_date(day, Draws(seed), today))[0]
        for day, today in (("2013-12-31", ""), ("2013-12-25", "2013-12-24"), ("2013-12-25", "2013-12-30"))
        for seed in range(300)
    }
    assert forms == {
        *("near", "from today", "ago", "after", "before", "weeks", "day of month", "month and day", "feast"),
        *("True True", "True False", "False False"),
    }


@pytest.mark.parametrize("day", ["0001-01-01", "0001-01-02", "9999-12-31", "9999-12-30", "2000-02-29", "1900-02-28"])
def test_the_ends_of_the_calendar(day: str) -> None:
    for seed in range(200):
        assert read(say_date(day, Draws(seed)))[1].isoformat() == day


@pytest.mark.parametrize(
    "value", ["2013-02-30", "2013-2-3", "20130203", "2013-02-03T00:00", "", None, 20130203, ["2013-02-03"]]
)
def test_what_is_no_date(value: object) -> None:
    assert not is_date(value)


def test_what_is_a_date() -> None:
    assert is_date("2013-02-28")
