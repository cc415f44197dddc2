"""The published reward: its syntax check against BFCL's own, its scores against published ones, its flaws by hand."""

import importlib
import pickle
import sys
from types import ModuleType
from typing import Any

import pytest
from booking_data import BOOKING, needs_booking
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import play, reference_call, reference_turns, tasks, turns
from worlds import WORLD_NAMES, world

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.core.tasks import ReferenceCall
from toolorch_env.core.tools import Tool
from toolorch_env.rewards import make_reward
from toolorch_env.rewards.published import PublishedScore, published_score, says_something
from toolorch_env.rewards.published_syntax import accepts, standardised

PUBLISHED = make_reward("published")
every_world = pytest.mark.parametrize("name", WORLD_NAMES)

# --------------------------------------------------------------------------------------- the syntax check beside BFCL's

KINDS = {
    "text": {"type": "string"},
    "count": {"type": "integer"},
    "size": {"type": "float"},
    "open": {"type": "boolean"},
    "words": {"type": "array", "items": {"type": "string"}},
    "counts": {"type": "array", "items": {"type": "integer"}},
    "objects": {"type": "array", "items": {"type": "dict"}},
    "object": {"type": "dict"},
}
TEXTS = [
    "",
    " ",
    "Lake View",
    "lake view",
    "lake-view",
    "Lake, View.",
    "O'Hara",
    'o"hara',
    "2",
    "2.0",
    "007",
    "_*^/",
    "ß",
]
OBJECTS: list[Any] = [{"town": "Uster"}, {"town": "Uster", "lake": "Greifen"}, {"town": "Wald"}]
VALUES: list[Any] = [
    *TEXTS, 0, 1, 2, -2, 2.0, 2.5, True, False, None, [], ["Lake View"], ["lake view"], ["a", "b"], ["b", "a"], [""],
    [1, 2], [1.0, 2], [True], *OBJECTS, [OBJECTS[0]], [OBJECTS[0], OBJECTS[1]], [OBJECTS[2]],
]  # fmt: skip


@pytest.fixture(scope="module")
def checker() -> Any:
    """BFCL's checker. The table of models that it imports needs a client of every vendor, and is not used here."""
    pytest.importorskip("bfcl_eval")
    table = ModuleType("bfcl_eval.constants.model_config")
    table.MODEL_CONFIG_MAPPING = {}  # type: ignore[attr-defined]
    before = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, table.__name__, table)
        module = importlib.import_module("bfcl_eval.eval_checker.ast_eval.ast_checker")
        yield module.simple_function_checker
    for name in [name for name in sys.modules if name.startswith("bfcl_eval") and name not in before]:
        del sys.modules[name]


def bfcl_accepts(checker: Any, tool: Tool, arguments: dict[str, Any], wanted: dict[str, Any]) -> bool:
    from bfcl_eval.constants.enums import Language

    description = {"name": tool.name, "parameters": tool.parameters}
    answer = {tool.name: {name: [value] for name, value in wanted.items()}}
    try:
        verdict = checker(description, {tool.name: arguments}, answer, Language.PYTHON, "any model")
    except (KeyError, TypeError, AttributeError):  # it fails where a value is of a shape that it does not know
        return False
    return bool(verdict["valid"])


@st.composite
def arguments(draw: st.DrawFn) -> dict[str, Any]:
    """Arguments for some parameters, mostly of values that fit."""
    fitting = {"text": TEXTS, "count": [0, 1, 2, -2], "size": [2, 2.0, 2.5], "open": [True, False],
               "words": [["a"], ["Lake View"], ["lake view"]], "counts": [[1, 2], [2, 1], []],
               "objects": [[OBJECTS[0]], [OBJECTS[1]], []], "object": OBJECTS}  # fmt: skip
    names = draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True, max_size=4))
    return {name: draw(st.sampled_from(fitting[name]) | st.sampled_from(VALUES)) for name in names}


def alike(value: Any) -> list[Any]:
    """Values that may be taken for the same."""
    if isinstance(value, str):
        return [value.upper(), f" {value}.", value.replace("'", '"'), value.replace(" ", "_")]
    if isinstance(value, (bool, int, float)):
        return [float(value), int(value), bool(value), str(value)]
    return [[alike(item)[0] for item in value], value[::-1]] if isinstance(value, list) else [value]


@given(data=st.data())
def test_the_syntax_check_accepts_what_that_of_bfcl_accepts(checker: Any, data: st.DataObject) -> None:
    wanted = data.draw(arguments())
    made = data.draw(st.just(dict(wanted)) | arguments())
    for name in data.draw(st.lists(st.sampled_from(sorted(made)), max_size=2)) if made else ():
        made[name] = data.draw(st.sampled_from(alike(made[name])) | st.sampled_from(VALUES))
    required = data.draw(st.lists(st.sampled_from(sorted(KINDS)), unique=True, max_size=1))
    tool = Tool("search", "", {"type": "dict", "properties": KINDS, "required": required})
    assert accepts(tool, made, wanted) == bfcl_accepts(checker, tool, made, wanted), (made, wanted, required)


@given(text=st.text() | st.sampled_from(TEXTS))
def test_texts_are_standardised_as_by_bfcl(checker: Any, text: str) -> None:
    assert standardised(text) == checker.__globals__["standardize_string"](text)


@pytest.mark.parametrize(
    ("value", "wanted", "accepted"),
    [
        ("LAKE view.", "Lake-View", True), ("Lake Vew", "Lake View", False), (2, 2.0, True), ("2", 2, False),
        (True, 1, False), ([{"a": "x"}], [{"a": "x"}], False), ([], [], True),
    ],
)  # fmt: skip
def test_what_the_syntax_check_takes_for_equal(value: Any, wanted: Any, accepted: bool) -> None:
    kind = {str: "string", int: "number", float: "number", list: "array"}[type(wanted)]
    schema = {"type": kind, "items": {"type": "object"}} if kind == "array" else {"type": kind}
    tool = Tool("t", "", {"type": "object", "properties": {"x": schema}, "required": ["x"]})
    assert accepts(tool, {"x": value}, {"x": wanted}) is accepted
    assert not accepts(tool, {}, {"x": wanted})
    assert not accepts(tool, {"x": wanted, "y": 1}, {"x": wanted})


# ------------------------------------------------------------------------------------------------------------ the score


@needs_booking
def test_every_component_of_every_published_score_is_reproduced() -> None:
    from published_reward import differences, read_data

    assert BOOKING is not None
    data, sequences = read_data(BOOKING)
    assert len(sequences) == 1313
    assert list(differences(data, sequences)) == []


SEARCH = Tool("search", "", {"type": "object", "properties": {"town": {"type": "string"}}, "required": ["town"]})
BOOK = Tool("book", "", {"type": "object", "properties": {"number": {"type": "number"}}, "required": ["number"]})
TOOLS = {"search": SEARCH, "book": BOOK}
SOLUTION = (
    ReferenceCall("search", {"town": "Uster"}),
    ReferenceCall("search", {"town": "Wald"}),
    ReferenceCall("book", {"number": 7}, after=(1,)),
)
FOUND = {"status": True, "data": [7]}
TWO_SEARCHES = [Call("search", {"town": "Uster"}), Call("search", {"town": "Wald"})]


def scored(*calls: Call, body: Any = FOUND) -> PublishedScore:
    return published_score(SOLUTION, TOOLS, [(call, body) for call in calls])


def test_the_components_of_a_solution_that_repeats_a_name() -> None:
    score = scored(*TWO_SEARCHES, Call("book", {"number": 7}))
    # the second search is compared with the first one
    parts = (score.name, score.structure, score.values, score.semantic, score.orchestration)
    assert parts == pytest.approx((0.33, 0.33, 0.34 * 2 / 3, 1.0, 1.0))
    assert score.total == pytest.approx(0.5 * (0.66 + 0.34 * 2 / 3 + 1) / 2 + 0.5)


def test_leaving_out_a_needed_call_of_a_repeated_name_pays() -> None:
    assert (
        scored(TWO_SEARCHES[0], Call("book", {"number": 7})).total
        > scored(*TWO_SEARCHES, Call("book", {"number": 7})).total
    )


def test_values_are_not_needed_for_order() -> None:
    assert scored(Call("search", {"town": "?"}), Call("book", {"number": "?"})).orchestration == 1.0


def test_a_call_before_what_it_depends_on_is_out_of_order() -> None:
    assert scored(Call("book", {"number": 7}), *TWO_SEARCHES).orchestration == pytest.approx(2 / 3)


def test_what_depends_on_a_call_that_was_never_made_is_not_in_order() -> None:
    assert scored(Call("book", {"number": 7})).orchestration == 0.0


@pytest.mark.parametrize(
    ("body", "executed"),
    [
        ({"status": True}, True), ({"status": False, "message": "no"}, False), ({"error": "no"}, False), ({}, False),
        ([], True), ("", True), (None, True), ({"status": None}, True),
    ],
)  # fmt: skip
def test_which_responses_count_as_executed(body: Any, executed: bool) -> None:
    assert says_something(body) is executed
    assert scored(TWO_SEARCHES[0], body=body).semantic == executed


def test_a_number_is_one_type_and_a_text_another() -> None:
    structure = [scored(Call("book", {"number": value})).structure for value in (7, 7.5, "7", True, None)]
    assert structure == [0.33, 0.33, 0.0, 0.0, 0.0]


# -------------------------------------------------------------------------------------------------------- as a reward


@every_world
@given(data=st.data())
def test_it_is_paid_at_the_end_only_and_lies_in_0_to_1(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, data.draw(turns(here, task)), PUBLISHED)
    assert all(step.score.reward == step.score.potential == 0.0 for step in episode.steps)
    assert 0.0 <= episode.closing_reward == episode.total <= 1.0
    assert bool(episode.steps) or episode.total == 0.0


@every_world
@given(data=st.data())
def test_an_episode_is_scored_as_its_raw_calls_and_bodies_are(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, data.draw(turns(here, task, 1)), PUBLISHED)
    made = [
        (step.call, step.response.body if step.response.success else {"error": "status"})
        for step in episode.steps
        if step.canonical is not None  # no JSON could hold it
    ]
    assert episode.total == published_score(task.reference, here.snapshot.tools, made).total


@every_world
@given(data=st.data())
def test_solutions_of_different_names_score_one(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    names = [call.tool for call in task.reference]
    total = play(here, task, reference_turns(task), PUBLISHED).total
    assert total == pytest.approx(1.0) if len(set(names)) == len(names) else total <= 1.0


@every_world
@given(data=st.data())
def test_forked_and_pickled_episodes_end_as_they_would_have(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    start, rest = data.draw(turns(here, task)), data.draw(turns(here, task))
    episode = Episode(task, here.replay, PUBLISHED, max_calls=1000)
    for turn in start:
        episode.send(turn)
    copies = [episode.fork(), pickle.loads(pickle.dumps(episode))]
    episode.finish()
    for copy in copies:
        for turn in rest:
            copy.send(turn)
        copy.finish()
        assert copy.total == play(here, task, start + rest, PUBLISHED).total
    assert episode.total == play(here, task, start, PUBLISHED).total


def test_the_call_limit_pays_as_the_last_word_does() -> None:
    here = world("library")
    task = here.task("train", 0)
    episode = Episode(task, here.replay, PUBLISHED, max_calls=1)
    episode.send([reference_call(task, 0)])
    assert episode.truncated
    assert episode.total == play(here, task, [[reference_call(task, 0)]], PUBLISHED).total > 0
