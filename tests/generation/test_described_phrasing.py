"""Words made of what tools say of themselves."""

import numpy as np
import pytest
from worlds import snapshot_path

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.tools import Tool
from toolorch_env.generation.described_phrasing import purpose, select_words
from toolorch_env.generation.graph_generator import GraphGenerator


@pytest.mark.parametrize(
    ("select", "words"),
    [
        ("iata", "the iata"),
        ("worst_delay.flightId", "the flight id of the worst delay"),
        ("flights[0].tail_number", "the tail number of the first of the flights"),
        ("flights[-1]", "the last of the flights"),
        ("flights[-2].id", "the id of number 2 from the end of the flights"),
        ("[9].id", "the id of the 10th of the list"),
        (
            "max_by(routes, &distance_miles).code",
            "the code of the one with the largest distance miles among the routes",
        ),
        ("min_by(routes, &distance)", "the one with the smallest distance among the routes"),
        (
            "min_by(a.routes, &cost.total).id",
            "the id of the one with the smallest cost total among the routes of the a",
        ),
        ("(data || @)[0].id", "the id of the first of the list"),
        ("max_by((data || @).shops, &rank).id", "the id of the one with the largest rank among the shops"),
        ("max_by(@, &rank).id", "the id of the one with the largest rank among the list"),
        ('"odd-key".id', "the id of the odd key"),
        ("flights[?carrier=='UA'] | [0].id", "what `flights[?carrier=='UA'] | [0].id` selects"),
        ("max_by(a, &b).c | [0]", "what `max_by(a, &b).c | [0]` selects"),
        ("{a: b}.a", "what `{{a: b}}.a` selects"),
    ],
)
def test_selections_in_words(select: str, words: str) -> None:
    assert select_words(select) == words


@pytest.mark.parametrize(
    ("description", "words"),
    [
        ("Get a lake. It has water.", "Get a lake"),
        ("Belongs to the API. Tool description: Get a lake. Endpoint: /lakes", "Get a lake"),
        ("Belongs to the API.", "get lake"),
        ("", "get lake"),
        ("Lakes with {braces} are rare.", "Lakes with {{braces}} are rare"),
        ("Get a very " + "very " * 100 + "long description.", "Get a very " + " ".join(["very"] * 29) + " ..."),
    ],
)
def test_a_tool_is_said_by_the_first_sentence_that_is_its_own(description: str, words: str) -> None:
    tools = ToolSet([Tool("getLake", description, {}), Tool("get_town", "Belongs to the API. Get a town.", {})])
    assert purpose(tools["getLake"], tools) == words


def test_tasks_of_drawn_workflows_say_what_flows() -> None:
    generator = GraphGenerator(snapshot_path("library"))
    rng = np.random.default_rng(0)
    for _ in range(100):
        task = generator.sample(rng)
        for call in task.reference:
            for binding in call.bindings:
                assert select_words(binding.select) in task.query
