"""Responses: which of them are successes, and what they hold."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values, nested, texts

from toolorch_env.core.canonical import is_empty, tokens
from toolorch_env.core.responses import RECORDED_SOURCES, Response, Source

tricky = st.text(st.sampled_from('ab"\\1.0-é\n{'), max_size=6)


@given(json_values | nested(tricky), st.data())
def test_what_a_response_holds_are_its_tokens(body: Any, data: st.DataObject) -> None:
    response = Response(200, orjson.dumps(body), Source.RECORDED)
    assert response.tokens == tokens(body)
    assert all(response.holds(text) for text in tokens(body))
    other = data.draw(texts | tricky)
    assert response.holds(other) == (other in tokens(body))


@pytest.mark.parametrize(
    ("text", "body"), [(",", ["a", "b"]), (":", {"a": "b"}), (":1,", {"a": 1, "b": 2}), ("],[", [["a"], ["b"]])]
)
def test_what_stands_between_two_texts_is_not_held(text: str, body: Any) -> None:
    assert not Response(200, orjson.dumps(body), Source.RECORDED).holds(text)


@given(json_values)
def test_a_synthetic_response_holds_its_body_and_is_no_success(body: Any) -> None:
    response = Response.synthetic(200, body, Source.MISS)
    assert response.body == orjson.loads(orjson.dumps(body))
    assert response.is_empty == is_empty(response.body)
    assert not response.success
    assert response.row is None


@pytest.mark.parametrize("source", Source)
@pytest.mark.parametrize("status", [199, 200, 204, 299, 300, 404, 500])
def test_a_success_was_recorded_with_a_2xx_status(source: Source, status: int) -> None:
    success = Response(status, b"{}", source).success
    assert success == (source in RECORDED_SOURCES and 200 <= status < 300)
