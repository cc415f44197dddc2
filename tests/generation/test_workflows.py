"""Workflow files: what a valid one means, and that every mistake is told with its place."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from small_world import TOOLS, WORKFLOWS, workflow_set

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import WorkflowError
from toolorch_env.store.compiled import Link
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import load_workflows, parse_workflows, snapshot_workflows
from toolorch_env.store.writer import SnapshotWriter

TOOLSET = ToolSet(TOOLS)
Change = Callable[[dict[str, Any]], Any]


def changed(change: Change) -> dict[str, Any]:
    """The workflows of the small world with one change."""
    document = copy.deepcopy(WORKFLOWS)
    change(document)
    return document


def first_step(document: dict[str, Any]) -> dict[str, Any]:
    return document["workflows"][0]["steps"][0]  # type: ignore[no-any-return]


def second_step(document: dict[str, Any]) -> dict[str, Any]:
    return document["workflows"][0]["steps"][1]  # type: ignore[no-any-return]


def phrase(text: str) -> Change:
    return lambda document: document["workflows"][0].update(phrasings=[text])


MISTAKES: dict[str, tuple[Change, str]] = {
    "a cycle": (lambda d: first_step(d).update(after=["town"]), r"'author_town'.*cycle"),
    "a step that waits for itself": (lambda d: first_step(d).update(after=["author"]), r"'author_town'.*cycle"),
    "an unknown step in a binding": (
        lambda d: second_step(d)["arguments"]["town_id"].update({"from": "nobody"}), r"'author_town'.*'nobody'"),
    "an unknown step in after": (lambda d: second_step(d).update(after=["nobody"]), r"'author_town'.*'nobody'"),
    "bad JMESPath": (
        lambda d: second_step(d)["arguments"]["town_id"].update(select="a["),
        r"'author_town'.*'town'.*'town_id'.*'a\['"),
    "two steps of one id": (lambda d: second_step(d).update(id="author"), r"'author_town'.*same id"),
    "an undeclared kind": (lambda d: d["kinds"].pop("author"), r"'author_town'.*'author'.*not declared"),
    "an undeclared literal": (lambda d: d["workflows"][0]["literals"].clear(), r"'author_town'.*author_id"),
    "an unused literal": (lambda d: d["workflows"][0]["literals"].update(x="author"), r"'author_town'.*differ: x"),
    "a phrasing without a literal": (phrase("Where?"), r"'author_town'.*'Where\?'.*author_id"),
    "a phrasing with a strange slot": (phrase("{author_id} {x}"), r"'author_town'.*literals: x"),
    "a slot with an attribute": (phrase("{author_id.x}"), r"'author_town'.*not a plain slot"),
    "a slot with an index": (phrase("{author_id[0]}"), r"'author_town'.*not a plain slot"),
    "a slot with a format": (phrase("{author_id:>9}"), r"'author_town'.*not a plain slot"),
    "a slot with a conversion": (phrase("{author_id!r}"), r"'author_town'.*not a plain slot"),
    "a slot without a name": (phrase("{author_id} {}"), r"'author_town'.*not a plain slot"),
    "an open brace": (phrase("{author_id} {"), r"'author_town'"),
    "a lone closing brace": (phrase("{author_id} }"), r"'author_town'"),
    "no phrasing": (lambda d: d["workflows"][0].update(phrasings=[]), r"'author_town' / phrasings"),
    "no steps": (lambda d: d["workflows"][0].update(steps=[]), r"'author_town' / steps"),
    "two workflows of one name": (lambda d: d["workflows"][1].update(name="author_town"), r"two.*'author_town'"),
    "a workflow without a name": (lambda d: d["workflows"][1].pop("name"), r"workflow number 1 / name"),
    "a name with a space": (lambda d: d["workflows"][1].update(name="a b"), r"'a b' / name"),
    "a misspelled field": (lambda d: first_step(d).update(tols=1), r"'author_town'.*tols"),
    "an argument that is no binding": (
        lambda d: first_step(d)["arguments"].update(author_id="A1"), r"'author_town'.*author_id"),
    "an argument with both origins": (
        lambda d: second_step(d)["arguments"]["town_id"].update(query="x"), r"'author_town'.*town_id"),
    "a binding without a selection": (
        lambda d: second_step(d)["arguments"]["town_id"].pop("select"), r"'author_town'.*select"),
    "a distraction of an unknown kind": (lambda d: d.update(distractions=["{x}"]), r"'\{x\}'.*'x'.*not declared"),
    "no workflows": (lambda d: d.update(workflows=[]), r"workflows"),
    "no domain": (lambda d: d.pop("domain"), r"domain"),
    "workflows that are no list": (lambda d: d.update(workflows=5), r"workflows"),
    "a workflow that is no mapping": (lambda d: d["workflows"].append("x"), r"number 4"),
    "steps that are text": (lambda d: d["workflows"][0].update(steps="x"), r"'author_town' / steps"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_with_the_workflow_and_what_is_wrong(tmp_path: Path, mistake: str) -> None:
    change, message = MISTAKES[mistake]
    path = tmp_path / "library.yaml"
    path.write_text(yaml.safe_dump(changed(change)), encoding="utf-8")
    with pytest.raises(WorkflowError, match=message) as caught:
        load_workflows(path)
    assert str(path) in str(caught.value)
    with pytest.raises(WorkflowError, match=message):
        parse_workflows(changed(change))


TOOL_MISTAKES: dict[str, tuple[Change, str]] = {
    "an unknown tool": (lambda d: first_step(d).update(tool="x"), r"'author_town', step 'author'.*'x'"),
    "an unknown parameter": (
        lambda d: first_step(d)["arguments"].update(x={"query": "author_id"}), r"'author_town', step 'author'.*'x'"),
    "a missing required parameter": (
        lambda d: second_step(d).update(arguments={}), r"'author_town', step 'town'.*'town_id' is missing"),
}  # fmt: skip


@pytest.mark.parametrize("mistake", TOOL_MISTAKES)
def test_what_does_not_fit_the_tools_is_told(tmp_path: Path, mistake: str) -> None:
    change, message = TOOL_MISTAKES[mistake]
    with pytest.raises(WorkflowError, match=message):
        parse_workflows(changed(change)).check_tools(TOOLSET)
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="test", workflows=changed(change)):
        pass
    with pytest.raises(WorkflowError, match=message):
        snapshot_workflows(Snapshot(tmp_path / "s.sqlite"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"a: [", "s.yaml"),
        (b"\xff\xfe\xfa", "s.yaml"),
        (b"", "s.yaml"),
        (b"just text", "s.yaml"),
        (b"- 1\n- 2", "s.yaml"),
        (b"a: !!python/object:os.system x", "s.yaml"),
        (b"\x00", "s.yaml"),
        (b"? [a]\n: b", "s.yaml"),
    ],
)
def test_a_file_that_is_no_workflow_file_is_told(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "s.yaml").write_bytes(data)
    with pytest.raises(WorkflowError, match=message):
        load_workflows(tmp_path / "s.yaml")


def test_a_missing_file_or_a_folder_is_told(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.yaml", tmp_path):
        with pytest.raises(WorkflowError, match=path.name):
            load_workflows(path)


def test_a_snapshot_without_workflows_is_told(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="bare"):
        pass
    with pytest.raises(WorkflowError, match="'bare' holds no workflows"):
        snapshot_workflows(Snapshot(tmp_path / "s.sqlite"))


def test_the_stored_workflows_are_those_of_the_file(library_snapshot: Snapshot, tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(WORKFLOWS), encoding="utf-8")
    assert snapshot_workflows(library_snapshot) == load_workflows(tmp_path / "s.yaml") == workflow_set()


def test_steps_come_in_an_order_that_respects_their_dependencies() -> None:
    for workflow in workflow_set().workflows:
        seen: set[str] = set()
        for index, step in enumerate(workflow.order):
            assert step.depends_on <= seen
            assert workflow.position[step.id] == index
            seen.add(step.id)
        assert seen == {step.id for step in workflow.steps}
    names = [workflow.name for workflow in workflow_set().workflows]
    neighbours = workflow_set().workflows[names.index("town_neighbours")]
    assert [step.id for step in neighbours.order] == ["author", "town", "near"]
    compare = workflow_set().workflows[names.index("compare_authors")]
    assert compare.order == compare.steps


def test_links_say_how_values_flow() -> None:
    workflows = workflow_set()
    assert Link("town_id", "get_author", "town_id") in workflows.links()
    assert Link("book_id", "books_of_author", "max_by(books, &pages).book_id") in workflows.links()
    assert workflows.links() == {link for workflow in workflows.workflows for link in workflow.links()}


def test_doubled_braces_are_plain_text() -> None:
    parse_workflows(changed(phrase("{{literally}} {author_id}")))


def test_names_that_look_like_truth_values_are_names(tmp_path: Path) -> None:
    """As in YAML 1.2: ``no`` and ``on`` are texts."""
    path = tmp_path / "workflows.yaml"
    path.write_text(
        "domain: books\nkinds: {no: number}\nworkflows:\n"
        "- {name: look, literals: {on: no}, phrasings: ['Look up {on}.'],"
        " steps: [{id: book, tool: get_book, arguments: {book_id: {query: on}}}]}\n"
    )
    [workflow] = load_workflows(path).workflows
    assert workflow.literals == {"on": "no"}
