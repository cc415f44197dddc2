"""Counts are those of the traces and tasks that plain loops find, and draws are uniform over them."""

from collections import Counter
from math import prod
from random import Random
from typing import Any

import numpy as np
import pytest
from generation.plain_traces import PlainTrace, chi_square_limit, plain_traces
from generation.test_joins import CYCLES, LETTERS, PAIR, compiled_of, query, recorded, taken, workflow_of
from generation.test_joins import random_world as random_calls
from generation.test_stateful_workflows import random_world as random_sessions
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import WORLD_NAMES, world

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.tools import Tool
from toolorch_env.generation import joins, sources
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.generation.distinct_traces import count_distinct
from toolorch_env.generation.estimates import Estimate, estimated
from toolorch_env.generation.joins import TraceJoin
from toolorch_env.generation.sources import TraceSource
from toolorch_env.generation.splits import literals_split
from toolorch_env.rewards.credit import same_value
from toolorch_env.store.compiled import Compiled, compile_records
from toolorch_env.store.records import Record
from toolorch_env.store.workflows import QueryArgument, Workflow

DRAWS = 100_000
TRAVEL_TASKS = 23_017_099
SMALL = [
    (name, workflow.name)
    for name in WORLD_NAMES
    if name != "travel"
    for workflow in world(name).generator.workflows.workflows
]

Recorded = tuple[ToolSet, list[Record], Workflow]


def call_world(seed: int) -> Recorded:
    tools, recording, workflow = random_calls(seed)
    return tools, recorded(recording), workflow


random_worlds = st.one_of(st.integers(0, 2**32).map(call_world), st.integers(0, 2**32).map(random_sessions))


def source_of(recorded_world: Recorded) -> TraceSource:
    tools, recording, workflow = recorded_world
    return TraceSource(workflow, compile_records(recording, tools, workflow.links()), tools)


def small_source(snapshot: str, workflow: str) -> TraceSource:
    found: TraceSource = world(snapshot).generator.sources[workflow]
    return found


def small_traces(snapshot: str, workflow: str) -> list[PlainTrace]:
    here = world(snapshot)
    found = next(found for found in here.generator.workflows.workflows if found.name == workflow)
    return list(plain_traces(here.snapshot.tools, found, here.snapshot.records()))


def rows_of(compiled: Compiled, workflow: Workflow, rows: list[int]) -> tuple[int, ...]:
    """Rows of tables as those of the snapshot."""
    return tuple(int(compiled.tables[s.tool].rows[row]) for s, row in zip(workflow.order, rows, strict=True))


# ---------------------------------------------------------------------------------------------------------- counting


@settings(max_examples=600)
@given(random_worlds)
def test_tasks_are_counted_exactly(recorded_world: Recorded) -> None:
    source = source_of(recorded_world)
    traces = list(plain_traces(recorded_world[0], recorded_world[2], recorded_world[1]))
    tasks = sum(trace.is_task for trace in traces)
    assert source.join.count == len(traces)
    assert source.task_count == Estimate.exactly(tasks)
    assert count_distinct(source.join.relations(), source._repetitions) == tasks
    assert source.acceptance == (tasks / len(traces) if traces else 1.0)
    assert sum(source.trace(number) is not None for number in range(source.join.count)) == tasks


def default_literals(tools: ToolSet, workflow: Workflow) -> dict[str, Any]:
    """The default of the parameter that each literal is passed as first, for those that have one."""
    found: dict[str, Any] = {}
    for step in reversed(workflow.order):
        for name, argument in reversed(step.arguments.items()):
            if isinstance(argument, QueryArgument):
                parameter = tools.signature(step.tool).parameters[name]
                found.pop(argument.query, None)
                if parameter.has_default:
                    found[argument.query] = parameter.default
    return found


@given(random_worlds)
def test_tasks_are_counted_by_split(recorded_world: Recorded) -> None:
    tools, records, workflow = recorded_world
    defaults = default_literals(tools, workflow)
    splits: Counter[str] = Counter()
    for trace in plain_traces(tools, workflow, records):
        if trace.is_task:
            at_default = {name for name, default in defaults.items() if same_value(trace.literals[name], default)}
            splits[literals_split(value for name, value in trace.literals.items() if name not in at_default)] += 1
    assert source_of(recorded_world).split_counts() == {split: splits[split] for split in SPLITS}


@pytest.mark.parametrize(("snapshot", "workflow"), SMALL)
def test_the_traces_of_the_small_worlds_are_those_that_plain_loops_find(snapshot: str, workflow: str) -> None:
    source, traces = small_source(snapshot, workflow), small_traces(snapshot, workflow)
    numbered = [source.join.trace(number) for number in range(source.join.count)]
    found = [rows_of(source.compiled, source.workflow, rows) for rows in numbered]
    assert len(traces) > 1
    assert Counter(found) == Counter(tuple(record.response.row for record in trace.records) for trace in traces)
    assert source.task_count == Estimate.exactly(sum(trace.is_task for trace in traces))


def test_what_comes_only_with_something_else_is_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Equal authors have equal towns: of the three repetitions one decides."""
    monkeypatch.setattr(sources, "FEW_TRACES", 0)
    source = TraceSource(
        small_source("library", "compare_authors").workflow,
        world("library").generator._compiled,
        world("library").snapshot.tools,
    )
    assert len(source._repetitions.pairs) == 3
    assert source.task_count == Estimate.exactly(12 * 8)


def test_what_is_too_large_to_be_counted_is_estimated() -> None:
    """Thirty calls of one tool, of which no two may be the same."""
    steps = [{"p": query(f"a{number}")} for number in range(30)]
    letters: list[Any] = [("t", {"p": f"{number}"}, {}) for number in range(4000)]
    workflow = workflow_of(*steps)
    source = TraceSource(workflow, compiled_of(PAIR, letters, workflow), PAIR)
    assert source.join.count == 4000**30
    assert not source.task_count.is_exact
    assert source.task_count.low <= prod(4000 - number for number in range(30)) <= source.task_count.high
    assert source.split_counts() is None


def test_counts_beyond_64_bits_are_exact() -> None:
    """A term of inclusion and exclusion is a product beyond 2^63 here."""
    tools_of = ToolSet(Tool(name, "", PAIR["t"].parameters) for name in "tuvwz")
    many: list[Any] = [(name, {"p": f"{name}{number}"}, {}) for number in range(3000) for name in tools_of]
    tools = ["t", "t", "u", "u", "v", "w", "z"]
    workflow = Workflow.model_validate({
        "name": "w", "literals": {f"l{i}": "kind" for i in range(7)},
        "phrasings": ["".join(f"{{l{i}}}" for i in range(7))],
        "steps": [{"id": f"s{i}", "tool": tool, "arguments": {"p": query(f"l{i}")}} for i, tool in enumerate(tools)],
    })  # fmt: skip
    source = TraceSource(workflow, compiled_of(tools_of, many, workflow), tools_of)
    assert source.join.count == 3000**7 > 2**63
    assert source.task_count == Estimate.exactly((3000 * 2999) ** 2 * 3000**3)


@pytest.mark.parametrize("name", CYCLES)
def test_an_estimate_is_right_and_says_how_sure_it_is(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    join = TraceJoin(CYCLES[name], compiled_of(PAIR, LETTERS, CYCLES[name]), PAIR, max_merged_rows=0)
    exact = join.trace_count
    monkeypatch.setattr(joins, "MAX_ENUMERATED", 0)
    del join.trace_count
    assert exact.is_exact
    assert exact.value < join.count
    assert not join.trace_count.is_exact
    assert join.trace_count.low <= exact.value <= join.trace_count.high
    assert "99.9% confidence" in str(join.trace_count)
    assert join.acceptance == join.trace_count.value / join.count


@given(st.integers(1, 10**40), st.integers(1, 1000), st.randoms())
def test_the_bounds_of_an_estimate_hold_it(total: int, drawn: int, random: Random) -> None:
    found = estimated(total, drawn, random.randint(0, drawn))
    assert 0 <= found.low <= found.value <= found.high <= total


@pytest.mark.long
@pytest.mark.skipif("travel" not in WORLD_NAMES, reason="the travel snapshot was not built")
def test_the_tasks_of_travel_are_counted_exactly() -> None:
    """All terms of inclusion and exclusion against looking at all traces, where there are not too many."""
    here = world("travel")
    counts = {}
    for workflow in here.generator.workflows.workflows:
        source = TraceSource(workflow, here.generator._compiled, here.snapshot.tools)
        counts[workflow.name] = count_distinct(source.join.relations(), source._repetitions)
        assert source.task_count == Estimate.exactly(counts[workflow.name])
        if source.join.count <= joins.MAX_ENUMERATED:
            assert source.join.count_where(source.are_tasks) == source.task_count
    assert sum(counts.values()) == TRAVEL_TASKS


# -------------------------------------------------------------------------------------------------------- uniformity


def assert_uniform(rows: np.ndarray, cells: int) -> None:
    """A chi-square test: each of that many traces is equally likely."""
    found, numbers = np.unique(rows, axis=0, return_counts=True)
    assert len(found) == cells
    expected = len(rows) / cells
    assert ((numbers - expected) ** 2 / expected).sum() < chi_square_limit(max(cells, 2))


@pytest.mark.parametrize(("snapshot", "workflow"), SMALL)
def test_traces_of_the_small_worlds_are_drawn_uniformly(snapshot: str, workflow: str) -> None:
    join = small_source(snapshot, workflow).join
    assert_uniform(join.sample(np.random.default_rng(1), DRAWS), len(small_traces(snapshot, workflow)))


@pytest.mark.parametrize("max_merged_rows", [0, 10**6])
@pytest.mark.parametrize("name", CYCLES)
def test_traces_of_cycles_are_drawn_uniformly(name: str, max_merged_rows: int) -> None:
    """Both from the tree that relations were joined for, and from one that takes rejecting."""
    join = TraceJoin(CYCLES[name], compiled_of(PAIR, LETTERS, CYCLES[name]), PAIR, max_merged_rows)
    traces = list(plain_traces(PAIR, CYCLES[name], recorded(LETTERS)))
    assert join.is_exact == (max_merged_rows > 0)
    assert_uniform(join.sample(np.random.default_rng(2), DRAWS), len(traces))


@settings(max_examples=30)
@given(random_worlds)
def test_traces_of_random_worlds_are_drawn_uniformly(recorded_world: Recorded) -> None:
    join = source_of(recorded_world).join
    if 1 < join.count < 5000:
        assert_uniform(join.sample(np.random.default_rng(3), DRAWS), join.count)


def test_the_chi_square_test_can_fail() -> None:
    join = TraceJoin(CYCLES["a square"], compiled_of(PAIR, LETTERS, CYCLES["a square"]), PAIR)
    rows = join.traces(np.arange(DRAWS) ** 2 % (2 * join.count) // 2)
    with pytest.raises(AssertionError):
        assert_uniform(rows, join.count)


def test_traces_are_not_drawn_where_there_are_none() -> None:
    workflow = workflow_of({"p": query("a")}, {"p": taken(0, "x")})
    join = TraceJoin(workflow, compiled_of(PAIR, LETTERS, workflow), PAIR)
    assert join.count == 0
    with pytest.raises(ValueError, match="no traces"):
        join.sample(np.random.default_rng(0), 3)
