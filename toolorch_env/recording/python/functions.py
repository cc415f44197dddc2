"""Tools from Python functions: schemas from type hints, descriptions from docstrings."""

import inspect
import logging
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import docstring_parser
from pydantic import TypeAdapter
from pydantic.errors import PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaWarningKind
from pydantic_core import to_json

from toolorch_env.core.errors import ToolSchemaError
from toolorch_env.core.signatures import Signature
from toolorch_env.core.tools import Tool

logger = logging.getLogger(__name__)

PublicFunction = tuple[str, Any, bool]
_UNREADABLE = (PydanticUserError, ToolSchemaError, NameError, AttributeError, TypeError, ValueError, SyntaxError)


@dataclass(frozen=True, slots=True)
class Function:
    """A function that can be called with JSON arguments.

    Attributes:
        tool: the tool that stands for it.
        reader: reads and checks its arguments.
        positional: names of the parameters that cannot be passed by name, in their order.
    """

    tool: Tool
    reader: TypeAdapter[dict[str, Any]]
    positional: tuple[str, ...]

    def read(self, arguments: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        """Positional and named arguments, converted to the types of the parameters. What is left out stays left out.

        Raises:
            pydantic.ValidationError: they do not fit.
            ValueError: they are not JSON values.
        """
        read = self.reader.validate_json(to_json(dict(arguments)))
        given = [number for number, name in enumerate(self.positional, 1) if name in arguments]
        positional = self.positional[: max(given, default=0)]  # one that is left out before one that is given counts
        named = {name: value for name, value in read.items() if name in arguments and name not in positional}
        return [read[name] for name in positional], named


class _JsonSchema(GenerateJsonSchema):
    ignored_warning_kinds: set[JsonSchemaWarningKind] = {  # noqa: RUF012 - so declared by Pydantic
        "skipped-choice",
        "non-serializable-default",
    }


def public_functions(target: Any) -> list[PublicFunction]:
    """The functions that a module or a class offers: name, function, and whether its first parameter is the object.

    Those of a module are the functions in its ``__all__``, or all public ones that it defines itself. Those of a class
    are its public methods, inherited ones first.
    """
    members = _module_members(target) if isinstance(target, ModuleType) else _class_members(target)
    return [member for member in members if not member[0].startswith("_") and is_function(member[1])]


def _module_members(module: ModuleType) -> list[PublicFunction]:
    own = [name for name, value in vars(module).items() if getattr(value, "__module__", None) == module.__name__]
    return [(name, getattr(module, name, None), False) for name in getattr(module, "__all__", own)]


def _class_members(owner: type) -> list[PublicFunction]:
    owners = [base for base in reversed(owner.__mro__) if base.__module__ != "builtins"]
    return [(name, *_method(owner, name)) for name in dict.fromkeys(name for base in owners for name in vars(base))]


def _method(owner: type, name: str) -> tuple[Any, bool]:
    value = inspect.getattr_static(owner, name)
    if isinstance(value, (staticmethod, classmethod)):
        return getattr(owner, name), False
    return value, True


def is_function(value: Any) -> bool:
    """Whether this is a function, or something that wraps one, such as what ``functools.cache`` makes."""
    return inspect.isroutine(value) or (callable(value) and hasattr(value, "__wrapped__"))


def function_tool(name: str, function: Callable[..., Any], of_object: bool, read_only: bool) -> Function | None:
    """The tool of a function, ``None`` (with a warning in the log) if no schema can be made of its signature.

    Args:
        name: name of the tool.
        function: the function.
        of_object: whether its first parameter is the object that it belongs to.
        read_only: whether it leaves the state as it is.
    """
    try:
        parameters = _parameters(function, of_object)
        reader = _reader(parameters, _hints(function))
        schema = {"additionalProperties": True, **reader.json_schema(schema_generator=_JsonSchema)}
        description = _describe(function, schema)
        tool = Tool(name, description, schema, read_only=read_only)
        Signature(tool).check()
    except _UNREADABLE as error:
        logger.warning("the function %r is left out, its parameters cannot become a JSON Schema: %s", name, error)
        return None
    positional = tuple(p.name for p in parameters if p.kind is p.POSITIONAL_ONLY)
    return Function(tool, reader, positional)


def _parameters(function: Callable[..., Any], of_object: bool) -> list[inspect.Parameter]:
    """The parameters that take JSON arguments: all but the object itself and ``*args``."""
    parameters = list(inspect.signature(function).parameters.values())[1 if of_object else 0 :]
    return [parameter for parameter in parameters if parameter.kind is not parameter.VAR_POSITIONAL]


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    """The type hints of the parameters, names resolved; that of the result need not be resolvable."""
    unwrapped = inspect.unwrap(function)
    annotations = {name: hint for name, hint in getattr(unwrapped, "__annotations__", {}).items() if name != "return"}
    namespace = getattr(unwrapped, "__globals__", {})
    return typing.get_type_hints(SimpleNamespace(__annotations__=annotations), namespace, include_extras=True)


def _reader(parameters: list[inspect.Parameter], hints: dict[str, Any]) -> TypeAdapter[dict[str, Any]]:
    """Reads arguments as a function with these parameters would, and returns them."""

    def read(**arguments: Any) -> dict[str, Any]:
        return arguments

    named = [
        parameter.replace(kind=parameter.POSITIONAL_OR_KEYWORD) if parameter.kind is parameter.POSITIONAL_ONLY
        else parameter
        for parameter in parameters
    ]  # fmt: skip
    read.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    read.__annotations__ = {parameter.name: hints[parameter.name] for parameter in named if parameter.name in hints}
    adapter: TypeAdapter[dict[str, Any]] = TypeAdapter(read)  # type: ignore[arg-type]
    return adapter


def _describe(function: Callable[..., Any], schema: dict[str, Any]) -> str:
    """The description of a function; those of its parameters are put into ``schema``."""
    text = inspect.getdoc(function) or ""
    try:
        docstring = docstring_parser.parse(text)
    except docstring_parser.ParseError:
        return text
    described = {param.arg_name.lstrip("*"): param.description for param in docstring.params if param.description}
    for name, parameter in schema.get("properties", {}).items():
        parameter.pop("title", None)
        if name in described:
            parameter.setdefault("description", described[name])
    return (docstring.description or "").strip()
