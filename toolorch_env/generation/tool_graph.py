"""The tool graph: which output of which tool can be passed as which parameter, inferred from a snapshot.

An edge leads from a field of a tool's responses to a parameter. Its score is measured from four parts, each in [0, 1]:

    names       how far the names say the same: of the field and what holds it, of the parameter and its tool, and the
                words of the parameter's description (:mod:`toolorch_env.store.naming`)
    fit         share of the field's values that the parameter's schema takes
    overlap     share of the field's values that are recorded as arguments of the parameter, as far as chance does not
                explain it: 1 - chance / share. Chance is the share of all values of the same form (so many capitals,
                so many digits) that are recorded. Few values count for less; whole numbers below 100 count nothing
    accepted    share of those values that the API answered with success

    score = fit * accepted * (1 - (1 - NAMES * names) * (1 - OVERLAP * overlap))

Names and values each say something alone, and together more. A parameter whose schema spells out its values gets no
credit for overlap, and an overlap of less than a tenth of the values counts for less.
"""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from hashlib import blake2b
from typing import Any

import orjson

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import token
from toolorch_env.core.signatures import Parameter
from toolorch_env.generation.response_fields import Path, ResponseField, joined, response_fields
from toolorch_env.store.compiled import Link
from toolorch_env.store.naming import is_vague, name_match, subject, words
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot

_LOGGER = logging.getLogger(__name__)

THRESHOLD = 0.6
"""The least score of an edge that is kept, unless told otherwise."""

RESPONSES = 300
"""So many successful responses of each tool are looked into: those with the smallest keys, which are hashes."""

NAMES = 0.8
OVERLAP = 0.8
_DESCRIBED = 0.55
_MOST_VALUES = 1000
_ENOUGH = 3
_OFTEN = 0.1
_LEAST_FIT = 0.5
_TRIED = 50


@dataclass(frozen=True)
class Edge:
    """A field of a tool's responses that can be passed as a parameter of another tool, or of the same.

    Attributes:
        source: the tool that gives the value.
        path: where the value stands in its responses.
        elements: JMESPath expressions for the object that holds the value: the body, or elements of a list in it.
            Fields with one of them in common can be taken from the same object.
        below: JMESPath expression for the field within such an object.
        tool: the tool that takes the value.
        parameter: as which parameter.
        score: how likely it is that this is right, in [0, 1].
        names, fit, overlap, accepted: the parts of the score, each in [0, 1].
        is_echo: whether the field only repeats an argument of its own call.
    """

    source: str
    path: Path
    elements: tuple[str, ...]
    below: str
    tool: str
    parameter: str
    score: float
    names: float
    fit: float
    overlap: float
    accepted: float
    is_echo: bool

    @property
    def leaf(self) -> str:
        """Name of the field: the last key on the way to it, empty if there is none."""
        return next((part for part in reversed(self.path) if part is not None), "")

    @cached_property
    def selects(self) -> tuple[str, ...]:
        """JMESPath expressions that select one such value, one for each of the elements."""
        return tuple(joined(element, self.below) or "@" for element in self.elements)


@dataclass(frozen=True)
class ToolGraph:
    """What can be passed on, as edges between tools, in the order of their tools, fields and parameters."""

    edges: tuple[Edge, ...]

    @cached_property
    def flows(self) -> tuple[Edge, ...]:
        """The edges that carry what nobody knows before: those that echo no argument."""
        return tuple(edge for edge in self.edges if not edge.is_echo)

    def links(self) -> set[Link]:
        """All links of the flows, with each of their expressions: what a snapshot has to be compiled for."""
        return {Link(edge.parameter, edge.source, select) for edge in self.flows for select in edge.selects}

    def within(self, links: Iterable[Link]) -> "ToolGraph":
        """The part of the graph that a snapshot is compiled for: tasks on it can be played in ``ToolOrch-v0``."""
        known = set(links)
        kept = []
        for edge in self.edges:
            found = [
                element
                for element, select in zip(edge.elements, edge.selects, strict=True)
                if Link(edge.parameter, edge.source, select) in known
            ]
            if found:
                kept.append(replace(edge, elements=tuple(found)))
        return ToolGraph(tuple(kept))

    @cached_property
    def fingerprint(self) -> str:
        """Eight hexadecimal digits that stand for the flows, the same wherever they are inferred."""
        told = [[e.source, e.selects, e.tool, e.parameter] for e in self.flows]
        return blake2b(orjson.dumps(told), digest_size=4).hexdigest()


def infer_tool_graph(snapshot: Snapshot, *, threshold: float = THRESHOLD, responses: int = RESPONSES) -> ToolGraph:
    """Infers which outputs can be passed as which parameters.

    Args:
        snapshot: the recorded API.
        threshold: the least score of an edge, in [0, 1].
        responses: at most that many successful responses of each tool are looked into, at least 1.
    """
    tools = snapshot.tools
    seen = _look_through(snapshot.records(), tools, responses)
    fields = {name: response_fields(name, seen.samples[name]) for name in tools}
    edges = []
    for name in tools:
        for parameter in tools.signature(name).parameters.values():
            target = _Target(name, parameter, seen.arguments[name, parameter.name])
            edges += [edge for source in tools for edge in target.edges(fields[source], threshold)]
    order = {name: index for index, name in enumerate(tools)}
    edges.sort(key=lambda edge: (order[edge.source], edge.selects[0], order[edge.tool], edge.parameter))
    _LOGGER.info("%s: a tool graph of %d edges between %d tools", snapshot.name, len(edges), len(tools))
    return ToolGraph(tuple(edges))


@dataclass(frozen=True)
class _Seen:
    """What records show.

    Attributes:
        samples: successful records of each tool.
        arguments: by tool and parameter, the tokens of all recorded arguments, and whether one of them succeeded.
    """

    samples: Mapping[str, list[Record]]
    arguments: Mapping[tuple[str, str], dict[str, bool]]


def _look_through(records: Iterable[Record], tools: ToolSet, responses: int) -> _Seen:
    seen = _Seen(defaultdict(list), defaultdict(dict))
    for record in records:
        if record.tool not in tools:
            continue
        success = record.response.success
        for name, value in orjson.loads(record.arguments).items():
            if (text := token(value)) is not None:
                known = seen.arguments[record.tool, name]
                known[text] = known.get(text, False) or success
        if success and len(seen.samples[record.tool]) < responses:
            seen.samples[record.tool].append(record)
    return seen


class _Target:
    """A parameter that values may be passed as."""

    def __init__(self, tool: str, parameter: Parameter, recorded: dict[str, bool]) -> None:
        self._tool = tool
        self._parameter = parameter
        self._recorded = recorded
        self._words = words(parameter.name)
        self._described = _description_words(parameter)
        self._forms: dict[str, int] = defaultdict(int)
        for text in recorded:
            self._forms[_form(text)] += 1

    def edges(self, fields: Iterable[ResponseField], threshold: float) -> Iterator[Edge]:
        """The edges from fields to the parameter that reach the threshold."""
        for field in fields:
            names = self._names(field)
            best = 1 - (1 - NAMES * names) * (1 - OVERLAP)
            if best < threshold or (field.tool == self._tool and self._parameter.name in field.echoes):
                continue
            overlap, accepted = self._values(field)
            score = accepted * (1 - (1 - NAMES * names) * (1 - OVERLAP * overlap))
            if score < threshold:
                continue
            fit = self._fit(field)
            if fit >= _LEAST_FIT and fit * score >= threshold:
                yield Edge(
                    field.tool, field.path, field.elements, field.below, self._tool, self._parameter.name,
                    fit * score, names, fit, overlap, accepted, bool(field.echoes),
                )  # fmt: skip

    def _names(self, field: ResponseField) -> float:
        name, owner = field.name, field.owner
        named = name_match(self._words, subject(self._tool), name, owner)
        if not is_vague(name) and name and self._described.issuperset(name):
            named = max(named, _DESCRIBED)
        return named

    def _values(self, field: ResponseField) -> tuple[float, float]:
        """Overlap beyond chance, and the share of it that was answered with success."""
        shares = [
            self._overlap(texts) for texts in (sorted(field.first)[:_MOST_VALUES], sorted(field.values)[:_MOST_VALUES])
        ]
        overlap = 0.0 if self._parameter.is_choice else max(shares)
        tried = [self._recorded[text] for text in field.values if text in self._recorded]
        return overlap, sum(tried) / len(tried) if tried else 1.0

    def _overlap(self, texts: list[str]) -> float:
        if self._recorded.keys().isdisjoint(texts):
            return 0.0
        telling = [text for text in texts if _universe(_form(text)) > _SMALL]
        hits = sum(text in self._recorded for text in telling)
        if not hits:
            return 0.0
        chance = sum(min(1.0, self._forms[_form(text)] / _universe(_form(text))) for text in telling)
        often = min(1.0, hits / _ENOUGH) * min(1.0, hits / len(telling) / _OFTEN)
        return max(0.0, 1 - chance / hits) * often

    def _fit(self, field: ResponseField) -> float:
        values = [field.values[text] for text in sorted(field.values)[:_TRIED]]
        return sum(map(self._fits, values)) / len(values)

    def _fits(self, value: Any) -> bool:
        try:
            return self._parameter.fits(self._parameter.read(value))
        except ValueError:  # no JSON value
            return False


_SMALL = 100
_SIZES = {"A": 26, "a": 26, "0": 10}
_LONG = 12


@lru_cache(1 << 16)
def _form(text: str) -> str:
    """The form of a text: capitals as ``A``, small letters as ``a``, digits as ``0``, all others as they are."""
    form = "".join(
        "0" if char.isdigit() else "A" if char.isupper() else "a" if char.isalpha() else char for char in text[:_LONG]
    )
    return form if len(text) <= _LONG else f"{form}..."


@lru_cache(1 << 12)
def _universe(form: str) -> float:
    """Number of texts of a form."""
    size = 1.0
    for char in form:
        size *= _SIZES.get(char, 1)
    return size


def _description_words(parameter: Parameter) -> frozenset[str]:
    text = parameter.schema.get("description") if isinstance(parameter.schema, Mapping) else None
    return frozenset(words(text)) if isinstance(text, str) else frozenset()
