"""Where in the bodies of a trace a value stands."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from toolorch_env.core.canonical import canonical_json, plain, read_number, rounded, token

Path = tuple[str | int, ...]
"""Keys and indices that lead to a value in a body."""

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Origin(NamedTuple):
    """A place in a response where a value stands.

    Attributes:
        step: index of the call that was answered so.
        select: JMESPath expression that selects the value from the body.
        exact: whether it is this very value; else fractions agree when rounded to four decimals.
    """

    step: int
    select: str
    exact: bool


class Place(NamedTuple):
    """A place in a response where a value stands, with its path (see :class:`Origin`)."""

    step: int
    path: Path
    exact: bool


class Bodies:
    """The bodies of a trace, searched for values. Each is indexed once.

    Args:
        bodies: parsed JSON, in the order of the calls. What is no JSON container, such as a body that is not known,
            holds nothing.
    """

    def __init__(self, bodies: Sequence[Any]) -> None:
        self._bodies = bodies
        self._scalars = [_scalar_paths(body) for body in bodies]

    def origins(self, value: Any, before: int | None = None) -> list[Origin]:
        """All places where ``value`` stands: exact ones first, then by response, then by their order in the body.

        A number and its text are the same value. A list or an object stands only where it stands as a whole.

        Args:
            value: any JSON value; null, booleans and what is empty stand nowhere.
            before: only bodies of lower index are searched; ``None``: all.
        """
        places = sorted(self.places(value, before), key=lambda place: not place.exact)
        return [Origin(place.step, jmespath_of(place.path), place.exact) for place in places]

    def places(self, value: Any, before: int | None = None) -> Iterator[Place]:
        """Where ``value`` stands, in the order of the bodies."""
        if not value and not isinstance(value, (int, float)):
            return
        paths_in = self._container_paths if isinstance(value, (dict, list)) else self._scalar_paths
        for step in range(len(self._bodies) if before is None else before):
            for path in paths_in(value, step):
                yield Place(step, path, _exactly(value, _at(self._bodies[step], path)))

    def _scalar_paths(self, value: Any, step: int) -> Sequence[Path]:
        text = token(value)
        return () if text is None else self._scalars[step].get(text, ())

    def _container_paths(self, value: Any, step: int) -> Iterator[Path]:
        wanted = canonical_json(rounded(value))
        for path, found in _walk(self._bodies[step], ()):
            alike = type(found) is type(value) and len(found) == len(value)
            if alike and canonical_json(rounded(found)) == wanted:
                yield path


def find_origins(value: Any, bodies: Sequence[Any]) -> list[Origin]:
    """All places in ``bodies`` where ``value`` stands (see :meth:`Bodies.origins`)."""
    return Bodies(bodies).origins(value)


def jmespath_of(path: Path) -> str:
    """The JMESPath expression for keys and indices, ``data.destinations[0].id``; ``@`` for none."""
    steps = [f"[{part}]" if isinstance(part, int) else f".{_key(part)}" for part in path]
    return "".join(steps).removeprefix(".") or "@"


def _key(name: str) -> str:
    return name if _IDENTIFIER.fullmatch(name) else json.dumps(name)


def _walk(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Everything in ``value`` with its path, in the order of the document."""
    yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _walk(item, (*path, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _walk(item, (*path, index))


def _scalar_paths(body: Any) -> dict[str, list[Path]]:
    """For each token the paths to it, in the order of the document."""
    found: dict[str, list[Path]] = {}
    if not isinstance(body, (dict, list)):
        return found
    for path, value in _walk(body, ()):
        text = token(value)
        if not text:
            continue
        found.setdefault(text, []).append(path)
        number = read_number(value) if isinstance(value, str) else None
        if number is not None and (as_number := token(number)) is not None and as_number != text:
            found.setdefault(as_number, []).append(path)
    return found


def _at(body: Any, path: Path) -> Any:
    for part in path:
        body = body[part]
    return body


def _exactly(value: Any, found: Any) -> bool:
    return bool(_as_number(value) == _as_number(found))


def _as_number(value: Any) -> Any:
    if not isinstance(value, str):
        return plain(value)
    number = read_number(value)
    return value if number is None else number
