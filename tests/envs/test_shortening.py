"""Shortened responses are valid JSON within the limit, say what they lack, and change no reward."""

from typing import Any

import orjson
import pytest
from envs.driving import TEXT, make, reference_actions, rollout, same
from hypothesis import given
from hypothesis import strategies as st
from json_values import integers, json_values, texts
from worlds import WORLD_NAMES

from toolorch_env.envs.shortening import MIN_CHARACTERS, shorten_json

limits = st.integers(MIN_CHARACTERS, 600)
rows = st.fixed_dictionaries({"id": integers, "name": texts, "tags": st.lists(st.integers(0, 99), max_size=4)})
tables = st.builds(lambda few, times: few * times, st.lists(rows, max_size=4), st.integers(1, 12))
bodies = json_values | tables | st.fixed_dictionaries({"rows": tables})


@given(body=bodies, limit=limits)
def test_the_result_is_valid_json_within_the_limit(body: Any, limit: int) -> None:
    text = shorten_json(orjson.dumps(body), limit)
    orjson.loads(text)
    assert len(text) <= limit


@given(body=bodies)
def test_what_fits_is_not_changed(body: Any) -> None:
    raw = orjson.dumps(body)
    limit = max(len(raw.decode()), MIN_CHARACTERS)
    assert shorten_json(raw, limit) == raw.decode()


@given(body=bodies, limit=limits)
def test_kept_and_left_out_elements_add_up(body: Any, limit: int) -> None:
    raw = orjson.dumps(body)
    shortened = orjson.loads(shorten_json(raw, limit))
    if not (isinstance(shortened, dict) and list(shortened) == ["left_out"] and shortened != body):
        assert_counts_right(orjson.loads(raw), shortened)


def assert_counts_right(body: Any, shortened: Any) -> None:
    """Follows both values down to where elements were left out."""
    if isinstance(body, dict):
        assert body.keys() == shortened.keys()
        for name in body:
            assert_counts_right(body[name], shortened[name])
    elif isinstance(body, list):
        kept = shortened
        if len(shortened) != len(body) or (shortened and str(shortened[-1]).endswith(" more left out")):
            *kept, told = shortened
            assert told == f"{len(body) - len(kept)} more left out"
        for item, other in zip(body, kept, strict=False):
            assert_counts_right(item, other)
    elif isinstance(body, str) and shortened != body:
        start, _, told = shortened.rpartition(" (")
        assert body.startswith(start)
        assert told == f"{len(body) - len(start)} more characters left out)"
    else:
        assert shortened == body


@given(body=tables, limit=limits)
def test_a_higher_limit_never_shows_fewer_elements(body: Any, limit: int) -> None:
    raw = orjson.dumps(body)
    less, more = (orjson.loads(shorten_json(raw, number)) for number in (limit, limit + 100))
    if isinstance(less, list):
        assert len(more) >= len(less)


@pytest.mark.parametrize(
    "body",
    ["x" * 10_000, {"k" * 10_000: 1}, {"a": {"b": "é" * 5000}}, [["漢" * 1000] * 100], list(range(5000)), "🛫" * 3000],
)
@pytest.mark.parametrize("limit", [64, 100, 1000])
def test_whatever_the_body_it_is_made_to_fit(body: Any, limit: int) -> None:
    text = shorten_json(orjson.dumps(body), limit)
    orjson.loads(text)
    assert len(text) <= limit


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_rewards_and_ends_do_not_depend_on_what_was_shortened_away(name: str) -> None:
    long, short = make(TEXT, name), make(TEXT, name, max_response_chars=64)
    for seed in range(8):
        left, right = list(rollout(long, seed)), list(rollout(short, seed))
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            if len(one) == 6:
                assert same(one[0], other[0])
                assert one[2:5] == other[2:5]
                assert same(one[5]["reward"], other[5]["reward"])


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_every_response_of_the_environment_is_within_the_limit(name: str) -> None:
    env = make(TEXT, name, max_response_chars=80)
    for seed in range(10):
        env.reset(seed=seed)
        for action in reference_actions(env):
            observation, *_, info = env.step(action)
            assert env.observation_space.contains(observation)
            assert all(len(answer["content"]) <= 80 for answer in info["messages"])
        assert env.episode.total == 1.0
