"""Recording plans: which calls a recorder makes. A plan is a YAML file::

seed: 0
values:
  airport: {file: airports.txt}
requests:
  - tool: get_airport
    arguments: {iata: {values: airport}}
  - tool: search_flights
    arguments:
      origin: {values: [EWR, JFK, LGA]}
      destination: {values: airport}
      date: {range: {start: 2013-01-01, stop: 2013-12-31, step: 7}}
    sample: 2000
  - tool: get_aircraft
    arguments: {tail_number: {from: search_flights, select: "flights[].tail_number"}}
workflows: {file: workflows.yaml, runs: 100, literals: {airport: {values: airport}}}
"""

from collections.abc import Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError, model_validator

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import PlanError, WorkflowError
from toolorch_env.store.selection import Selector
from toolorch_env.store.yaml_reader import read_yaml

Scalar = str | int | float | bool | None


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Constant(_Model):
    """One value, of any JSON type: ``{value: [1, 2]}``. A plain text, number or boolean stands for itself."""

    value: Any


class ListedValues(_Model):
    """Several values, ``{values: [EWR, JFK]}``, or those of a named set of the plan: ``{values: airport}``."""

    values: tuple[Any, ...] | str


class FileValues(_Model):
    """The values in a file beside the plan: ``{file: airports.txt}``.

    ``.json`` holds a list, ``.csv`` has a header and needs ``column``, any other file has one text a line.
    """

    file: str
    column: str | None = None


class Range(_Model):
    """Evenly spaced numbers or dates, ``stop`` included; ``step`` counts days for dates."""

    start: int | float | date
    stop: int | float | date
    step: int | float = Field(default=1, gt=0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if isinstance(self.start, date) != isinstance(self.stop, date):
            raise ValueError("start and stop must both be numbers or both be dates")
        if not all(isinstance(bound, date) or isfinite(bound) for bound in (self.start, self.stop, self.step)):
            raise ValueError("start, stop and step must be finite")
        if isinstance(self.start, date) and int(self.step) != self.step:
            raise ValueError("the step between dates is a whole number of days")
        return self


class RangeValues(_Model):
    """A range of numbers or ISO dates: ``{range: {start: 1, stop: 12}}``."""

    range: Range


class CrawledValues(_Model):
    """What a JMESPath expression finds in the responses of a tool: ``{from: search_flights, select: "flights[].id"}``.

    A list counts as its elements.
    """

    source: str = Field(alias="from")
    select: str

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_select(self.select)
        return self


def _source_kind(given: Any) -> str:
    if isinstance(given, Mapping):
        known = {"value": "constant", "values": "listed", "file": "file", "range": "range", "from": "crawled"}
        return next((kind for key, kind in known.items() if key in given), "constant")
    kinds: dict[type[Any], str] = {
        ListedValues: "listed",
        FileValues: "file",
        RangeValues: "range",
        CrawledValues: "crawled",
    }
    return kinds.get(type(given), "constant")


def _as_constant(given: Any) -> Any:
    if given is None or isinstance(given, list):
        raise ValueError(f"write {{value: ...}} for one value or {{values: [...]}} for several, not {given!r}")
    return Constant(value=given) if isinstance(given, (str, int, float, bool, date)) else given


ValueSource = Annotated[
    Annotated[Constant, Tag("constant")]
    | Annotated[ListedValues, Tag("listed")]
    | Annotated[FileValues, Tag("file")]
    | Annotated[RangeValues, Tag("range")]
    | Annotated[CrawledValues, Tag("crawled")],
    Discriminator(_source_kind),
]


class ForEach(_Model):
    """Arguments that belong together, from the responses of a tool: a call for each object that ``select`` finds.

    Attributes:
        source: the tool (``from`` in the file).
        select: JMESPath expression that gives an object of arguments, or a list of such objects.
        keep: parameters that take an argument of the call that was answered, by its name there.
        per_response: so many objects are taken from one response at most, the first ones.
    """

    source: str = Field(alias="from")
    select: str = "`{}`"
    keep: dict[str, str] = {}
    per_response: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_select(self.select)
        return self


class Request(_Model):
    """Calls of one tool.

    Attributes:
        tool: the tool.
        arguments: a source of values for each parameter.
        for_each: further arguments, that belong together, from responses of another tool.
        combine: ``product`` for every combination of the values, ``zip`` for the first with the first and so on.
        sample: so many of the calls are made at most, drawn by the plan's seed.
        refusals: so many calls are added that the API should refuse: a required argument left out, one of a wrong
            type, an unknown value.
    """

    tool: str
    arguments: dict[str, ValueSource] = {}
    for_each: ForEach | None = None
    combine: Literal["product", "zip"] = "product"
    sample: int | None = Field(default=None, ge=1)
    refusals: int = Field(default=0, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _read_scalars(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and isinstance(given.get("arguments"), Mapping):
            arguments = {name: _as_constant(source) for name, source in given["arguments"].items()}
            return {**given, "arguments": arguments}
        return given

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.combine == "zip" and any(isinstance(source, CrawledValues) for source in self.arguments.values()):
            raise ValueError("crawled values cannot be zipped: use for_each for arguments that belong together")
        return self

    @property
    def sources(self) -> set[str]:
        """The tools on whose responses this request waits."""
        crawled = {source.source for source in self.arguments.values() if isinstance(source, CrawledValues)}
        return crawled | ({self.for_each.source} if self.for_each else set())


class WorkflowRuns(_Model):
    """Workflows, and how often each is run from its first step to its last.

    Attributes:
        file: the workflow file, beside the plan. It is stored in the snapshot, for tasks to be drawn from.
        runs: runs of each workflow, with literals drawn by the plan's seed.
        literals: the values of each kind of literal.
    """

    file: str
    runs: int = Field(default=0, ge=0)
    literals: dict[str, ValueSource] = {}


class Plan(_Model):
    """A recording plan.

    Attributes:
        seed: of everything that is drawn.
        max_calls: no more calls than that are planned, runs of workflows apart.
        max_depth: number of rounds in which responses lead to further calls.
        values: named sets of values.
        requests: the calls.
        workflows: the workflows.
        read_only: tools that leave the API's state as it is, whatever the API says of them.
        state_changing: tools that change the API's state, whatever the API says of them.
        credentials: further names of parameters and fields that hold credentials.
        extract: for tools that answer in plain text, a regular expression whose named groups become ``matches``.
        name, description, source, licence: provenance of the snapshot.
        folder: where the files that the plan names are.
    """

    seed: int = 0
    max_calls: int = Field(default=1_000_000, ge=1)
    max_depth: int = Field(default=10, ge=0)
    values: dict[str, ValueSource] = {}
    requests: tuple[Request, ...] = ()
    workflows: WorkflowRuns | None = None
    read_only: frozenset[str] = frozenset()
    state_changing: frozenset[str] = frozenset()
    credentials: frozenset[str] = frozenset()
    extract: dict[str, str] = {}
    name: str = ""
    description: str = ""
    source: str = ""
    licence: str = ""
    folder: Path = Field(default=Path(), exclude=True)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for where, source in self._value_sources():
            if isinstance(source, ListedValues) and isinstance(source.values, str) and source.values not in self.values:
                raise ValueError(f"{where}: there is no set of values {source.values!r}")
        for name, source in self.values.items():
            if isinstance(source, CrawledValues) or (
                isinstance(source, ListedValues) and isinstance(source.values, str)
            ):
                raise ValueError(f"the set of values {name!r} must hold values itself")
        both = self.read_only & self.state_changing
        if both:
            raise ValueError(f"both read_only and state_changing: {', '.join(sorted(both))}")
        return self

    def _value_sources(self) -> Iterator[tuple[str, Any]]:
        for request in self.requests:
            yield from ((f"{request.tool}, {name}", source) for name, source in request.arguments.items())
        if self.workflows:
            yield from ((f"literals, {kind}", source) for kind, source in self.workflows.literals.items())

    def check_tools(self, tools: ToolSet) -> None:
        """Checks the plan against the tools of an API.

        Raises:
            PlanError: a tool or a parameter is unknown.
        """
        crawled = [source.source for _, source in self._value_sources() if isinstance(source, CrawledValues)]
        marked = [*self.read_only, *self.state_changing, *self.extract]
        each = [request.for_each.source for request in self.requests if request.for_each]
        for name in [*(request.tool for request in self.requests), *crawled, *each, *marked]:
            if name not in tools:
                raise PlanError(f"the API has no tool {name!r}{_hint(name, tools)}")
        for request in self.requests:
            known = tools.signature(request.tool).parameters
            for name in [*request.arguments, *(request.for_each.keep if request.for_each else ())]:
                if name not in known and tools[request.tool].parameters.get("additionalProperties") is not True:
                    raise PlanError(f"{request.tool} has no parameter {name!r}{_hint(name, known)}")


def _hint(name: str, known: Any) -> str:
    close = get_close_matches(name, list(known), 1)
    return f"; did you mean {close[0]!r}?" if close else f" (known are: {', '.join(sorted(known)) or 'none'})"


def _check_select(select: str) -> None:
    try:
        Selector(select)
    except WorkflowError as error:
        raise ValueError(str(error)) from None


def parse_plan(document: Any, where: str = "plan", folder: Path = Path()) -> Plan:
    """The plan in a parsed YAML document; files that it names are sought in ``folder``.

    Raises:
        PlanError: says where and what is wrong.
    """
    if not isinstance(document, Mapping):
        raise PlanError(f"{where}: a plan is a mapping with `requests`, or `workflows`")
    try:
        return Plan.model_validate({**document, "folder": folder})
    except ValidationError as error:
        raise PlanError(f"{where}: {_first_problems(error, document)}") from None


def load_plan(path: str | Path) -> Plan:
    """The plan in a YAML file.

    Raises:
        PlanError: the file is missing or not valid; says where and what.
    """
    try:
        document = read_yaml(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PlanError(f"{path}: {error}") from None
    return parse_plan(document, str(path), Path(path).resolve().parent)


def _first_problems(error: ValidationError, document: Mapping[str, Any]) -> str:
    messages = []
    for problem in error.errors()[:5]:
        place = [part for part in problem["loc"] if part not in ("constant", "listed", "file", "range", "crawled")]
        if place[:1] == ["requests"] and len(place) > 1:
            request = document["requests"][place[1]]
            place[:2] = [f"request {place[1]} ({request.get('tool')})" if isinstance(request, Mapping) else place[1]]
        messages.append(f"{' / '.join(map(str, place))}: {problem['msg'].removeprefix('Value error, ')}".lstrip(": "))
    return "; ".join(messages)
