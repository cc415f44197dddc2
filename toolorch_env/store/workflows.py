"""Workflow files: templates of tool calls whose arguments are bound to the query or to earlier responses."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from operator import not_
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import orjson
import yaml
from pydantic import Discriminator, Field, Tag, ValidationError, model_validator

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import WorkflowError
from toolorch_env.store.compiled import Link
from toolorch_env.store.grammar import Model, Name, Paraphrase, ToolGrammar, template_slots
from toolorch_env.store.selection import Selector, named_literals, with_literals
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.yaml_reader import read_yaml


class QueryArgument(Model):
    """An argument whose value the query says: ``{query: origin}``."""

    query: Name


class ResponseArgument(Model):
    """An argument that is taken from an earlier response: ``{from: flights, select: "flights[0].tail_number"}``.

    The expression may name literals of the query, as ``flights[?carrier == $carrier].tail_number | [0]`` does. Then
    ``values`` says for each which expression lists the values that it can have with a response, as in
    ``{carrier: "flights[].carrier"}``.
    """

    step: Name = Field(alias="from")
    select: str
    values: dict[Name, str] = Field(default={}, exclude_if=not_)

    def written(self, literals: Mapping[str, Any]) -> str:
        """The expression with the values of literals written in."""
        return with_literals(self.select, literals) if self.values else self.select


def _argument_kind(value: Any) -> Literal["query", "response"]:
    given = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return "query" if "query" in given else "response"


Argument = Annotated[
    Annotated[QueryArgument, Tag("query")] | Annotated[ResponseArgument, Tag("response")],
    Discriminator(_argument_kind),
]


class WorkflowStep(Model):
    """One call of a workflow."""

    id: Name
    tool: str
    arguments: dict[str, Argument] = Field(default={})
    after: tuple[Name, ...] = ()

    @property
    def depends_on(self) -> set[str]:
        """Identifiers of the steps that come before this one."""
        taken = {argument.step for argument in self.arguments.values() if isinstance(argument, ResponseArgument)}
        return taken.union(self.after)


class Workflow(Model):
    """A DAG of tool calls and the ways in which a user may ask for it.

    ``frequency`` says how many traces a mined workflow was seen in; tasks are not drawn by it.
    """

    name: Name
    description: str = ""
    literals: dict[Name, Name] = Field(default={})
    steps: tuple[WorkflowStep, ...] = Field(min_length=1)
    phrasings: tuple[str, ...] = Field(min_length=1)
    frequency: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        identifiers = [step.id for step in self.steps]
        if len(set(identifiers)) < len(identifiers):
            raise ValueError("two steps have the same id")
        for step in self.steps:
            for other in sorted(step.depends_on):
                if other not in identifiers:
                    raise ValueError(f"step {step.id!r} refers to a step {other!r} that does not exist")
        self.order  # noqa: B018  finds cycles
        self._check_selections()
        self._check_literals()
        return self

    def _check_selections(self) -> None:
        for step in self.steps:
            for name, argument in step.arguments.items():
                if isinstance(argument, ResponseArgument):
                    try:
                        _check_selection(argument)
                    except WorkflowError as error:
                        raise ValueError(f"step {step.id!r}, argument {name!r}: {error}") from None

    def _check_literals(self) -> None:
        used: set[str] = set()
        for step in self.steps:
            for argument in step.arguments.values():
                used.update([argument.query] if isinstance(argument, QueryArgument) else argument.values)
        if used != set(self.literals):
            odd = ", ".join(sorted(used ^ set(self.literals)))
            raise ValueError(f"declared literals and those used by steps differ: {odd}")
        for phrasing in self.phrasings:
            if template_slots(phrasing) != used:
                odd = ", ".join(sorted(template_slots(phrasing) ^ used))
                raise ValueError(f"the phrasing {phrasing!r} does not say exactly the literals: {odd}")

    @cached_property
    def order(self) -> tuple[WorkflowStep, ...]:
        """The steps in an order that respects their dependencies, the file's own where it does."""
        by_id = {step.id: step for step in self.steps}
        sorter = TopologicalSorter({step.id: step.depends_on for step in self.steps})
        try:
            sorter.prepare()
        except CycleError as error:
            raise ValueError(f"the steps depend on each other in a cycle: {' -> '.join(error.args[1])}") from None
        ordered: list[WorkflowStep] = []
        ready: set[str] = set()
        while sorter.is_active():
            ready.update(sorter.get_ready())
            first = next(step.id for step in self.steps if step.id in ready)
            ready.remove(first)
            sorter.done(first)
            ordered.append(by_id[first])
        return tuple(ordered)

    @cached_property
    def position(self) -> dict[str, int]:
        """Index of each step in :attr:`order`, by its id."""
        return {step.id: index for index, step in enumerate(self.order)}

    def distant_sources(self, recent: int) -> Iterator[tuple[str, str]]:
        """Steps that use a response which is no more among the latest ``recent`` ones of its tool, and that source."""
        for index, step in enumerate(self.order):
            for argument in step.arguments.values():
                if isinstance(argument, ResponseArgument):
                    source = self.position[argument.step]
                    later = [other.tool for other in self.order[source + 1 : index]]
                    if later.count(self.order[source].tool) >= recent:
                        yield step.id, argument.step

    def links(self) -> Iterator[Link]:
        """The ways in which values flow in this workflow, but for those that depend on literals of the query."""
        tool_of = {step.id: step.tool for step in self.steps}
        for step in self.order:
            for name, argument in step.arguments.items():
                if isinstance(argument, ResponseArgument) and not argument.values:
                    yield Link(name, tool_of[argument.step], argument.select)

    def literal_selections(self) -> Iterator[tuple[str, str]]:
        """Steps that take an argument from a response by a literal of the query, and the expression."""
        for step in self.order:
            for argument in step.arguments.values():
                if isinstance(argument, ResponseArgument) and argument.values:
                    yield step.id, argument.select

    def problems(self, tools: ToolSet) -> Iterator[str]:
        """What keeps the workflow from running on these tools, in words."""
        for step in self.steps:
            if step.tool not in tools:
                yield f"workflow {self.name!r}, step {step.id!r}: there is no tool {step.tool!r}"
                continue
            for parameter in step.arguments.keys() - tools.signature(step.tool).parameters.keys():
                yield f"workflow {self.name!r}, step {step.id!r}: {step.tool} has no parameter {parameter!r}"
            for problem in tools.signature(step.tool).problems(step.arguments):
                if problem.kind == "missing_parameter":
                    yield f"workflow {self.name!r}, step {step.id!r}: {problem.message}"


class WorkflowSet(Model):
    """All workflows of one domain, with what their queries are made of.

    Attributes:
        domain: name of the domain.
        kinds: forms of values, each with a description.
        distractions: sentences that mention values nobody needs; their slots are kinds.
        grammar: by tool, how a step that calls it is said in queries that are composed.
        paraphrases: by kind, other ways to say its values.
        rewrites: other versions of phrasings, by the phrasing, as a language model has worded them.
        workflows: the workflows.
    """

    domain: Name
    kinds: dict[Name, str] = Field(default={})
    distractions: tuple[str, ...] = ()
    grammar: dict[str, ToolGrammar] = Field(default={}, exclude_if=not_)
    paraphrases: dict[Name, tuple[Paraphrase, ...]] = Field(default={}, exclude_if=not_)
    rewrites: dict[str, tuple[str, ...]] = Field(default={}, exclude_if=not_)
    workflows: tuple[Workflow, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [workflow.name for workflow in self.workflows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two workflows are named {name!r}")
        for workflow in self.workflows:
            for kind in sorted(set(workflow.literals.values()) - set(self.kinds)):
                raise ValueError(f"workflow {workflow.name!r} uses the kind {kind!r}, which is not declared")
        for sentence in self.distractions:
            for kind in sorted(template_slots(sentence) - set(self.kinds)):
                raise ValueError(f"the distraction {sentence!r} uses the kind {kind!r}, which is not declared")
        return self

    @model_validator(mode="after")
    def _check_words(self) -> Self:
        for kind in sorted(self.paraphrases.keys() - self.kinds.keys()):
            raise ValueError(f"there are paraphrases for the kind {kind!r}, which is not declared")
        for phrasing, others in self.rewrites.items():
            if not others:
                raise ValueError(f"there are no versions of the phrasing {phrasing!r}: leave the entry out")
            for other in others:
                if template_slots(other) != template_slots(phrasing):
                    raise ValueError(f"the rewrite {other!r} does not have the slots of {phrasing!r}")
        return self

    def links(self) -> set[Link]:
        """The ways in which values flow in any of the workflows."""
        return {link for workflow in self.workflows for link in workflow.links()}

    def check_tools(self, tools: ToolSet) -> None:
        """Checks all workflows against the tools that they call.

        Raises:
            WorkflowError: a tool or parameter is unknown, or a required parameter is not bound.
        """
        problems = [problem for workflow in self.workflows for problem in workflow.problems(tools)]
        problems += self._word_problems(tools)
        if problems:
            raise WorkflowError("; ".join(problems[:10]))

    def _word_problems(self, tools: ToolSet) -> Iterator[str]:
        for name, grammar in self.grammar.items():
            if name not in tools:
                yield f"the grammar names a tool {name!r}, which does not exist"
            elif unknown := grammar.unknown_parameters(set(tools.signature(name).parameters)):
                yield f"the grammar of {name!r} names parameters that it does not have: {', '.join(sorted(unknown))}"
        for kind, paraphrases in self.paraphrases.items():
            for paraphrase in paraphrases:
                if paraphrase.tool and paraphrase.tool not in tools:
                    yield f"the paraphrases of {kind!r} name a tool {paraphrase.tool!r}, which does not exist"


def _check_selection(argument: ResponseArgument) -> None:
    named = named_literals(argument.select)
    if named != argument.values.keys():
        odd = ", ".join(sorted(named ^ argument.values.keys()))
        raise WorkflowError(f"{argument.select!r} and its `values` do not name the same literals: {odd}")
    for select in (argument.written(dict.fromkeys(named, "")), *argument.values.values()):
        Selector(select)


def parse_workflows(document: Any, where: str = "workflows") -> WorkflowSet:
    """The workflows in a document.

    Args:
        document: parsed YAML or JSON, or the bytes of it as they are stored in a snapshot.
        where: what to call the document in messages.

    Raises:
        WorkflowError: says where and what is wrong.
    """
    try:
        document = orjson.loads(document) if isinstance(document, bytes) else document
        return WorkflowSet.model_validate(document)
    except orjson.JSONDecodeError as error:
        raise WorkflowError(f"{where}: not JSON: {error}") from None
    except ValidationError as error:
        raise WorkflowError(f"{where}: {_first_problems(error, document)}") from None


def load_workflows(path: str | Path) -> WorkflowSet:
    """The workflows in a YAML file.

    Raises:
        WorkflowError: the file is missing or not valid; says where and what.
    """
    try:
        document = read_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise WorkflowError(f"{path}: {error}") from None
    return parse_workflows(document, str(path))


def snapshot_workflows(snapshot: Snapshot) -> WorkflowSet:
    """The workflows that are stored in a snapshot.

    Raises:
        WorkflowError: there are none, or they do not fit its tools.
    """
    data = snapshot.blob("workflows")
    if data is None:
        raise WorkflowError(f"the snapshot {snapshot.name!r} holds no workflows: pass some to the generator")
    workflows = parse_workflows(data, snapshot.name)
    workflows.check_tools(snapshot.tools)
    return workflows


def _first_problems(error: ValidationError, document: Any) -> str:
    messages = []
    for problem in error.errors()[:5]:
        place = list(problem["loc"])
        if place[:1] == ["workflows"] and len(place) > 1 and isinstance(document, Mapping):
            place[:2] = [f"workflow {_name_of(document, place[1])}"]
        messages.append(f"{' / '.join(map(str, place))}: {problem['msg'].removeprefix('Value error, ')}".lstrip(": "))
    return "; ".join(messages)


def _name_of(document: Mapping[str, Any], index: Any) -> str:
    try:
        return repr(document["workflows"][index]["name"])
    except (LookupError, TypeError):
        return f"number {index}"
