"""Published workflow templates as a workflow document."""

import re
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, Field, ValidationError

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import DataSetError, WorkflowError
from toolorch_env.core.origins import jmespath_of
from toolorch_env.recording.importing.json_files import read_json, shape_complaint
from toolorch_env.store.naming import snake_case
from toolorch_env.store.plain_phrasing import plain_phrasing
from toolorch_env.store.workflows import WorkflowStep, parse_workflows

DOMAIN = "booking"

_FIELD = re.compile(r"(?:[^.\[\]]+(?:\[[0-9]+\])*|(?:\[[0-9]+\])+)(?:\.[^.\[\]]+(?:\[[0-9]+\])*)*")
_FIELD_PART = re.compile(r"\.?(?P<name>[^.\[\]]+)|\[(?P<index>[0-9]+)\]")


class PublishedDependency(NamedTuple):
    """An argument that a published template takes from an earlier response.

    Attributes:
        step, argument: which argument; steps are counted from 0.
        from_step, from_field: where it is taken from: a path in the body, below its ``data`` where it has that.
    """

    step: int
    argument: str
    from_step: int
    from_field: str


class PublishedTemplate(NamedTuple):
    """What a published template says of dependencies.

    Attributes:
        id: its name.
        pattern: tools of its steps, in order.
        frequency: number of problems that follow it, as published.
        dependencies: all of them.
    """

    id: str
    pattern: tuple[str, ...]
    frequency: int
    dependencies: frozenset[PublishedDependency]


class TemplateSet(NamedTuple):
    """Published templates as workflows.

    Attributes:
        document: a workflow document, ``None`` where no template could be converted.
        problems: which templates could not be converted and why, in words.
    """

    document: dict[str, Any] | None
    problems: tuple[str, ...]


class _Origin(BaseModel):
    from_step: int
    from_field: str


class _Step(BaseModel):
    function: str
    arguments: dict[str, Any] = {}
    dependency_args: dict[str, _Origin] = {}


class _Template(BaseModel):
    id: str
    frequency: int = 0
    steps: dict[int, _Step] = Field(alias="dependencies", min_length=1)


def read_templates(path: str | Path) -> TemplateSet:
    """The templates of a file as a workflow document.

    An argument with a dependency is taken from the body below ``data``, or from the whole body where it has no such
    field. The others become literals: one for each value of a parameter, whichever steps use it. Their kinds are the
    names of the parameters.

    Raises:
        DataSetError: the file is missing or not one of templates.
    """
    workflows: list[dict[str, Any]] = []
    problems = []
    names = {""}
    for number, document in enumerate(_documents(Path(path))):
        try:
            workflow = _workflow(_template(document), names)
        except (DataSetError, WorkflowError) as error:
            problems.append(f"{_label(number, document)} is left out: {error}")
            continue
        names.add(workflow["name"])
        workflows.append(workflow)
    return TemplateSet(_document(workflows) if workflows else None, tuple(problems))


def published_dependencies(path: str | Path) -> tuple[PublishedTemplate, ...]:
    """The dependencies of each template of a file, as they are published.

    Raises:
        DataSetError: the file is missing or not one of templates, or a template is malformed.
    """
    published = []
    for number, document in enumerate(_documents(Path(path))):
        try:
            template = _template(document)
        except DataSetError as error:
            raise DataSetError(f"{path}, {_label(number, document)}: {error}") from None
        steps = sorted(template.steps.items())
        dependencies = frozenset(
            PublishedDependency(index, argument, origin.from_step, origin.from_field)
            for index, step in steps
            for argument, origin in step.dependency_args.items()
        )
        pattern = tuple(step.function for _, step in steps)
        published.append(PublishedTemplate(template.id, pattern, template.frequency, dependencies))
    return tuple(published)


def select_field(field: str) -> str:
    """The JMESPath expression that selects a published field: below ``data``, or in the whole body without that.

    Names that JMESPath does not take as they stand are quoted.

    Raises:
        DataSetError: the field is no path of names and ``[indices]``.
    """
    if not _FIELD.fullmatch(field):
        raise DataSetError(f"the field {field!r} is no path of names and [indices]")
    path: list[str | int] = []
    for part in _FIELD_PART.finditer(field):
        name = part["name"]
        if name and name.isdigit():
            raise DataSetError(f"the field {field!r} does not say whether {name} is a name or an index")
        path.append(name or int(part["index"]))
    selected = jmespath_of(tuple(path))
    return f"(data || @){'' if selected.startswith('[') else '.'}{selected}"


def _documents(path: Path) -> list[Any]:
    document = read_json(path)
    templates = document.get("workflows") if isinstance(document, dict) else None
    if not isinstance(templates, list):
        raise DataSetError(f"{path} holds no workflow templates: expected an object with a list `workflows`")
    return templates


def _label(number: int, document: Any) -> str:
    name = document.get("id") if isinstance(document, dict) else None
    return f"template {name!r}" if name is not None else f"template number {number}"


def _template(document: Any) -> _Template:
    try:
        template = _Template.model_validate(document)
    except ValidationError as error:
        raise DataSetError(shape_complaint(error)) from None
    if sorted(template.steps) != list(range(len(template.steps))):
        raise DataSetError(f"its steps are not numbered from 0 on: {sorted(template.steps)}")
    return template


def _workflow(template: _Template, taken: set[str]) -> dict[str, Any]:
    """A template as a workflow that was parsed once."""
    literals = _Literals()
    steps = [_step(number, step, literals) for number, step in sorted(template.steps.items())]
    name = snake_case(template.id)
    if name in taken:
        raise DataSetError(f"another template has the name {name!r}")
    try:
        phrasing = plain_phrasing([WorkflowStep.model_validate(step) for step in steps])
    except (ValidationError, KeyError):
        phrasing = name  # parsing says in words what is wrong with the steps
    workflow: dict[str, Any] = {"name": name, "literals": literals.kinds, "steps": steps, "phrasings": [phrasing]}
    if template.frequency > 0:
        workflow["frequency"] = template.frequency
    parse_workflows(_document([workflow]), "as a workflow")
    return workflow


def _document(workflows: list[dict[str, Any]]) -> dict[str, Any]:
    kinds = sorted({kind for workflow in workflows for kind in workflow["literals"].values()})
    return {"domain": DOMAIN, "kinds": {kind: kind.replace("_", " ") for kind in kinds}, "workflows": workflows}


def _step(number: int, step: _Step, literals: "_Literals") -> dict[str, Any]:
    arguments: dict[str, Any] = {
        name: {"query": literals.name(name, value)}
        for name, value in step.arguments.items()
        if name not in step.dependency_args
    }
    for name, origin in step.dependency_args.items():
        if not 0 <= origin.from_step < number:
            raise DataSetError(f"step {number} takes {name!r} from step {origin.from_step}, which does not come before")
        arguments[name] = {"from": f"step_{origin.from_step}", "select": select_field(origin.from_field)}
    return {"id": f"step_{number}", "tool": step.function, "arguments": arguments}


class _Literals:
    """The literals of one workflow: one for each value of a parameter.

    Attributes:
        kinds: kind of each literal, by its name.
    """

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self._names: dict[tuple[str, bytes], str] = {}

    def name(self, parameter: str, value: Any) -> str:
        """Name of the literal for a value of a parameter."""
        key = (parameter, canonical_json(value))
        if key not in self._names:
            kind = snake_case(parameter)
            name = _unused(kind, self.kinds)
            self._names[key] = name
            self.kinds[name] = kind
        return self._names[key]


def _unused(name: str, taken: dict[str, str]) -> str:
    number = 1
    while (candidate := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return candidate
