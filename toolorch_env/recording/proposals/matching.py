"""Which fields of responses can serve as values of a parameter, and how likely that is."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.signatures import Parameter
from toolorch_env.recording.http.references import look_up
from toolorch_env.recording.proposals.evidence import Evidence, Field
from toolorch_env.store.naming import Words, is_search, is_vague, name_match, subject, words

THRESHOLD = 0.65
"""The least score of a field that is used."""

SPECIFIC = 0.25
"""What a schema adds that few other values would fit."""

ACCEPTED = 0.5
"""What it adds that values of the field were accepted before."""

REFUSED = 0.5
"""What it costs that values of the field were refused before."""

_DESCRIBED = 0.45
_DESCRIBED_TOO = 0.1
_TELLING = 0.5
_LEAST_FIT = 0.5
_TRIED = 30
_ENOUGH_REFUSED = 5
_COINCIDENCE = 3
_VAGUE_FORMATS = frozenset({"int32", "int64", "float", "double", "password"})


@dataclass(frozen=True, slots=True)
class Candidate:
    """A field that may serve as values of a parameter; the higher its score, the likelier."""

    parameter: str
    field: Field
    score: float


class Matcher:
    """Scores fields for parameters, from names, schemas, and what was accepted or refused so far."""

    def __init__(self, tools: ToolSet, evidence: Evidence) -> None:
        self._tools = tools
        self._evidence = evidence
        self._accepted_under: dict[str, set[str]] = defaultdict(set)
        for (_, name), accepted in evidence.accepted.items():
            self._accepted_under[name] |= accepted
        self._fields: dict[tuple[Words, Words], list[Field]] = defaultdict(list)
        for field in evidence.fields:  # whose it is tells something of vague names alone
            self._fields[field.name, field.owner if is_vague(field.name) else ()].append(field)

    def candidates(self, tool: str, name: str) -> Iterator[Candidate]:
        """Fields that serve as values of a tool's parameter, in no particular order."""
        root = self._tools[tool].parameters
        parameter = self._tools.signature(tool).parameters[name]
        specific = specificity(parameter.schema, root)
        described = _description_words(parameter)
        accepted = self._accepted(tool, name)
        for (field_name, owner), fields in self._fields.items():
            named = _named(words(name), subject(tool), described, field_name, owner)
            if not named and (specific < _TELLING or not accepted):
                continue
            for field in fields:
                if (field.tool == tool and field.echoes) or (not named and field.values.keys().isdisjoint(accepted)):
                    continue
                if score := self._score(tool, parameter, field, named, specific):
                    yield Candidate(name, field, score)

    def _score(self, tool: str, parameter: Parameter, field: Field, named: float, specific: float) -> float:
        accepted, refused = self._experience(tool, parameter.name, field)
        score = named + SPECIFIC * specific - REFUSED * refused
        if specific >= _TELLING:
            score += ACCEPTED * accepted
        if score < THRESHOLD:
            return 0.0
        fit = _fit(parameter, field)
        score -= SPECIFIC * specific * (1 - fit)
        return score if fit >= _LEAST_FIT and score >= THRESHOLD else 0.0

    def _accepted(self, tool: str, name: str) -> set[str]:
        """Tokens of the values that were accepted for a parameter, under a telling name for its namesakes too."""
        if is_vague(words(name)):
            return self._evidence.accepted.get((tool, name), set())
        return self._accepted_under.get(name, set())

    def _experience(self, tool: str, name: str, field: Field) -> tuple[float, float]:
        """How well the field's values were accepted for the parameter, and how badly refused, both from 0 to 1."""
        values = field.values.keys()
        accepted = self._accepted(tool, name)
        taken = values & accepted
        refused = values & self._evidence.refused.get((tool, name), set())
        tried = len(taken) + len(refused)
        if not tried:
            return 0.0, 0.0
        coverage = len(taken) / min(len(values), len(accepted)) if accepted else 0.0
        share = len(taken) / tried
        acceptance = share * min(1.0, len(taken) / _COINCIDENCE) * min(1.0, 2 * coverage)
        return acceptance, len(refused) / tried if len(refused) >= _ENOUGH_REFUSED else 0.0


def _named(parameter: Words, about: Words, described: frozenset[str], field: Words, owner: Words) -> float:
    """How far names and description say that a field holds what a parameter takes."""
    named = name_match(parameter, about, field, owner)
    if is_vague(field) or not field or not described.issuperset(field):
        return named
    return max(named + _DESCRIBED_TOO if named else 0.0, THRESHOLD if is_search(parameter) else _DESCRIBED)


def _description_words(parameter: Parameter) -> frozenset[str]:
    text = parameter.schema.get("description") if isinstance(parameter.schema, Mapping) else None
    return frozenset(words(text)) if isinstance(text, str) else frozenset()


def _fit(parameter: Parameter, field: Field) -> float:
    tokens = sorted(field.values)[:_TRIED]
    return sum(_fits(parameter, field.values[text]) for text in tokens) / len(tokens)


def _fits(parameter: Parameter, value: Any) -> bool:
    try:
        return parameter.fits(parameter.read(value))
    except ValueError:  # no JSON value
        return False


def specificity(schema: Any, root: Mapping[str, Any], depth: int = 8) -> float:
    """How much it says that a value fits a schema, from 0 for any text to 1 for a pattern."""
    if not isinstance(schema, Mapping) or not depth:
        return 0.0
    if {"enum", "const", "pattern"} & schema.keys() or schema.get("format", "int32") not in _VAGUE_FORMATS:
        return 1.0
    if "$ref" in schema:
        return specificity(look_up(root, schema["$ref"], "parameters"), root, depth - 1)
    options = [option for name in ("anyOf", "oneOf") for option in islice(schema.get(name, ()), 20)]
    inner = [specificity(option, root, depth - 1) for option in options if option.get("type") != "null"]
    inner += [specificity(part, root, depth - 1) for part in schema.get("allOf", ())]
    if inner:
        return min(inner)
    bounded = {"minimum", "exclusiveMinimum"} & schema.keys() and {"maximum", "exclusiveMaximum"} & schema.keys()
    return 0.4 if bounded else 0.0
