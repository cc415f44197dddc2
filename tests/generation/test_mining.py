"""Workflows that are mined from solved tasks."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from booking_data import BOOKING, needs_booking
from fresh_python import ROOT
from hypothesis import given
from hypothesis import strategies as st
from worlds import WORLD_NAMES, world

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import ConfigurationError, TaskError, WorkflowError
from toolorch_env.core.states import state_order
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.core.tools import Tool
from toolorch_env.generation.envelopes import without_envelope
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.mined_phrasings import MAX_PHRASINGS
from toolorch_env.generation.mining import MinedWorkflows, mine
from toolorch_env.generation.sources import TraceSource
from toolorch_env.store.compiled import compile_records
from toolorch_env.store.grammar import template_slots
from toolorch_env.store.plain_phrasing import plain_phrasing
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflow_yaml import workflows_to_yaml
from toolorch_env.store.workflows import QueryArgument, Workflow, load_workflows, parse_workflows
from toolorch_env.store.writer import SnapshotWriter
from toolorch_env.store.yaml_reader import read_yaml

TASKS = {"library": 300, "bank": 600, "travel": 1500}
"""So many tasks are drawn of each split that has any."""

Shape = tuple[Any, ...]


@cache
def drawn(name: str) -> tuple[Task, ...]:
    """Many tasks of a world, of all its workflows."""
    generator, found = world(name).generator, []
    for split in {"train", "test_workflows"}.intersection(world(name).splits):
        rng = np.random.default_rng(0)
        found += [generator.sample(rng, {"split": split}) for _ in range(TASKS[name])]
    return tuple({task.id: task for task in found}.values())


@cache
def mined_from(name: str) -> MinedWorkflows:
    return mine(drawn(name), domain=name)


def shape(workflow: Workflow, tools: ToolSet) -> Shape:
    """A workflow without the names that it gives to things: tools, sources of arguments, kinds of literals, order."""
    numbers: dict[str, int] = {}
    needed = state_order([tools[step.tool].read_only for step in workflow.order])
    steps = []
    for step, before in zip(workflow.order, needed, strict=True):
        sources: dict[str, tuple[Any, ...]] = {}
        for name, argument in sorted(step.arguments.items()):
            if isinstance(argument, QueryArgument):
                number = numbers.setdefault(argument.query, len(numbers))
                sources[name] = ("query", number, workflow.literals[argument.query])
            else:
                sources[name] = ("response", workflow.position[argument.step], argument.select)
        depends_on = {workflow.position[other] for other in step.depends_on}.union(before)
        steps.append((step.tool, tuple(sources.items()), tuple(sorted(depends_on))))
    return tuple(steps)


def without_defaults(workflow: Workflow, tools: ToolSet, left_out: set[str]) -> Workflow:
    """The workflow for tasks whose literals are at the default of the parameters that take them."""
    document = workflow.model_dump(mode="json", by_alias=True)
    for step in document["steps"]:
        parameters = tools.signature(step["tool"]).parameters
        for name, argument in list(step["arguments"].items()):
            if argument.get("query") in left_out and parameters[name].has_default:
                del step["arguments"][name]
    used = {argument.get("query") for step in document["steps"] for argument in step["arguments"].values()}
    document["literals"] = {name: kind for name, kind in document["literals"].items() if name in used}
    document["phrasings"] = [" ".join(f"{{{name}}}" for name in document["literals"])]
    return Workflow.model_validate(document)


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_mining_drawn_tasks_gives_their_workflows_back(name: str) -> None:
    """Steps, bindings, kinds of literals and order, to the last one; arguments at their default are no arguments."""
    tools, tasks = world(name).snapshot.tools, drawn(name)
    by_name = {workflow.name: workflow for workflow in world(name).generator.workflows.workflows}
    used = Counter(task.workflow for task in tasks)
    assert len(used) >= 0.9 * len(by_name)
    mined = {shape(workflow, tools): workflow for workflow in mined_from(name).workflows.workflows}
    for original in used:
        assert mined[shape(by_name[original], tools)].name.startswith(original)
    expected = set()
    for original in used:
        workflow = by_name[original]
        for left_out in ({}, *({literal} for literal in workflow.literals)):
            expected.add(shape(without_defaults(workflow, tools, set(left_out)), tools))
    assert set(mined) <= expected


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_every_task_is_counted_once_and_the_most_frequent_come_first(name: str) -> None:
    frequencies = list(mined_from(name).frequencies.values())
    assert sum(frequencies) == len(drawn(name)) == mined_from(name).report.tasks
    assert frequencies == sorted(frequencies, reverse=True)


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_queries_of_drawn_tasks_give_phrasings(name: str) -> None:
    """They say all literals, so no workflow needs a generated sentence."""
    mined = mined_from(name)
    assert mined.report.phrased == len(mined.frequencies)
    assert mined.report.unsaid == 0
    for workflow in mined.workflows.workflows:
        assert 1 <= len(workflow.phrasings) <= MAX_PHRASINGS
        assert plain_phrasing(workflow.order) not in workflow.phrasings


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_a_mined_file_reads_back_and_fits_the_tools(name: str, tmp_path: Path) -> None:
    mined = mined_from(name).workflows
    (tmp_path / "mined.yaml").write_text(workflows_to_yaml(mined), encoding="utf-8")
    assert load_workflows(tmp_path / "mined.yaml") == mined
    mined.check_tools(world(name).snapshot.tools)
    assert all(count > 0 for count in WorkflowGenerator(world(name).snapshot, mined).counts().values())


@pytest.mark.parametrize("name", ["library", "bank"])
def test_what_was_mined_draws_the_tasks_that_it_was_mined_from(name: str) -> None:
    snapshot, mined = world(name).snapshot, mined_from(name).workflows
    compiled = compile_records(snapshot.records(), snapshot.tools, mined.links())
    calls = set()
    for workflow in mined.workflows:
        source = TraceSource(workflow, compiled, snapshot.tools)
        traces = filter(None, map(source.trace, range(source.join.count)))
        calls.update(
            repr([(call.tool, sorted(call.arguments.items())) for call in source.reference(t)]) for t in traces
        )
    for task in drawn(name):
        assert repr([(call.tool, sorted(call.arguments.items())) for call in task.reference]) in calls


def test_mining_what_mined_workflows_draw_gives_them_back() -> None:
    snapshot, mined = world("library").snapshot, mined_from("library").workflows
    generator, rng = WorkflowGenerator(snapshot, mined), np.random.default_rng(1)
    again = mine(generator.sample(rng) for _ in range(300)).workflows
    shapes = {shape(workflow, snapshot.tools) for workflow in mined.workflows}
    assert {shape(workflow, snapshot.tools) for workflow in again.workflows} <= shapes


@given(st.permutations(drawn("library")[:40]))
def test_the_order_of_tasks_does_not_matter(tasks: Sequence[Task]) -> None:
    assert workflows_to_yaml(mine(tasks).workflows) == workflows_to_yaml(mine(drawn("library")[:40]).workflows)


def task(number: int, query: str, calls: Iterable[ReferenceCall], said: Iterable[Any] = (), **more: Any) -> Task:
    """A task whose query says values, each as often as it stands there."""
    mentions, reference = [], tuple(calls)
    for value in said:
        start = query.find(str(value))
        while start >= 0:
            mentions.append(Mention(value, "form", start, start + len(str(value))))
            start = query.find(str(value), start + 1)
    tools = tuple({call.tool for call in reference})
    mentions.sort(key=lambda mention: mention.start)
    return Task(str(number), query, tools, reference, tuple(mentions), **more)


def lookup(value: str, select: str = "hits[0].id", found: str = "x1") -> list[ReferenceCall]:
    """A search and a call that takes its result."""
    return [
        ReferenceCall("search", {"text": value}),
        ReferenceCall("get", {"id": found}, (Binding("id", 0, select),)),
    ]


def only(mined: MinedWorkflows) -> Workflow:
    [workflow] = mined.workflows.workflows
    return workflow


def test_other_places_make_another_workflow_and_rare_ones_can_be_left_out() -> None:
    selects = ["hits[0].id", "hits[3].id", "hits[0].id", "hits[0].id"]
    tasks = [task(number, f"Find lake{number}.", lookup(f"lake{number}", s)) for number, s in enumerate(selects)]
    mined = mine(tasks)
    assert [w.frequency for w in mined.workflows.workflows] == [3, 1]
    assert mined.frequencies == {"search_then_get": 3, "search_then_get_2": 1}
    assert (mined.report.tool_sequences, mined.report.structures) == (1, 2)
    frequent = mine(tasks, min_frequency=2)
    assert only(frequent).steps[1].arguments["id"].model_dump(by_alias=True) == {
        "from": "search",
        "select": "hits[0].id",
    }
    assert frequent.report.rare == 1


def test_what_no_file_can_hold_is_told() -> None:
    with pytest.raises(WorkflowError, match="no tasks"):
        mine([])
    with pytest.raises(WorkflowError, match="the most frequent one has 1"):
        mine([task(0, "", lookup("lake"))], min_frequency=2)
    with pytest.raises(ConfigurationError, match="at least 1"):
        mine([task(0, "", lookup("lake"))], min_frequency=0)
    with pytest.raises(WorkflowError, match="hits\\["):
        mine([task(0, "", lookup("lake", "hits["))])
    with pytest.raises(TaskError, match="task '0'"):
        mine([task(0, "", [ReferenceCall("search", {"number": 2**80})])])
    with pytest.raises(TaskError, match="'search', which is none of the recorded tools"):
        mine([task(0, "", lookup("lake"))], replay=world("library").replay)


def test_tasks_that_begin_after_a_setup_are_left_out() -> None:
    prepared = task(0, "", lookup("lake"), setup=(ReferenceCall("open", {}),))
    with pytest.raises(WorkflowError, match="setup"):
        mine([prepared])
    mined = mine([prepared, task(1, "", lookup("lake"))])
    assert (only(mined).frequency, mined.report.prepared) == (1, 1)


def test_optional_calls_stay_and_so_does_pure_order() -> None:
    calls = [
        ReferenceCall("search", {"text": "lake"}, optional=True),
        ReferenceCall("list", {}),
        ReferenceCall("get", {"id": "x1"}, (Binding("id", 0, "id"),), after=(0, 1)),
    ]
    workflow = only(mine([task(0, "", calls)]))
    assert [step.tool for step in workflow.order] == ["search", "list", "get"]
    assert workflow.steps[2].after == ("list",)


def pair(number: int, left: Any, right: Any, query: str = "") -> Task:
    """A task that passes two values, as parameters of other names."""
    calls = [ReferenceCall("book", {"start": left, "end": right}), ReferenceCall("pay", {"start": left})]
    return task(number, query or f"{left} {right}", calls, [left] if left == right else [left, right])


@pytest.mark.parametrize(
    ("values", "literals"),
    [
        ([("10:00", "10:00")], 1),
        ([("10:00", "11:00")], 2),
        ([("10:00", "10:00"), ("09:00", "09:00")], 1),
        ([("10:00", "10:00"), ("09:00", "12:00")], 2),
        ([(1, 1)], 2),
        ([("7", "7")], 2),
        ([(1, 2)], 2),
        ([(True, True)], 2),
        ([("", "")], 2),
        ([(7.123412, 7.12344)], 1),
        ([("7.5", "7.5")], 1),
        ([(7.0, 7.0)], 2),
        ([(["a", 1], ["a", 1])], 1),
    ],
)
def test_equal_values_are_one_literal_but_whole_numbers_only_under_one_name(
    values: list[tuple[Any, Any]], literals: int
) -> None:
    """What is equal in all tasks is one; one task that differs shows that they are two."""
    workflow = only(mine([pair(number, *pair_of) for number, pair_of in enumerate(values)]))
    assert len(workflow.literals) == literals
    assert workflow.steps[1].arguments["start"] == workflow.steps[0].arguments["start"]


@pytest.mark.parametrize(
    ("query", "said", "phrasing"),
    [
        ("Where is Leman?", ["Leman"], "Where is {text}?"),
        ("Leman, {really} Leman.", ["Leman"], "{text}, {{really}} {text}."),
        ("Where is that lake?", [], None),
    ],
)
def test_phrasings_are_the_queries_with_slots(query: str, said: list[str], phrasing: str | None) -> None:
    workflow = only(mine([task(0, query, lookup("Leman"), said)]))
    assert workflow.phrasings == (phrasing or plain_phrasing(workflow.order),)


def said_once(query: str, value: str) -> Task:
    """A task with a mention of the first place only where its query says a value."""
    start = query.find(value)
    return Task(
        "0", query, ("search", "get"), tuple(lookup(value)), (Mention(value, "form", start, start + len(value)),)
    )


def test_a_name_that_is_said_again_is_the_same_but_a_common_word_may_mean_something_else() -> None:
    """Mentions may name the first place only where a value stands."""
    named = only(mine([said_once("To Thun: how far is Thun from Thunstetten?", "Thun")]))
    assert named.phrasings == ("To {text}: how far is {text} from Thunstetten?",)
    shortened = only(mine([said_once("To Lake Thun: how deep is Thun?", "Lake Thun")]))
    assert shortened.phrasings == (plain_phrasing(shortened.order),)
    common = only(mine([said_once("Sort by price: what is the best price?", "price")]))
    assert common.phrasings == (plain_phrasing(common.order),)


def test_a_number_may_be_mentioned_as_a_text() -> None:
    """Only the schema of a parameter says which of the two it is."""
    calls = [ReferenceCall("book", {"nights": 2})]
    spelled = Task("0", "For two nights", ("book",), tuple(calls), (Mention("2", "number", 4, 7),))
    assert only(mine([spelled])).phrasings == ("For {nights} nights",)
    assert mine([spelled]).report.said == 1


def test_a_number_that_is_said_twice_gives_no_phrasing() -> None:
    """Which of the two is meant?"""
    calls = [ReferenceCall("book", {"nights": 2})]
    assert only(mine([task(0, "2 nights", calls, [2])])).phrasings == ("{nights} nights",)
    assert only(mine([task(0, "2 nights, 2 beds", calls, [2])])).phrasings == ("Book with nights {nights}.",)
    assert only(mine([pair(0, 2, 2, "from 2 to 2")])).phrasings == ("Book with end {end} and start {start}; then pay "
                                                                   "with start {start}.",)  # fmt: skip


def test_phrasings_that_mention_least_besides_are_kept_and_the_most_frequent_come_first() -> None:
    queries = ["{} and not Thun", "Now {}", "See {}", "See {}"]
    tasks = [
        task(n, query.format(f"lake{n}"), lookup(f"lake{n}"), [f"lake{n}", "Thun"]) for n, query in enumerate(queries)
    ]
    assert only(mine(tasks)).phrasings == ("See {text}", "Now {text}")


WRAPPED = {"status": True, "data": {"hits": [{"id": "x1"}], "parent": {"id": "x0"}, "id": "x2"}}
BARE = WRAPPED["data"]


def snapshot_of(path: Path, bodies: dict[str, Any]) -> SnapshotReplay:
    """What a search for each text is answered."""
    tools = [Tool(name, "", {"type": "object"}) for name in ("search", "get")]
    with SnapshotWriter(path, tools, name="lakes") as writer:
        for text, body in bodies.items():
            writer.add(Call("search", {"text": text}), 200, body)
        for name in ("x0", "x1", "x2"):
            writer.add(Call("get", {"id": name}), 200, {"id": name})
    return SnapshotReplay(Snapshot(path))


def test_wrapped_and_bare_bodies_of_one_tool_are_the_same_place(tmp_path: Path) -> None:
    replay = snapshot_of(tmp_path / "lakes.sqlite", {"Leman": WRAPPED, "Thun": BARE, "Zug": WRAPPED})
    leman, thun = task(0, "", lookup("Leman", "data.hits[0].id")), task(1, "", lookup("Thun"))
    mined = mine([leman, thun], replay=replay)
    [source] = [argument.select for argument in only(mined).steps[1].arguments.values()]
    assert source == "(data || @).hits[0].id"
    assert mined.report.envelopes == {"search": "data"}
    assert Selector(source)(WRAPPED) == Selector(source)(BARE) == "x1"
    assert len(mine([leman, thun]).frequencies) == 2  # without the bodies, nobody knows
    one_form = mine([leman, task(1, "", lookup("Zug", "data.hits[0].id"))], replay=replay)
    assert one_form.report.envelopes == {}
    assert "data.hits[0].id" in workflows_to_yaml(one_form.workflows)


def test_a_key_that_other_bodies_have_too_is_no_envelope(tmp_path: Path) -> None:
    """The identifier of an entry and that of its parent are two places of one body."""
    replay = snapshot_of(tmp_path / "lakes.sqlite", {"Leman": BARE, "Thun": BARE})
    tasks = [task(0, "", lookup("Leman", "parent.id", "x0")), task(1, "", lookup("Thun", "id", "x2"))]
    mined = mine(tasks, replay=replay)
    assert (len(mined.frequencies), mined.report.envelopes) == (2, {})


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        ("data.id", "(data || @).id"),
        ("data[0].id", "(data || @)[0].id"),
        ("[0].id", "(data || @)[0].id"),
        ("id", "(data || @).id"),
        ('data."a.b"', '(data || @)."a.b"'),
        ("data", "(data || @).data"),
        ("database.id", "(data || @).database.id"),
        ("min_by(hits, &id).id", "min_by(hits, &id).id"),
        ("hits[?id=='x'].id | [0]", "hits[?id=='x'].id | [0]"),
    ],
)
def test_leaving_an_envelope_out(select: str, expected: str) -> None:
    assert without_envelope(select, "data") == expected
    Selector(expected)


PARTS = st.lists(st.one_of(st.sampled_from(["id", '"a b"', "data_2"]), st.integers(0, 2)), min_size=1, max_size=4)


@given(PARTS, st.integers())
def test_without_its_envelope_a_place_is_found_in_wrapped_and_bare_bodies(parts: list[str | int], value: int) -> None:
    body: Any = value
    for part in reversed(parts):
        body = [None] * part + [body] if isinstance(part, int) else {part.strip('"'): body}
    select = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
    bare, wrapped = select.removeprefix("."), f"data{select}"
    for written in (bare, wrapped):
        selector = Selector(without_envelope(written, "data"))
        assert selector(body) == selector({"data": body, "status": True}) == value


NAMES = st.text(min_size=1, max_size=12)


@given(
    st.lists(
        st.tuples(NAMES, st.dictionaries(NAMES, st.sampled_from(["query", '{"a": id}', "hits[0].id"]), max_size=4)),
        min_size=1,
        max_size=4,
    )
)
def test_any_names_make_a_file_that_reads_back(steps: list[tuple[str, dict[str, str]]]) -> None:
    """Whatever tools and parameters are called: workflow files admit names of letters, digits and underscores only."""
    calls = []
    for index, (tool, arguments) in enumerate(steps):
        bound = {name: select for name, select in arguments.items() if index and select != "query"}
        values = {name: f"value {index} {name}" for name in arguments}
        calls.append(ReferenceCall(tool, values, tuple(Binding(name, 0, bound[name]) for name in bound)))
    workflow = only(mined := mine([task(0, "", calls)], domain=steps[0][0]))
    assert parse_workflows(read_yaml(workflows_to_yaml(mined.workflows))) == mined.workflows
    assert template_slots(plain_phrasing(workflow.order)) == set(workflow.literals)
    assert [step.tool for step in workflow.order] == [tool for tool, _ in steps]


def benchmark(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The benchmark on published data, in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks" / "mining.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


@pytest.mark.long
@needs_booking
def test_published_tasks_give_the_published_dependencies(tmp_path: Path) -> None:
    """For the patterns that occur in both; what some tasks do not show, their workflows cannot have."""
    done = benchmark("--data", str(BOOKING), "--json", str(tmp_path / "figures.json"))
    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert (figures["tasks"], figures["patterns"]["both"]) == (101, 43)
    for tasks in ("all_tasks", "tasks_that_follow"):
        assert figures[tasks]["step"]["precision"] >= 0.95
        assert figures[tasks]["step"]["recall"] >= 0.95
    assert all("hold the same value" in odd["reason"] for odd in figures["elsewhere"])


def test_where_the_published_data_is_absent_that_is_told(tmp_path: Path) -> None:
    done = benchmark("--data", str(tmp_path))
    assert done.returncode == 2
    assert "--data" in done.stdout
    assert "Traceback" not in done.stdout + done.stderr
