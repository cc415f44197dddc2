"""Workflows that differ in nothing but words are held out together."""

import copy
import re
from typing import Any

import numpy as np
import pytest
from generation.crossings import traces
from hypothesis import given
from hypothesis import strategies as st
from small_world import WORKFLOWS, workflow_set
from stateful_world import bank_workflows
from worlds import WORLD_NAMES, snapshot_path, world

from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.splits import is_held_out
from toolorch_env.generation.structures import held_out_workflows, structure_of
from toolorch_env.store.workflows import Workflow, parse_workflows

EVERY_WORKFLOW = [*workflow_set().workflows, *bank_workflows().workflows]


def renamed(workflow: Workflow, name: str, order: list[int]) -> dict[str, Any]:
    """The same workflow with other names, and its steps in another order."""
    document = copy.deepcopy(workflow.model_dump(by_alias=True, mode="json"))
    steps = {step["id"]: f"s{number}" for number, step in enumerate(document["steps"])}
    literals = {literal: f"l{9 - number}" for number, literal in enumerate(sorted(document["literals"]))}
    for step in document["steps"]:
        step["id"] = steps[step["id"]]
        step["after"] = [steps[other] for other in step["after"]]
        for argument in step["arguments"].values():
            if "query" in argument:
                argument["query"] = literals[argument["query"]]
                continue
            argument["from"] = steps[argument["from"]]
            if "values" in argument:
                argument["select"] = re.sub(r"\$(\w+)", lambda found: f"${literals[found[1]]}", argument["select"])
                values = {literals[name]: f" {select} " for name, select in argument["values"].items()}
                argument["values"] = dict(sorted(values.items(), reverse=True))
    return {
        **document,
        "name": name,
        "literals": {literals[literal]: kind for literal, kind in document["literals"].items()},
        "steps": [document["steps"][number] for number in order],
        "phrasings": ["Say " + " ".join(f"{{{literal}}}" for literal in literals.values())],
    }


@given(data=st.data(), workflow=st.sampled_from(EVERY_WORKFLOW))
def test_names_words_and_the_order_of_steps_make_no_other_structure(data: st.DataObject, workflow: Workflow) -> None:
    order = data.draw(st.permutations(range(len(workflow.steps))))
    assert structure_of(Workflow.model_validate(renamed(workflow, "other", order))) == structure_of(workflow)


def test_different_workflows_have_different_structures() -> None:
    every = [*EVERY_WORKFLOW]
    if "travel" in WORLD_NAMES:
        every += world("travel").generator.workflows.workflows
    assert len({structure_of(workflow) for workflow in every}) == len(every)


@pytest.mark.parametrize("change", ["tool", "select", "parameter", "literal", "after", "wiring"])
def test_what_makes_another_structure(change: str) -> None:
    def a_workflow(**changed: Any) -> bytes:
        steps = [
            {"id": "one", "tool": "get_author", "arguments": {"author_id": {"query": "x"}}},
            {"id": "two", "tool": "get_author", "arguments": {"author_id": {"query": changed.get("literal", "y")}}},
            {"id": "town", "tool": changed.get("tool", "get_town"),
             "arguments": {changed.get("parameter", "town_id"): {"from": "one", "select": changed.get("select", "id")}},
             "after": changed.get("after", [])},
            {"id": "books", "tool": "books_of_author",
             "arguments": {"author_id": {"from": changed.get("wiring", "one"), "select": "author_id"}}},
        ]  # fmt: skip
        literals = {"x": "author"} | ({} if "literal" in changed else {"y": "author"})
        said = " ".join(f"{{{name}}}" for name in literals)
        document = {"name": "w", "literals": literals, "steps": steps, "phrasings": [said]}
        return structure_of(Workflow.model_validate(document))

    values = {
        "tool": "get_book", "select": "name", "parameter": "town", "literal": "x", "after": ["two"], "wiring": "two"
    }  # fmt: skip
    assert a_workflow(**{change: values[change]}) != a_workflow()


@pytest.mark.parametrize("name", ["twin", "again", "x2"])
def test_a_copy_under_another_name_is_held_out_where_the_original_is(name: str) -> None:
    document: dict[str, Any] = copy.deepcopy(WORKFLOWS)
    for workflow in workflow_set().workflows:
        order = list(range(len(workflow.steps)))[::-1]
        document["workflows"].append(renamed(workflow, f"{name}_{workflow.name}", order))
    workflows = parse_workflows(document)
    assert len({is_held_out(w.name) for w in workflows.workflows}) == 2
    held_out = held_out_workflows(workflows.workflows)
    parts: dict[bytes, set[bool]] = {}
    for workflow in workflows.workflows:
        parts.setdefault(structure_of(workflow), set()).add(workflow.name in held_out)
    assert all(len(part) == 1 for part in parts.values())
    seen: dict[bytes, set[bool]] = {}
    structures = {workflow.name: structure_of(workflow) for workflow in workflows.workflows}
    for task in traces(WorkflowGenerator(snapshot_path("library"), workflows)):
        seen.setdefault(structures[task.workflow], set()).add(task.split == "test_workflows")
    assert all(len(splits) == 1 for splits in seen.values())


def test_without_copies_names_alone_decide() -> None:
    every = [*workflow_set().workflows, *bank_workflows().workflows]
    assert held_out_workflows(every) == {workflow.name for workflow in every if is_held_out(workflow.name)}


@pytest.mark.parametrize("name", [name for name in WORLD_NAMES if name != "bank"])
def test_workflows_that_nobody_wrote_are_none_that_somebody_did(name: str) -> None:
    generator = world(name).graph_generator_of(15)
    written = {structure_of(workflow) for workflow in world(name).generator.workflows.workflows}
    rng = np.random.default_rng(0)
    for split in ("train", "test_workflows"):
        for number in range(30):
            task = generator.sample(rng, {"split": split, "max_steps": 2 + number % 3})
            assert structure_of(generator._source(task.id.split("/")[0]).workflow) not in written
