"""The reward without a reference solution: what it pays for, what it never pays for, and which answers it takes."""

import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from rewards.strategies import Turns, calls, play, reference_turns, tasks, turns
from worlds import WORLD_NAMES, World, world

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.scoring import Reward
from toolorch_env.core.tasks import Task
from toolorch_env.rewards import ExecutionReward, ExecutionWeights
from toolorch_env.rewards.execution import holds_all

EXECUTION = ExecutionReward()
NAN, INFINITY = float("nan"), float("inf")
every_world = pytest.mark.parametrize("name", WORLD_NAMES)


def ended(here: World, task: Task, sequence: Turns, answer: str, reward: Reward = EXECUTION) -> Episode:
    """An episode that ends with these words."""
    episode = Episode(task, here.replay, reward, max_calls=1000)
    for turn in sequence:
        episode.send(turn)
    episode.finish(answer)
    return episode


def rewards() -> st.SearchStrategy[ExecutionReward]:
    """The default, and others."""
    parts = st.lists(st.floats(0.01, 1), min_size=3, max_size=3)
    weights = parts.map(lambda found: ExecutionWeights(*(part / sum(found) for part in found)))
    return st.just(EXECUTION) | st.builds(ExecutionReward, weights, answer_weight=st.floats(0, 1))


# ------------------------------------------------------------------------------------------------------ properties


@every_world
@given(data=st.data(), reward=rewards())
def test_it_lies_in_0_to_1_and_is_paid_at_the_end_only(name: str, data: st.DataObject, reward: ExecutionReward) -> None:
    here = world(name)
    task = replace(data.draw(tasks(here)), answer=data.draw(st.sampled_from([(), ("A3",), (1, True)])))
    episode = ended(here, task, data.draw(turns(here, task)), data.draw(st.sampled_from(["", "A3", "1 true"])), reward)
    assert 0.0 <= episode.total <= 1.0
    assert episode.total == episode.closing_reward
    assert bool(episode.steps) or episode.total == 0.0


@every_world
@given(data=st.data(), reward=rewards())
def test_solutions_that_repeat_no_call_score_one(name: str, data: st.DataObject, reward: ExecutionReward) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, reference_turns(task), reward)
    assume(not any(step.match.repeated for step in episode.steps))
    assert episode.total == pytest.approx(1.0, abs=1e-12)


@every_world
@given(data=st.data(), reward=rewards())
def test_a_call_made_again_only_lowers_it(name: str, data: st.DataObject, reward: ExecutionReward) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = data.draw(turns(here, task, 1))
    before = play(here, task, sequence, reward)
    again = [step.call for step in before.steps if step.canonical is None or step.canonical.state == before.state]
    assume(again)
    after = play(here, task, [*sequence, [data.draw(st.sampled_from(again))]], reward)
    count = len(before.steps)
    assert after.total == pytest.approx(before.total * count / (count + 1))


@every_world
@given(data=st.data(), reward=rewards())
def test_what_is_no_call_of_a_tool_on_offer_only_lowers_it(
    name: str, data: st.DataObject, reward: ExecutionReward
) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = data.draw(turns(here, task, 1))
    off_offer = [call for call in here.recorded if call.tool not in task.tools]
    bad = data.draw(st.sampled_from([Malformed("{", "not JSON"), Call("no_such_tool", {}), *off_offer]))
    before, after = (play(here, task, turns_, reward).total for turns_ in (sequence, [*sequence, [bad]]))
    count = sum(map(len, sequence))
    assert after == pytest.approx(before * count / (count + 1))


@pytest.mark.parametrize(
    ("arguments", "quality"),
    [
        ({"author_id": "A3"}, 1.0),  # recorded
        ({"author_id": "A999"}, 0.5),  # fits, and the API says that there is none
        ({"author_id": "Author 3"}, 0.2),  # does not fit the schema
        ({"author_id": 3}, 0.2),
        ({"author_id": "A3", "name": "x"}, 0.2),
        ({}, 0.2),
    ],
)
def test_the_quality_of_one_call(arguments: dict[str, Any], quality: float) -> None:
    here = world("library")
    task = replace(here.task("train", 0), tools=tuple(here.snapshot.tools))
    assert play(here, task, [[Call("get_author", arguments)]], EXECUTION).total == pytest.approx(quality)


@every_world
@given(data=st.data(), reward=rewards())
def test_the_mean_over_the_calls_is_that_of_the_formula(
    name: str, data: st.DataObject, reward: ExecutionReward
) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, [[call] for call in data.draw(st.lists(calls(here, task), max_size=6))], reward)
    qualities = []
    for step in episode.steps:
        is_call = step.canonical is not None and step.canonical.tool in task.tools and not step.match.repeated
        fits = is_call and not list(here.snapshot.tools.signature(step.call.tool).problems(step.canonical.arguments))
        parts = (is_call, fits, is_call and step.response.success)
        weights = (reward.weights.format, reward.weights.schema, reward.weights.success)
        qualities.append(sum(w * p for w, p in zip(weights, parts, strict=True)))
    assert episode.total == pytest.approx(sum(qualities) / len(qualities) if qualities else 0.0)


@given(data=st.data())
def test_forked_and_pickled_episodes_end_as_they_would_have(data: st.DataObject) -> None:
    here = world("library")
    task = replace(data.draw(tasks(here)), answer=("A3",))
    start, rest = data.draw(turns(here, task)), data.draw(turns(here, task))
    episode = Episode(task, here.replay, EXECUTION, max_calls=1000)
    for turn in start:
        episode.send(turn)
    for copy in (episode.fork(), pickle.loads(pickle.dumps(episode))):
        for turn in rest:
            copy.send(turn)
        copy.finish("It is A3.")
        assert copy.total == ended(here, task, start + rest, "It is A3.").total


# ------------------------------------------------------------------------------------------------------ answers


@every_world
@given(data=st.data(), weight=st.floats(0.01, 1))
def test_a_right_answer_beats_a_wrong_one_and_is_worth_nothing_alone(
    name: str, data: st.DataObject, weight: float
) -> None:
    here = world(name)
    task = replace(data.draw(tasks(here)), answer=("Uster", 12.5))
    reward = ExecutionReward(answer_weight=weight)
    sequence = data.draw(st.just(reference_turns(task)) | turns(here, task, 1))
    right, wrong = (ended(here, task, sequence, text, reward).total for text in ("Uster, 12.5.", "Uster, 12.6."))
    assert wrong == pytest.approx(right * (1 - weight))
    assert wrong < right or right == 0
    assert ended(here, task, [], "Uster, 12.5.", reward).total == 0.0
    assert right == play(here, replace(task, answer=()), sequence, reward).total


def test_an_episode_cut_off_by_the_limit_has_no_answer() -> None:
    here = world("library")
    task = replace(here.task("train", 0), answer=("",))
    episode = Episode(replace(task, answer=("A3",)), here.replay, EXECUTION, max_calls=1)
    episode.send(reference_turns(task)[0])
    assert episode.truncated
    assert episode.total == 0.5


def test_only_the_end_of_long_last_words_is_read() -> None:
    here = world("library")
    task = replace(here.task("train", 0), answer=("Uster",))
    sequence = reference_turns(task)
    assert ended(here, task, sequence, "word " * 1000 + "Uster").total == 1.0
    assert ended(here, task, sequence, "Uster " + "word " * 1000).total == 0.5
    short = ExecutionReward(answer_characters=8)
    assert ended(here, task, sequence, "not xUster.", short).total == 0.5  # cut within a word: it is no word
    assert ended(here, task, sequence, "not Uster.", short).total == 1.0


@pytest.mark.parametrize(
    ("text", "values", "held"),
    [
        ("The town is Uster.", ["Uster"], True),
        ("The town is Usterberg.", ["Uster"], False),
        ("uster", ["Uster"], False),
        ("(Lake View) at 8:00", ["Lake View", "8:00"], True),
        ("In 12013 and 2013-01-02", [2013], False),
        ("In 2013, in Wald", [2013, "Wald"], True),
        ("47.443712 degrees", [47.44371], True),
        ("47.4438 degrees", [47.4437], False),
        ("It costs 1,234.50 CHF", [1234.5], True),
        ("It costs 1,234.50 CHF", [234.5], False),
        ("It costs 12.0 CHF", [12], True),
        ("It costs 12.5 CHF", [12], False),
        ("minus: -3", [-3], True),
        ("-3", [3], False),
        ("version 007", ["007"], True),
        ("version 007", [7], False),
        ("The price is true", [True], True),
        ("untrue", [True], False),
        ("A: 1, B: 2", [{"a": 1, "b": [2]}], True),
        ("A: 1", [{"a": 1, "b": [2]}], False),
        ("", ["Uster"], False),
        ("anything", [], True),
        ("anything", [""], True),
    ],
)
def test_which_words_hold_an_answer(text: str, values: list[Any], held: bool) -> None:
    assert holds_all(text, values) is held


@given(
    text=st.text(), value=st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
)
def test_reading_an_answer_never_fails_and_finds_what_stands_alone(text: str, value: Any) -> None:
    assert type(holds_all(text, [value])) is bool
    words = value if isinstance(value, str) else str(value).lower()
    if "e" not in words or isinstance(value, (str, bool)):  # no exponents
        assert holds_all(f"{text} | {words} | {text}", [value])


# ------------------------------------------------------------------------------------------------------ options


@pytest.mark.parametrize("weights", [{"format": 0.3}, {"format": -0.2, "schema": 0.7}, {"schema": NAN}])
def test_weights_that_do_not_add_up_to_1_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="add up to 1"):
        ExecutionWeights(**weights)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("answer_weight", -0.1), ("answer_weight", 1.1), ("answer_weight", NAN), ("answer_weight", INFINITY),
        ("answer_weight", "half"), ("answer_characters", 0), ("answer_characters", 1.5), ("weights", (0.2, 0.3, 0.5)),
    ],
)  # fmt: skip
def test_options_that_make_no_sense_are_refused(option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match="weights" if option == "weights" else option):
        ExecutionReward(**{option: value})
