"""The fields of recorded responses: which values stand at which place in the responses of a tool."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from toolorch_env.core.canonical import token
from toolorch_env.store.naming import IDENTIFIERS, Words, is_envelope, subject, words
from toolorch_env.store.records import Record

Path = tuple[str | None, ...]
"""Keys from the body down to a value; ``None`` stands for the elements of a list."""

ECHO_SHARE = 0.9
"""A field that repeats an argument of its call in at least this share of the responses only echoes it."""

ELEMENTS = 50
"""So many elements of a list are looked into."""

MAX_FIELDS = 600
"""So many fields of a tool are kept, those that stand in the most responses."""

_DEEPEST = 10
_RANKINGS = 2
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_RANKED = IDENTIFIERS | {"hour", "year", "month", "day", "latitude", "longitude", "version", "timestamp"}


@dataclass(frozen=True)
class ResponseField:
    """Values that stand at one place in the responses of a tool.

    Attributes:
        tool: the tool.
        path: where they stand.
        envelope: a key that the body is wrapped under at times; empty: none.
        values: the values, by their tokens.
        first: tokens of those in the first elements of all lists on the way.
        echoes: parameters of the tool's own calls that the field repeats.
        rankings: number fields of the innermost list's elements, by which one of them can be selected.
    """

    tool: str
    path: Path
    envelope: str
    values: Mapping[str, Any]
    first: frozenset[str]
    echoes: frozenset[str]
    rankings: tuple[Path, ...] = ()

    @property
    def name(self) -> Words:
        """Words of the field's name; of what the tool is about, where the name says nothing."""
        key = next((part for part in reversed(self.path) if part is not None), "")
        own = words(key)
        return own if own and not is_envelope(own) else subject(self.tool)

    @property
    def owner(self) -> Words:
        """Words for what holds the field: the nearest key above it that says something, else what the tool is about."""
        keys = [words(part) for part in self.path if part is not None]
        return next((key for key in reversed(keys[:-1]) if not is_envelope(key)), subject(self.tool))

    @property
    def below(self) -> str:
        """JMESPath of the field within the object that holds it: an element of the innermost list, or the body."""
        return _written(self.path[_innermost(self.path) + 1 :])

    @property
    def elements(self) -> tuple[str, ...]:
        """JMESPath of that object; of elements of a list the first, the last, and those with an extreme quantity."""
        body = f"({self.envelope} || @)" if self.envelope else ""
        last = _innermost(self.path)
        if last < 0:
            return (body,)
        above = joined(body, _written(self.path[:last]))
        found = [f"{above}[0]", f"{above}[-1]"]
        for ranking in self.rankings:
            found += [f"{how}({above or '@'}, &{_written(ranking)})" for how in ("max_by", "min_by")]
        return tuple(found)


def response_fields(tool: str, records: Sequence[Record]) -> list[ResponseField]:
    """The fields in successful responses of a tool, those that stand in the most responses first."""
    places: dict[Path, _Place] = defaultdict(_Place)
    for record in records:
        arguments = {name: token(value) for name, value in orjson.loads(record.arguments).items()}
        found: dict[Path, dict[str, Any]] = defaultdict(dict)
        for path, is_first, text, value in _scalars(record.response.body):
            found[path].setdefault(text, value)
            if is_first:
                places[path].first.add(text)
        for path, values in found.items():
            places[path].note(values, arguments)
    envelope = _envelope(places)
    places = _unwrapped(places, envelope)
    kept = sorted(places, key=lambda path: (-places[path].seen, _key(path)))[:MAX_FIELDS]
    return [
        ResponseField(
            tool,
            path,
            envelope,
            places[path].values,
            frozenset(places[path].first),
            places[path].echoes,
            _rankings(path, places),
        )
        for path in kept
    ]


@dataclass
class _Place:
    """What was seen at one place."""

    values: dict[str, Any] = field(default_factory=dict)
    first: set[str] = field(default_factory=set)
    seen: int = 0
    repeats: Counter[str] = field(default_factory=Counter)

    def note(self, values: Mapping[str, Any], arguments: Mapping[str, str | None]) -> None:
        self.values.update(values)
        self.seen += 1
        self.repeats.update(name for name, text in arguments.items() if values.keys() == {text})

    def join(self, other: "_Place") -> None:
        self.values.update(other.values)
        self.first |= other.first
        self.seen += other.seen
        self.repeats += other.repeats

    @property
    def echoes(self) -> frozenset[str]:
        return frozenset(name for name, count in self.repeats.items() if count >= ECHO_SHARE * self.seen)


def _scalars(body: Any) -> Iterator[tuple[Path, bool, str, Any]]:
    """Texts and numbers in a body: path, whether it stands in first elements only, token, value."""
    stack: list[tuple[Any, Path, bool]] = [(body, (), True)]
    while stack:
        value, path, is_first = stack.pop()
        if isinstance(value, dict) and len(path) < _DEEPEST:
            stack.extend((item, (*path, key), is_first) for key, item in value.items())
        elif isinstance(value, list) and len(path) < _DEEPEST:
            stack.extend((item, (*path, None), is_first and not i) for i, item in enumerate(value[:ELEMENTS]))
        elif (text := token(value)) not in (None, ""):
            yield path, is_first, str(text), value


def _envelope(places: Mapping[Path, _Place]) -> str:
    """A key that some bodies are wrapped under and others are not: places are seen with and without it."""
    wrapped = Counter(path[0] for path in places if len(path) > 1 and path[0] is not None and path[1:] in places)
    found = [key for key in sorted(wrapped) if is_envelope(words(key))]
    return found[0] if found else ""


def _unwrapped(places: Mapping[Path, _Place], envelope: str) -> dict[Path, _Place]:
    """The places without an envelope."""
    found: dict[Path, _Place] = {}
    for path in sorted(places, key=_key):
        bare = path[1:] if envelope and path[0] == envelope else path
        if bare in found:
            found[bare].join(places[path])
        else:
            found[bare] = places[path]
    return found


def _rankings(path: Path, places: Mapping[Path, _Place]) -> tuple[Path, ...]:
    """Fields of the innermost list's elements that hold quantities, the most telling ones."""
    if None not in path:
        return ()
    last = len(path) - path[::-1].index(None)
    own = [other for other in places if other[:last] == path[:last] and len(other) == last + 1 and other != path]
    ranked = [other for other in own if _is_quantity(str(other[-1]), places[other])]
    ranked.sort(key=lambda other: (-len(places[other].values), str(other[-1])))
    return tuple(other[last:] for other in ranked[:_RANKINGS])


def _is_quantity(key: str, place: _Place) -> bool:
    values = place.values.values()
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return numbers and len(place.values) > 2 and _NOT_RANKED.isdisjoint(words(key)[-1:])


def _innermost(path: Path) -> int:
    """Index of the innermost list on a path, -1 where there is none."""
    return max((index for index, part in enumerate(path) if part is None), default=-1)


def _written(path: Path) -> str:
    """A path as a JMESPath expression, with the first elements of lists."""
    text = ""
    for part in path:
        if part is None:
            text += "[0]"
        else:
            text = joined(text, part if _PLAIN_KEY.fullmatch(part) else orjson.dumps(part).decode())
    return text


def joined(above: str, below: str) -> str:
    """The JMESPath expression for ``below`` within ``above``; either may be empty."""
    return f"{above}.{below}" if above and below and not below.startswith("[") else above + below


def _key(path: Path) -> tuple[str, ...]:
    return tuple("" if part is None else part for part in path)
