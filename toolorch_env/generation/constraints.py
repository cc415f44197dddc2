"""What a user may ask of a task."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toolorch_env.core.errors import ConstraintError

Split = Literal["train", "validation", "test", "test_workflows"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test", "test_workflows")

Style = Literal["written", "plain", "numbered", "terse", "chatty", "backward", "rewritten"]
STYLES: tuple[Style, ...] = ("written", "plain", "numbered", "terse", "chatty", "backward", "rewritten")
Values = Literal["explicit", "mixed", "implicit"]


class TaskConstraints(BaseModel):
    """Constraints on tasks; the default asks for nothing in particular.

    Tasks that are listed, not drawn, are chosen by the constraints down to the widths, and stay as they are.

    Attributes:
        split: ``train``, ``validation``, ``test`` (unseen values) or ``test_workflows`` (unseen workflows); no task is
            in two of them.
        workflows: only workflows of these names; empty: all.
        include_tools: only workflows that call all of these tools.
        exclude_tools: only workflows that call none of these tools; they are not offered as distractors either.
        min_steps, max_steps: number of reference calls.
        min_depth, max_depth: number of calls on the longest dependency chain.
        min_width, max_width: largest number of calls on one dependency level.
        distractor_tools: number of tools on offer that are not needed (all others, if there are fewer).
        distractions: at most that many sentences of the query mention values that are not needed; at least one does,
            unless 0 are asked for.
        styles: how queries are worded, each task in one of these styles, uniformly: as somebody has ``written`` it for
            the workflow; composed of words for each tool, ``plain``, ``numbered``, ``terse``, ``chatty``, or
            ``backward`` (the last step is said first); or as a language model has ``rewritten`` it, where it has.
        values: whether the query says its values as they are (``explicit``), in words that they can be worked out from
            wherever there are such words (``implicit``), or either by the toss of a coin (``mixed``).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    split: Split = "train"
    workflows: tuple[str, ...] = ()
    include_tools: tuple[str, ...] = ()
    exclude_tools: tuple[str, ...] = ()
    min_steps: int = Field(default=1, ge=1)
    max_steps: int = Field(default=64, ge=1)
    min_depth: int = Field(default=1, ge=1)
    max_depth: int = Field(default=64, ge=1)
    min_width: int = Field(default=1, ge=1)
    max_width: int = Field(default=64, ge=1)
    distractor_tools: int = Field(default=7, ge=0)
    distractions: int = Field(default=2, ge=0, le=3)
    styles: tuple[Style, ...] = Field(default=("written",), min_length=1)
    values: Values = "explicit"

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name in ("steps", "depth", "width"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise ValueError(f"min_{name} is {low}, above max_{name}, which is {high}")
        if len(set(self.styles)) < len(self.styles):
            raise ValueError("a style is named twice")
        both = sorted(set(self.include_tools) & set(self.exclude_tools))
        if both:
            raise ValueError(f"tools are both included and excluded: {', '.join(both)}")
        return self


_DEFAULT = TaskConstraints()


def read_constraints(constraints: TaskConstraints | Mapping[str, Any] | None) -> TaskConstraints:
    """Constraints from what a user passed.

    Raises:
        ConstraintError: says which constraint is wrong and why.
    """
    if isinstance(constraints, TaskConstraints):
        return constraints
    if constraints is None:
        return _DEFAULT
    if not isinstance(constraints, Mapping):
        raise ConstraintError(f"constraints must be a mapping, got {type(constraints).__name__}")
    try:
        return TaskConstraints(**constraints)
    except (ValidationError, TypeError) as error:
        raise ConstraintError(f"invalid constraints: {_in_words(error)}") from None


def _in_words(error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return str(error)
    told = []
    problems = error.errors()
    wrong = {problem["loc"][:1] for problem in problems if len(problem["loc"]) > 1}
    for problem in problems:
        if problem["loc"] in wrong:  # an entry is wrong, which is told, and so is missing from the whole
            continue
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"there is no such constraint; there are {', '.join(TaskConstraints.model_fields)}"
        told.append(f"{'.'.join(map(str, problem['loc']))}: {message}".removeprefix(": "))
    return "; ".join(told)
