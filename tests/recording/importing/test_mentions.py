"""What a query says: dates, times, numbers, names, codes, options, and where."""

import json
import pickle
import re
from datetime import date, timedelta
from itertools import pairwise
from typing import Any

import pytest
from booking_data import BOOKING, needs_booking
from fresh_python import run_python
from hypothesis import assume, given
from hypothesis import strategies as st

from toolorch_env.core.canonical import read_number, tokens
from toolorch_env.core.tasks import Mention
from toolorch_env.recording.importing.dates import MONTHS, find_dates, find_times
from toolorch_env.recording.importing.mentions import find_mentions, options_of
from toolorch_env.recording.importing.phrases import spelled_options

CABINS = {"type": "string", "description": "Cabin class. Either ECONOMY, PREMIUM_ECONOMY, BUSINESS or FIRST."}
ORDERS = {"type": "string", "description": "Orders results by trending, attr_book_score or lowest_price."}

dates = st.dates(date(1950, 1, 1), date(2089, 12, 31))
fillers = st.sampled_from(["", "We leave on ", "Book a room from ", "see you ", "(", "first, ", "on the way: "])
ends = st.sampled_from(["", ".", ", please", " for two nights", ")", "; then we go on", " at noon"])


def said(query: str, **arguments: Any) -> list[tuple[str, Any]]:
    """The words of each mention, and its value."""
    return [(query[m.start : m.end], m.value) for m in find_mentions(query, **arguments)]


def values(query: str, **arguments: Any) -> list[Any]:
    return [mention.value for mention in find_mentions(query, **arguments)]


def ordinal(day: int) -> str:
    suffix = "th" if 10 <= day % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(day % 10, "th")
    return f"{day}{suffix}"


@st.composite
def written_dates(draw: st.DrawFn) -> tuple[date, str]:
    """A date, and one of the ways to write it completely."""
    day = draw(dates)
    name = MONTHS[day.month - 1].capitalize()
    month = draw(st.sampled_from([name, name[:3], name[:3] + ".", name.upper(), name.lower()]))
    number = draw(st.sampled_from([str(day.day), ordinal(day.day), f"{day.day:02}"]))
    forms = [
        day.isoformat(),
        day.isoformat().replace("-", "/"),
        f"{month} {number}, {day.year}",
        f"{month} {number} {day.year}",
        f"{number} {month} {day.year}",
        f"{number} of {month}, {day.year}",
        f"the {number} of {month} {day.year}",
        f"{day.month}/{day.day}/{day.year}",
    ]
    return day, draw(st.sampled_from(forms))


@given(written_dates(), fillers, ends)
def test_a_date_is_found_however_it_is_written(written: tuple[date, str], before: str, after: str) -> None:
    day, text = written
    query = before + text + after
    found = [mention for mention in find_mentions(query) if mention.kind == "date"]
    assert found == [Mention(day.isoformat(), "date", len(before), len(before) + len(text))]


@given(
    dates,
    st.integers(1, 27),
    st.sampled_from(["-", " - ", "\u2013", " to ", " through the ", " until "]),
    st.booleans(),
)
def test_a_range_is_two_dates(first: date, days: int, between: str, month_first: bool) -> None:
    last = first + timedelta(days)
    assume(first.month == last.month)
    month = MONTHS[first.month - 1].capitalize()
    parts = f"{ordinal(first.day)}{between}{ordinal(last.day)}"
    text = f"{month} {parts}, {first.year}" if month_first else f"{parts} {month} {first.year}"
    query = f"We stay from {text} in Rome."
    assert [found.value for found in find_dates(query)] == [first.isoformat(), last.isoformat()]
    assert values(query) == [first.isoformat(), last.isoformat(), "Rome"]


@given(dates, st.integers(-90, 270), st.booleans())
def test_a_date_without_year_is_near_the_one_before(day: date, days: int, whole: bool) -> None:
    other = day + timedelta(days)
    assume((other.month, other.day) != (2, 29))
    month = MONTHS[other.month - 1]
    query = f"Arrive on {day.isoformat()}, leave on {month if whole else month[:3].upper()} {ordinal(other.day)}."
    assert [found.value for found in find_dates(query)] == [day.isoformat(), other.isoformat()]


@given(dates, st.integers(-270, 90))
def test_a_date_before_the_first_year_is_near_the_one_that_says_it(day: date, days: int) -> None:
    other = day + timedelta(days)
    assume((other.month, other.day) != (2, 29))
    query = f"Arrive on {MONTHS[other.month - 1]} {ordinal(other.day)}, leave on {day.isoformat()}."
    assert [found.value for found in find_dates(query)] == [other.isoformat(), day.isoformat()]


@given(st.integers(0, 23), st.integers(0, 59), st.sampled_from(["{h}:{m} {p}", "{h}:{m}{p}", "{H}:{m}", "{H2}:{m}"]))
def test_a_time_is_found_however_it_is_written(hour: int, minute: int, form: str) -> None:
    part = "pm" if hour >= 12 else "am"
    text = form.format(h=(hour - 1) % 12 + 1, H=hour, H2=f"{hour:02}", m=f"{minute:02}", p=part)
    query = f"Pick me up at {text}."
    assert find_times(query) == [(14, 14 + len(text), f"{hour:02}:{minute:02}", "time")]


@pytest.mark.parametrize(
    ("words", "value"),
    [
        ("11 o'clock in the morning", "11:00"),
        ("10 o’clock", "10:00"),  # noqa: RUF001  the typographic apostrophe is meant
        ("three o'clock in the afternoon", "15:00"),
        ("9 AM", "09:00"),
        ("9 p.m.", "21:00"),
        ("12 AM", "00:00"),
        ("12 pm", "12:00"),
        ("12:12pm", "12:12"),
        ("12:00 noon", "12:00"),
        ("noon", "12:00"),
        ("midnight", "00:00"),
        ("half past ten", "10:30"),
        ("quarter to nine in the evening", "20:45"),
        ("3 in the afternoon", "15:00"),
        ("seven in the evening", "19:00"),
        ("10 at night", "22:00"),
        ("2 at night", "02:00"),
        ("12 at night", "00:00"),
    ],
)
def test_times_in_words(words: str, value: str) -> None:
    assert said(f"Come at {words} please") == [(words, value)]


@pytest.mark.parametrize(
    "text", ["13 AM", "25:00", "10:75", "ratio 3:2", "version 1.10:30", "2024-02-30", "31/31/2024", "may I march on"]
)
def test_what_is_no_date_or_time(text: str) -> None:
    assert find_times(text) == []
    assert find_dates(text) == []


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("On November 25th, 2024 and Nov 7", ["2024-11-25", "2024-11-07"]),
        ("Nov 7", []),  # nothing says the year
        ("next Friday, tomorrow, in three days", []),  # nothing says what day it is
        ("Today is December 31st, 2024. Come tomorrow.", ["2024-12-31", "2025-01-01"]),
        ("Today is Friday, March 1, 2024: the day after tomorrow", ["2024-03-01", "2024-03-03"]),
        ("On 2024-12-31 and back the next day", ["2024-12-31", "2025-01-01"]),
        ("From November 28th, 2024, back on the 5th", ["2024-11-28", "2024-12-05"]),
        ("From November 5th to 10th, 2024; a taxi on the 5th", ["2024-11-05", "2024-11-10", "2024-11-05"]),
        ("Halloween of 2024 (October 31st)", ["2024-10-31"]),
        ("December 28, 2024 to January 3", ["2024-12-28", "2025-01-03"]),
        ("Dec 24 to 26, then Dec 31st to January 2nd, 2025", ["2024-12-24", "2024-12-26", "2024-12-31", "2025-01-02"]),
        ("In 2024: from Dec 24 to Jan 2", ["2024-12-24", "2025-01-02"]),
        ("25/12/2024 and 12/07/2024", ["2024-12-25", "2024-12-07"]),
        ("some day in November 2024", ["2024-11"]),
    ],
)
def test_dates_that_need_their_surroundings(query: str, expected: list[str]) -> None:
    assert [found.value for found in find_dates(query)] == expected


def test_forms_of_values() -> None:
    query = (
        "Please find two adults a hotel in São Paulo for 1,200 USD, or “Dubai Marina, Dubai.” near -33.8688, 151.2093, "
        "flight LX318 from ZRH.AIRPORT; write to a.b@example.org with `attr_score` and twenty-five euros"
    )
    assert [(mention.value, mention.kind) for mention in find_mentions(query)] == [
        ("2", "number"),
        ("São Paulo", "name"),
        ("1200", "number"),
        ("USD", "code"),
        ("Dubai Marina, Dubai", "name"),
        ("-33.8688", "number"),
        ("151.2093", "number"),
        ("LX318", "code"),
        ("ZRH.AIRPORT", "code"),
        ("a.b@example.org", "email"),
        ("attr_score", "code"),
        ("25", "number"),
    ]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("I’d fly from New York to Rio de Janeiro. Then rest.", ["New York", "Rio de Janeiro"]),  # noqa: RUF001
        ("See Paris, London and Rome", ["Paris", "London", "Rome"]),
        ("See Paris, London, or the Hague", ["Paris", "London", "Hague"]),
        ("via JFK, LHR, FRA to Chicago, US", ["JFK", "LHR", "FRA", "Chicago, US"]),
        ("at \u221233.8688 or -5, 5\u22127 days", ["-33.8688", "-5", "5", "7"]),
        ("A trip to Ubud, Bali, Indonesia. Next, a rest", ["Ubud, Bali, Indonesia"]),
        ("near O. R. Tambo International, not St. Louis", ["O. R. Tambo International", "St. Louis"]),
        ("Washington, D.C. has the University of Columbia", ["Washington, D.C.", "University of Columbia"]),
        ("1) First, search 'Dublin Airport'\n2) Then Chicago's airport", ["Dublin Airport", "Chicago"]),
        ("Rome and Rome again, and Rome", ["Rome"]),
        ("007 is no number, 7 is", ["007", "7"]),
        ("a 4-year-old, 10km, 1st and 2nd, no-digit", ["4", "10"]),
    ],
)
def test_where_names_and_numbers_begin_and_end(query: str, expected: list[str]) -> None:
    assert values(query) == expected


def test_options_are_those_that_schemas_spell_out() -> None:
    options = options_of([CABINS, ORDERS, {"enum": ["hotel", 3]}, True, {"description": "Red or blue."}, {}])
    assert options == {
        *("ECONOMY", "PREMIUM_ECONOMY", "BUSINESS", "FIRST"),
        *("trending", "attr_book_score", "lowest_price", "hotel"),
    }
    query = "First, a premium-economy seat; trending places in economy or first class"
    assert said(query, options=options) == [
        ("premium-economy", "PREMIUM_ECONOMY"),
        ("trending", "trending"),
        ("economy", "ECONOMY"),
        ("first", "FIRST"),
    ]
    assert spelled_options(["Format: YYYY-MM-DD. NOTE: cats or dogs"]) == set()


WORDS = ("from", "Rome", "to", ",", ".", "'Park'", "“Old", "Town”", "New York", "2024-12-05", "December", "3", "5th",
    "10:30", "at noon", "the next day", "two", "1,200", "-3.5", "A12", "(ZRH)", "economy", "First", "\n", ";",
    "today is", "7", "pm", "US", "a@b.ch", "O'Hare's", "and",
)  # fmt: skip
queries = st.lists(st.sampled_from(WORDS), max_size=25).map(" ".join)


@pytest.mark.parametrize("options", [["ECONOMY", "Economy", "economy"], ["economy", "Economy", "ECONOMY"]])
def test_of_options_in_the_same_words_the_one_that_is_written_so_is_said(options: list[str]) -> None:
    for said in options:
        assert [mention.value for mention in find_mentions(f"seats, {said}", options)] == [said]
    assert [mention.value for mention in find_mentions("seats, eCONOMY", options)] == ["economy"]


@given(queries | st.text())
def test_mentions_are_in_order_and_apart_and_each_value_is_said_once(query: str) -> None:
    mentions = find_mentions(query, ["ECONOMY"])
    for before, after in pairwise(mentions):
        assert before.end <= after.start
    assert all(0 <= mention.start < mention.end <= len(query) for mention in mentions)
    assert len({mention.value for mention in mentions}) == len(mentions)
    for mention in mentions:
        words = query[mention.start : mention.end]
        if mention.kind in ("name", "text", "code", "email"):
            assert mention.value.lower() == words.lower().replace(",", "" if mention.value.isdigit() else ",")
        if mention.kind == "number":
            assert read_number(mention.value) is not None
        if mention.kind == "date":
            date.fromisoformat(mention.value)


def test_day_time_zone_and_locale_do_not_matter() -> None:
    query = "Today is May 3rd, 2031. Come tomorrow, on Dec 7, at 3 in the afternoon; not next Friday."
    code = (
        "import locale, os, time\n"
        "os.environ['TZ'] = {zone!r}\n"
        "time.tzset()\n"
        "locale.setlocale(locale.LC_ALL, {language!r})\n"
        "from toolorch_env.recording.importing.mentions import find_mentions\n"
        "print([mention.value for mention in find_mentions({query!r})])"
    )
    for zone, language in [("Pacific/Kiritimati", "C.UTF-8"), ("Pacific/Niue", "C")]:  # they never have one date
        printed = run_python(code.format(zone=zone, language=language, query=query))
        assert printed.strip() == "['2031-05-03', '2031-05-04', '2031-12-07', '15:00', 'Friday']"


def _said_in(query: str, value: Any) -> bool:
    """Whether the words of a value, or a date in a usual form, stand in the query: a check that shares no code."""
    if isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", value):
        day = date.fromisoformat(value)
        form = rf"{MONTHS[day.month - 1]} {day.day}(st|nd|rd|th)?\b"
        return value in query or re.search(form, query, re.IGNORECASE) is not None
    return isinstance(value, (str, float)) and re.search(rf"(?<!\w){re.escape(str(value))}(?!\w)", query) is not None


@needs_booking
def test_what_the_published_queries_say_is_found_without_their_solutions() -> None:
    assert BOOKING is not None
    with (BOOKING / "bfcl_training_3_per_workflow.pkl").open("rb") as file:
        traces = pickle.load(file)
    templates = json.loads((BOOKING / "workflow_templates.json").read_text(encoding="utf-8"))["workflows"]
    pairs = [(t["query"], s["ground_truth"]["arguments"]) for t in traces for s in t["steps"]]
    pairs += [
        (template["examples"][0]["query"], step["arguments"])
        for template in templates
        if template["examples"]
        for step in template["dependencies"].values()
    ]
    expected = [(query, value) for query, given in pairs for value in given.values() if _said_in(query, value)]
    assert len(expected) > 500
    found = [(query, value) for query, value in expected if str(value) in tokens(values(query))]
    assert len(found) / len(expected) > 0.95
