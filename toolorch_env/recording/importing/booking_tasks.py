"""Tasks of the published Booking.com data, as its pickles hold them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.json_files import shape_complaint
from toolorch_env.recording.importing.pickles import load_plain
from toolorch_env.recording.importing.statuses import answered
from toolorch_env.recording.importing.traces import UNKNOWN, Answered


class _Made(BaseModel):
    """A call as the data set writes it."""

    function: str
    arguments: dict[str, Any]


class _Executed(BaseModel):
    """What came of a step; any of it may be missing."""

    model_config = ConfigDict(extra="forbid")

    step: Any = None
    function: str | None = None
    arguments: dict[str, Any] | None = None
    body: Any = Field(default="", alias="execution_result")
    success: bool | None = None


def _object_or_empty(value: Any) -> Any:
    return {} if value is None or value == "" else value


class PublishedStep(BaseModel):
    """A step of a solution as the data set writes it, and what came of it when it was executed."""

    step: int | None = None
    ground_truth: _Made
    candidate_tools: list[str] = []
    depends_on: list[int] = []
    executed: Annotated[_Executed, BeforeValidator(_object_or_empty)] = Field(
        default_factory=_Executed, alias="execution_result"
    )

    @property
    def is_as_planned(self) -> bool:
        """Whether what was executed is what the solution says."""
        made = self.ground_truth
        return self.executed.function in (None, made.function) and self.executed.arguments in (None, made.arguments)

    @property
    def executed_call(self) -> Answered:
        """What was executed and what it was answered."""
        made, executed = self.ground_truth, self.executed
        arguments = made.arguments if executed.arguments is None else executed.arguments
        return answered(executed.function or made.function, arguments, executed.body, executed.success is not False)

    @property
    def solution_call(self) -> Answered:
        """The call of the solution and what it was answered, if that is known."""
        made = self.ground_truth
        return self.executed_call if self.is_as_planned else Answered(Call(made.function, made.arguments), UNKNOWN)


class PublishedTask(BaseModel):
    """A problem as the data set writes it."""

    query: str = Field(min_length=1)
    workflow_id: str | int = ""
    steps: list[PublishedStep] = Field(min_length=1)


_TASKS = TypeAdapter(list[PublishedTask])


@dataclass(frozen=True)
class TaskFile:
    """The tasks of one pickle.

    Attributes:
        path: the pickle.
        tasks: its tasks, in order.
    """

    path: Path
    tasks: list[PublishedTask]

    @property
    def steps(self) -> Iterator[PublishedStep]:
        """The steps of all tasks."""
        return chain.from_iterable(task.steps for task in self.tasks)

    @cached_property
    def says_dependencies(self) -> bool:
        """Whether any step of the file names one that it depends on."""
        return any(step.depends_on for step in self.steps)

    @cached_property
    def split(self) -> str:
        """``test`` in the shape of the evaluation set: no dependency anywhere, and bodies missing."""
        lacks_bodies = any(step.solution_call.body is UNKNOWN for step in self.steps)
        return "test" if lacks_bodies and not self.says_dependencies else "train"


def read_task_file(path: Path) -> TaskFile:
    """The tasks of a pickle.

    Raises:
        DataSetError: it cannot be read, asks for more than plain values, or does not hold tasks; says which is not one.
    """
    document = load_plain(path)
    if not isinstance(document, list):
        raise DataSetError(f"{path}: expected a list of tasks, not a {type(document).__name__}")
    try:
        return TaskFile(path, _TASKS.validate_python(document))
    except ValidationError as error:
        raise DataSetError(f"{path}, task {shape_complaint(error)}") from None
