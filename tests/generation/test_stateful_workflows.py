"""Workflows over tools that change what they look at: joins over states, tasks, and the tables they are drawn from."""

from dataclasses import replace
from itertools import pairwise, product
from random import Random
from typing import Any

import numpy as np
import orjson
import pytest
from generation.test_joins import VALUES, is_trace, random_tools, random_workflow
from hypothesis import given, settings
from hypothesis import strategies as st
from rewards.strategies import tasks
from stateful_world import AMOUNTS, BANK_TOOLS, OWNERS, bank_workflows
from worlds import World, world

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.states import state_after
from toolorch_env.core.tasks import Task
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.joins import TraceJoin
from toolorch_env.store.compiled import Compiled, compile_records, same_compiled
from toolorch_env.store.records import Record
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import Workflow, parse_workflows

Session = tuple[ToolSet, list[Record], Workflow]


@pytest.fixture(scope="module")
def bank() -> World:
    return world("bank")


def random_sessions(draw: Random, tools: ToolSet, workflow: Workflow) -> list[Record]:
    """Sessions of random calls, most of them of the workflow's tools in their order; some calls fail."""
    some = draw.sample(VALUES, draw.randint(1, 2))
    found: dict[bytes, Record] = {}
    for number in range(draw.randint(1, 16)):
        state = b""
        anything = [(draw.choice(list(tools)), draw.sample("pq", draw.randint(0, 2))) for _ in range(4)]
        steps = [(step.tool, list(step.arguments)) for step in workflow.order]
        for tool, names in steps if number % 4 else anything:
            arguments = {name: draw.choice(some) for name in names}
            call = tools.canonical(Call(tool, arguments)).within(state)
            body = {name: draw.choice([None, *some, *some, *some]) for name in "xy"}
            status = 200 if draw.random() < 0.9 else 404
            response = Response(status, orjson.dumps(body), Source.RECORDED, row=7 * len(found))
            record = Record(call.key, tool, canonical_json(call.arguments), state, response)
            record = found.setdefault(call.key, record)  # the API answers the same call in the same state alike
            state = state_after(call, record.response, tools[tool].read_only)
    return list(found.values())


def random_world(seed: int) -> Session:
    draw = Random(seed)
    tools = ToolSet(replace(tool, read_only=draw.random() < 0.4) for tool in random_tools(draw).values())
    workflow = random_workflow(draw)
    return tools, random_sessions(draw, tools, workflow), workflow


def is_session(tools: ToolSet, workflow: Workflow, chosen: tuple[Record, ...]) -> bool:
    """Whether records are a session of the workflow, straight from the definition."""
    state = b""
    for record in chosen:
        if record.state != state or not record.response.success:
            return False
        state = record.key if not tools[record.tool].read_only else state
    plain = tuple((record.tool, orjson.loads(record.arguments), record.response.body) for record in chosen)
    return is_trace(tools, workflow, plain)


def brute_force(tools: ToolSet, workflow: Workflow, recording: list[Record]) -> set[tuple[int | None, ...]]:
    by_tool = {name: [record for record in recording if record.tool == name] for name in tools}
    candidates = product(*(by_tool[step.tool] for step in workflow.order))
    return {tuple(r.response.row for r in chosen) for chosen in candidates if is_session(tools, workflow, chosen)}


def enumerated(join: TraceJoin, compiled: Compiled) -> list[tuple[int, ...]]:
    tables = [compiled.tables[step.tool] for step in join.workflow.order]
    traces = map(join.trace, range(join.count))
    return [tuple(int(table.rows[row]) for table, row in zip(tables, rows, strict=True)) for rows in traces]


@settings(max_examples=500)
@given(st.integers(0, 2**32).map(random_world))
def test_a_join_enumerates_exactly_the_sessions_of_a_workflow(session: Session) -> None:
    tools, recording, workflow = session
    compiled = compile_records(recording, tools, workflow.links())
    join = TraceJoin(workflow, compiled, tools)
    expected = brute_force(tools, workflow, recording)
    found = enumerated(join, compiled)
    assert join.count == len(found) == len(expected)
    assert set(found) == expected
    assert (join.broken_step() is None) == (join.count > 0)


def test_the_random_sessions_are_worth_comparing() -> None:
    """Many of the worlds above have traces, and in many of those a step follows a change."""
    worlds = [random_world(seed) for seed in range(300)]
    traces = [(tools, workflow) for tools, recording, workflow in worlds if brute_force(tools, workflow, recording)]
    changed = [pair for pair in traces if any(step.tool in pair[0].state_changing for step in pair[1].order[:-1])]
    assert len(traces) > 100
    assert len(changed) > 60


def test_counts_of_the_bank_are_those_of_its_sessions(bank: World) -> None:
    pairs = len(OWNERS) * (len(OWNERS) - 1)
    assert bank.generator.counts() == {
        "open_and_list": len(OWNERS),
        "open_two": pairs,
        "move_money": len(OWNERS) * 2 * len(AMOUNTS) * 2,
        "accounts_over_time": pairs,
        "open_and_close": pairs,
    }
    assert bank.splits == list(SPLITS)


def test_a_workflow_that_changes_nothing_has_only_what_a_fresh_session_says(bank: World) -> None:
    document = bank_workflows().model_dump(by_alias=True)
    document["workflows"] = [
        {
            "name": "look_up",
            "literals": {"owner": "person"},
            "steps": [
                {"id": "found", "tool": "find_account", "arguments": {"owner": {"query": "owner"}}},
                {"id": "got", "tool": "get_account",
                 "arguments": {"account_id": {"from": "found", "select": "account_id"}}},
            ],
            "phrasings": ["What has {owner}?"],
        }
    ]  # fmt: skip
    generator = WorkflowGenerator(bank.snapshot, parse_workflows(document))
    fresh = [r for r in bank.snapshot.records() if r.tool == "get_account" and not r.state and r.response.success]
    every = [r for r in bank.snapshot.records() if r.tool == "get_account" and r.response.success]
    assert len(every) > len(fresh) == 1
    assert generator.counts() == {"look_up": 1}


@given(data=st.data())
def test_tasks_are_well_posed_and_drawn_again_from_their_id(data: st.DataObject) -> None:
    here = world("bank")
    task = data.draw(tasks(here))
    assert list(task_problems(task, here.replay)) == []
    assert here.generator.task(task.id) == task
    assert Task.from_json(task.to_json()) == task


def test_changes_come_after_all_before_them_and_looks_after_the_latest_change(bank: World) -> None:
    for task in bank.tasks(80):
        changing = [call.tool in bank.snapshot.tools.state_changing for call in task.reference]
        changes = [index for index, changes in enumerate(changing) if changes]
        for index, call in enumerate(task.reference):
            latest = [change for change in changes if change < index]
            needed = set(range(max(latest, default=0), index)) if changing[index] else set(latest[-1:])
            assert needed <= set(call.after)
        assert all(earlier in task.reference[later].depends_on for earlier, later in pairwise(changes))


@pytest.mark.parametrize("name", ["open_two", "accounts_over_time"])
def test_constraints_on_the_depth_count_the_order_of_changes(bank: World, name: str) -> None:
    rng = np.random.default_rng(0)
    depth = {"open_two": 3, "accounts_over_time": 5}[name]
    constraints = {"workflows": (name,), "min_depth": depth, "max_depth": depth}
    task = bank.generator.sample(rng, constraints)
    assert (task.workflow, task.depth) == (name, depth)


def test_a_task_whose_order_is_left_open_is_told(bank: World) -> None:
    task = next(task for task in bank.tasks(50) if task.workflow == "accounts_over_time")
    for index, call in enumerate(task.reference[1:], 1):
        loose = [*task.reference[:index], replace(call, after=()), *task.reference[index + 1 :]]
        problems = list(task_problems(replace(task, reference=tuple(loose)), bank.replay))
        bound = {binding.step for binding in call.bindings}
        assert bool(problems) == (not set(call.after) <= bound)
        assert all("must come after" in problem for problem in problems)


def test_a_task_that_leaves_a_change_out_is_told(bank: World) -> None:
    task = next(task for task in bank.tasks(50) if task.workflow == "open_two")
    alone = replace(task.reference[2], bindings=(), after=())
    second = replace(task.reference[1], after=())
    problems = list(task_problems(replace(task, reference=(second, alone)), bank.replay))
    assert any("recorded success" in problem for problem in problems)


def test_tables_hold_the_states_that_calls_find_and_leave(bank: World) -> None:
    compiled = bank.snapshot.compiled
    assert compiled is not None
    numbers: dict[bytes, int] = {b"": 0}
    for record in bank.snapshot.records():
        table = compiled.tables[record.tool]
        place = table.find(record.response.row or 0)
        if place is None:
            continue
        assert table.before is not None
        assert table.after is not None
        after = record.state if BANK_TOOLS[record.tool].read_only else record.key
        for state, number in ((record.state, int(table.before[place])), (after, int(table.after[place]))):
            assert numbers.setdefault(state, number) == number
    assert len(set(numbers.values())) == len(numbers)
    assert sorted(numbers.values()) == list(range(len(numbers)))


def test_states_are_stored_and_compared(bank: World) -> None:
    compiled = bank.snapshot.compiled
    assert compiled is not None
    again = Compiled.from_bytes(compiled.to_bytes())
    assert same_compiled(again, compiled)
    table = again.tables["list_accounts"]
    assert table.before is not None
    assert table.before.dtype == np.int32
    tables = {**again.tables, "list_accounts": replace(table, before=table.before + 1)}
    assert not same_compiled(Compiled(again.values, again.links, tables), compiled)
    records = bank.snapshot.records()
    assert same_compiled(compile_records(records, bank.snapshot.tools, compiled.links), compiled)


def test_a_snapshot_without_states_holds_none(library_snapshot: Snapshot) -> None:
    compiled = library_snapshot.compiled
    assert compiled is not None
    assert all(table.before is None and table.after is None for table in compiled.tables.values())


def test_replaying_with_raise_meets_no_unrecorded_state(bank: World) -> None:
    replay = SnapshotReplay(bank.snapshot, "raise")
    for task in bank.tasks(60):
        assert list(task_problems(task, replay)) == []


def test_literal_pools_hold_the_values_of_all_states(bank: World) -> None:
    compiled: Any = bank.snapshot.compiled
    owners, amounts = compiled.argument_ids("open_account", "owner"), compiled.argument_ids("transfer", "amount")
    assert {compiled.values[value_id] for value_id in owners.tolist()} == set(OWNERS)
    assert {compiled.values[value_id] for value_id in amounts.tolist()} == set(AMOUNTS)
