"""The published Booking.com data: tasks, caches, workflow templates and tool schemas."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Annotated, Any, Literal

import ijson  # type: ignore[import-untyped]
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import DataSetError
from toolorch_env.core.tools import Tool
from toolorch_env.recording.importing.caches import (
    FAILED,
    MISS_BODY,
    answered,
    json_complaint,
    read_cache,
    shape_complaint,
)
from toolorch_env.recording.importing.pickles import load_plain
from toolorch_env.recording.importing.schemas import inferred_tool, read_tools
from toolorch_env.recording.importing.templates import read_templates
from toolorch_env.recording.importing.traces import UNKNOWN, Answered, DataSet, Paths, Trace, TracedCall
from toolorch_env.store.workflows import parse_workflows

NAME = "booking"
DESCRIPTION = "Booking.com: hotels, flights, car rentals, attractions and taxis"
SOURCE = "Booking.com API (booking-com15 on RapidAPI), as published with arXiv 2603.24709 (ToolOrchestrationReward)"
LICENCE = "Apache-2.0"

Kind = Literal["tasks", "tools", "templates", "cache"]

_EXPECTED = (
    "expected a pickle of tasks, a cache ({function: [{arguments, response}, ...]}), workflow templates "
    "({workflows: [...]}) or tool schemas (one JSON object a line, or a JSON array)"
)
_SHOWN = 3
_PICKLE_STARTS = (b"\x80", b"(", b"]", b"}")


class _Made(BaseModel):
    """A call as the data set writes it."""

    function: str
    arguments: dict[str, Any]


class _Executed(BaseModel):
    """What came of a step; nothing of it need be there."""

    model_config = ConfigDict(extra="forbid")

    step: Any = None
    function: str | None = None
    arguments: dict[str, Any] | None = None
    body: Any = Field(default="", alias="execution_result")
    success: bool | None = None


def _nothing_is_unknown(value: Any) -> Any:
    return {} if value is None or value == "" else value


class _Step(BaseModel):
    step: int | None = None
    ground_truth: _Made
    candidate_tools: list[str] = []
    depends_on: list[int] = []
    executed: Annotated[_Executed, BeforeValidator(_nothing_is_unknown)] = Field(
        default_factory=_Executed, alias="execution_result"
    )

    @property
    def is_as_planned(self) -> bool:
        """Whether what was executed is what the solution says."""
        made = self.ground_truth
        return self.executed.function in (None, made.function) and self.executed.arguments in (None, made.arguments)

    @property
    def result(self) -> Answered:
        """What was executed and what it was answered."""
        made, executed = self.ground_truth, self.executed
        arguments = made.arguments if executed.arguments is None else executed.arguments
        return answered(executed.function or made.function, arguments, executed.body, executed.success is not False)

    @property
    def answered(self) -> Answered:
        """The call of the solution and what it was answered, if that is known."""
        made = self.ground_truth
        return self.result if self.is_as_planned else Answered(Call(made.function, made.arguments), UNKNOWN)


class _Task(BaseModel):
    query: str = Field(min_length=1)
    workflow_id: str | int = ""
    steps: list[_Step] = Field(min_length=1)


_TASKS = TypeAdapter(list[_Task])


@dataclass(frozen=True)
class _TaskFile:
    """The tasks of one pickle."""

    path: Path
    tasks: list[_Task]

    @property
    def steps(self) -> Iterator[_Step]:
        return chain.from_iterable(task.steps for task in self.tasks)

    @property
    def says_dependencies(self) -> bool:
        return any(step.depends_on for step in self.steps)

    @property
    def split(self) -> str:
        """``test`` in the shape of the evaluation set: no dependency anywhere, and bodies missing."""
        lacks_bodies = any(step.answered.body is UNKNOWN for step in self.steps)
        return "test" if lacks_bodies and not self.says_dependencies else "train"


@dataclass(frozen=True)
class _Files:
    """The files of the data set by their kind."""

    tasks: list[_TaskFile] = field(default_factory=list)
    caches: list[Path] = field(default_factory=list)
    templates: list[Path] = field(default_factory=list)
    tools: list[Path] = field(default_factory=list)

    @property
    def steps(self) -> Iterator[_Step]:
        return chain.from_iterable(file.steps for file in self.tasks)

    def cached(self) -> Iterator[Answered]:
        """The responses of all caches, streamed."""
        return chain.from_iterable(map(read_cache, self.caches))


def read_booking(paths: Paths) -> DataSet:
    """The data set in some of its files, each known by its content.

    Dependencies are kept as they are published. They are to be found where no step of a file has any, or where a step
    has none and its body is missing. Tasks are for training, unless their file has the shape of the evaluation set:
    no dependencies, and bodies missing. Where something else was executed than the solution says, the response belongs
    to what was executed, and the call of the solution has no known body. Tools without a schema are inferred from
    their calls.

    Args:
        paths: pickles of tasks, caches, at most one file of workflow templates, and tool schemas, in any order.

    Raises:
        DataSetError: a file cannot be read, is none of these, or its parts do not fit together; says where.
    """
    files = _sorted_by_kind(map(Path, paths))
    notes: list[str] = []
    tools = _tools(files, notes)
    workflows = _workflows(files.templates, tools, notes)
    traces = tuple(_traces(files.tasks, tools))
    strays = [step.result for step in files.steps if not step.is_as_planned]
    if strays:
        notes.append(f"{len(strays)} steps were executed otherwise than their solution says: its answer is not known")
    return DataSet(
        tools=tuple(tools.values()),
        traces=traces,
        responses=lambda: chain(strays, files.cached()),
        workflows=workflows,
        name=NAME,
        description=DESCRIPTION,
        source=SOURCE,
        licence=LICENCE,
        notes=tuple(notes),
    )


def _sorted_by_kind(paths: Iterable[Path]) -> _Files:
    files = _Files()
    for path in paths:
        kind = kind_of(path)
        if kind == "tasks":
            files.tasks.append(_task_file(path))
        else:
            {"cache": files.caches, "templates": files.templates, "tools": files.tools}[kind].append(path)
    if not files.tasks and not files.caches:
        raise DataSetError("there is no pickle of tasks and no cache among the files: nothing to import")
    if len(files.templates) > 1:
        raise DataSetError(f"two files of workflow templates, {files.templates[0]} and {files.templates[1]}: give one")
    return files


def kind_of(path: Path) -> Kind:
    """What a file of the data set is, by how it begins.

    Raises:
        DataSetError: it is missing or none of the kinds.
    """
    try:
        with path.open("rb") as file:
            start = file.read(4096).lstrip()[:1]
            file.seek(0)
            kind = _json_kind(ijson.parse(file, multiple_values=True)) if start == b"{" else None
    except OSError as error:
        raise DataSetError(f"{path} cannot be read: {error.strerror}") from None
    except ijson.JSONError as error:
        raise DataSetError(f"{path}: {json_complaint(error)}; {_EXPECTED}") from None
    if start == b"[":
        return "tools"
    if start in _PICKLE_STARTS:
        return "tasks"
    if kind is None:
        raise DataSetError(f"{path} is not one of the published formats: {_EXPECTED}")
    return kind


def _json_kind(events: Iterator[tuple[str, str, Any]]) -> Kind | None:
    """The kind of a JSON object, read as far as that takes."""
    key: str | None = None
    holds_lists = True
    for prefix, event, value in events:
        if (prefix, event) == ("", "map_key"):
            key = value
        elif (prefix, event) == ("workflows", "start_array"):
            return "templates"
        elif event == "string" and prefix in ("name", "function.name"):
            return "tools"
        elif (prefix, event) == (f"{key}.item", "map_key") and holds_lists and value in ("arguments", "response"):
            return "cache"
        elif prefix == key and event not in ("start_array", "end_array"):
            holds_lists = False
        elif (prefix, event) == ("", "end_map"):
            break
    return None


def _task_file(path: Path) -> _TaskFile:
    document = load_plain(path)
    if not isinstance(document, list):
        raise DataSetError(f"{path}: expected a list of tasks, not a {type(document).__name__}")
    try:
        return _TaskFile(path, _TASKS.validate_python(document))
    except ValidationError as error:
        raise DataSetError(f"{path}, task {shape_complaint(error)}") from None


def _tools(files: _Files, notes: list[str]) -> dict[str, Tool]:
    """All tools by name: those with a schema in the order of their files, then those that are only called."""
    tools: dict[str, Tool] = {}
    for path in files.tools:
        for tool in read_tools(path, miss_status=FAILED, miss_body=MISS_BODY):
            if tool.name in tools:
                raise DataSetError(f"{path}: a second tool is named {tool.name!r}")
            tools[tool.name] = tool
    examples = _examples_of_others(files, tools)
    for name, arguments in examples.items():
        tools[name] = inferred_tool(name, arguments, miss_status=FAILED, miss_body=MISS_BODY)
    if examples:
        notes.append(f"no schema, inferred from their calls: {', '.join(examples)}")
    unknown = sorted({name for step in files.steps for name in step.candidate_tools} - tools.keys())
    if unknown:
        notes.append(f"not on offer, as neither a schema nor a call of them is known: {', '.join(unknown)}")
    return tools


def _examples_of_others(files: _Files, described: dict[str, Tool]) -> dict[str, list[dict[str, Any]]]:
    """Arguments of calls of tools without a schema, by tool: one example for each combination of types."""
    examples: dict[str, dict[Any, dict[str, Any]]] = {}
    solutions = (Call(step.ground_truth.function, step.ground_truth.arguments) for step in files.steps)
    executed = (step.result.call for step in files.steps)
    for call in chain(solutions, executed, (cached.call for cached in files.cached())):
        if call.tool not in described:
            shape = frozenset((name, type(value)) for name, value in call.arguments.items())
            examples.setdefault(call.tool, {}).setdefault(shape, dict(call.arguments))
    return {name: list(by_shape.values()) for name, by_shape in examples.items()}


def _workflows(templates: list[Path], tools: dict[str, Tool], notes: list[str]) -> Any:
    """The workflow document of the templates that the tools can run, ``None`` if there are none."""
    for path in templates:
        document, problems = read_templates(path)
        notes.extend(problems)
        if document is None:
            continue
        unfit: dict[str, str] = {}
        for workflow in parse_workflows(document).workflows:
            for problem in workflow.problems(ToolSet(tools.values())):
                unfit.setdefault(workflow.name, problem)
        if unfit:
            some = "; ".join(list(unfit.values())[:_SHOWN])
            notes.append(f"{len(unfit)} workflow templates left out, as they do not fit the tools, among them: {some}")
        fitting = [workflow for workflow in document["workflows"] if workflow["name"] not in unfit]
        return {**document, "workflows": fitting} if fitting else None
    return None


def _traces(files: list[_TaskFile], tools: dict[str, Tool]) -> Iterator[Trace]:
    numbered = enumerate((file, index, task) for file in files for index, task in enumerate(file.tasks))
    for number, (file, index, task) in numbered:
        workflow = str(task.workflow_id)
        yield Trace(
            id=f"{workflow or 'task'}-{number}",
            query=task.query,
            calls=tuple(_calls(task, file, index)),
            tools=_on_offer(task, tools),
            workflow=workflow,
            split=file.split,
        )


def _on_offer(task: _Task, tools: dict[str, Tool]) -> tuple[str, ...]:
    """The tools on offer in their order, none for all."""
    candidates = {name for step in task.steps for name in step.candidate_tools}
    needed = {step.ground_truth.function for step in task.steps}
    return tuple(name for name in tools if name in candidates | needed) if candidates else ()


def _calls(task: _Task, file: _TaskFile, number: int) -> Iterator[TracedCall]:
    indices: dict[int, int] = {}
    for index, step in enumerate(task.steps):
        missing = [other for other in step.depends_on if other not in indices]
        if missing:
            place = f"{file.path}, task {number}, step {index if step.step is None else step.step}"
            raise DataSetError(f"{place}: it depends on step {missing[0]}, which does not come before it")
        indices[index if step.step is None else step.step] = index
        answer = step.answered
        to_be_found = not step.depends_on and (answer.body is UNKNOWN or not file.says_dependencies)
        yield TracedCall(answer, None if to_be_found else tuple(indices[other] for other in step.depends_on))
