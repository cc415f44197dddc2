"""How queries are worded: styles, grammars, and values said in other words."""

import re
from itertools import product
from typing import Any, get_args

import numpy as np
import pytest
from small_world import TOOLS, WORKFLOWS, workflow_set
from stateful_world import BANK_TOOLS, bank_workflows
from worlds import WORLD_NAMES, snapshot_path, world

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import TaskError, WorkflowError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.constraints import STYLES, Style, Values
from toolorch_env.generation.described_phrasing import purpose, select_words
from toolorch_env.generation.difficulty import difficulty
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.paraphrases import Paraphrases
from toolorch_env.generation.phraser import VARIANTS, Phraser
from toolorch_env.store.grammar import template_slots
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import Workflow, WorkflowSet, parse_workflows

COMPOSED: tuple[Style, ...] = ("plain", "numbered", "terse", "chatty", "backward")
LIBRARY = ToolSet(TOOLS)
EVERY_WORKFLOW = [
    *((workflow, LIBRARY) for workflow in workflow_set().workflows),
    *((workflow, BANK_TOOLS) for workflow in bank_workflows().workflows),
]
WORDS: dict[str, Any] = {
    "grammar": {
        "get_author": {
            "result": "author record",
            "asks": ["look up the author {author_id}", "find out who {author_id} is"],
            "terse": "author {author_id}",
            "selections": {"town_id": "the home of whom {result} is about"},
        },
        "get_town": {"result": "town record", "asks": ["look up the town {town_id}"]},
        "search_authors": {
            "result": "list of authors",
            "asks": ["list the authors born from {born_from} on"],
            "options": {"limit": "at most {limit} of them"},
        },
    },
    "paraphrases": {
        "author": [
            {"phrases": ["the writer called {name}"], "tool": "get_author", "value": "author_id",
             "words": {"name": "name"}},
            {"phrases": ["{name} of the list"], "tool": "search_authors", "each": "authors", "value": "author_id",
             "words": {"name": "name"}, "shared": {"count": "count"}},
            {"phrases": ["somebody from {town}"], "tool": "get_author", "value": "author_id",
             "words": {"town": "town_id"}},
        ],
        "currency": [{"listed": {"Swiss francs": "CHF", "the money of most neighbours": "EUR", "EUR coins": "EUR"}}],
        "year": [{"listed": {"the last year of the nineteenth century": 1900, "long ago": 1901, "Long ago": 1902}}],
    },
}  # fmt: skip


def library(**words: Any) -> WorkflowGenerator:
    return WorkflowGenerator(snapshot_path("library"), parse_workflows({**WORKFLOWS, **(words or WORDS)}))


def one_query_per_line(tasks: list[Task]) -> str:
    return "\n".join(task.query for task in tasks)


def draw(generator: Any, count: int, **constraints: Any) -> list[Task]:
    rng = np.random.default_rng(1)
    return [generator.sample(rng, constraints) for _ in range(count)]


@pytest.mark.parametrize(("workflow", "tools"), EVERY_WORKFLOW, ids=[workflow.name for workflow, _ in EVERY_WORKFLOW])
@pytest.mark.parametrize("style", COMPOSED)
def test_composed_phrasings_say_every_literal_every_selection_and_every_tool(
    workflow: Workflow, tools: ToolSet, style: Style
) -> None:
    phrasings = Phraser(tools).phrasings(workflow, style)
    assert 1 <= len(set(phrasings)) == len(phrasings) <= VARIANTS
    for sentences in phrasings:
        said = " ".join(sentences)
        Workflow(**workflow.model_dump(by_alias=True) | {"phrasings": [said]})  # its slots are the literals
        for step in workflow.steps:
            assert purpose(tools[step.tool], tools).lower() in said.lower()
            for argument in step.arguments.values():
                if not hasattr(argument, "query"):
                    assert select_words(argument.select) in said


def test_styles_tell_steps_in_the_order_that_they_promise() -> None:
    workflow = next(workflow for workflow in workflow_set().workflows if workflow.name == "longest_book_price")
    steps = [purpose(LIBRARY[step.tool], LIBRARY).lower() for step in workflow.order]
    for style in COMPOSED:
        for sentences in Phraser(LIBRARY).phrasings(workflow, style):
            said = " ".join(sentences).lower()
            places = [said.index(step) for step in steps]
            assert places == sorted(places, reverse=style == "backward")
            assert (len(sentences) == 1) is (style == "terse")


def test_a_grammar_gives_the_words_and_answers_of_the_same_kind_are_told_apart() -> None:
    tasks = draw(library(), 40, styles=["plain"], workflows=["compare_authors"], distractions=0)
    for task in tasks:
        first, second = (call.arguments["author_id"] for call in task.reference[:2])
        for author, letter in ((first, "A"), (second, "B")):
            assert re.search(rf"{author}( is)? \(this gives author record {letter}\)", task.query)
            assert f"the town the home of whom author record {letter} is about" in task.query
    terse = draw(library(), 5, styles=["terse"], workflows=["author_town"], distractions=0)
    for task in terse:
        assert task.query.startswith("Author A")
        assert "the home of whom the author record is about" in task.query  # only one: no letter


def test_rewrites_are_drawn_and_a_phrasing_without_one_stays() -> None:
    original = "Where does {author_id} live?"
    generator = library(rewrites={original: ["What is the home of {author_id}?"]})
    said = one_query_per_line(draw(generator, 60, styles=["rewritten"], workflows=["author_town"], distractions=0))
    assert "What is the home of A" in said
    assert "Where does" not in said
    assert "Town of A" in said
    with pytest.raises(WorkflowError, match="does not have the slots"):
        library(rewrites={original: ["What is the home?"]})


@pytest.mark.parametrize("name", WORLD_NAMES)
@pytest.mark.parametrize("values", get_args(Values))
def test_every_wording_is_well_posed_and_found_again_by_its_identifier(name: str, values: Values) -> None:
    generator = library() if name == "library" else world(name).generator
    for style in STYLES:
        for task in draw(generator, 15, styles=[style], values=values):
            assert not list(task_problems(task, world(name).replay))
            assert generator.task(task.id) == task
            assert task.from_json(task.to_json()) == task


@pytest.mark.parametrize("name", ["library", "travel"])
def test_graphs_that_nobody_wrote_are_worded_in_every_style(name: str) -> None:
    if name not in WORLD_NAMES:
        pytest.skip("the bundled snapshot was not built")
    generator = world(name).graph_generator_of(15)
    for style, values in product(STYLES, ("explicit", "implicit")):
        for task in draw(generator, 3, styles=[style], values=values):
            assert not list(task_problems(task, world(name).replay))
            assert generator.task(task.id) == task


def test_a_wording_changes_the_query_and_nothing_else() -> None:
    generator = library()
    for task in draw(generator, 30):
        for wording in ("written+implicit", "chatty+explicit", "plain+terse+mixed"):
            *start, distractions = task.id.split("/")
            other = generator.task("/".join([*start, f"{distractions}+{wording}"]))
            assert (other.reference, other.split, other.workflow) == (task.reference, task.split, task.workflow)


@pytest.mark.parametrize(
    "wording", ["2+", "2+plain", "2+implicit", "2+plain+", "2+odd+explicit", "2+plain+odd", "2+written+explicit"]
)
def test_an_identifier_of_no_wording_is_refused(wording: str) -> None:
    generator = library()
    start = draw(generator, 1)[0].id.rsplit("/", 1)[0]
    with pytest.raises(TaskError, match="no task"):
        generator.task(f"{start}/{wording}")


def test_values_are_said_in_other_words_wherever_there_are_unambiguous_ones() -> None:
    generator = library()
    for task in draw(generator, 200, values="implicit"):
        for mention in task.mentions:
            said = task.query[mention.start : mention.end]
            if mention.kind == "author":
                number = mention.value.removeprefix("A")
                assert said in (f"the writer called Author {number}", f"Author {number} of the list")
            elif mention.value == "CHF":
                assert said == "Swiss francs"
            elif mention.value == "EUR":
                assert said == "the money of most neighbours"  # the other one holds the value
            elif mention.value == 1900:
                assert said == "the last year of the nineteenth century"
            else:  # 1901 and 1902 share their words
                assert said == str(mention.value)
                assert not mention.resolution
                continue
            assert mention.resolution.endswith(f"= {mention.value}")
    assert all(
        difficulty(task).implicitness > 0 for task in draw(generator, 50, values="implicit", workflows=["author_town"])
    )


def test_words_that_the_solution_is_to_find_out_are_not_told() -> None:
    """Who made `the writer called Author 3` of an answer of `get_author` must not tell it where that is asked for."""
    for task in draw(library(), 60, values="implicit", workflows=["author_town", "compare_authors"]):
        assert not any("the writer called" in task.query[m.start : m.end] for m in task.mentions)
    for task in draw(library(), 60, values="implicit", workflows=["longest_book_price"], split="test_workflows"):
        assert not any("of the list" in task.query[m.start : m.end] for m in task.mentions)


def test_listed_words_that_the_solution_is_to_find_out_are_not_told() -> None:
    words = {"paraphrases": {"author": [{"listed": {"the poet": "A1", "the critic": "A2"}, "tool": "get_author"}]}}
    generator = library(**words)
    told = draw(generator, 200, values="implicit", exclude_tools=["get_author"], split="test_workflows")
    assert any("he poet" in task.query for task in told)
    for task in draw(generator, 200, values="implicit", include_tools=["get_author"]):
        assert "he poet" not in task.query
        assert "he critic" not in task.query


@pytest.mark.skipif("travel" not in WORLD_NAMES, reason="the bundled snapshot was not built")
@pytest.mark.parametrize(
    ("tool", "argument", "fields"),
    [
        ("get_airline", "carrier", ["name"]),
        ("get_country", "country_code", ["name"]),
        ("get_airport", "iata", ["name"]),
    ],
)
def test_travel_tells_no_name_that_a_call_is_to_find_out(tool: str, argument: str, fields: list[str]) -> None:
    travel, checked = world("travel"), 0
    for task in draw(world("travel").generator, 60, values="implicit", styles=["plain"], include_tools=[tool]):
        for call in task.reference:
            if call.tool == tool and any(mention.value == call.arguments[argument] for mention in task.mentions):
                made = travel.snapshot.tools.canonical(Call(call.tool, call.arguments))
                body = travel.replay.answer(made).body
                assert not any(re.search(rf"\b{re.escape(body[field])}\b", task.query) for field in fields)
                checked += 1
    assert checked > 5


def test_resolutions_end_in_the_value_as_the_call_takes_it() -> None:
    words = {"paraphrases": {"year": [{"listed": {"the first of all": 1900.0}}]}}
    said = [m for task in draw(library(**words), 200, values="implicit") for m in task.mentions if m.resolution]
    assert said
    assert {mention.resolution for mention in said} == {"the first of all = 1900"}


def test_terse_words_that_do_not_fit_give_way_to_others_of_the_grammar() -> None:
    grammar = {
        "search_authors": {"asks": ["list the authors born from {born_from} on"], "terse": "authors up to {limit}"}
    }
    generator = library(grammar=grammar)
    for task in draw(generator, 20, styles=["terse"], split="test_workflows", include_tools=["search_authors"]):
        assert "ist the authors born from" in task.query
        assert "up to" not in task.query


def test_no_words_are_another_value_of_the_kind() -> None:
    words = {"paraphrases": {"author": [{"listed": {"A2": "A1", "the second": "A2", "the first": "A1"}}]}}
    said = {
        (task.query[m.start : m.end], m.value)
        for task in draw(library(**words), 300, values="implicit")
        for m in task.mentions
        if m.value in ("A1", "A2")
    }
    assert {text.lower() for text, _ in said} == {"the first", "the second"}


def test_a_value_is_said_in_the_same_way_throughout_a_query() -> None:
    if "travel" not in WORLD_NAMES:
        pytest.skip("the bundled snapshot was not built")
    repeated = 0
    for task in draw(world("travel").generator, 400, values="mixed", styles=["plain", "chatty"]):
        said: dict[Any, set[str]] = {}
        for mention in task.mentions:
            text = task.query[mention.start : mention.end]
            said.setdefault((mention.kind, str(mention.value)), set()).add(text[0].lower() + text[1:])
        assert all(len(texts) == 1 for texts in said.values())
        repeated += len(task.mentions) > len(said)
    assert repeated > 20


def test_a_sentence_begins_with_a_capital_letter_and_a_greeting_comes_first() -> None:
    for task in draw(library(), 200, values="implicit", styles=["chatty", "written"]):
        assert task.query[0].isupper() or task.query[0].isdigit()
        if "+chatty+" in task.id and "Hello!" in task.query:
            assert task.query.startswith("Hello!")


def test_small_talk_separates_no_step_from_the_one_it_refers_to() -> None:
    small_talk = re.compile(r"(My favourite is \w+|I was born in \w+|I never read on \w+)\. ")
    steps = re.compile(r"(Could you please|What I need first|Would you|Once you have that|After that|And then please)")
    separated = 0
    for task in draw(library(), 300, styles=["chatty"], distractions=2, min_steps=2):
        places = [found.start() for found in steps.finditer(task.query)]
        separated += any(min(places) < found.start() < max(places) for found in small_talk.finditer(task.query))
    assert not separated


def test_mixed_values_are_said_either_way() -> None:
    mentions = [
        mention
        for task in draw(library(), 300, values="mixed")
        for mention in task.mentions
        if mention.kind == "author"
    ]
    share = sum(bool(mention.resolution) for mention in mentions) / len(mentions)
    assert 0.4 < share < 0.6


def test_dates_are_said_by_the_calendar_and_today_is_given_where_it_counts() -> None:
    paraphrases = Paraphrases({}, Snapshot(snapshot_path("library")))
    draws = Draws(5)
    sayings = [paraphrases.say("day", "2013-03-07", draws, avoid={"2013-03-04"}) for _ in range(500)]
    assert all(saying and saying.resolution.endswith("= 2013-03-07") for saying in sayings)
    assert not any(saying and "2013-03-04" in (saying.text, saying.today) for saying in sayings)
    assert any(saying and saying.today for saying in sayings)
    assert paraphrases.say("day", "2013-02-30", draws) is None
    assert paraphrases.say("day", 20130307, draws) is None


def test_a_query_gives_the_date_of_today_once_before_it_is_needed() -> None:
    if "travel" not in WORLD_NAMES:
        pytest.skip("the bundled snapshot was not built")
    tasks = draw(world("travel").generator, 600, values="implicit", styles=["written", "chatty"])
    opened = [task for task in tasks if task.query.startswith("Today is ")]
    assert 20 < len(opened) < len(tasks)
    for task in opened:
        assert task.query.count("Today is ") == 1
        today = task.mentions[0]
        assert task.query[today.start : today.end] == today.value
        assert today.value not in [value for call in task.reference for value in call.arguments.values()]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"grammar": {"get_author": {"asks": []}}}, "asks"),
        ({"grammar": {"get_author": {"asks": ["get {author_id"]}}}, "expected '}'"),
        ({"grammar": {"get_author": {"asks": ["get {name}"]}}}, "does not have: name"),
        ({"grammar": {"get_poet": {"asks": ["get"]}}}, "'get_poet', which does not exist"),
        ({"grammar": {"get_author": {"asks": ["get"], "options": {"author_id": "the one"}}}}, "has to have the slot"),
        ({"grammar": {"get_author": {"asks": ["get"], "selections": {"name": "the name"}}}}, "need the slot {result}"),
        ({"grammar": {"get_author": {"asks": ["get"], "selections": {"[": "of {result}"}}}}, "JMESPath"),
        ({"paraphrases": {"poet": []}}, "'poet', which is not declared"),
        ({"paraphrases": {"author": [{"phrases": ["{name}"], "tool": "get_author", "value": "id"}]}}, "without words"),
        ({"paraphrases": {"author": [{"phrases": ["a"], "tool": "get_author", "value": "["}]}}, "JMESPath"),
        ({"paraphrases": {"author": [{"phrases": ["a"], "tool": "get_poet", "value": "id"}]}}, "get_poet"),
        ({"paraphrases": {"author": [{"listed": {}}]}}, "listed"),
        ({"paraphrases": {"author": [{"listed": {" ": "A1"}}]}}, "cannot stand in a query"),
        ({"paraphrases": {"author": [{"listed": {"\ud800": "A1"}}]}}, "cannot stand in a query"),
        ({"paraphrases": {"year": [{"listed": {"never": float("nan")}}]}}, "nan is no value"),
        ({"paraphrases": {"year": [{"listed": {"never": None}}]}}, "listed"),
        ({"paraphrases": {"year": [{"listed": {"never": True}}]}}, "listed"),
        ({"paraphrases": {"year": [{"listed": {"never": ""}}]}}, "listed"),
        ({"paraphrases": {"year": [{"listed": {"never": 2**70}}]}}, "listed"),
        ({"paraphrases": {"year": [{"listed": {"never": 1}, "tool": "get_poet"}]}}, "get_poet"),
        ({"rewrites": {"Where does {author_id} live?": []}}, "no versions of the phrasing"),
        ({"grammar": {"get_author": {"asks": [" "]}}}, "says nothing"),
        ({"grammar": {"get_author": {"asks": ["get"], "selections": {"name": "{result} {x}"}}}}, "no other"),
    ],
)
def test_words_that_cannot_be_used_are_refused_with_the_reason(words: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError) as raised:
        library(**words)
    assert message in str(raised.value)


def test_words_are_in_the_workflow_document_and_only_where_there_are_any() -> None:
    assert "grammar" not in workflow_set().model_dump()
    words = parse_workflows({**WORKFLOWS, **WORDS})
    assert WorkflowSet.model_validate(words.model_dump(mode="json", by_alias=True)) == words
    assert template_slots(words.grammar["get_author"].asks[0]) == {"author_id"}
