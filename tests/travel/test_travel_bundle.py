"""The bundled travel snapshot: how much it holds, and that the API answers what it says."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import pytest

from toolorch_env.core.calls import ToolSet
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.store.bundled import bundled_snapshots
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot

EVERY = 150
"""Of the recorded calls every so many are made once more."""


@pytest.fixture(scope="module")
def path() -> Path:
    return bundled_snapshots()["travel"]


@pytest.fixture(scope="module")
def records(path: Path) -> list[Record]:
    return list(Snapshot(path).records())


def test_it_is_large_and_yet_small(path: Path, records: list[Record]) -> None:
    assert len(records) >= 100_000
    assert path.stat().st_size <= 25_000_000


def test_it_holds_refusals_of_each_tool(records: list[Record], app: Any) -> None:
    refused = Counter((record.tool, record.response.status) for record in records if record.response.status != 200)
    assert refused.total() >= 800
    for entry in app.openapi()["paths"].values():
        tool = entry["get"]["operationId"]
        assert refused[tool, 422] >= 5, tool
        if "404" in entry["get"]["responses"]:
            assert refused[tool, 404] >= 15, tool


def test_its_tools_are_those_of_the_api(path: Path, app: Any) -> None:
    current = ToolSet(operation.tool for operation in operations_from_openapi(app.openapi()))
    recorded = Snapshot(path).tools
    assert list(recorded) == list(current)
    for name, tool in current.items():
        assert (recorded[name].description, recorded[name].parameters) == (tool.description, tool.parameters)


def test_a_miss_is_answered_as_the_api_answers_unknown_input(path: Path, app: Any) -> None:
    tools = Snapshot(path).tools
    for entry in app.openapi()["paths"].values():
        if "404" in entry["get"]["responses"]:
            tool, told = tools[entry["get"]["operationId"]], entry["get"]["responses"]["404"]["description"]
            assert (tool.miss_status, tool.miss_body) == (404, {"detail": told})


@pytest.mark.long
def test_the_api_still_answers_as_recorded(records: list[Record], get: Any) -> None:
    chosen = records[::EVERY] + [record for record in records if record.response.status != 200][::5]
    for record in chosen:
        answer = get(record.tool, **orjson.loads(record.arguments))
        assert (answer.status_code, answer.json()) == (record.response.status, record.response.body), record


def test_rates_of_the_euro_are_of_years_in_which_all_its_countries_had_it(records: list[Record]) -> None:
    rates = [record for record in records if record.tool == "get_exchange_rate" and record.response.status == 200]
    dates = {
        body["date"] for record in rates for body in [record.response.body] if "EUR" in (body["base"], body["quote"])
    }
    assert len(dates) > 20
    assert min(dates) >= "2023-01-01"


def test_no_rate_is_of_a_currency_to_itself(records: list[Record]) -> None:
    bodies = [record.response.body for record in records if record.tool == "get_exchange_rate"]
    assert not [body for body in bodies if "base" in body and body["base"] == body["quote"]]


def test_every_workflow_has_many_traces(path: Path) -> None:
    counts = WorkflowGenerator(Snapshot(path)).counts()
    assert counts["airline_top_destination"] == 16  # there are no more airlines
    assert sorted(counts.values())[1] >= 48
    assert sum(count >= 1000 for count in counts.values()) >= 45
