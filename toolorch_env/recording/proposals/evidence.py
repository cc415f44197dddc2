"""What recorded answers show: the fields of responses, and the arguments that were accepted and refused."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from heapq import nsmallest
from typing import Any

import orjson

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import token
from toolorch_env.recording.redaction import REDACTED
from toolorch_env.store.naming import Words, is_envelope, subject, words
from toolorch_env.store.records import Record

RESPONSES = 200
"""So many successful responses of a tool are looked into, those with the smallest keys."""

_REFUSALS = frozenset({400, 404, 410, 422})
_ECHO_SHARE = 0.9
_ELEMENTS = 50
_FIELDS = 400
_DEEPEST = 8
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

Place = tuple[str, str, Words, Words]


@dataclass(frozen=True, slots=True)
class Field:
    """Values that stand at one place in the responses of a tool.

    Attributes:
        tool: the tool.
        row: JMESPath of the objects that hold the values, empty for the body itself.
        path: JMESPath of the value within such an object, empty where the objects themselves are the values.
        name: words of its name.
        owner: words for what holds it: the key above that says something, else what the tool is about.
        values: the values, by their tokens.
        echoes: whether it repeats an argument of the call.
    """

    tool: str
    row: str
    path: str
    name: Words
    owner: Words
    values: Mapping[str, Any]
    echoes: bool

    @property
    def select(self) -> str:
        """JMESPath expression of all the values in a response."""
        return f"{self.row}.{self.path}" if self.row and self.path else self.row or self.path


@dataclass(slots=True)
class Evidence:
    """What recorded answers show.

    Attributes:
        fields: fields of successful responses, in the order of tools and places.
        accepted: tokens of the arguments that were answered with what is not empty, by tool and parameter.
        refused: tokens of the arguments that were only ever refused, by tool and parameter.
    """

    fields: list[Field] = field(default_factory=list)
    accepted: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))
    refused: dict[tuple[str, str], set[str]] = field(default_factory=lambda: defaultdict(set))


def gather(tools: ToolSet, records: Iterable[Record]) -> Evidence:
    """The evidence in records of read-only tools in fresh sessions; their order does not matter."""
    evidence = Evidence()
    samples: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.state or record.tool not in tools or not tools[record.tool].read_only:
            continue
        _note_arguments(record, evidence)
        if record.response.success:
            sample = samples[record.tool]
            sample.append(record)
            if len(sample) > 4 * RESPONSES:
                samples[record.tool] = _smallest(sample)
    for key, refused in evidence.refused.items():
        refused -= evidence.accepted.get(key, set())
    for name in tools:
        evidence.fields.extend(_fields(name, _smallest(samples[name])))
    return evidence


def _smallest(records: list[Record]) -> list[Record]:
    return nsmallest(RESPONSES, records, key=lambda record: record.key)


def _note_arguments(record: Record, evidence: Evidence) -> None:
    if record.response.success:
        if record.response.raw in (b"null", b"[]", b"{}", b'""'):
            return
        noted = evidence.accepted
    elif record.response.status in _REFUSALS:
        noted = evidence.refused
    else:
        return
    for name, value in orjson.loads(record.arguments).items():
        if (text := token(value)) is not None:
            noted[record.tool, name].add(text)


def _fields(tool: str, records: list[Record]) -> Iterator[Field]:
    values: dict[Place, dict[str, Any]] = defaultdict(dict)
    seen: Counter[Place] = Counter()
    echoed: Counter[Place] = Counter()
    for record in records:
        arguments = {token(value) for value in orjson.loads(record.arguments).values()}
        found: dict[Place, dict[str, Any]] = defaultdict(dict)
        for place, text, value in _scalars(record.response.body, subject(tool)):
            found[place][text] = value
        for place, here in found.items():
            values[place].update(here)
            seen[place] += 1
            echoed[place] += here.keys() <= arguments
    for place in sorted(nsmallest(_FIELDS, seen, key=lambda place: (-seen[place], place))):
        row, path, name, owner = place
        yield Field(tool, row, path, name, owner, values[place], echoed[place] >= _ECHO_SHARE * seen[place])


def _scalars(body: Any, about: Words) -> Iterator[tuple[Place, str, Any]]:
    """Texts and numbers in a body, each with its place and its token."""
    stack: list[tuple[Any, str, str, tuple[Words, ...]]] = [(body, "", "", ())]
    while stack:
        value, row, path, names = stack.pop()
        if isinstance(value, dict):
            if len(names) < _DEEPEST:
                for key, item in value.items():
                    stack.append((item, row, _joined(path, _quoted(key)), (*names, words(key))))
        elif isinstance(value, list):
            inner = f"{_joined(row, path)}[]"
            stack.extend((item, inner, "", names) for item in value[:_ELEMENTS])
        elif (text := token(value)) is not None and text not in ("", REDACTED):
            telling = [name for name in names if not is_envelope(name)]
            name = names[-1] if names and names[-1] in telling else about
            owner = next((name for name in reversed(names[:-1]) if name in telling), about)
            yield (row, path, name, owner), text, value


def _joined(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def _quoted(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else orjson.dumps(key).decode()
