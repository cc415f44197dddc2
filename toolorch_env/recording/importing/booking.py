"""The published Booking.com data: tasks, caches, workflow templates and tool schemas."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import DataSetError
from toolorch_env.core.tools import Tool
from toolorch_env.recording.importing.booking_files import kind_of
from toolorch_env.recording.importing.booking_tasks import PublishedStep, PublishedTask, TaskFile, read_task_file
from toolorch_env.recording.importing.caches import read_cache
from toolorch_env.recording.importing.schemas import inferred_tool, read_tools
from toolorch_env.recording.importing.statuses import FAILED, MISS_BODY
from toolorch_env.recording.importing.templates import read_templates
from toolorch_env.recording.importing.traces import UNKNOWN, Answered, DataSet, Paths, Trace, TracedCall
from toolorch_env.store.workflows import parse_workflows

NAME = "booking"
DESCRIPTION = "Booking.com: hotels, flights, car rentals, attractions and taxis"
SOURCE = "Booking.com API (booking-com15 on RapidAPI), as published with arXiv 2603.24709 (ToolOrchestrationReward)"
LICENCE = "Apache-2.0"

_SHOWN = 3


@dataclass(frozen=True)
class _Files:
    """The files of the data set by their kind."""

    tasks: list[TaskFile] = field(default_factory=list)
    caches: list[Path] = field(default_factory=list)
    templates: list[Path] = field(default_factory=list)
    tools: list[Path] = field(default_factory=list)

    @property
    def steps(self) -> Iterator[PublishedStep]:
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
        paths: pickles of tasks, caches, at most one file of workflow templates, and tool schemas, in any order; one
            that is named twice counts once.

    Raises:
        DataSetError: a file cannot be read, is none of these, or its parts do not fit together; says where.
    """
    files = _sorted_by_kind(map(Path, paths))
    notes: list[str] = []
    tools = _tools(files, notes)
    workflows = _workflows(next(iter(files.templates), None), tools, notes)
    traces = tuple(_traces(files.tasks, tools))
    strays = [step.executed_call for step in files.steps if not step.is_as_planned]
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
    for path in {path.resolve(): path for path in paths}.values():
        kind = kind_of(path)
        if kind == "tasks":
            files.tasks.append(read_task_file(path))
        else:
            {"cache": files.caches, "templates": files.templates, "tools": files.tools}[kind].append(path)
    if not files.tasks and not files.caches:
        raise DataSetError("there is no pickle of tasks and no cache among the files: nothing to import")
    if len(files.templates) > 1:
        raise DataSetError(f"two files of workflow templates, {files.templates[0]} and {files.templates[1]}: give one")
    return files


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
    executed = (step.executed_call.call for step in files.steps)
    for call in chain(solutions, executed, (cached.call for cached in files.cached())):
        if call.tool not in described:
            shape = frozenset((name, type(value)) for name, value in call.arguments.items())
            examples.setdefault(call.tool, {}).setdefault(shape, dict(call.arguments))
    return {name: list(by_shape.values()) for name, by_shape in examples.items()}


def _workflows(template_file: Path | None, tools: dict[str, Tool], notes: list[str]) -> Any:
    """The workflow document of the templates that the tools can run, ``None`` if there are none."""
    if template_file is None:
        return None
    document, problems = read_templates(template_file)
    notes.extend(problems)
    if document is None:
        return None
    unfit = _unfit(document, ToolSet(tools.values()))
    if unfit:
        some = "; ".join(list(unfit.values())[:_SHOWN])
        notes.append(f"{len(unfit)} workflow templates left out, as they do not fit the tools, among them: {some}")
    fitting = [workflow for workflow in document["workflows"] if workflow["name"] not in unfit]
    return {**document, "workflows": fitting} if fitting else None


def _unfit(document: Any, tools: ToolSet) -> dict[str, str]:
    """The workflows that the tools cannot run, each with its first problem."""
    found: dict[str, str] = {}
    for workflow in parse_workflows(document).workflows:
        for problem in workflow.problems(tools):
            found.setdefault(workflow.name, problem)
    return found


def _traces(files: list[TaskFile], tools: dict[str, Tool]) -> Iterator[Trace]:
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


def _on_offer(task: PublishedTask, tools: dict[str, Tool]) -> tuple[str, ...]:
    """The tools on offer in their order, none for all."""
    candidates = {name for step in task.steps for name in step.candidate_tools}
    needed = {step.ground_truth.function for step in task.steps}
    return tuple(name for name in tools if name in candidates | needed) if candidates else ()


def _calls(task: PublishedTask, file: TaskFile, number: int) -> Iterator[TracedCall]:
    indices: dict[int, int] = {}
    for index, step in enumerate(task.steps):
        missing = [other for other in step.depends_on if other not in indices]
        if missing:
            place = f"{file.path}, task {number}, step {index if step.step is None else step.step}"
            raise DataSetError(f"{place}: it depends on step {missing[0]}, which does not come before it")
        indices[index if step.step is None else step.step] = index
        answer = step.solution_call
        to_be_found = not step.depends_on and (answer.body is UNKNOWN or not file.says_dependencies)
        yield TracedCall(answer, None if to_be_found else tuple(indices[other] for other in step.depends_on))
