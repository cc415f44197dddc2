"""What tasks of one workflow share, and the workflow that it makes."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.core.tasks import ReferenceCall, Task
from toolorch_env.generation.envelopes import without_envelope
from toolorch_env.generation.mined_phrasings import is_telling, mined_phrasings, said_key
from toolorch_env.store.plain_phrasing import plain_phrasing
from toolorch_env.store.workflows import WorkflowStep

_MAX_NAME = 56
"""Longest name before a number is put behind it; names in workflow files have at most 64 characters."""

_Place = tuple[int, str]
"""A step and one of its parameters."""


class StepStructure(NamedTuple):
    """What one call has in common in all tasks of a workflow.

    Attributes:
        tool: tool name.
        sources: parameters, sorted, each with the step and the expression that it comes from, ``None`` for literals.
        after: earlier steps that must come first without any data flowing.
    """

    tool: str
    sources: tuple[tuple[str, tuple[int, str] | None], ...]
    after: tuple[int, ...]


Structure = tuple[StepStructure, ...]


def structure_of(task: Task, envelopes: Mapping[str, str]) -> Structure:
    """What tasks of the same workflow share.

    Args:
        task: the task.
        envelopes: for tools whose bodies are wrapped at times, the key that they are wrapped under.
    """
    return tuple(_step_structure(task, call, envelopes) for call in task.reference)


def _step_structure(task: Task, call: ReferenceCall, envelopes: Mapping[str, str]) -> StepStructure:
    sources: dict[str, tuple[int, str] | None] = dict.fromkeys(call.arguments)
    for binding in call.bindings:
        envelope = envelopes.get(task.reference[binding.step].tool)
        select = binding.select if envelope is None else without_envelope(binding.select, envelope)
        sources[binding.parameter] = (binding.step, select)
    flowing = {source[0] for source in sources.values() if source is not None}
    return StepStructure(call.tool, tuple(sorted(sources.items())), tuple(sorted(set(call.after) - flowing)))


class MinedWorkflow:
    """The workflow of tasks that have the same structure.

    Args:
        structure: what the tasks share.
        tasks: the tasks, at least one.

    Attributes:
        literals: for each literal its name and the places that it fills.
        phrasings: phrasings of the tasks' own queries; may be empty.
    """

    def __init__(self, structure: Structure, tasks: Sequence[Task]) -> None:
        self.structure = structure
        self.tasks = tasks
        self.literals = dict(_named_literals(_shared_literals(structure, self.tasks)))
        self.phrasings = mined_phrasings((task, self._values(task)) for task in self.tasks)

    @property
    def rank(self) -> tuple[int, str]:
        """By this, workflows are ordered: the most frequent first, the rest by their structure."""
        return -len(self.tasks), repr(self.structure)

    @property
    def base_name(self) -> str:
        """The name that the tasks have for their workflow, where they agree; else that of its tools."""
        names = {task.workflow for task in self.tasks}
        only = names.pop() if len(names) == 1 else ""
        return identifier(only or "_then_".join(step.tool for step in self.structure))

    @cached_property
    def kinds(self) -> dict[str, str]:
        """The kind of each literal: the form in which most queries say it, the parameter's name if none does."""
        found = {}
        for name, places in self.literals.items():
            said = Counter(kind for task in self.tasks for kind in _kinds_said(task, places[0]))
            most = max(said.values(), default=0)
            found[name] = identifier(min((kind for kind in said if said[kind] == most), default=places[0][1]))
        return found

    def document(self, name: str) -> dict[str, Any]:
        """The workflow as it stands in a workflow file."""
        steps = self._steps()
        plain = plain_phrasing([WorkflowStep.model_validate(step) for step in steps])
        return {
            "name": name,
            "description": ", then ".join(step.tool for step in self.structure),
            "frequency": len(self.tasks),
            "literals": self.kinds,
            "steps": steps,
            "phrasings": list(self.phrasings or (plain,)),
        }

    def _steps(self) -> list[dict[str, Any]]:
        identifiers = unique_names(identifier(step.tool).lower() for step in self.structure)
        literal_at = {place: name for name, places in self.literals.items() for place in places}
        steps = []
        for index, step in enumerate(self.structure):
            arguments = {
                parameter: {"query": literal_at[index, parameter]}
                if source is None
                else {"from": identifiers[source[0]], "select": source[1]}
                for parameter, source in step.sources
            }
            written: dict[str, Any] = {"id": identifiers[index], "tool": step.tool, "arguments": arguments}
            steps.append(written | ({"after": [identifiers[other] for other in step.after]} if step.after else {}))
        return steps

    def _values(self, task: Task) -> dict[str, Any]:
        """The values of the literals in a task."""
        return {name: _value(task, places[0]) for name, places in self.literals.items()}


def identifier(text: str) -> str:
    """A text as a name that workflow files admit."""
    plain = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_") or "value"
    return ("_" * plain[0].isdigit() + plain)[:_MAX_NAME]


def unique_names(names: Iterable[str]) -> list[str]:
    """The names, with a number behind those that stand there for a second time."""
    found: dict[str, None] = {}
    for name in names:
        number, free = 1, name
        while free in found:
            number += 1
            free = f"{name}_{number}"
        found[free] = None
    return list(found)


def _shared_literals(structure: Structure, tasks: Sequence[Task]) -> list[list[_Place]]:
    """The places that literals fill, those together that one literal fills in all tasks."""
    shared: dict[tuple[Any, ...], list[_Place]] = defaultdict(list)
    for index, step in enumerate(structure):
        for parameter, source in step.sources:
            if source is None:
                shared[tuple(_identity(task, (index, parameter)) for task in tasks)].append((index, parameter))
    return list(shared.values())


def _identity(task: Task, place: _Place) -> tuple[str, bytes]:
    """Equal for places of a task that one literal may fill."""
    value = _value(task, place)
    return "" if is_telling(value) else place[1], canonical_json(rounded(value))


def _named_literals(literals: list[list[_Place]]) -> Iterable[tuple[str, list[_Place]]]:
    return zip(unique_names(identifier(places[0][1]) for places in literals), literals, strict=True)


def _kinds_said(task: Task, place: _Place) -> set[str]:
    """The kinds as which a query says the value at a place."""
    wanted = said_key(_value(task, place))
    return {mention.kind for mention in task.mentions if said_key(mention.value) == wanted}


def _value(task: Task, place: _Place) -> Any:
    return task.reference[place[0]].arguments[place[1]]
