"""Difficulty: in [0, 1], rising with each of its parts, and read off the task as its documentation says."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import WORLD_NAMES, world

from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.generation.difficulty import HALVES, WEIGHTS, Difficulty, difficulty

PARTS = [field.name for field in fields(Difficulty)]
measured = st.builds(
    Difficulty,
    steps=st.integers(1, 64),
    depth=st.integers(1, 64),
    distractor_tools=st.integers(0, 500),
    distractor_mentions=st.integers(0, 50),
    implicitness=st.integers(0, 20).map(lambda twentieths: twentieths / 20),
)

QUERY = "From A3 to a place, the day after, by the way 1999."
CALLS = (
    ReferenceCall("get_author", {"author_id": "A3"}),
    ReferenceCall("get_town", {"town_id": "T0"}, (Binding("town_id", 0, "town_id"),)),
)
TASK = Task("one", QUERY, ("get_author", "get_town"), CALLS, (Mention("A3", "author", 5, 7),))


@given(measured, st.sampled_from(PARTS), st.integers(1, 10))
def test_it_rises_with_each_part_and_stays_in_its_range(parts: Difficulty, name: str, more: int) -> None:
    assert 0 <= parts.total <= 1
    harder = replace(parts, **{name: getattr(parts, name) + (more / 10 if name == "implicitness" else more)})
    if harder.implicitness <= 1:
        assert parts.total < harder.total <= 1


def test_it_is_zero_for_one_call_alone_and_the_weights_share_one() -> None:
    assert Difficulty(steps=1, depth=1).total == 0
    assert set(WEIGHTS) == set(PARTS)
    assert sum(WEIGHTS.values()) == pytest.approx(1)
    assert min(WEIGHTS.values()) > 0


@pytest.mark.parametrize("name", HALVES)
def test_a_count_has_come_half_of_the_way_at_its_half(name: str) -> None:
    least = 1 if name in ("steps", "depth") else 0
    parts: dict[str, Any] = {"steps": 1, "depth": 1, name: least + HALVES[name]}
    assert Difficulty(**parts).total == pytest.approx(WEIGHTS[name] / 2)


def test_the_parts_are_read_off_the_task() -> None:
    assert difficulty(TASK) == Difficulty(steps=2, depth=2)
    third = ReferenceCall("get_author", {"author_id": "A4"})
    assert difficulty(replace(TASK, reference=(*CALLS, third))) == Difficulty(steps=3, depth=2, implicitness=0.5)
    assert difficulty(replace(TASK, tools=(*TASK.tools, "get_book"))).distractor_tools == 1


@pytest.mark.parametrize(
    ("mentions", "distractors", "implicitness"),
    [
        ((), 0, 1.0),
        ((Mention("A3", "author", 5, 7), Mention(1999, "year", 46, 50)), 1, 0.0),
        ((Mention("A3", "author", 11, 18),), 0, 1.0),
        ((Mention("A3", "author", 5, 7), Mention("A3", "author", 11, 18)), 0, 0.0),
        ((Mention("T0", "town", 11, 18),), 0, 1.0),
    ],
    ids=["unsaid", "one not needed", "said otherwise", "said twice", "says what a response holds"],
)
def test_mentions_are_needed_or_not_and_say_the_value_or_not(
    mentions: tuple[Mention, ...], distractors: int, implicitness: float
) -> None:
    found = difficulty(replace(TASK, mentions=mentions))
    assert (found.distractor_mentions, found.implicitness) == (distractors, implicitness)


def test_optional_calls_count_for_nothing() -> None:
    extra = ReferenceCall("get_book", {"book_id": 1}, after=(1,), optional=True)
    after = ReferenceCall("get_author", {"author_id": "A3"}, after=(2,))
    offered = (*TASK.tools, "get_book")
    assert difficulty(replace(TASK, tools=offered, reference=(*CALLS, extra))).depth == 2
    found = difficulty(replace(TASK, tools=offered, reference=(*CALLS, extra, after)))
    assert (found.steps, found.depth, found.distractor_tools) == (3, 2, 1)


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_drawn_tasks_are_as_hard_as_their_constraints_ask(name: str) -> None:
    for task in world(name).tasks(60):
        found = difficulty(task)
        assert (found.steps, found.depth, found.implicitness) == (len(task.reference), task.depth, 0)
        assert found.distractor_tools == len(set(task.tools) - {call.tool for call in task.reference})
        assert 0 < found.total < 1
