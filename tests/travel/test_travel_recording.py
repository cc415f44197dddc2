"""The recording plan of the travel bundle: what it starts from, and that it records the same every time."""

from __future__ import annotations

import csv
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from record import complete_plan, record_travel
from travel_values import CITIES, CURRENCIES

from toolorch_env.core.calls import ToolSet
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.plans.plan import Plan
from toolorch_env.recording.plans.runs import plan_workflows
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

Get = Any


@pytest.fixture(scope="module")
def plan(database: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    return complete_plan(database, tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def small_plan(plan: Plan) -> Plan:
    """The same plan with few calls of each request."""
    requests = [
        request.model_copy(update={"sample": min(request.sample or 12, 12), "refusals": min(request.refusals, 4)})
        for request in plan.requests
    ]
    return plan.model_copy(update={"requests": tuple(requests)})


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_the_plan_and_its_workflows_fit_the_api(plan: Plan, app: Any) -> None:
    tools = ToolSet(operation.tool for operation in operations_from_openapi(app.openapi()))
    plan.check_tools(tools)
    assert plan_workflows(plan, tools)
    assert {request.tool for request in plan.requests} == set(tools)


def test_cities_lead_the_search_for_their_name(plan: Plan, get: Get) -> None:
    cities = table(plan.folder / "cities.csv")
    assert len({city["city_name"] for city in cities}) == len(cities) == CITIES
    for city in cities[::10]:
        found = get("search_cities", city_name=city["city_name"]).json()["cities"]
        largest = max(found, key=lambda entry: entry["population"])
        assert (largest["name"], largest["country_code"]) == (city["city_name"], city["country_code"])


def test_pairs_are_of_two_currencies_that_have_rates(plan: Plan, connection: sqlite3.Connection) -> None:
    pairs = [(pair["base"], pair["quote"]) for pair in table(plan.folder / "currency_pairs.csv")]
    assert len(set(pairs)) == len(pairs) == len(CURRENCIES) * (len(CURRENCIES) - 1)
    assert all(base != quote for base, quote in pairs)
    known = {currency for (currency,) in connection.execute("SELECT DISTINCT currency FROM rates WHERE date > '2025'")}
    assert {base for base, _ in pairs} == set(CURRENCIES) <= known


def test_the_countries_are_all_that_there_are(plan: Plan, connection: sqlite3.Connection) -> None:
    codes = (plan.folder / "countries.txt").read_text(encoding="utf-8").split()
    assert set(codes) == {code for (code,) in connection.execute("SELECT country_code FROM countries")}
    assert "NA" in codes  # Namibia


@pytest.mark.long
def test_recording_twice_gives_the_same_snapshot(database: Path, small_plan: Plan, tmp_path: Path) -> None:
    one, other = tmp_path / "one.sqlite", tmp_path / "other.sqlite"
    recording = record_travel(database, small_plan, one)
    record_travel(database, small_plan, other)
    assert verify_snapshot(one).ok
    assert Snapshot(one).meta["content_hash"] == Snapshot(other).meta["content_hash"]
    assert recording.responses == len(Snapshot(one)) > 1000
    assert recording.unreached == {}
    assert recording.summary.unanswered.counts.keys() <= {"unsendable"}  # refusals that leave a part of the path out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.sqlite", "other.sqlite"]


@pytest.mark.long
def test_an_older_snapshot_is_replaced_not_added_to(database: Path, small_plan: Plan, tmp_path: Path) -> None:
    out = tmp_path / "travel.sqlite"
    countries = tuple(request for request in small_plan.requests if request.tool == "get_country")
    cities = tuple(request for request in small_plan.requests if request.tool == "search_cities")
    record_travel(database, small_plan.model_copy(update={"requests": countries}), out)
    record_travel(database, small_plan.model_copy(update={"requests": cities}), out)
    assert {record.tool for record in Snapshot(out).records()} == {"search_cities"}
