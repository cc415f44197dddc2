"""Joins count and enumerate exactly the valid traces of a workflow, for trees and for cycles."""

from collections import Counter
from itertools import product
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_world import TOOLS, WORKFLOWS, workflow_set

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import WorkflowError
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.tools import Tool
from toolorch_env.generation.estimates import Estimate
from toolorch_env.generation.joins import TraceJoin
from toolorch_env.store import records
from toolorch_env.store.compiled import Compiled, compile_records
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import QueryArgument, Workflow

Record = tuple[str, dict[str, Any], Any]
"""Tool, canonical arguments and body."""

SCHEMAS: list[dict[str, Any]] = [
    {},
    {},
    {"type": "string"},
    {"type": "number"},
    {"type": "string", "default": "d"},
    {"type": "integer", "default": 1},
    {"anyOf": [{"type": "string"}, {"type": "null"}]},
]
VALUES = ["d", "e", 1, "1", 1.50001, 1.50002]
TOOL_NAMES = ("t0", "t1")


def random_tools(draw: Random) -> ToolSet:
    def tool(name: str) -> Tool:
        properties = {parameter: draw.choice(SCHEMAS) for parameter in ("p", "q")}
        return Tool(name, "", {"type": "object", "properties": properties})

    return ToolSet(tool(name) for name in TOOL_NAMES)


def random_recording(draw: Random, tools: ToolSet) -> list[Record]:
    """Some calls of each tool with responses that hold `x` and `y`."""
    some = draw.sample(VALUES, draw.randint(1, 3))
    found: dict[bytes, Record] = {}
    for _ in range(draw.randint(0, 24)):
        arguments = {name: draw.choice(some) for name in "pq" if draw.random() < 0.75}
        call = tools.canonical(Call(draw.choice(TOOL_NAMES), arguments))
        body = {name: draw.choice([None, *some, *some, *some]) for name in "xy"}
        found.setdefault(call.key, (call.tool, call.arguments, body))
    return list(found.values())


def random_workflow(draw: Random) -> Workflow:
    """Up to four steps with bindings to the query and to earlier responses; many of their joins have cycles."""
    literals: set[str] = set()
    steps: list[dict[str, Any]] = []
    for index in range(draw.randint(1, 4)):
        arguments: dict[str, Any] = {}
        for parameter in "pq":
            if draw.random() < 0.25:
                continue
            if index and draw.random() < 0.6:
                arguments[parameter] = {"from": f"s{draw.randrange(index)}", "select": draw.choice("xy")}
            else:
                arguments[parameter] = {"query": draw.choice("lmn")}
                literals.add(arguments[parameter]["query"])
        steps.append({"id": f"s{index}", "tool": draw.choice(TOOL_NAMES), "arguments": arguments})
    text = "".join(f"{{{literal}}}" for literal in sorted(literals)) or "go"
    return Workflow.model_validate(
        {"name": "w", "literals": dict.fromkeys(literals, "kind"), "steps": steps, "phrasings": [text]}
    )


def random_world(seed: int) -> tuple[ToolSet, list[Record], Workflow]:
    draw = Random(seed)
    tools = random_tools(draw)
    return tools, random_recording(draw, tools), random_workflow(draw)


worlds = st.integers(0, 2**32).map(random_world)


def recorded(recording: list[Record]) -> list[records.Record]:
    """Calls as a snapshot holds them; their rows are seven times their places in the recording."""
    return [
        records.Record(
            b"%d" % row,
            tool,
            canonical_json(arguments),
            b"",
            Response(200, orjson.dumps(body), Source.RECORDED, row=7 * row),
        )
        for row, (tool, arguments, body) in enumerate(recording)
    ]


def compiled_of(tools: ToolSet, recording: list[Record], workflow: Workflow) -> Compiled:
    return compile_records(recorded(recording), tools, workflow.links())


def form(value: Any) -> bytes:
    return canonical_json(rounded(value))


def is_trace(tools: ToolSet, workflow: Workflow, chosen: tuple[Record, ...]) -> bool:
    """Whether the chosen records make a trace, straight from the definition."""
    literals: dict[str, bytes] = {}
    bodies: dict[str, Any] = {}
    for step, (_, arguments, body) in zip(workflow.order, chosen, strict=True):
        for name, parameter in tools.signature(step.tool).parameters.items():
            argument = step.arguments.get(name)
            if argument is None:
                if name in arguments:
                    return False
                continue
            value = arguments.get(name, parameter.default)
            if value is None:
                return False
            if isinstance(argument, QueryArgument):
                wanted: bytes = literals.setdefault(argument.query, form(value))
            else:
                selected = Selector(argument.select)(bodies[argument.step])
                if selected is None:
                    return False
                wanted = form(parameter.read(selected))
            if form(value) != wanted:
                return False
        bodies[step.id] = body
    return True


def brute_force(tools: ToolSet, workflow: Workflow, records: list[Record]) -> set[tuple[int, ...]]:
    """Places in the recording of the records of every trace."""
    by_tool = {name: [place for place, record in enumerate(records) if record[0] == name] for name in tools}
    candidates = product(*(by_tool[step.tool] for step in workflow.order))
    return {c for c in candidates if is_trace(tools, workflow, tuple(records[place] for place in c))}


def enumerated(join: TraceJoin, compiled: Compiled) -> list[tuple[int, ...]]:
    """The same of what the join enumerates."""
    found = []
    for number in range(join.count):
        rows = join.trace(number)
        if join.fit(np.array([rows]))[0]:
            pairs = zip(join.workflow.order, rows, strict=True)
            found.append(tuple(int(compiled.tables[step.tool].rows[row]) // 7 for step, row in pairs))
    return found


@settings(max_examples=800)
@given(worlds)
def test_a_join_enumerates_exactly_the_valid_traces(world: tuple[ToolSet, list[Record], Workflow]) -> None:
    tools, records, workflow = world
    compiled = compiled_of(tools, records, workflow)
    join = TraceJoin(workflow, compiled, tools)
    expected = brute_force(tools, workflow, records)
    found = enumerated(join, compiled)
    assert join.count == join.trace_count.value == len(found) == len(expected)
    assert set(found) == expected


@settings(max_examples=400)
@given(worlds, st.integers(0, 30))
def test_a_cyclic_join_that_is_too_large_for_a_tree_has_the_same_traces(
    world: tuple[ToolSet, list[Record], Workflow], max_merged_rows: int
) -> None:
    tools, records, workflow = world
    compiled = compiled_of(tools, records, workflow)
    join = TraceJoin(workflow, compiled, tools, max_merged_rows)
    if join.count < 5000:
        expected = brute_force(tools, workflow, records)
        assert Counter(enumerated(join, compiled)) == Counter(expected)
        assert join.trace_count == Estimate.exactly(len(expected))
        assert (join.broken_step() is None) == (len(expected) > 0)


@given(worlds, st.sampled_from([0, 10**6]), st.randoms())
def test_many_traces_at_once_are_the_same_as_one_by_one(
    world: tuple[ToolSet, list[Record], Workflow], max_merged_rows: int, random: Random
) -> None:
    tools, records, workflow = world
    join = TraceJoin(workflow, compiled_of(tools, records, workflow), tools, max_merged_rows)
    numbers = [random.randrange(join.count) for _ in range(50 if join.count else 0)]
    rows = join.traces(np.array(numbers, np.int64))
    assert rows.dtype == np.int64
    assert rows.shape == (len(numbers), len(workflow.order))
    assert rows.tolist() == [join.trace(number) for number in numbers]


@given(worlds)
def test_a_workflow_without_traces_has_a_broken_step(world: tuple[ToolSet, list[Record], Workflow]) -> None:
    tools, records, workflow = world
    join = TraceJoin(workflow, compiled_of(tools, records, workflow), tools)
    assert (join.broken_step() is None) == (join.count > 0)
    assert bool(join.broken_edges()) == (join.count == 0)
    assert all(join.broken_edges())


TEXT = {"type": "string"}
PAIR = ToolSet([Tool("t", "", {"properties": {"p": TEXT, "q": TEXT}})])
LETTERS = [("t", {"p": p, "q": q}, {"x": q, "y": p}) for p in "abc" for q in "abcd"]


def workflow_of(*arguments: dict[str, Any]) -> Workflow:
    literals = {a["query"] for step in arguments for a in step.values() if "query" in a}
    return Workflow.model_validate({
        "name": "w",
        "literals": dict.fromkeys(literals, "kind"),
        "steps": [{"id": f"s{i}", "tool": "t", "arguments": step} for i, step in enumerate(arguments)],
        "phrasings": [" ".join(f"{{{literal}}}" for literal in sorted(literals))],
    })  # fmt: skip


def query(name: str) -> dict[str, str]:
    return {"query": name}


def taken(step: int, select: str) -> dict[str, str]:
    return {"from": f"s{step}", "select": select}


CYCLES = {
    "a triangle": workflow_of(
        {"p": query("a"), "q": query("b")}, {"p": query("b"), "q": query("c")}, {"p": query("c"), "q": query("a")}),
    "a square": workflow_of(
        {"p": query("a"), "q": query("b")}, {"p": query("b"), "q": query("c")},
        {"p": query("c"), "q": query("d")}, {"p": query("d"), "q": query("a")}),
    "a diamond": workflow_of(
        {"p": query("a"), "q": query("b")}, {"p": taken(0, "x"), "q": query("c")},
        {"p": taken(0, "y"), "q": query("d")},
        {"p": taken(1, "x"), "q": taken(2, "x")}),
}  # fmt: skip


@pytest.mark.parametrize("name", CYCLES)
def test_cycles_are_counted_exactly(name: str) -> None:
    compiled = compiled_of(PAIR, LETTERS, CYCLES[name])
    join = TraceJoin(CYCLES[name], compiled, PAIR)
    expected = brute_force(PAIR, CYCLES[name], LETTERS)
    assert len(expected) > 10
    assert Counter(enumerated(join, compiled)) == Counter(expected)


@given(st.sampled_from(sorted(CYCLES)), st.lists(st.sampled_from(range(12)), unique=True), st.integers(0, 20))
def test_cycles_with_equalities_given_up_have_the_same_traces(
    name: str, places: list[int], max_merged_rows: int
) -> None:
    records = [LETTERS[place] for place in places]
    compiled = compiled_of(PAIR, records, CYCLES[name])
    join = TraceJoin(CYCLES[name], compiled, PAIR, max_merged_rows)
    expected = brute_force(PAIR, CYCLES[name], records)
    assert Counter(enumerated(join, compiled)) == Counter(expected)
    assert join.trace_count == Estimate.exactly(len(expected))
    assert join.count == len(expected) or not join.is_exact
    if expected:
        assert join.acceptance == len(expected) / join.count
        assert join.fit(join.sample(np.random.default_rng(0), 100)).all()


def test_counts_beyond_64_bits_are_exact() -> None:
    steps = [{"p": query(f"a{i}"), "q": query(f"b{i}")} for i in range(30)]
    join = TraceJoin(workflow_of(*steps), compiled_of(PAIR, LETTERS, workflow_of(*steps)), PAIR)
    assert join.count == len(LETTERS) ** 30 > 2**64
    assert len(join.trace(join.count - 1)) == 30
    assert_same_at_once(join)
    draws = Draws(1)
    firsts = Counter(join.trace(draws.below(join.count))[0] for _ in range(600))
    assert set(firsts) == set(range(len(LETTERS)))


def assert_same_at_once(join: TraceJoin) -> None:
    """Numbers of any size give the same traces at once and one by one."""
    draws = Draws(3)
    numbers = [0, join.count - 1, *(draws.below(join.count) for _ in range(200)), *range(2**63 - 3, 2**63 + 3)]
    assert join.traces(np.array(numbers, object)).tolist() == [join.trace(number) for number in numbers]
    rows = join.sample(np.random.default_rng(0), 500)
    assert len(np.unique(rows, axis=0)) == 500


@pytest.mark.parametrize("length", [18, 40])
def test_chains_beyond_64_bits_are_descended_exactly(length: int) -> None:
    """One tree whose nodes all have such counts, not a product of small ones."""
    steps = [{"p": query("a0"), "q": query("b0")}]
    steps += [{"p": query(f"b{i}"), "q": query(f"b{i + 1}")} for i in range(length)]
    records: list[Record] = [("t", {"p": p, "q": q}, {}) for p in "abcdefghijklmn" for q in "abcdefghijklmn"]
    join = TraceJoin(workflow_of(*steps), compiled_of(PAIR, records, workflow_of(*steps)), PAIR)
    assert join.count == 14 ** (length + 2) > 2**63
    assert_same_at_once(join)


def test_uniform_numbers_give_uniform_traces() -> None:
    workflow = workflow_of({"p": query("a"), "q": query("b")}, {"p": taken(0, "x"), "q": query("c")})
    join = TraceJoin(workflow, compiled_of(PAIR, LETTERS, workflow), PAIR)
    draws, count = Draws(11), 100 * join.count
    found = Counter(tuple(join.trace(draws.below(join.count))) for _ in range(count))
    chi_square = sum((found[trace] - 100) ** 2 / 100 for trace in found)
    assert len(found) == join.count == 36
    assert chi_square < 35 + 5 * 70**0.5


def test_the_small_world_counts(library_snapshot: Snapshot) -> None:
    compiled = library_snapshot.compiled
    assert compiled is not None
    tools = library_snapshot.tools
    counts = {w.name: TraceJoin(w, compiled, tools).count for w in workflow_set().workflows}
    assert counts["author_town"] == counts["town_neighbours"] == 12
    assert counts["compare_authors"] == 12 * 12
    assert counts["longest_book_price"] == 14 * 2 * 5  # the years with authors, currencies, weekdays


def test_the_broken_step_is_the_first_that_no_rows_are_left_for() -> None:
    workflow = workflow_of({"p": query("a"), "q": query("b")}, {"p": taken(0, "x"), "q": query("b")}, {"p": query("a")})
    join = TraceJoin(workflow, compiled_of(PAIR, LETTERS, workflow), PAIR)
    broken = join.broken_step()
    assert broken is not None
    assert broken.id == "s2"  # no call of `t` leaves out `q`
    assert join.broken_edges() == ["no recorded success passes just 'p'"]


def broken_at(*steps: dict[str, Any], answers: dict[tuple[str, str], dict[str, str]]) -> tuple[str, list[str]]:
    """The broken step and edges of a workflow where `t` answers just so."""
    records = [("t", {"p": p, "q": q}, body) for (p, q), body in answers.items()]
    workflow = workflow_of(*steps)
    join = TraceJoin(workflow, compiled_of(PAIR, records, workflow), PAIR)
    step = join.broken_step()
    assert step is not None
    return step.id, join.broken_edges()


def test_the_edges_that_break_are_told() -> None:
    first, ab = {"p": query("a"), "q": query("b")}, ("a", "b")
    taking = "no recorded call of t takes as {!r} what {!r} selects from 's0' (t) in the traces up to here"
    found = broken_at(first, {"p": taken(0, "x"), "q": query("c")}, answers={ab: {"x": "z"}})
    assert found == ("s1", [taking.format("p", "x")])
    found = broken_at(first, {"p": taken(0, "x"), "q": taken(0, "y")}, answers={ab: {"x": "a", "y": "z"}})
    assert found == ("s1", [taking.format("q", "y")])  # the other one fits
    found = broken_at(first, {"p": taken(0, "x"), "q": taken(0, "y")}, answers={ab: {"x": "y", "y": "z"}})
    assert found == ("s1", [taking.format("p", "x"), taking.format("q", "y")])
    found = broken_at(first, {"p": taken(0, "x"), "q": query("c")}, answers={ab: {"y": "a"}})
    assert found == ("s0", ["'x', which t takes as 'p', selects nothing in any of its recorded responses"])
    two = {ab: {"x": "a"}, ("c", "d"): {"y": "d"}}
    found = broken_at(first, {"p": taken(0, "x"), "q": taken(0, "y")}, answers=two)
    assert found == ("s0", ["no recorded response has all that later steps take from it: 'x', 'y'"])
    crossed = {ab: {"x": "a", "y": "d"}, ("c", "d"): {"x": "a", "y": "d"}}
    step, (edge,) = broken_at(first, {"p": taken(0, "x"), "q": taken(0, "y")}, answers=crossed)
    assert step == "s1"
    assert "though each alone: 'x' from 's0' as 'p'; 'y' from 's0' as 'q'" in edge
    third = {"p": query("b"), "q": query("c")}
    step, (edge,) = broken_at(first, third, answers={ab: {}})
    assert (step, edge) == ("s1", "no recorded call has a value for the literal 'b' that the steps before it have, too")


def test_a_selection_that_was_not_compiled_is_told(library_snapshot: Snapshot) -> None:
    compiled = library_snapshot.compiled
    assert compiled is not None
    document = {**WORKFLOWS["workflows"][0]}
    document["steps"] = [document["steps"][0], {**document["steps"][1], "arguments": {
        "town_id": {"from": "author", "select": "town_id | @"}}}]  # fmt: skip
    with pytest.raises(WorkflowError, match="not compiled"):
        TraceJoin(Workflow.model_validate(document), compiled, ToolSet(TOOLS))


def test_a_fraction_in_text_joins_with_the_rounded_number() -> None:
    tools = ToolSet([Tool("t", "", {"properties": {"p": {"type": "number"}, "q": TEXT}})])
    workflow = workflow_of({"q": query("a")}, {"p": taken(0, "x")})
    records: list[Record] = [("t", {"q": "a"}, {"x": "47.4436988830566"}), ("t", {"p": 47.4437}, {})]
    assert len(brute_force(tools, workflow, records)) == 1
    assert TraceJoin(workflow, compiled_of(tools, records, workflow), tools).count == 1
