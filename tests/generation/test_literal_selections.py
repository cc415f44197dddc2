"""Selections that name literals of the query: joined, counted, drawn, phrased and solved like all others."""

import copy
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import gymnasium as gym
import numpy as np
import orjson
import pytest
from generation.plain_traces import plain_traces
from hypothesis import given, settings
from hypothesis import strategies as st

import toolorch_env  # noqa: F401  registers the environments
from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import ConfigurationError, WorkflowError
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.tools import Tool
from toolorch_env.generation import literal_selections
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.estimates import Estimate
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.joins import TraceJoin
from toolorch_env.generation.literal_selections import source_rows, step_table, with_literal_selections
from toolorch_env.generation.sources import TraceSource
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.store.compiled import compile_records
from toolorch_env.store.records import Record
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.selection import Selector, named_literals, with_literals
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import Workflow, WorkflowSet, parse_workflows
from toolorch_env.store.writer import SnapshotWriter

TEXT = {"type": "string"}
CARRIERS = ("UA", "DL", "B`6", 'A"A')
TOOLS = [
    Tool("search_flights", "Flights.", {"properties": {"origin": TEXT}, "required": ["origin"]}),
    Tool("get_aircraft", "An aircraft.", {"properties": {"tail_number": TEXT}, "required": ["tail_number"]}),
    Tool("get_airline", "An airline.", {"properties": {"carrier": TEXT}, "required": ["carrier"]}),
]
SELECT = "flights[?carrier == $carrier].tail_number | [0]"
VALUES = {"carrier": "flights[].carrier"}
DOCUMENT: dict[str, Any] = {
    "domain": "flights",
    "kinds": {"airport": "airport", "carrier": "airline code"},
    "workflows": [
        {
            "name": "aircraft_of_the_carrier",
            "literals": {"origin": "airport", "carrier": "carrier"},
            "steps": [
                {"id": "flights", "tool": "search_flights", "arguments": {"origin": {"query": "origin"}}},
                {"id": "aircraft", "tool": "get_aircraft", "arguments": {
                    "tail_number": {"from": "flights", "select": SELECT, "values": VALUES}}},
            ],
            "phrasings": ["Which aircraft flies the first flight of {carrier} from {origin}?"],
        },
        {
            "name": "aircraft_and_carrier",
            "literals": {"origin": "airport", "carrier": "carrier", "other": "airport"},
            "steps": [
                {"id": "flights", "tool": "search_flights", "arguments": {"origin": {"query": "origin"}}},
                {"id": "others", "tool": "search_flights", "arguments": {"origin": {"query": "other"}}},
                {"id": "aircraft", "tool": "get_aircraft", "arguments": {
                    "tail_number": {"from": "flights", "select": SELECT, "values": VALUES}}},
                {"id": "again", "tool": "get_aircraft", "arguments": {
                    "tail_number": {"from": "others", "select": SELECT, "values": VALUES}}},
                {"id": "airline", "tool": "get_airline", "arguments": {"carrier": {"query": "carrier"}}},
            ],
            "phrasings": ["Compare the aircraft of {carrier} from {origin} and {other}, and tell me who that is."],
        },
    ],
}  # fmt: skip


def flights(number: int) -> list[dict[str, Any]]:
    """The flights of an airport: each carrier's first one is another one, and some carriers do not fly there."""
    return [
        {"carrier": carrier, "tail_number": f"N{(number * 3 + index) % 11}"}
        for index, carrier in enumerate(CARRIERS * 2)
        if (number + index) % 3
    ]


def write_flights(path: Path) -> Path:
    workflows = parse_workflows(DOCUMENT)
    with SnapshotWriter(path, TOOLS, name="flights", workflows=DOCUMENT, links=workflows.links()) as writer:
        for number in range(12):
            writer.add(Call("search_flights", {"origin": f"P{number}"}), 200, {"flights": flights(number)})
        for number in range(10):  # N10 is not recorded
            writer.add(Call("get_aircraft", {"tail_number": f"N{number}"}), 200, {"tail_number": f"N{number}"})
        for carrier in CARRIERS[:3]:
            writer.add(Call("get_airline", {"carrier": carrier}), 200, {"name": f"Airline {carrier}"})
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flights(tmp_path_factory.mktemp("flights") / "flights.sqlite")


@pytest.fixture(scope="module")
def generator(path: Path) -> WorkflowGenerator:
    return WorkflowGenerator(Snapshot(path))


def identity(source: TraceSource, number: int) -> tuple[Any, ...]:
    """What a trace is: recorded rows and literals."""
    trace = source.trace(number)
    assert trace is not None
    rows = zip(source._tables, trace.rows, strict=True)
    return *(int(table.rows[row]) for table, row in rows), *sorted(trace.literals.items())


@pytest.mark.parametrize("index", [0, 1])
def test_the_traces_are_those_that_plain_loops_find(generator: WorkflowGenerator, index: int) -> None:
    workflow = generator.workflows.workflows[index]
    snapshot = generator.snapshot
    traces = list(plain_traces(snapshot.tools, workflow, snapshot.records()))
    source = generator.sources[workflow.name]
    tasks = {
        (*(record.response.row for record in trace.records), *sorted(trace.literals.items()))
        for trace in traces
        if trace.is_task
    }
    numbers = [number for number in range(source.join.count) if source.trace(number) is not None]
    assert source.join.count == len(traces) > 20
    assert source.task_count == Estimate.exactly(len(tasks))
    assert Counter(identity(source, number) for number in numbers) == Counter(tasks)


@pytest.mark.parametrize("name", ["aircraft_of_the_carrier", "aircraft_and_carrier"])
def test_every_task_is_well_posed_and_solved(generator: WorkflowGenerator, path: Path, name: str) -> None:
    replay = SnapshotReplay(generator.snapshot)
    env = gym.make("ToolOrchText-v0", snapshot=path, generator=generator)
    policy = OraclePolicy("ToolOrchText-v0")
    source = generator.sources[name]
    split = "test_workflows" if source.held_out else "train"
    for seed in range(20):
        task = generator.sample(np.random.default_rng(seed), {"workflows": [name], "split": split, "distractions": 0})
        assert list(task_problems(task, replay)) == []
        assert generator.task(task.id) == task
        [binding] = [b for call in task.reference for b in call.bindings if b.parameter == "tail_number"][:1]
        assert "$" not in binding.select
        assert {mention.kind for mention in task.mentions} == {"airport", "carrier"}
        observation, info = env.reset(seed=0, options={"task_id": task.id})
        policy.reset(env, np.random.default_rng(0))
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, info = env.step(policy.act(observation, info))
            total += float(reward)
            ended = terminated or truncated
        assert total == 1.0
    env.close()


def test_steps_that_select_by_literals_are_told(generator: WorkflowGenerator) -> None:
    """They are no links: the snapshot is not compiled for them, and ToolOrch-v0 cannot pass what they select."""
    workflow, other = generator.workflows.workflows
    assert list(workflow.literal_selections()) == [("aircraft", SELECT)]
    assert [step for step, _ in other.literal_selections()] == ["aircraft", "again"]
    assert list(workflow.links()) == list(other.links()) == []


def test_nothing_is_read_where_no_selection_names_a_literal(generator: WorkflowGenerator) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["workflows"] = document["workflows"][:1]
    argument = {"from": "flights", "select": "flights[0].tail_number"}
    document["workflows"][0]["steps"][1]["arguments"]["tail_number"] = argument
    document["workflows"][0]["literals"] = {"origin": "airport"}
    document["workflows"][0]["phrasings"] = ["{origin}"]
    compiled = generator.snapshot.compiled
    assert compiled is not None
    assert with_literal_selections(compiled, iter(()), parse_workflows(document)) is compiled


def test_a_step_with_too_many_values_is_refused(generator: WorkflowGenerator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(literal_selections, "MAX_EVALUATIONS", 20)
    with pytest.raises(WorkflowError, match=r"'aircraft_of_the_carrier', step 'flights'.*too many values.*over 20"):
        WorkflowGenerator(generator.snapshot).counts()


def test_a_workflow_that_was_not_evaluated_is_told(generator: WorkflowGenerator) -> None:
    compiled = generator.snapshot.compiled
    assert compiled is not None
    with pytest.raises(WorkflowError, match="not compiled"):
        TraceJoin(generator.workflows.workflows[0], compiled, generator.snapshot.tools)


# ------------------------------------------------------------------------------------------------- of random worlds

SMALL_VALUES = ["a", "b", 1, "1", 1.50001, 1.50002, True, None]


def random_world(seed: int) -> tuple[ToolSet, list[Record], Workflow]:
    """Two tools whose responses hold lists, and a workflow whose selections name up to two literals."""
    draw = Random(seed)
    tools = ToolSet(Tool(name, "", {"properties": {"p": draw.choice([{}, TEXT, {"type": "number"}])}}) for name in "tu")
    found: dict[bytes, Record] = {}
    for row in range(draw.randint(2, 14)):
        arguments = {"p": draw.choice(SMALL_VALUES[:6])} if draw.random() < 0.9 else {}
        call = tools.canonical(Call(draw.choice("tu"), arguments))
        items = [{key: draw.choice(SMALL_VALUES) for key in "kv"} for _ in range(draw.randint(0, 3))]
        response = Response(200, orjson.dumps({"items": items}), Source.RECORDED, row=5 * row)
        found.setdefault(call.key, Record(call.key, call.tool, canonical_json(call.arguments), b"", response))
    selects: list[tuple[str, dict[str, str]]] = [
        ("items[?k == $l].v | [0]", {"l": "items[].k"}),
        ("items[?k == $l && v != $m].v | [0]", {"l": "items[].k", "m": "items[].v"}),
        ("items[?v == $m].k | [-1]", {"m": "items[?k].v"}),
        ("items[0].v", {}),
    ]
    literals: set[str] = set()
    steps = []
    for index in range(draw.randint(2, 4)):
        arguments: dict[str, Any] = {}
        if index and draw.random() < 0.75:
            select, values = draw.choice(selects)
            arguments["p"] = {"from": f"s{draw.randrange(index)}", "select": select, "values": values}
            literals.update(values)
        elif draw.random() < 0.9:
            arguments["p"] = {"query": draw.choice("lmn")}
            literals.add(arguments["p"]["query"])
        steps.append({"id": f"s{index}", "tool": draw.choice("tu"), "arguments": arguments})
    text = "".join(f"{{{literal}}}" for literal in sorted(literals)) or "go"
    document = {"name": "w", "literals": dict.fromkeys(literals, "kind"), "steps": steps, "phrasings": [text]}
    return tools, list(found.values()), Workflow.model_validate(document)


@settings(max_examples=400)
@given(st.integers(0, 2**32).map(random_world))
def test_random_selections_with_literals_are_counted_exactly(world: tuple[ToolSet, list[Record], Workflow]) -> None:
    tools, recording, workflow = world
    workflows = WorkflowSet(domain="d", kinds={"kind": "kind"}, workflows=(workflow,))
    compiled = with_literal_selections(compile_records(recording, tools, workflow.links()), recording, workflows)
    source = TraceSource(workflow, compiled, tools)
    traces = list(plain_traces(tools, workflow, recording))
    assert source.join.count == len(traces)
    assert source.task_count == Estimate.exactly(sum(trace.is_task for trace in traces))
    found = Counter(identity(source, n) for n in range(source.join.count) if source.trace(n) is not None)
    assert found == Counter(
        (*(record.response.row for record in trace.records), *sorted(trace.literals.items()))
        for trace in traces
        if trace.is_task
    )


def test_the_rows_of_such_a_step_are_those_of_its_tool(generator: WorkflowGenerator) -> None:
    workflow = generator.workflows.workflows[0]
    table = step_table(generator._compiled, workflow, workflow.order[0])
    rows = generator._compiled.tables["search_flights"].rows
    assert np.array_equal(rows[source_rows(table)], table.rows)


# ------------------------------------------------------------------------------------------------------- expressions


@pytest.mark.parametrize(
    ("select", "names"),
    [
        ("flights[?carrier == $carrier].tail_number | [0]", {"carrier"}),
        ("a[?b == $x && c != $y_2]", {"x", "y_2"}),
        ('a[?b == \'$x\' && c == `"$y"`]."$z"', set()),
        ("a[?b == '\\'$x' && c == $y]", {"y"}),
        ("a.b", set()),
    ],
)
def test_literals_are_named_outside_of_texts(select: str, names: set[str]) -> None:
    assert named_literals(select) == names


@given(st.recursive(st.booleans() | st.integers(-(2**53), 2**53) | st.text(), st.lists, max_leaves=4))
def test_any_value_is_written_into_an_expression(value: Any) -> None:
    assert Selector(with_literals("items[?k == $x].v | [0]", {"x": value}))({"items": [{"k": value, "v": 7}]}) == 7


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ({"from": "flights", "select": SELECT}, "do not name the same literals: carrier"),
        ({"from": "flights", "select": "flights[0].tail_number", "values": VALUES}, "same literals: carrier"),
        ({"from": "flights", "select": SELECT, "values": {"carrier": "flights["}}, "not a valid JMESPath"),
        ({"from": "flights", "select": "flights[?carrier = $carrier]", "values": VALUES}, "not a valid JMESPath"),
        ({"from": "flights", "select": SELECT.replace("carrier", "other"), "values": {"other": "a"}}, "other"),
    ],
)
def test_malformed_selections_are_told(argument: dict[str, Any], message: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    document["workflows"][0]["steps"][1]["arguments"]["tail_number"] = argument
    with pytest.raises(WorkflowError, match=message):
        parse_workflows(document)


def test_the_numeric_environment_refuses_such_workflows(generator: WorkflowGenerator, path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"'aircraft_of_the_carrier', step 'aircraft'.*ToolOrchText-v0"):
        gym.make("ToolOrch-v0", snapshot=path, generator=generator)
