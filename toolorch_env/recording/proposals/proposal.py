"""Recording plans where the user has none: from what tools say of their parameters, and from what they answered."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import jmespath

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.recording.plans.plan import Constant, CrawledValues, ForEach, ListedValues, Plan, Request, ValueSource
from toolorch_env.recording.proposals.enumeration import schema_values
from toolorch_env.recording.proposals.evidence import gather
from toolorch_env.recording.proposals.matching import Candidate, Matcher
from toolorch_env.store.naming import is_vague, words
from toolorch_env.store.records import Record

logger = logging.getLogger(__name__)

SOURCES = 3
"""A required parameter is crawled from the responses of so many tools at most."""


def propose(
    tools: ToolSet,
    records: Iterable[Record] = (),
    *,
    former: Plan | None = None,
    seed: int = 0,
    max_values: int = 50,
    sample: int = 200,
) -> Plan:
    """A plan that asks all read-only tools, as far as values for their parameters are known.

    The values are those that the schemas name (see :func:`schema_values`), and those that stand in recorded responses
    under a name and in a form that fit. Each optional parameter is varied alone. The order of the records does not
    matter.

    Args:
        tools: the tools of the API; state-changing ones are left out.
        records: answers so far.
        former: the plan that led to the records. Its requests are kept as they are, further ones are added.
        seed: seed of the plan, where there is no former one.
        max_values: so many values are listed for a parameter at most.
        sample: so many calls of a request are made at most.
    """
    plan = former if former is not None else Plan(seed=seed)
    matcher = Matcher(tools, gather(tools, records))
    requests = list(plan.requests)
    for name, tool in tools.items():
        if tool.read_only:
            made = [request for request in plan.requests if request.tool == name]
            requests += _ToolProposal(tools, name, matcher, made, max_values, sample).further()
        elif former is None:
            logger.info("%s changes the state of the API: it is not asked without a plan", name)
    return plan.model_copy(update={"requests": tuple(requests)})


def unreached(tools: ToolSet, plan: Plan) -> dict[str, str]:
    """Tools for which a plan has no requests, each with the reason and with what to write in a plan."""
    asked = {request.tool for request in plan.requests}
    return {name: _reason(tools, name) for name in tools if name not in asked}


def _reason(tools: ToolSet, name: str) -> str:
    if not tools[name].read_only:
        return (
            "it changes the state of the API: write a request for it in a plan, or a workflow that calls it; "
            "if it changes nothing, name it under `read_only`"
        )
    unknown = [parameter for parameter in tools[name].required if not _listed(tools, name, parameter, 1)]
    if not unknown:
        return f"the plan does not ask it: add `- tool: {name}` to its requests"
    told = ", ".join(f"{parameter}: {{values: [...]}}" for parameter in unknown)
    return (
        f"no values are known for its required {', '.join(map(repr, unknown))}: "
        f"add `- {{tool: {name}, arguments: {{{told}}}}}` to the requests of a plan"
    )


def _listed(tools: ToolSet, tool: str, name: str, limit: int) -> list[Any]:
    """Values that the parameter's schema names, else those that it names in other tools."""
    parameter = tools.signature(tool).parameters.get(name)
    if parameter is None:
        return []
    found = schema_values(parameter, tools[tool].parameters, limit)
    if found or is_vague(words(name)):
        return found
    for other in tools:
        namesake = tools.signature(other).parameters.get(name)
        if namesake is not None:
            found += schema_values(namesake, tools[other].parameters, limit)
    fitting = {canonical_json(value): value for value in found if parameter.fits(value)}
    return list(fitting.values())[:limit]


@dataclass(frozen=True, slots=True)
class _Row:
    """What objects in the responses of one tool give for another: fields, and arguments of the call they answer."""

    source: str
    path: str
    fields: Mapping[str, Candidate]
    keep: Mapping[str, str]

    @property
    def rank(self) -> tuple[Any, ...]:
        score = sum(candidate.score for candidate in self.fields.values())
        return -len(self.fields) - len(self.keep), -round(score, 6), self.source, self.path


class _ToolProposal:
    """The requests of one tool.

    Args:
        made: those that were proposed before.
    """

    def __init__(
        self, tools: ToolSet, name: str, matcher: Matcher, made: list[Request], max_values: int, sample: int
    ) -> None:
        self._tools = tools
        self._name = name
        self._made = list(made)
        self._sample = sample
        self._required = [p for p in tools[name].required if p in tools.signature(name).parameters]
        self._optional = [
            p for p, schema in tools[name].properties.items() if p not in self._required and not _secret(schema)
        ]
        self._values = {p: _listed(tools, name, p, max_values) for p in [*self._required, *self._optional]}
        self._candidates = {p: list(matcher.candidates(name, p)) for p in self._values}
        self._used: dict[str, set[str]] = defaultdict(set)
        self._together: set[str] = set()
        for request in made:
            self._note(request)

    def further(self) -> list[Request]:
        """Requests that were not proposed before."""
        before = len(self._made)
        if not self._made and all(self._values[name] for name in self._required):
            self._add({name: _source_of(self._values[name]) for name in self._required})
        for row in sorted(self._rows(), key=lambda row: row.rank):
            if any(self._is_news(candidate) and self._wants(candidate) for candidate in row.fields.values()):
                self._crawl(row)
        if self._made:
            self._vary(self._made[0])
        return self._made[before:]

    def _add(self, arguments: Mapping[str, ValueSource], each: ForEach | None = None, share: int = 1) -> None:
        sample = max(1, self._sample // share)
        certain = each is None and not any(isinstance(source, CrawledValues) for source in arguments.values())
        few = certain and prod(map(_count, arguments.values())) <= sample
        request = Request(tool=self._name, arguments=dict(arguments), for_each=each, sample=None if few else sample)
        self._made.append(request)
        self._note(request)

    def _note(self, request: Request) -> None:
        for name, source in request.arguments.items():
            if isinstance(source, CrawledValues):
                self._used[name].add(source.source)
        if request.for_each:
            for name in _names_given(request.for_each.select):
                self._used[name].add(request.for_each.source)
                self._together.add(name)

    def _wants(self, candidate: Candidate) -> bool:
        used = self._used[candidate.parameter]
        return candidate.field.tool not in used and len(used) < SOURCES

    def _rows(self) -> Iterator[_Row]:
        """The rows that give something new for required parameters, each with the best field for each of them."""
        found: dict[tuple[str, str], list[Candidate]] = defaultdict(list)
        for name in self._required:
            for candidate in self._candidates[name]:
                found[candidate.field.tool, candidate.field.row].append(candidate)
        for (source, path), candidates in found.items():
            while candidates:
                fields = _one_for_each(candidates)
                candidates = [candidate for candidate in candidates if candidate.parameter not in fields]
                if any(self._is_news(candidate) for candidate in fields.values()):
                    yield _Row(source, path, fields, self._kept(source, fields))

    def _is_news(self, candidate: Candidate) -> bool:
        """Whether a field can hold values that neither the schema nor the call before has named."""
        parameter = self._tools.signature(self._name).parameters[candidate.parameter]
        return not candidate.field.echoes and not parameter.is_choice

    def _kept(self, source: str, fields: Mapping[str, Candidate]) -> dict[str, str]:
        """The other required parameters that the source was called with, under the same name."""
        given = {words(name): name for name in self._tools[source].required if not is_vague(words(name))}
        others = [name for name in self._required if name not in fields]
        return {name: given[words(name)] for name in others if words(name) in given}

    def _crawl(self, row: _Row) -> None:
        rest = {name: self._rest(name) for name in self._required if name not in {*row.fields, *row.keep}}
        arguments = {name: source for name, source in rest.items() if source is not None}
        torn_apart = any(name in self._together and isinstance(source, CrawledValues) for name, source in rest.items())
        if torn_apart or len(arguments) < len(rest):
            return
        if len(row.fields) == 1 and not row.keep:
            (candidate,) = row.fields.values()
            own = {candidate.parameter: _crawled(candidate)}
            self._add({name: {**own, **arguments}[name] for name in self._required})
        else:
            each = ForEach.model_validate({"from": row.source, "select": _objects(row), "keep": row.keep})
            self._add(arguments, each)

    def _rest(self, name: str) -> ValueSource | None:
        """Values for a parameter beside a crawled one."""
        if self._values[name]:
            return _source_of(self._values[name])
        crawlable = [candidate for candidate in self._candidates[name] if not candidate.field.echoes]
        return _crawled(min(crawlable, key=_preference)) if crawlable else None

    def _vary(self, base: Request) -> None:
        varied = {name for request in self._made for name in request.arguments if name in self._optional}
        fresh = {name: source for name in self._optional if name not in varied and (source := self._other(name))}
        for name, source in fresh.items():
            self._add({**base.arguments, name: source}, base.for_each, share=len(fresh))

    def _other(self, name: str) -> ValueSource | None:
        """Values of an optional parameter that are not its default."""
        parameter = self._tools.signature(self._name).parameters[name]
        values = [value for value in self._values[name] if not parameter.is_default(value)]
        if values:
            return _source_of(values)
        return None if self._values[name] else self._rest(name)


def _preference(candidate: Candidate) -> tuple[Any, ...]:
    """The better of two candidates comes first."""
    field = candidate.field
    return -round(candidate.score, 6), field.echoes, field.tool, field.select


def _one_for_each(candidates: list[Candidate]) -> dict[str, Candidate]:
    """The best candidate for each parameter, no field twice."""
    chosen: dict[str, Candidate] = {}
    taken: set[str] = set()
    for candidate in sorted(candidates, key=_preference):
        if candidate.parameter not in chosen and candidate.field.path not in taken:
            chosen[candidate.parameter] = candidate
            taken.add(candidate.field.path)
    return chosen


def _secret(schema: Any) -> bool:
    return isinstance(schema, Mapping) and schema.get("format") == "password"


def _source_of(values: list[Any]) -> ValueSource:
    return Constant(value=values[0]) if len(values) == 1 else ListedValues(values=tuple(values))


def _crawled(candidate: Candidate) -> CrawledValues:
    return CrawledValues.model_validate({"from": candidate.field.tool, "select": candidate.field.select})


def _count(source: ValueSource) -> int:
    return len(source.values) if isinstance(source, ListedValues) else 1


def _objects(row: _Row) -> str:
    """JMESPath expression of the objects of arguments in a row."""
    inner = ", ".join(f"{_key(name)}: {candidate.field.path or '@'}" for name, candidate in row.fields.items())
    return f"{row.path}.{{{inner}}}" if row.path else f"{{{inner}}}"


def _key(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else canonical_json(name).decode()


def _names_given(select: str) -> list[str]:
    """The keys of the objects that an expression makes."""
    found, stack = [], [jmespath.compile(select).parsed]
    while stack:
        node = stack.pop()
        if node["type"] == "key_val_pair":
            found.append(node["value"])
        stack.extend(child for child in node.get("children", ()) if isinstance(child, dict))
    return found
