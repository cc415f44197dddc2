"""Plans for the travel API where the user has none, against the ways that its hand-written workflows go."""

import sqlite3
from typing import Any

import pytest
from fastapi import HTTPException
from proposal_loop import Loop, crawled_pairs, record_by_proposals
from travel_api import answer

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.proposals.proposal import unreached
from toolorch_env.store.workflows import parse_workflows

WORKS_TOO = {
    ("aircraft_flights", "iata"), ("airports_near", "text"), ("get_airport", "city_name"), ("get_airport", "text"),
    ("get_city", "city_name"), ("get_flight", "destination"), ("get_flight", "origin"), ("route_statistics", "date"),
    ("route_statistics", "destination"), ("route_statistics", "origin"), ("search_airports", "text"),
    ("search_airports", "origin"), ("search_cities", "city_name"), ("search_cities", "country_code"),
    ("search_flights", "carrier"),
}  # fmt: skip
"""What no workflow does, though the field holds what the parameter takes."""


@pytest.fixture(scope="module")
def travel_tools(app: Any) -> ToolSet:
    return ToolSet(operation.tool for operation in operations_from_openapi(app.openapi()))


@pytest.fixture(scope="module")
def loop(travel_tools: ToolSet, connection: sqlite3.Connection) -> Loop:
    def ask(tool: str, arguments: dict[str, Any]) -> tuple[int, Any]:
        if any(travel_tools.signature(tool).problems(travel_tools.canonical(Call(tool, arguments)).arguments)):
            return 422, {"detail": "invalid"}
        try:
            return 200, answer(connection, tool, arguments)
        except HTTPException as error:
            return error.status_code, {"detail": error.detail}

    return record_by_proposals(travel_tools, ask)


@pytest.mark.long
def test_every_tool_is_reached(travel_tools: ToolSet, loop: Loop) -> None:
    assert unreached(travel_tools, loop.plans[-1]) == {}
    answered = {record.tool for record in loop.records if record.response.success and not record.response.is_empty}
    assert answered == set(travel_tools)


@pytest.mark.long
def test_the_plan_settles(loop: Loop) -> None:
    assert loop.plans[-1] == loop.plans[-2]


@pytest.mark.long
def test_most_links_of_the_workflows_are_found(document: dict[str, Any], loop: Loop) -> None:
    wanted = {(link.tool, link.parameter) for link in parse_workflows(document).links()}
    assert len(crawled_pairs(loop.plans[-1]) & wanted) >= 0.8 * len(wanted)


@pytest.mark.long
def test_what_else_is_crawled_mostly_makes_sense(document: dict[str, Any], loop: Loop) -> None:
    wanted = {(link.tool, link.parameter) for link in parse_workflows(document).links()}
    proposed = crawled_pairs(loop.plans[-1])
    assert len(proposed & wanted) >= 0.6 * len(proposed)
    assert len(proposed & (wanted | WORKS_TOO)) >= 0.9 * len(proposed)


@pytest.mark.long
def test_most_calls_are_answered(loop: Loop) -> None:
    assert sum(record.response.success for record in loop.records) >= 0.8 * len(loop.records)
