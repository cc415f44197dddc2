"""Operations of an HTTP API: a tool, and how a call of it becomes a request."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

import orjson

from toolorch_env.core.errors import UnansweredError
from toolorch_env.core.tools import Tool

Location = Literal["path", "query", "field", "body"]

_DELIMITERS = {"form": ",", "simple": ",", "spaceDelimited": " ", "pipeDelimited": "|"}
_TEMPLATE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the value of one parameter goes in a request.

    Attributes:
        parameter: name of the tool's parameter.
        key: name in the request; the two differ where names of the request clash.
        location: ``path``, ``query``, ``field`` (a property of the JSON body) or ``body`` (the whole of it).
        style: how arrays and objects are written: ``simple``, ``form``, ``spaceDelimited``, ``pipeDelimited``,
            ``deepObject``, or ``json``.
        explode: whether each element of an array or object is written for itself.
    """

    parameter: str
    key: str
    location: Location
    style: str = "form"
    explode: bool = True


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent for a call.

    Attributes:
        method: HTTP method, upper case.
        path: percent-encoded path, to be appended to the base URL.
        query: names and values, not encoded.
        body: JSON body, ``None`` where there is none.
    """

    method: str
    path: str
    query: list[tuple[str, str]]
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of an HTTP API and the tool that stands for it.

    Attributes:
        tool: the tool.
        method: HTTP method, upper case.
        path: path template, such as ``/airports/{iata}``.
        placements: where the value of each parameter goes.
        media_type: media type of the body, ``None`` for an operation that takes none.
        body_required: whether a body is sent also when no argument goes into it.
    """

    tool: Tool
    method: str
    path: str
    placements: tuple[Placement, ...] = ()
    media_type: str | None = None
    body_required: bool = False

    def request(self, arguments: Mapping[str, Any]) -> Request:
        """The request of a call. Values go into the path percent-encoded; null in the query is left out.

        Raises:
            UnansweredError: of kind ``unsendable``: a value for the path is missing, empty or all dots, there is no
                such parameter, or a value is not JSON.
        """
        unknown = arguments.keys() - {placement.parameter for placement in self.placements}
        if unknown:
            raise UnansweredError("unsendable", f"there is no parameter {min(unknown)!r}")
        try:
            query = [pair for placement, value in self._given("query", arguments) for pair in _pairs(placement, value)]
            return Request(self.method, self._filled_path(arguments), query, self._body(arguments))
        except (TypeError, UnicodeError, RecursionError) as error:
            raise UnansweredError("unsendable", f"an argument is not JSON: {error}") from None

    def _given(self, location: Location, arguments: Mapping[str, Any]) -> Iterator[tuple[Placement, Any]]:
        for placement in self.placements:
            if placement.location == location and placement.parameter in arguments:
                yield placement, arguments[placement.parameter]

    def _filled_path(self, arguments: Mapping[str, Any]) -> str:
        texts = {placement.key: _path_text(placement, value) for placement, value in self._given("path", arguments)}
        for key in _TEMPLATE.findall(self.path):
            if texts.get(key, "") in ("", ".", ".."):  # dots would be resolved, and another path be asked
                value = texts.get(key, "")
                raise UnansweredError("unsendable", f"the path cannot take {value!r} for {key!r}")
        return _TEMPLATE.sub(lambda match: texts[match[1]], self.path)

    def _body(self, arguments: Mapping[str, Any]) -> bytes | None:
        for _, value in self._given("body", arguments):
            return orjson.dumps(value)
        fields = {placement.key: value for placement, value in self._given("field", arguments)}
        return orjson.dumps(fields) if fields or self.body_required else None


def path_keys(path: str) -> list[str]:
    """Names that a path template takes values for."""
    return _TEMPLATE.findall(path)


def text_of(value: Any) -> str:
    """A value as it is written into a URL: text as it is, anything else as JSON."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, float) else orjson.dumps(value).decode()


def _path_text(placement: Placement, value: Any) -> str:
    if value is None:
        return ""
    if placement.style == "json":
        return quote(orjson.dumps(value), safe="")
    if isinstance(value, Mapping) and placement.explode:
        return ",".join(f"{_quoted(key)}={_quoted(item)}" for key, item in value.items())
    return ",".join(map(_quoted, _elements(value)))


def _quoted(value: Any) -> str:
    return quote(text_of(value), safe="")


def _elements(value: Any) -> list[Any]:
    """The elements of a value that are joined by a delimiter, keys of objects among them."""
    if isinstance(value, (list, tuple)):
        return list(value)
    if isinstance(value, Mapping):
        return [part for item in value.items() for part in item]
    return [value]


def _pairs(placement: Placement, value: Any) -> Iterator[tuple[str, str]]:
    """Names and values of the query for one argument."""
    key = placement.key
    if value is None or value == [] or value == {}:
        return
    if placement.style == "deepObject":
        yield from _deep_pairs(key, value)
    elif placement.style == "json":
        yield key, orjson.dumps(value).decode()
    elif placement.explode and isinstance(value, Mapping):
        yield from ((str(name), text_of(item)) for name, item in value.items())
    elif placement.explode and isinstance(value, (list, tuple)):
        yield from ((key, text_of(item)) for item in value)
    else:
        yield key, _DELIMITERS[placement.style].join(map(text_of, _elements(value)))


def _deep_pairs(key: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _deep_pairs(f"{key}[{name}]", item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _deep_pairs(key, item)
    else:
        yield key, text_of(value)
