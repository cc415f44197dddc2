"""Constraints on tasks as options of a command: one option a field, so that no field is forgotten or told twice."""

import inspect
import re
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
import yaml
from pydantic.fields import FieldInfo

from toolorch_env.core.errors import ConstraintError
from toolorch_env.generation.constraints import TaskConstraints, read_constraints
from toolorch_env.store.yaml_reader import read_yaml

_ENTRY = re.compile(r"^    ((?:\w+, )*\w+): (.*(?:\n {8}.*)*)", re.MULTILINE)
_DEFAULTS = {"split": "train, or test to evaluate; of stored tasks all"}
_PANEL = "Constraints"
FILE_OPTION = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="YAML or JSON file with constraints; options for one of them come first.",
        rich_help_panel=_PANEL,
    ),
]


def with_constraint_options(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command an option for each constraint and ``--constraints FILE``; it takes the mapping ``asked``."""
    parameters = inspect.signature(command).parameters
    own = [item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for item in parameters.values() if item.name != "asked"]

    @wraps(command)
    def run(**given: Any) -> None:
        flags = {name: given.pop(name) for name in TaskConstraints.model_fields}
        asked = _read_file(given.pop("constraints"))
        asked.update({name: _read(name, value) for name, value in flags.items() if value not in (None, [])})
        command(asked=read_constraints(asked), **given)

    keyword = inspect.Parameter.KEYWORD_ONLY
    file = inspect.Parameter("constraints", keyword, default=None, annotation=FILE_OPTION)
    run.__signature__ = inspect.Signature([*own, file, *_options()])  # type: ignore[attr-defined]
    run.__annotations__ = {item.name: item.annotation for item in (*own, file, *_options())}
    return run


def _options() -> list[inspect.Parameter]:
    descriptions = _descriptions()
    found = []
    for name, field in TaskConstraints.model_fields.items():
        kind: Any = int if field.annotation is int else str
        kind = list[str] if get_origin(field.annotation) is tuple else kind
        told = f"{descriptions.get(name, '')}{_usage(name, field)}".strip()
        option = typer.Option(help=told, show_default=False, rich_help_panel=_PANEL)
        annotation = Annotated[kind | None, option]
        found.append(inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation))
    return found


def _usage(name: str, field: FieldInfo) -> str:
    """How an option is given, as its help ends."""
    default = ", ".join(field.default) if get_origin(field.annotation) is tuple else field.default
    told = "" if default == "" else f" (default: {_DEFAULTS.get(name, default)})"
    if get_origin(field.annotation) is tuple:
        return f" Repeatable{', or with commas' if _has_fixed_names(field) else ''}.{told}"
    return told


def _has_fixed_names(field: FieldInfo) -> bool:
    return get_origin(field.annotation) is tuple and get_origin(get_args(field.annotation)[0]) is Literal


def _read(name: str, value: Any) -> Any:
    """What an option was given: fixed names also with commas, which the name of a tool may hold."""
    if not _has_fixed_names(TaskConstraints.model_fields[name]):
        return value
    return [part.strip() for entry in value for part in entry.split(",")]


def _descriptions() -> dict[str, str]:
    """What the constraints' own documentation says about each, as sentences."""
    found = {}
    for names, text in _ENTRY.findall(inspect.cleandoc(TaskConstraints.__doc__ or "")):
        sentence = " ".join(text.replace("``", "").split())
        for name in names.split(", "):
            bound = {"min": "Lower bound: ", "max": "Upper bound: "}.get(name[:3]) if "," in names else None
            found[name] = (bound + sentence) if bound else sentence[:1].upper() + sentence[1:]
    return found


def _read_file(path: Path | None) -> dict[str, Any]:
    """The constraints in a file.

    Raises:
        ConstraintError: it cannot be read, or holds something else.
    """
    if path is None:
        return {}
    try:
        found = read_yaml(path.read_bytes())
    except OSError as error:
        raise ConstraintError(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConstraintError(f"{path} is neither YAML nor JSON: {error}") from None
    if not isinstance(found, Mapping) or not all(isinstance(name, str) for name in found):
        raise ConstraintError(f"{path} must hold constraints by name, such as `min_steps: 3`")
    return dict(found)
