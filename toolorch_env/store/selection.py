"""Selecting one value from a body, with JMESPath."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jmespath
import orjson
from jmespath import functions
from jmespath.exceptions import JMESPathError

from toolorch_env.core.errors import WorkflowError

_BY_ORDER = frozenset({"min_by", "max_by", "sort_by"})

_TEXT_OR_NAME = re.compile(
    r"""'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"|\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)""", re.DOTALL
)
"""Texts, in which a dollar sign is nothing but that, and literals of the query by name."""


class _FromTheEnd(functions.Functions):
    """JMESPath's functions, those that go by an order on reversed lists: of tied elements they find another one."""

    def call_function(self, function_name: str, resolved_args: Iterable[Any]) -> Any:
        arguments = list(resolved_args)
        if function_name in _BY_ORDER and arguments and isinstance(arguments[0], list):
            arguments[0] = arguments[0][::-1]
        return super().call_function(function_name, arguments)


_OPTIONS = jmespath.Options(custom_functions=_FromTheEnd())


class Selector:
    """A compiled JMESPath expression that selects one value from a body.

    Selections by order (``min_by``, ``max_by``, ``sort_by``) that a tie decides select nothing: which of the tied
    elements is meant could not be known.

    Raises:
        WorkflowError: the expression is not valid JMESPath.
    """

    def __init__(self, select: str) -> None:
        self.select = select
        try:
            self._expression = jmespath.compile(select)
        except JMESPathError as error:
            raise WorkflowError(f"{select!r} is not a valid JMESPath expression: {error}") from None
        called = list(_called(self._expression.parsed))
        for name, arity in called:
            _check_function(select, name, arity)
        self._by_order = any(name in _BY_ORDER for name, _ in called)

    def __call__(self, body: Any) -> Any:
        """The selected value, ``None`` where there is none."""
        found = self._search(body, None)
        if self._by_order and found is not None and self._search(body, _OPTIONS) != found:
            return None
        return found

    def _search(self, body: Any, options: Any) -> Any:
        try:
            return self._expression.search(body, options)
        except (JMESPathError, TypeError, ValueError):  # a function or a slice applied to what is not there
            return None


def named_literals(select: str) -> frozenset[str]:
    """The literals of the query that an expression names, as ``flights[?carrier == $carrier]`` does ``carrier``."""
    return frozenset(match["name"] for match in _TEXT_OR_NAME.finditer(select) if match["name"])


def with_literals(select: str, values: Mapping[str, Any]) -> str:
    """An expression with the values of the literals that it names written in: then it is plain JMESPath."""

    def written(match: re.Match[str]) -> str:
        if not match["name"]:
            return match[0]
        return "`" + orjson.dumps(values[match["name"]]).decode().replace("`", "\\`") + "`"

    return _TEXT_OR_NAME.sub(written, select)


def _called(node: Any) -> Iterator[tuple[str, int]]:
    """Name and number of arguments of each function that a parsed expression calls."""
    if node["type"] == "function_expression":
        yield node["value"], len(node["children"])
    for child in node.get("children", ()):
        if isinstance(child, dict):
            yield from _called(child)


def _check_function(select: str, name: str, arity: int) -> None:
    known = functions.Functions.FUNCTION_TABLE.get(name)
    if known is None:
        raise WorkflowError(f"{select!r} is not a valid JMESPath expression: there is no function {name}()")
    wanted = known["signature"]
    variadic = bool(wanted) and bool(wanted[-1].get("variadic"))
    if arity < len(wanted) or (arity > len(wanted) and not variadic):
        raise WorkflowError(
            f"{select!r} is not a valid JMESPath expression: {name}() takes {len(wanted)} arguments, not {arity}"
        )
