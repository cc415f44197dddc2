"""The tool graph: which outputs are found to feed which parameters, and what the score is made of."""

import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pytest
from booking_data import BOOKING, TEMPLATES, needs_booking, published
from fresh_python import ROOT, run_python
from small_world import workflow_set
from worlds import WORLD_NAMES, snapshot_path

from toolorch_env.core.calls import Call
from toolorch_env.core.tools import Tool
from toolorch_env.generation.tool_graph import NAMES, OVERLAP, THRESHOLD, Edge, ToolGraph, infer_tool_graph
from toolorch_env.store.compiled import Link
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import snapshot_workflows
from toolorch_env.store.writer import SnapshotWriter

sys.path.insert(0, str(ROOT / "benchmarks"))
from tool_graph import (
    curve,
    template_flows,
    with_field,
    without_field,
    written_flows,
)

Answers = Collection[tuple[Call, int, Any]]


def tool(name: str, description: str = "A tool.", **properties: Any) -> Tool:
    return Tool(name, description, {"type": "object", "properties": properties, "required": list(properties)})


def graph_of(path: Path, tools: list[Tool], answers: Answers, **options: Any) -> ToolGraph:
    with SnapshotWriter(path, tools, name="test") as writer:
        for call, status, body in answers:
            writer.add(call, status, body)
    return infer_tool_graph(Snapshot(path), **options)


def find(graph: ToolGraph, source: str, target: str, parameter: str) -> list[Edge]:
    return [edge for edge in graph.edges if (edge.source, edge.tool, edge.parameter) == (source, target, parameter)]


TEXT = {"type": "string"}


@pytest.fixture(scope="module")
def library_graph(library_snapshot: Snapshot) -> ToolGraph:
    return infer_tool_graph(library_snapshot)


def test_every_hand_written_flow_of_the_small_library_is_found(library_graph: ToolGraph) -> None:
    assert written_flows(workflow_set()) <= {with_field(edge) for edge in library_graph.flows}


def test_nothing_leads_to_what_no_response_tells(library_graph: ToolGraph) -> None:
    targets = {(edge.tool, edge.parameter) for edge in library_graph.flows}
    assert ("opening_hours", "weekday") not in targets
    assert ("convert_price", "currency") not in targets
    assert not {edge.source for edge in library_graph.flows} & {"opening_hours"}


def test_a_field_that_repeats_an_argument_is_an_echo_and_no_flow(library_graph: ToolGraph) -> None:
    (echo,) = find(library_graph, "get_author", "books_of_author", "author_id")
    assert echo.is_echo
    assert echo not in library_graph.flows
    assert not find(library_graph, "get_author", "get_author", "author_id")


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_scores_are_made_of_their_parts(name: str) -> None:
    for edge in infer_tool_graph(Snapshot(snapshot_path(name)), threshold=0.3, responses=100).edges:
        parts = (edge.names, edge.fit, edge.overlap, edge.accepted)
        assert all(0 <= part <= 1 for part in (*parts, edge.score))
        told = 1 - (1 - NAMES * edge.names) * (1 - OVERLAP * edge.overlap)
        assert edge.score == pytest.approx(edge.fit * edge.accepted * told)
        assert edge.score >= 0.3


def test_a_higher_threshold_leaves_edges_out_and_changes_none(library_snapshot: Snapshot) -> None:
    graphs = [infer_tool_graph(library_snapshot, threshold=threshold).edges for threshold in (0.0, 0.4, 0.6, 0.8, 1.0)]
    for low, high, threshold in zip(graphs, graphs[1:], (0.4, 0.6, 0.8, 1.0), strict=False):
        assert high == tuple(edge for edge in low if edge.score >= threshold)


@pytest.mark.parametrize("name", ["library", "bank"])
def test_every_expression_finds_values_that_the_parameter_takes(name: str) -> None:
    snapshot = Snapshot(snapshot_path(name))
    bodies: dict[str, list[Any]] = {}
    for record in snapshot.records():
        if record.response.success:
            bodies.setdefault(record.tool, []).append(record.response.body)
    for edge in infer_tool_graph(snapshot).edges:
        parameter = snapshot.tools.signature(edge.tool).parameters[edge.parameter]
        for select in edge.selects:
            found = [value for body in bodies[edge.source] if (value := Selector(select)(body)) is not None]
            assert found, select
            assert any(parameter.fits(parameter.read(value)) for value in found)


@pytest.mark.parametrize("hash_seed", [1, 2])
def test_the_graph_is_the_same_in_every_process(library: Path, library_graph: ToolGraph, hash_seed: int) -> None:
    code = f"""
from toolorch_env.generation.tool_graph import infer_tool_graph
from toolorch_env.store.snapshot import Snapshot
graph = infer_tool_graph(Snapshot({str(library)!r}))
print(graph.fingerprint, len(graph.edges), repr(graph.edges))
"""
    told = run_python(code, hash_seed).strip().split(maxsplit=2)
    assert told == [library_graph.fingerprint, str(len(library_graph.edges)), repr(library_graph.edges)]


def test_values_alone_make_an_edge(tmp_path: Path) -> None:
    codes = [f"K{i:04}" for i in range(20)]
    answers = [(Call("browse", {"page": i}), 200, {"entries": [{"sign": code}]}) for i, code in enumerate(codes)]
    answers += [(Call("open_thing", {"what": code}), 200, {"size": 3}) for code in codes[:12]]
    graph = graph_of(
        tmp_path / "a.sqlite", [tool("browse", page={"type": "integer"}), tool("open_thing", what=TEXT)], answers
    )
    (edge,) = graph.edges
    assert (edge.source, edge.leaf, edge.tool, edge.parameter) == ("browse", "sign", "open_thing", "what")
    assert edge.names == 0
    assert edge.overlap > 0.9


def test_names_alone_make_an_edge(tmp_path: Path) -> None:
    answers = [(Call("list_ships", {"port": f"P{i}"}), 200, {"ships": [{"ship_id": f"S{i}"}]}) for i in range(5)]
    answers += [(Call("get_ship", {"ship_id": "S77"}), 200, {"length": 100})]
    graph = graph_of(tmp_path / "a.sqlite", [tool("list_ships", port=TEXT), tool("get_ship", ship_id=TEXT)], answers)
    (edge,) = graph.edges
    assert edge.leaf == "ship_id"
    assert (edge.names, edge.overlap) == (1, 0)


def test_coincidence_makes_none(tmp_path: Path) -> None:
    """All two-letter codes and all hours are recorded: that a response holds some of them says nothing."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    pairs = [first + second for first in letters for second in letters]
    answers = [(Call("land", {"code": pair, "at": i % 24}), 200, {"ok": "yes"}) for i, pair in enumerate(pairs)]
    answers += [
        (Call("team", {"number": i}), 200, {"nick": pair, "goals": i % 24}) for i, pair in enumerate(pairs[::7])
    ]
    integer = {"type": "integer"}
    tools = [tool("land", code=TEXT, at=integer), tool("team", number=integer)]
    assert graph_of(tmp_path / "a.sqlite", tools, answers, threshold=0.1).edges == ()


def test_values_that_the_api_refuses_make_none(tmp_path: Path) -> None:
    codes = [f"K{i:04}" for i in range(20)]
    tools = [tool("browse", page={"type": "integer"}), tool("open_thing", sign=TEXT)]
    found: list[tuple[Call, int, Any]] = [
        (Call("browse", {"page": i}), 200, {"entries": [{"sign": code}]}) for i, code in enumerate(codes)
    ]
    for name, status, count in (("good", 200, 1), ("bad", 404, 0)):
        asked = [(Call("open_thing", {"sign": code}), status, {"size": 3}) for code in codes]
        graph = graph_of(tmp_path / f"{name}.sqlite", tools, [*found, *asked])
        assert len(graph.edges) == count


def test_values_that_do_not_fit_the_schema_make_none(tmp_path: Path) -> None:
    tools = [tool("browse", page={"type": "integer"}), tool("get_item", sign={"type": "string", "pattern": "^X"})]
    answers = [(Call("browse", {"page": i}), 200, {"items": [{"sign": f"K{i:04}"}]}) for i in range(9)]
    assert graph_of(tmp_path / "a.sqlite", tools, answers, threshold=0.1).edges == ()


def test_bodies_that_are_wrapped_at_times_have_one_expression(tmp_path: Path) -> None:
    ships = [{"ship_id": f"S{i:04}", "length": i} for i in range(8)]
    bodies = [[ship] if i % 2 else {"data": [ship]} for i, ship in enumerate(ships)]
    answers: list[tuple[Call, int, Any]] = [
        (Call("list_ships", {"port": f"P{i}"}), 200, body) for i, body in enumerate(bodies)
    ]
    answers += [(Call("get_ship", {"ship_id": ship["ship_id"]}), 200, {"flag": "CH"}) for ship in ships]
    graph = graph_of(tmp_path / "a.sqlite", [tool("list_ships", port=TEXT), tool("get_ship", ship_id=TEXT)], answers)
    (edge,) = graph.flows
    assert edge.selects[0] == "(data || @)[0].ship_id"
    for select in edge.selects:
        assert [Selector(select)(body) for body in bodies] == [ship["ship_id"] for ship in ships]


def test_the_part_that_a_snapshot_is_compiled_for(library_snapshot: Snapshot, library_graph: ToolGraph) -> None:
    part = library_graph.within(library_snapshot.links)
    assert part.links() == library_graph.links() & set(library_snapshot.links)
    assert 0 < len(part.edges) < len(library_graph.edges)
    assert Link("town_id", "get_author", "town_id") in part.links()
    assert library_graph.within(()).edges == ()


@pytest.mark.long
@pytest.mark.skipif("travel" not in WORLD_NAMES, reason="the bundled snapshot was not built")
def test_the_graph_of_travel_holds_what_was_written_by_hand() -> None:
    snapshot = Snapshot(snapshot_path("travel"))
    written = written_flows(snapshot_workflows(snapshot))
    graph = infer_tool_graph(snapshot)
    (row,) = [row for row in curve(graph, written, with_field, snapshot) if row["threshold"] == THRESHOLD]
    assert row["recall"] >= 0.9
    assert row["precision"] >= 0.35
    wrong = {  # what the values of one kind of thing would say of another
        ("get_airport", "latitude", "airports_near", "longitude"),
        ("get_country", "currency_code", "get_airport", "iata"),
        ("get_flight", "departure_delay", "get_weather", "hour"),
        ("get_local_time", "local_time", "get_local_time", "utc_time"),
    }
    assert not wrong & {with_field(edge) for edge in graph.edges}


@needs_booking
@pytest.mark.long
def test_the_graph_of_the_published_data_holds_most_of_what_it_can_show() -> None:
    assert BOOKING is not None
    snapshot = published(templates=True).snapshot
    written = template_flows(BOOKING / TEMPLATES)
    rows = curve(infer_tool_graph(snapshot), written, without_field, snapshot)
    (row,) = [row for row in rows if row["threshold"] == THRESHOLD]
    assert row["possible"] >= 0.6
    assert row["precision"] >= 0.33
