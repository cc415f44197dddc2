"""Values out of texts."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values

from toolorch_env.core.errors import PlanError
from toolorch_env.recording.text import compile_extractions, extract

LOG = "commit 1f2e\nAuthor: Ada\n\ncommit 99\nAuthor: Grace (guest)\n"


def pattern(text: str) -> re.Pattern[str]:
    return compile_extractions({"log": text})["log"]


def test_all_matches_line_by_line() -> None:
    found = extract(pattern(r"^commit (?P<hash>\w+)\nAuthor: (?P<author>\w+)(?: \((?P<role>\w+)\))?$"), {"text": LOG})
    assert found == {
        "text": LOG,
        "matches": [{"hash": "1f2e", "author": "Ada"}, {"hash": "99", "author": "Grace", "role": "guest"}],
    }


def test_plain_text() -> None:
    assert extract(pattern(r"(?P<n>\d+)"), "1 and 2") == {"text": "1 and 2", "matches": [{"n": "1"}, {"n": "2"}]}


def test_nothing_matches() -> None:
    assert extract(pattern(r"(?P<n>\d+)"), {"text": "none"}) == {"text": "none", "matches": []}


@given(json_values.filter(lambda value: not isinstance(value, str)))
def test_other_bodies_stay(body: Any) -> None:
    if not (isinstance(body, dict) and body.keys() == {"text"} and isinstance(body["text"], str)):
        assert extract(pattern(r"(?P<n>.)"), body) is body


@pytest.mark.parametrize("body", [{"text": "a", "more": 1}, {"text": 1}, {"text": None}, None, ["a"]])
def test_bodies_that_only_look_like_texts_stay(body: Any) -> None:
    assert extract(pattern(r"(?P<n>.)"), body) is body


@given(st.text())
def test_matches_put_together_are_the_text(text: str) -> None:
    found = extract(pattern(r"(?s:(?P<character>.))"), text)
    assert "".join(match["character"] for match in found["matches"]) == found["text"] == text


@pytest.mark.parametrize("text", ["(", "(?P<a>.)(?P<a>.)", "*", "no group", "(unnamed)", "", None, "a{99999999999}"])
def test_expressions_that_cannot_be_used(text: Any) -> None:
    with pytest.raises(PlanError, match="'log'"):
        compile_extractions({"fine": "(?P<a>.)", "log": text})
