"""Workflow files that are written, and workflows in plain words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import WORLD_NAMES, world

from toolorch_env.store.grammar import template_slots
from toolorch_env.store.plain_phrasing import plain_phrasing
from toolorch_env.store.workflow_yaml import workflows_to_yaml
from toolorch_env.store.workflows import WorkflowStep, parse_workflows
from toolorch_env.store.yaml_reader import read_yaml


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_written_workflows_read_back(name: str) -> None:
    workflows = world(name).generator.workflows
    assert parse_workflows(read_yaml(workflows_to_yaml(workflows))) == workflows


@given(st.one_of(st.text(min_size=1), st.sampled_from(["1e3", "-1E5", ".5", "0x1f", "NO", "~", "2024-11-25", "12:30"])))
def test_any_text_reads_back(text: str) -> None:
    """Also what YAML takes for numbers, dates or nothing, and line breaks of all kinds."""
    step = {"id": "only", "tool": text, "arguments": {text: {"query": "lake"}}}
    phrasing = text.replace("{", "{{").replace("}", "}}") + "{lake}"
    workflow = {"name": "one", "description": text, "literals": {"lake": "lake"}, "steps": [step]}
    workflows = parse_workflows(
        {"domain": "lakes", "kinds": {"lake": text}, "workflows": [{**workflow, "phrasings": [phrasing]}]}
    )
    assert parse_workflows(read_yaml(workflows_to_yaml(workflows))) == workflows


def steps(*documents: dict[str, object]) -> list[WorkflowStep]:
    return [WorkflowStep.model_validate(document) for document in documents]


def test_a_workflow_in_plain_words() -> None:
    said = plain_phrasing(
        steps(
            {"id": "list", "tool": "ListLakes"},
            {"id": "lake", "tool": "Search_Lake_2", "arguments": {"lakeName": {"query": "name"}}},
            {
                "id": "town",
                "tool": "town.nearest",
                "arguments": {
                    "latitude": {"from": "lake", "select": "{a: lat}.a"},
                    "longitude": {"from": "lake", "select": "lng"},
                    "max_km": {"query": "max_km"},
                },
            },
        )
    )
    assert said == (
        "List lakes; then search lake 2 with lake name {name}; then town nearest with max km {max_km}, latitude from "
        "`{{a: lat}}.a` of answer 2 and longitude from `lng` of answer 2."
    )


@given(st.text(min_size=1), st.text(min_size=1))
def test_plain_words_have_exactly_the_literals_as_slots(tool: str, parameter: str) -> None:
    said = plain_phrasing(steps({"id": "only", "tool": tool, "arguments": {parameter: {"query": "lake"}}}))
    assert template_slots(said) == {"lake"}
