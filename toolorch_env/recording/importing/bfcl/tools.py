"""The tools of BFCL's back ends."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.tools import Tool
from toolorch_env.recording.importing.bfcl.measuring import read_only_tools
from toolorch_env.recording.importing.bfcl.package import Package
from toolorch_env.recording.importing.bfcl.problems import Problem
from toolorch_env.recording.importing.bfcl.world import LOAD_SCENARIO, World
from toolorch_env.recording.importing.schemas import as_tool

MISS_STATUS = 400
MISS_BODY = {"error": "Not found"}

_LOADING = Tool(
    LOAD_SCENARIO,
    "Begins a problem: sets all back ends up as the problem has them.",
    {
        "type": "object",
        "properties": {"scenario": {"type": "string", "description": "Name of the scenario"}},
        "required": ["scenario"],
    },
    miss_status=MISS_STATUS,
    miss_body=MISS_BODY,
    read_only=False,
)


def documented_tools(package: Package) -> ToolSet:
    """A tool for each document of the package, and the one that begins a problem; all of them state-changing."""
    documents = [document for listed in package.documents.values() for document in listed]
    return ToolSet([_LOADING, *(_tool(document) for document in documents)])


def marked(tools: ToolSet, package: Package, problems: Sequence[Problem]) -> ToolSet:
    """The tools, those marked as read-only that are (see :func:`read_only_tools`)."""
    world = World(package, {problem.scenario.name: problem.scenario for problem in problems})
    reading = read_only_tools(world, problems, looks_of(tools))
    return ToolSet(replace(tool, read_only=tool.name in reading) for tool in tools.values())


def looks_of(tools: ToolSet) -> list[Call]:
    """A call without arguments of each tool that needs none."""
    return [Call(name, {}) for name, tool in tools.items() if not tool.required]


def _tool(document: Mapping[str, Any]) -> Tool:
    parameters = document["parameters"]
    properties = {name: _without_none(schema) for name, schema in parameters["properties"].items()}
    described = {**document, "parameters": {**parameters, "properties": properties}}
    return replace(as_tool(described, miss_status=MISS_STATUS, miss_body=MISS_BODY), read_only=False)


def _without_none(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter without a default of Python's ``None``, which is documented as a text."""
    return {name: value for name, value in schema.items() if (name, value) != ("default", "None")}
