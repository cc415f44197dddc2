"""The words of the travel bundle: queries composed for its workflows, and other ways to say values."""

import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from toolorch_env.core.draws import Draws
from toolorch_env.generation.constraints import STYLES, Style
from toolorch_env.generation.described_phrasing import path_words
from toolorch_env.generation.paraphrases import Paraphrases
from toolorch_env.generation.phraser import Phraser
from toolorch_env.generation.tool_graph import infer_tool_graph
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.grammar import template_slots
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import QueryArgument, ResponseArgument, Workflow, WorkflowStep, load_workflows

COMPOSED: tuple[Style, ...] = tuple(style for style in STYLES if style not in ("written", "rewritten"))
WORKFLOWS = load_workflows(Path(__file__).parents[2] / "cache_snapshots" / "travel" / "workflows.yaml")
GRAMMAR = WORKFLOWS.grammar
UNSAID = {"tail_number", "moment", "flight_order", "route_order"}
"""Kinds whose values are always said as they are, or by the calendar alone."""
COMPLETE = re.compile(r"\[@\]\[\?count == length\(\w+\)\]\.(.*) \| \[0\]")
"""A selection from lists that were not cut off."""


@pytest.fixture(scope="module")
def snapshot() -> Snapshot:
    return open_snapshot("travel")


@pytest.fixture(scope="module")
def phraser(snapshot: Snapshot) -> Phraser:
    return Phraser(snapshot.tools, GRAMMAR)


@pytest.fixture(scope="module")
def paraphrases(snapshot: Snapshot) -> Paraphrases:
    return Paraphrases(WORKFLOWS.paraphrases, snapshot)


def step_literals(step: WorkflowStep) -> set[str]:
    literals: set[str] = set()
    for argument in step.arguments.values():
        literals.update([argument.query] if isinstance(argument, QueryArgument) else argument.values)
    return literals


def links(workflow: Workflow) -> Iterator[tuple[WorkflowStep, str, str]]:
    """Steps that take something from a response, with the tool that gave it and the selection."""
    tools = {step.id: step.tool for step in workflow.steps}
    for step in workflow.steps:
        for argument in step.arguments.values():
            if isinstance(argument, ResponseArgument):
                yield step, tools[argument.step], argument.select


def sayings(paraphrases: Paraphrases, kind: str, value: Any) -> set[str]:
    """All texts that stand for a value, those aside that are made of the calendar."""
    said = [paraphrases.say(kind, value, Draws(seed)) for seed in range(100)]
    return {saying.text for saying in said if saying and (kind != "date" or ", by list_holidays" in saying.resolution)}


def test_the_words_fit_the_tools(snapshot: Snapshot) -> None:
    WORKFLOWS.check_tools(snapshot.tools)


def test_every_tool_can_be_said_with_any_of_its_parameters(snapshot: Snapshot) -> None:
    assert GRAMMAR.keys() == set(snapshot.tools)
    for name, grammar in GRAMMAR.items():
        tool = snapshot.tools[name]
        required = set(tool.required)
        slots = [template_slots(ask) for ask in grammar.asks]
        assert slots.count(required) >= 2, name
        assert template_slots(grammar.terse) == required
        assert all(required <= told for told in slots)
        assert grammar.options.keys() == tool.properties.keys() - required


def test_asks_and_clauses_stand_within_a_sentence() -> None:
    for grammar in GRAMMAR.values():
        for text in (*grammar.asks, grammar.terse, *grammar.options.values(), *grammar.selections.values()):
            assert text[0].islower() or text[0] == "(" or text.startswith("{")
            assert not text.endswith((".", "?", "!", ",", " "))
        assert not set("{}.") & set(grammar.result)
    results = [grammar.result for grammar in GRAMMAR.values()]
    assert len(set(results)) == len(results)


def test_every_selection_of_the_workflows_has_words() -> None:
    for workflow in WORKFLOWS.workflows:
        for step, tool, select in links(workflow):
            assert select in GRAMMAR[tool].selections or select.isidentifier(), (workflow.name, step.id, select)


def test_every_selection_of_the_tool_graph_has_words_or_is_a_path(snapshot: Snapshot) -> None:
    for edge in infer_tool_graph(snapshot).flows:
        for select in edge.selects:
            assert select in GRAMMAR[edge.source].selections or path_words(select), (edge.source, select)
            assert "[" not in select or select in GRAMMAR[edge.source].selections, (edge.source, select)


def test_words_say_one_selection() -> None:
    for name, grammar in GRAMMAR.items():
        meant: defaultdict[str, set[str]] = defaultdict(set)
        for select, words in grammar.selections.items():
            meant[words].add(COMPLETE.sub(r"\1", select))
        assert all(len(selects) == 1 for selects in meant.values()), name


@pytest.mark.parametrize("style", COMPOSED)
def test_composed_queries_say_the_literals_and_no_expression(phraser: Phraser, style: Style) -> None:
    tools = re.compile(rf"\b({'|'.join(GRAMMAR)})\b")
    for workflow in WORKFLOWS.workflows:
        for sentences in phraser.phrasings(workflow, style):
            query = " ".join(sentences)
            assert template_slots(query) == set(workflow.literals)
            assert not re.search(r"[`$&@|_\[\]]|==|  ", re.sub(r"\{\w+\}", "value", query)), query
            assert not tools.search(query), query
            assert all(sentence[-1] in ".?!" for sentence in sentences)


def test_each_sentence_says_the_literals_and_the_sources_of_its_step(phraser: Phraser) -> None:
    for workflow in WORKFLOWS.workflows:
        tools = {step.id: step.tool for step in workflow.steps}
        for sentences in phraser.phrasings(workflow, "numbered"):
            for step, sentence in zip(workflow.order, sentences, strict=True):
                assert template_slots(sentence) == step_literals(step)
                for source in {arg.step for arg in step.arguments.values() if isinstance(arg, ResponseArgument)}:
                    assert GRAMMAR[tools[source]].result in sentence


def test_two_answers_of_a_tool_are_told_apart(phraser: Phraser) -> None:
    workflow = next(workflow for workflow in WORKFLOWS.workflows if workflow.name == "two_cities_rate")
    for sentences in phraser.phrasings(workflow, "plain"):
        first, second, *_, last = sentences
        assert "list of cities A" in first
        assert "list of cities B" in second
        assert last.index("country record E") < last.index("country record F")


def test_the_kinds_that_have_paraphrases() -> None:
    assert WORKFLOWS.paraphrases.keys() == WORKFLOWS.kinds.keys() - UNSAID


@pytest.mark.parametrize(
    ("kind", "value", "text"),
    [
        ("city", "Paris", "the capital of France"),
        ("city", "Manila", "the capital of the Philippines"),
        ("country", "JP", "Japan"),
        ("country", "US", "the United States"),
        ("airport", "SFO", "San Francisco International Airport"),
        ("airport", "JFK", "John F Kennedy International Airport near New York"),
        ("carrier", "DL", "Delta Air Lines"),
        ("carrier", "US", "the former USAir"),
        ("currency", "CHF", "Swiss francs"),
        ("date", "2013-07-04", "Independence Day 2013 in the United States"),
        ("date", "2013-03-29", "Good Friday 2013 in Germany"),
        ("month", 7, "July"),
        ("hour", 12, "twelve noon"),
        ("hour", 15, "three in the afternoon"),
        ("count", 5, "five"),
        ("year", 2013, "twenty thirteen"),
        ("clock_time", "14:30", "half past two in the afternoon"),
    ],
)
def test_a_value_can_be_said_so(paraphrases: Paraphrases, kind: str, value: Any, text: str) -> None:
    assert text in sayings(paraphrases, kind, value)


def test_a_calendar_and_a_clock_are_said_as_a_whole(paraphrases: Paraphrases) -> None:
    whole: dict[str, Any] = {
        "year": range(2010, 2026), "month": range(1, 13), "hour": range(24), "count": range(1, 26),
    }  # fmt: skip
    for kind, values in whole.items():
        texts = [sayings(paraphrases, kind, value) for value in values]
        assert all(texts), kind
        assert all(not one & other for index, one in enumerate(texts) for other in texts[:index])


def test_hours_in_words_are_the_hours_of_the_clock(paraphrases: Paraphrases) -> None:
    """An hour and a time of day that share words mean the same."""
    for hour, minutes in product(range(24), ("00", "30")):
        for text in sayings(paraphrases, "clock_time", f"{hour:02}:{minutes}"):
            halves = "half" in text or ":30" in text
            assert halves == (minutes == "30")
            assert halves or text in sayings(paraphrases, "hour", hour)


def test_values_that_have_no_other_words_stay(paraphrases: Paraphrases) -> None:
    assert not sayings(paraphrases, "tail_number", "N14228")
    assert not sayings(paraphrases, "carrier", "ZZ")
    assert not sayings(paraphrases, "city", "Luxembourg")
