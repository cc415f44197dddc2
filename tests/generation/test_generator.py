"""The workflow generator: determinism, well-posed tasks, splits, and constraints that are honoured or refused."""

import copy
import pickle
from collections import Counter, defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fresh_python import run_python
from hypothesis import given
from hypothesis import strategies as st
from small_world import TOOLS, WORKFLOWS, workflow_set

from toolorch_env.core.calls import Call
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import ConstraintError, TaskError, WorkflowError
from toolorch_env.core.tasks import Binding, Mention, Task
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.constraints import SPLITS, TaskConstraints, read_constraints
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator
from toolorch_env.generation.splits import is_held_out, literals_split
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import parse_workflows
from toolorch_env.store.writer import SnapshotWriter

ALL_TOOLS = [tool.name for tool in TOOLS]
seeds = st.integers(0, 2**32)
splits = st.sampled_from(SPLITS)


@pytest.fixture(scope="module")
def generator(library_snapshot: Snapshot) -> WorkflowGenerator:
    return WorkflowGenerator(library_snapshot)


@pytest.fixture(scope="module")
def replay(library_snapshot: Snapshot) -> SnapshotReplay:
    return SnapshotReplay(library_snapshot)


def draw(generator: WorkflowGenerator, seed: int, **constraints: Any) -> Task:
    return generator.sample(np.random.default_rng(seed), constraints)


def literals(task: Task) -> list[bytes]:
    """The literal values of a task's reference, in canonical form, in order."""
    return sorted(
        {
            canonical_json(value)
            for call in task.reference
            for name, value in call.arguments.items()
            if name not in {binding.parameter for binding in call.bindings}
        }
    )


@given(seeds, splits)
def test_the_same_seed_gives_the_same_task(
    generator: WorkflowGenerator, library_snapshot: Snapshot, seed: int, split: str
) -> None:
    task = draw(generator, seed, split=split)
    assert draw(generator, seed, split=split) == task
    assert draw(WorkflowGenerator(library_snapshot), seed, split=split) == task
    assert draw(pickle.loads(pickle.dumps(generator)), seed, split=split) == task


@pytest.mark.parametrize("hash_seed", [1, 2])
def test_tasks_are_the_same_in_every_process(library: Any, generator: WorkflowGenerator, hash_seed: int) -> None:
    code = f"""
import numpy as np
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.store.snapshot import Snapshot
generator = WorkflowGenerator(Snapshot({str(library)!r}))
rng = np.random.default_rng(5)
for split in {SPLITS!r} * 5:
    print(generator.sample(rng, {{"split": split}}).to_json().hex())
"""
    rng = np.random.default_rng(5)
    tasks = [generator.sample(rng, {"split": split}) for split in SPLITS * 5]
    assert [Task.from_json(bytes.fromhex(line)) for line in run_python(code, hash_seed).split()] == tasks


@given(
    seeds,
    splits,
    st.fixed_dictionaries(
        {},
        optional={
            "distractor_tools": st.integers(0, 12),
            "distractions": st.integers(0, 3),
            "exclude_tools": st.just(["towns_near", "book_by_title"]),
        },
    ),
)
def test_a_task_is_made_again_from_its_id(
    generator: WorkflowGenerator, seed: int, split: str, constraints: dict[str, Any]
) -> None:
    task = draw(generator, seed, split=split, **constraints)
    assert generator.task(task.id) == task


@given(seeds, splits)
def test_every_task_is_well_posed(generator: WorkflowGenerator, replay: SnapshotReplay, seed: int, split: str) -> None:
    task = draw(generator, seed, split=split)
    assert list(task_problems(task, replay)) == []
    assert task.split == split
    for mention in task.mentions:
        assert task.query[mention.start : mention.end] == str(mention.value)
        assert mention.kind in WORKFLOWS["kinds"]
    starts = [mention.start for mention in task.mentions]
    assert starts == sorted(starts)
    assert len(set(starts)) == len(starts)


def test_the_reference_is_that_of_its_workflow(generator: WorkflowGenerator) -> None:
    for workflow in workflow_set().workflows:
        split = "test_workflows" if is_held_out(workflow.name) else "train"
        task = draw(generator, 1, workflows=[workflow.name], split=split)
        assert task.workflow == workflow.name
        assert [call.tool for call in task.reference] == [step.tool for step in workflow.order]


@pytest.mark.parametrize(
    ("name", "depth", "width"),
    [("author_town", 2, 1), ("town_neighbours", 3, 1), ("longest_book_price", 4, 2), ("compare_authors", 3, 2)],
)
def test_depth_and_width_are_those_of_the_workflow(
    generator: WorkflowGenerator, name: str, depth: int, width: int
) -> None:
    split = "test_workflows" if is_held_out(name) else "train"
    constraints = {"workflows": [name], "split": split}
    task = draw(generator, 1, **constraints)
    assert (task.depth, task.width) == (depth, width)
    assert draw(generator, 1, **constraints, min_depth=depth, max_depth=depth, min_width=width, max_width=width) == task
    for least in ({"min_depth": depth + 1}, {"min_width": width + 1}):
        with pytest.raises(ConstraintError):
            draw(generator, 1, **constraints, **least)


def test_pure_order_is_kept(generator: WorkflowGenerator) -> None:
    task = draw(generator, 1, workflows=["compare_authors"])
    assert task.reference[3].after == (2,)
    assert task.reference[3].depends_on == {1, 2}


def test_a_task_repeats_no_call_and_no_literal(generator: WorkflowGenerator) -> None:
    for seed in range(100):
        task = draw(generator, seed, workflows=["compare_authors"])
        assert task.reference[0].arguments != task.reference[1].arguments
        assert task.reference[2].arguments != task.reference[3].arguments


@pytest.fixture(scope="module")
def drawn(generator: WorkflowGenerator) -> dict[str, list[Task]]:
    """Many tasks of each split."""
    return {split: [draw(generator, seed, split=split) for seed in range(300)] for split in SPLITS}


def test_no_combination_of_literals_is_in_two_splits(drawn: dict[str, list[Task]]) -> None:
    where: dict[tuple[bytes, ...], set[str]] = defaultdict(set)
    for split, tasks in drawn.items():
        for task in tasks:
            where[tuple(literals(task))].add(split)
    assert all(len(found) == 1 for found in where.values())
    assert {split for found in where.values() for split in found} == set(SPLITS)


def test_held_out_workflows_are_in_test_workflows_only(drawn: dict[str, list[Task]]) -> None:
    for split, tasks in drawn.items():
        assert {is_held_out(task.workflow) for task in tasks} == {split == "test_workflows"}


@given(st.lists(st.integers() | st.text(), max_size=5), st.randoms())
def test_a_split_does_not_depend_on_the_order_of_literals(values: list[Any], random: Any) -> None:
    values = [value for value in values if isinstance(value, str) or -(2**63) <= value < 2**63]
    values = [value for value in values if not isinstance(value, str) or value.isascii()]
    assert literals_split(values) == literals_split(random.sample(values, len(values)))


def test_splits_have_their_shares() -> None:
    found = Counter(literals_split([number]) for number in range(10_000))
    assert abs(found["train"] - 7000) < 200
    assert all(abs(found[split] - 1000) < 150 for split in SPLITS[1:])
    assert 100 < sum(is_held_out(f"workflow_{number}") for number in range(1000)) < 200


def test_traces_of_a_split_are_drawn_uniformly(generator: WorkflowGenerator) -> None:
    found = Counter(tuple(canonical_json(call.arguments) for call in draw(
        generator, seed, workflows=["compare_authors"]).reference) for seed in range(3000))  # fmt: skip
    pairs = [(f"A{i}", f"A{j}") for i in range(12) for j in range(12) if i % 3 != j % 3]
    eligible = [pair for pair in pairs if literals_split(pair) == "train"]
    expected = 3000 / len(eligible)
    assert len(found) == len(eligible)
    chi_square = sum((number - expected) ** 2 / expected for number in found.values())
    assert chi_square < len(eligible) - 1 + 5 * (2 * len(eligible)) ** 0.5


def test_workflows_and_phrasings_are_drawn_uniformly(drawn: dict[str, list[Task]]) -> None:
    workflows = Counter(task.workflow for task in drawn["train"])
    assert len(workflows) == 3
    assert all(60 < number < 140 for number in workflows.values())
    towns = [task.query for task in drawn["train"] if task.workflow == "author_town"]
    assert {("live?" in query, "please" in query) for query in towns} == {(True, False), (False, True), (False, False)}


BOUNDS = ("min_steps", "max_steps", "min_depth", "max_depth", "min_width", "max_width")
NUMBERS = {  # steps, depth and width of the workflows that are not held out
    "author_town": (2, 2, 1),
    "town_neighbours": (3, 3, 1),
    "compare_authors": (4, 3, 2),
}


@given(st.dictionaries(st.sampled_from(BOUNDS), st.integers(1, 5)), seeds)
def test_numbers_of_steps_depth_and_width_are_honoured_or_refused(
    generator: WorkflowGenerator, bounds: dict[str, int], seed: int
) -> None:
    low = [bounds.get(f"min_{name}", 1) for name in ("steps", "depth", "width")]
    high = [bounds.get(f"max_{name}", 64) for name in ("steps", "depth", "width")]
    allowed = {
        name
        for name, numbers in NUMBERS.items()
        if all(a <= n <= b for a, n, b in zip(low, numbers, high, strict=True))
    }
    if not allowed:
        with pytest.raises(ConstraintError):
            draw(generator, seed, **bounds)
        return
    task = draw(generator, seed, **bounds)
    assert task.workflow in allowed
    for number, least, most in zip((len(task.reference), task.depth, task.width), low, high, strict=True):
        assert least <= number <= most


@given(st.sets(st.sampled_from(ALL_TOOLS), max_size=2), st.sets(st.sampled_from(ALL_TOOLS), max_size=2), seeds)
def test_included_and_excluded_tools_are_honoured_or_refused(
    generator: WorkflowGenerator, include: set[str], exclude: set[str], seed: int
) -> None:
    try:
        task = draw(generator, seed, include_tools=sorted(include), exclude_tools=sorted(exclude))
    except ConstraintError:
        used = [{s.tool for s in w.steps} for w in workflow_set().workflows if not is_held_out(w.name)]
        assert include & exclude or not any(include <= tools and not tools & exclude for tools in used)
        return
    called = {call.tool for call in task.reference}
    assert include <= called
    assert not exclude & set(task.tools)


@given(st.sets(st.sampled_from(list(NUMBERS)), min_size=1), seeds)
def test_only_the_named_workflows_are_drawn(generator: WorkflowGenerator, names: set[str], seed: int) -> None:
    assert draw(generator, seed, workflows=sorted(names)).workflow in names


@given(st.integers(0, 20), seeds)
def test_the_number_of_distractor_tools_is_honoured(generator: WorkflowGenerator, number: int, seed: int) -> None:
    task = draw(generator, seed, distractor_tools=number)
    needed = {call.tool for call in task.reference}
    assert len(task.tools) == len(needed) + min(number, len(ALL_TOOLS) - len(needed))
    assert needed <= set(task.tools)
    assert list(task.tools) == [name for name in ALL_TOOLS if name in task.tools]


@given(st.integers(0, 3), seeds, splits)
def test_the_number_of_distractions_is_honoured(
    generator: WorkflowGenerator, number: int, seed: int, split: str
) -> None:
    task = draw(generator, seed, distractions=number, split=split)
    stems = ("My favourite is ", "I was born in ", "I never read on ")
    said = sum(stem in task.query for stem in stems)
    assert min(number, 1) <= said <= number
    assert len(task.mentions) == said + len(literals(task))


def test_values_that_are_not_needed_differ_from_those_that_are(drawn: dict[str, list[Task]]) -> None:
    for task in drawn["train"]:
        said = Counter(canonical_json(mention.value) for mention in task.mentions)
        assert all(said[literal] == 1 for literal in literals(task))


IMPOSSIBLE: list[tuple[dict[str, Any], str]] = [
    ({"include_tools": ["no_tool"]}, r"'no_tool'.*not in 'library'"),
    ({"exclude_tools": ["no_tool"]}, r"'no_tool'.*not in 'library'"),
    ({"workflows": ["no_workflow"]}, r"'no_workflow'.*not in 'library'"),
    ({"min_steps": 40}, r"min_steps"),
    ({"include_tools": ["book_by_title"]}, r"book_by_title"),
    ({"workflows": ["longest_book_price"]}, r"longest_book_price"),
    ({"workflows": ["author_town"], "split": "test_workflows"}, r"author_town"),
    ({"exclude_tools": ["get_author", "get_town"]}, r"get_town"),
]
MALFORMED: list[tuple[Any, str]] = [
    ({"splits": "train"}, r"splits"),
    ({"split": "dev"}, r"split.*train"),
    ({"min_steps": 0}, r"min_steps"),
    ({"min_steps": "many"}, r"min_steps"),
    ({"max_depth": None}, r"max_depth"),
    ({"distractions": 4}, r"distractions"),
    ({"distractor_tools": -1}, r"distractor_tools"),
    ({"min_width": 3, "max_width": 2}, r"min_width is 3, above max_width, which is 2"),
    ({"include_tools": ["get_book"], "exclude_tools": ["get_book"]}, r"both included and excluded: get_book"),
    ({"include_tools": "get_book"}, r"include_tools"),
    ({"workflows": [1]}, r"workflows"),
    ({1: 2}, r"invalid constraints"),
    ([], r"must be a mapping, got list"),
    ("train", r"must be a mapping, got str"),
    (5, r"must be a mapping, got int"),
]


@pytest.mark.parametrize(("constraints", "message"), IMPOSSIBLE)
def test_impossible_constraints_are_refused(
    generator: WorkflowGenerator, constraints: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConstraintError, match=message):
        draw(generator, 0, **constraints)


@pytest.mark.parametrize(("constraints", "message"), MALFORMED)
def test_malformed_constraints_are_refused(generator: WorkflowGenerator, constraints: Any, message: str) -> None:
    with pytest.raises(ConstraintError, match=message):
        read_constraints(constraints)
    with pytest.raises(ConstraintError, match=message):
        generator.sample(np.random.default_rng(0), constraints)


def test_an_empty_split_is_refused(tmp_path: Path) -> None:
    """With one author, one split holds the only combination of literals, and the others hold nothing."""
    document = {**WORKFLOWS, "workflows": WORKFLOWS["workflows"][:1]}
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="one", workflows=document) as writer:
        writer.add(Call("get_author", {"author_id": "A3"}), 200, {"town_id": "T0"})
        writer.add(Call("get_town", {"town_id": "T0"}), 200, {"name": "Town"})
    one = WorkflowGenerator(Snapshot(tmp_path / "s.sqlite"))
    assert one.counts() == {"author_town": 1}
    full = literals_split(["A3"])
    assert draw(one, 0, split=full).workflow == "author_town"
    for split in {"train", "validation", "test"} - {full}:
        with pytest.raises(ConstraintError, match=split):
            draw(one, 0, split=split)


def test_a_workflow_without_traces_is_not_drawn(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="none", workflows=WORKFLOWS) as writer:
        writer.add(Call("get_author", {"author_id": "A3"}), 200, {"town_id": "T0"})
    nothing = WorkflowGenerator(Snapshot(tmp_path / "s.sqlite"))
    assert set(nothing.counts().values()) == {0}
    with pytest.raises(ConstraintError):
        draw(nothing, 0)


def test_constraints_are_read_from_nothing_a_mapping_or_themselves() -> None:
    assert read_constraints(None) == read_constraints({}) == TaskConstraints()
    assert read_constraints({"min_steps": 2}) == TaskConstraints(min_steps=2)
    constraints = TaskConstraints(split="test")
    assert read_constraints(constraints) is constraints
    assert hash(constraints) == hash(TaskConstraints(split="test"))


@pytest.mark.parametrize(
    "task_id",
    ["", "x", "author_town", "author_town/0/0/7", "no_workflow/0/0/7/2", "author_town/12/0/7/2", "author_town/-1/0/7/2",
     "author_town/x/0/7/2", "author_town/0/g/7/2", "author_town/0/0/-1/2", "author_town/0/0/7/9",
     "compare_authors/0/0/7/2", "author_town/1e3/0/7/2", "author_town/0.5/0/7/2"],
)  # fmt: skip
def test_an_unknown_task_id_is_told(generator: WorkflowGenerator, task_id: str) -> None:
    with pytest.raises(TaskError, match="no task") as caught:
        generator.task(task_id)
    assert repr(task_id) in str(caught.value)


def test_counts_tell_the_traces_of_each_workflow(generator: WorkflowGenerator) -> None:
    counts = generator.counts()
    assert counts == {"author_town": 12, "town_neighbours": 12, "longest_book_price": 140, "compare_authors": 144}


def test_workflows_that_the_snapshot_was_not_compiled_for_can_be_drawn_from(
    library_snapshot: Snapshot, replay: SnapshotReplay
) -> None:
    document = copy.deepcopy(WORKFLOWS)
    document["workflows"] = document["workflows"][:1]
    document["workflows"][0]["steps"][1]["arguments"]["town_id"]["select"] = "town_id | @"
    other = WorkflowGenerator(library_snapshot, parse_workflows(document))
    task = draw(other, 3)
    assert task.reference[1].bindings == (Binding("town_id", 0, "town_id | @"),)
    assert list(task_problems(task, replay)) == []


def test_workflows_that_do_not_fit_are_told(library_snapshot: Snapshot) -> None:
    document = copy.deepcopy(WORKFLOWS)
    document["workflows"][0]["steps"][0]["tool"] = "no_tool"
    with pytest.raises(WorkflowError, match="no_tool"):
        WorkflowGenerator(library_snapshot, parse_workflows(document))


def test_the_generator_keeps_its_protocol(generator: WorkflowGenerator) -> None:
    assert isinstance(generator, TaskGenerator)


@pytest.fixture(scope="module")
def sound(generator: WorkflowGenerator) -> Task:
    return generator.task("town_neighbours/3/0/7/0")


def broken(task: Task, how: str) -> Task:
    """A task that is not well posed in one way."""
    first, second, third = task.reference
    [mention] = task.mentions
    if how == "a literal that is not said":
        return replace(task, mentions=())
    if how == "a mention at the wrong place":
        return replace(task, mentions=(replace(mention, start=mention.start - 1, end=mention.end - 1),))
    if how == "a mention of another value":
        return replace(task, mentions=(mention, Mention("A5", "author", mention.start, mention.end)))
    if how == "a literal of another type":
        return replace(task, mentions=(replace(mention, value=["A3"]),))
    if how == "a bound argument of another value":
        return replace(task, reference=(first, replace(second, arguments={"town_id": "T1"}), third))
    if how == "a selection of nothing":
        return replace(task, reference=(first, replace(second, bindings=(Binding("town_id", 0, "nothing"),)), third))
    if how == "a call that was not recorded":
        first = replace(first, arguments={"author_id": "A77"})
        return replace(task, reference=(first, second, third), mentions=(replace(mention, value="A77"),))
    assert how == "a call that was recorded as an error"
    first = replace(first, arguments={"author_id": "A999"})
    return replace(task, reference=(first, second, third), mentions=(replace(mention, value="A999"),))


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("a literal that is not said", "does not say author_id = 'A3'"),
        ("a mention at the wrong place", "does not say 'A3' where it should"),
        ("a mention of another value", "does not say 'A5' where it should"),
        ("a literal of another type", "does not say author_id = 'A3'"),
        ("a bound argument of another value", "'town_id' gives 'T0' for town_id"),
        ("a selection of nothing", "'nothing' gives None for town_id"),
        ("a call that was not recorded", "not answered with a recorded success"),
        ("a call that was recorded as an error", "not answered with a recorded success"),
    ],
)
def test_checking_tells_what_is_wrong_with_a_task(sound: Task, replay: SnapshotReplay, how: str, message: str) -> None:
    assert not list(task_problems(sound, replay))
    problems = list(task_problems(broken(sound, how), replay))
    assert any(message in problem for problem in problems), problems


def test_a_workflow_without_traces_is_told_with_the_step_where_it_breaks(library_snapshot: Snapshot) -> None:
    document = copy.deepcopy(WORKFLOWS)
    document["workflows"] = [document["workflows"][0]]
    document["workflows"][0]["steps"][1]["arguments"]["town_id"]["select"] = "nothing_here"
    generator = WorkflowGenerator(library_snapshot, parse_workflows(document))
    with pytest.raises(ConstraintError, match=r"'author_town' has no traces.*'(author|town)'"):
        generator.sample(np.random.default_rng(0))


def test_no_task_is_made_from_an_id_that_would_never_be_drawn(library_snapshot: Snapshot) -> None:
    generator = WorkflowGenerator(library_snapshot)
    for workflow, count in generator.counts().items():
        for number in range(min(count, 40)):
            try:
                task = generator.task(f"{workflow}/{number}/0/7/2")
            except TaskError:
                continue
            assert is_held_out(workflow) == (task.split == "test_workflows")
