"""Which workflows differ in nothing but words: held out are both of them, or neither."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import jmespath

from toolorch_env.generation.splits import is_held_out
from toolorch_env.store.workflows import QueryArgument, Workflow, WorkflowStep


def held_out_workflows(workflows: Iterable[Workflow]) -> frozenset[str]:
    """Names of those that are held out: of workflows with one structure, all if the first of their names is."""
    groups: defaultdict[bytes, list[str]] = defaultdict(list)
    for workflow in workflows:
        groups[structure_of(workflow)].append(workflow.name)
    return frozenset(name for names in groups.values() if is_held_out(min(names)) for name in names)


def structure_of(workflow: Workflow) -> bytes:
    """Equal for workflows that differ in names, words and the order in which they list their steps alone.

    Steps and literals are coloured by what they are connected with, as often as there are steps (Weisfeiler and
    Leman's refinement, 1968).
    """
    colours = _Colours(workflow)
    for _ in workflow.steps:
        colours.refine()
    return _digest(*sorted(colours.steps.values()))


class _Colours:
    """A colour of each step and each literal of a workflow."""

    def __init__(self, workflow: Workflow) -> None:
        self._workflow = workflow
        self.steps = {step.id: _digest(step.tool.encode()) for step in workflow.steps}
        self.literals = dict.fromkeys(workflow.literals, b"")

    def refine(self) -> None:
        """Colours each by its own colour and those of what it is connected with."""
        steps: defaultdict[str, list[bytes]] = defaultdict(list)
        literals: defaultdict[str, list[bytes]] = defaultdict(list)
        for step in self._workflow.steps:
            for name, other, told in self._connections(step):
                found, colours = (literals, self.literals) if told[:1] == "$" else (steps, self.steps)
                found[other].append(_digest(b"to", name.encode(), told.encode(), self.steps[step.id]))
                steps[step.id].append(_digest(b"from", name.encode(), told.encode(), colours[other]))
        self.steps = {name: _digest(colour, *sorted(steps[name])) for name, colour in self.steps.items()}
        self.literals = {name: _digest(colour, *sorted(literals[name])) for name, colour in self.literals.items()}

    def _connections(self, step: WorkflowStep) -> Iterator[tuple[str, str, str]]:
        """Parameter, literal or other step, and how it is used; ``$`` begins the use of a literal."""
        for other in step.after:
            yield "", other, ""
        for name, argument in step.arguments.items():
            if isinstance(argument, QueryArgument):
                yield name, argument.query, "$"
                continue
            named = re.findall(r"\$(\w+)", argument.select)  # in their order there, whatever they are called
            ordered = sorted(argument.values, key=named.index)
            numbers = {literal: number for number, literal in enumerate(ordered)}
            yield name, argument.step, _meaning(argument.written(numbers))
            for literal, number in numbers.items():
                yield name, literal, f"${number} {_meaning(argument.values[literal])}"


def _meaning(expression: str) -> str:
    """A JMESPath expression, however it is spelt."""
    return str(jmespath.compile(expression).parsed)


def _digest(*parts: bytes) -> bytes:
    data = b"".join([len(part).to_bytes(4, "big") + part for part in parts])
    return blake2b(data, digest_size=16).digest()
