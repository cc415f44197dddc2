"""The workflows of the travel bundle: well formed, and executed end to end through the API."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import jmespath
import numpy as np
import pytest
import yaml

from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.splits import is_held_out

TASKS = 3

_FILE = Path(__file__).parents[2] / "cache_snapshots" / "travel" / "workflows.yaml"
_WORKFLOWS: dict[str, dict[str, Any]] = {
    workflow["name"]: workflow for workflow in yaml.safe_load(_FILE.read_text(encoding="utf-8"))["workflows"]
}


def slots(text: str) -> set[str]:
    return set(re.findall(r"\{(\w+)\}", text))


def links(workflow: dict[str, Any]) -> list[tuple[str, str, str]]:
    tools = {step["id"]: step["tool"] for step in workflow["steps"]}
    return [
        (name, tools[binding["from"]], binding["select"])
        for step in workflow["steps"]
        for name, binding in step["arguments"].items()
        if "from" in binding
    ]


@pytest.fixture(scope="module")
def generator() -> WorkflowGenerator:
    return WorkflowGenerator("travel")


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_a_workflow_goes_through_on_the_api(get: Any, generator: WorkflowGenerator, name: str) -> None:
    split = "test_workflows" if is_held_out(name) else "train"
    rng = np.random.default_rng(1)
    for _ in range(TASKS):
        task = generator.sample(rng, {"workflows": (name,), "split": split})
        literals = {mention.value for mention in task.mentions}
        bodies: dict[str, Any] = {}
        for step, call in zip(_WORKFLOWS[name]["steps"], task.reference, strict=True):
            assert call.tool == step["tool"]
            assert set(call.arguments) <= set(step["arguments"])
            for parameter, value in call.arguments.items():
                binding = step["arguments"][parameter]
                if "query" in binding:
                    assert value in literals
                else:
                    assert value == jmespath.search(binding["select"], bodies[binding["from"]])
            answer = get(call.tool, **call.arguments)
            assert answer.status_code == 200, (call, answer.text)
            assert len(answer.content) < 4000
            bodies[step["id"]] = answer.json()


@pytest.mark.parametrize("name", _WORKFLOWS)
def test_a_workflow_is_well_formed(name: str, app: Any, document: dict[str, Any]) -> None:
    workflow = _WORKFLOWS[name]
    parameters = {
        entry["get"]["operationId"]: {parameter["name"]: parameter for parameter in entry["get"]["parameters"]}
        for entry in app.openapi()["paths"].values()
    }
    seen: dict[str, list[str]] = {}
    assert 2 <= len(workflow["steps"]) <= 8
    assert set(workflow["literals"].values()) <= set(document["kinds"])
    used = set()
    for step in workflow["steps"]:
        known = parameters[step["tool"]]
        assert set(step["arguments"]) <= set(known)
        assert {key for key, entry in known.items() if entry["required"]} <= set(step["arguments"])
        for binding in step["arguments"].values():
            if "query" in binding:
                used.add(binding["query"])
            else:  # Only the latest two responses of a tool can be referred to.
                assert any(binding["from"] in steps[-2:] for steps in seen.values())
        seen.setdefault(step["tool"], []).append(step["id"])
    assert used == set(workflow["literals"])
    assert len(workflow["phrasings"]) >= 4
    assert all(slots(phrasing) == used for phrasing in workflow["phrasings"])


def test_every_step_is_a_link_or_an_end_and_ids_are_unique() -> None:
    for workflow in _WORKFLOWS.values():
        ids = [step["id"] for step in workflow["steps"]]
        assert len(ids) == len(set(ids))
        assert max(Counter(step["tool"] for step in workflow["steps"]).values()) <= 2


def test_the_workflows_share_a_vocabulary_and_use_every_tool(paths: dict[str, str]) -> None:
    assert len(_WORKFLOWS) >= 30
    assert {step["tool"] for workflow in _WORKFLOWS.values() for step in workflow["steps"]} == set(paths)
    assert len({link for workflow in _WORKFLOWS.values() for link in links(workflow)}) <= 60


def test_kinds_and_distractions(document: dict[str, Any]) -> None:
    used = {kind for workflow in _WORKFLOWS.values() for kind in workflow["literals"].values()}
    assert used == set(document["kinds"])
    assert len(document["distractions"]) >= 15
    assert set().union(*map(slots, document["distractions"])) == used
    kinds: dict[str, str] = {}
    for workflow in _WORKFLOWS.values():
        for literal, kind in workflow["literals"].items():
            assert kinds.setdefault(literal, kind) == kind
