"""The 107 published workflow templates on the published responses: all that can work are found, and all draws do."""

import re
from collections.abc import Iterator
from itertools import chain
from math import prod
from typing import Any, NamedTuple

import booking_data
import numpy as np
import orjson
import pytest
from booking_data import BOOKING, needs_booking

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import canonical_json, rounded
from toolorch_env.generation.estimates import Estimate
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.sources import TraceSource
from toolorch_env.recording.importing.traces import DataSet
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot

pytestmark = needs_booking

FILES = ("bfcl_training_3_per_workflow.pkl", "booking_tools.jsonl", "workflow_templates.json")
FEASIBLE = 38
"""So many of the 107 templates have traces; found by the exhaustive search below."""

SATISFIED = 61
"""So many of the 101 published traces satisfy their template, also in that equal values of one parameter are equal."""

DRAWS = 200
"""Traces that are replayed of each template."""


class Answer(NamedTuple):
    """A published call with its body."""

    key: bytes
    tool: str
    arguments: dict[str, Any]
    body: Any


class Published(NamedTuple):
    data_set: DataSet
    snapshot: Snapshot
    generator: WorkflowGenerator
    answers: list[Answer]


@pytest.fixture(scope="module")
def published() -> Published:
    data_set, _, snapshot = booking_data.published(templates=True)
    return Published(data_set, snapshot, WorkflowGenerator(snapshot), list(answers_of(data_set, snapshot.tools)))


def answers_of(data_set: DataSet, tools: ToolSet) -> Iterator[Answer]:
    """The successful ones of the 442 published calls, each different one once."""
    known = set()
    for trace in data_set.traces:
        for made in trace.calls:
            call = tools.canonical(Call(made.answered.call.tool, made.answered.call.arguments))
            if made.answered.status == 200 and call.key not in known:
                known.add(call.key)
                yield Answer(call.key, call.tool, call.arguments, made.answered.body)


def templates() -> list[dict[str, Any]]:
    assert BOOKING is not None
    found: list[dict[str, Any]] = orjson.loads((BOOKING / "workflow_templates.json").read_bytes())["workflows"]
    return found


# ----------------------------------------------------------------------------------------------- the exhaustive search


def followed(body: Any, field: str) -> Any:
    """What a published ``from_field`` leads to: below ``data`` where there is any."""
    place = (isinstance(body, dict) and body.get("data")) or body
    for name, index in re.findall(r"([^.\[\]]+)|\[([0-9]+)\]", field):
        if name:
            place = place.get(name) if isinstance(place, dict) else None
        else:
            place = place[int(index)] if isinstance(place, list) and int(index) < len(place) else None
    return place


def form(value: Any) -> bytes:
    return canonical_json(rounded(value))


class Search:
    """Nested loops over the published answers: for each step of a template in turn all that fit those before."""

    def __init__(self, template: dict[str, Any], answers: list[Answer], tools: ToolSet) -> None:
        self.steps = [template["dependencies"][str(number)] for number in range(len(template["dependencies"]))]
        self.tools = tools
        self.answers = [[answer for answer in answers if answer.tool == step["function"]] for step in self.steps]

    def literal(self, step: int, name: str) -> tuple[str, bytes]:
        """Equal values of one parameter are one literal."""
        return name, canonical_json(self.steps[step]["arguments"][name])

    def parts(self) -> list[list[int]]:
        """Steps that have something to do with each other; traces of different parts combine freely."""
        parts: list[list[int]] = []
        for index, step in enumerate(self.steps):
            related = [origin["from_step"] for origin in step["dependency_args"].values()]
            own = {self.literal(index, name) for name in step["arguments"] if name not in step["dependency_args"]}
            for other in range(index):
                taken = self.steps[other]["dependency_args"]
                if own & {self.literal(other, name) for name in self.steps[other]["arguments"] if name not in taken}:
                    related.append(other)
            touched = [part for part in parts if set(part) & set(related)]
            parts = [part for part in parts if part not in touched]
            parts.append(sorted([*chain(*touched), index]))
        return parts

    def traces(self, part: list[int], chosen: dict[int, Answer], literals: dict[Any, bytes]) -> Iterator[Any]:
        """All ways to choose an answer for each step of a part."""
        if len(chosen) == len(part):
            yield chosen
            return
        step = part[len(chosen)]
        for answer in self.answers[step]:
            known = self.fit(step, answer, chosen, literals)
            if known is not None:
                yield from self.traces(part, {**chosen, step: answer}, known)

    def fit(
        self, step: int, answer: Answer, chosen: dict[int, Answer], literals: dict[Any, bytes]
    ) -> dict[Any, bytes] | None:
        """The literals with an answer chosen, ``None`` if it does not fit."""
        origins, literals = self.steps[step]["dependency_args"], dict(literals)
        for name, parameter in self.tools.signature(answer.tool).parameters.items():
            if name not in self.steps[step]["arguments"] and name not in origins:
                if name in answer.arguments:
                    return None
                continue
            value = answer.arguments.get(name, parameter.default)
            if name in origins:
                found = followed(chosen[origins[name]["from_step"]].body, origins[name]["from_field"])
                if found is None or value is None or form(parameter.read(found)) != form(value):
                    return None
            elif value is None or literals.setdefault(self.literal(step, name), form(value)) != form(value):
                return None
        return literals

    def count(self) -> int:
        return prod(sum(1 for _ in self.traces(part, {}, {})) for part in self.parts())


@pytest.mark.long
def test_every_feasible_template_is_found_and_counted(published: Published) -> None:
    counts = published.generator.counts()
    expected = {
        template["id"]: Search(template, published.answers, published.snapshot.tools).count()
        for template in templates()
    }
    assert counts == expected
    assert len(counts) == 107
    assert sum(count > 0 for count in counts.values()) == FEASIBLE


# ------------------------------------------------------------------------------------------------------ what is drawn


def sources(published: Published) -> list[TraceSource]:
    return [source for source in published.generator.sources.values() if source.join.count]


def test_every_draw_is_answered_as_its_template_wants(published: Published) -> None:
    """Replayed from the query's values alone: each argument that is taken from a response is what was passed."""
    replay = SnapshotReplay(published.snapshot, "raise")
    for source in sources(published):
        rng = np.random.default_rng(0)
        for number in rng.integers(source.join.count, size=DRAWS).tolist():
            trace = source.trace(number)
            if trace is None:
                continue
            bodies: list[Any] = []
            for call in source.reference(trace):
                arguments = dict(call.arguments)
                arguments |= {b.parameter: Selector(b.select)(bodies[b.step]) for b in call.bindings}
                made = replay.tools.canonical(Call(call.tool, arguments))
                wanted = replay.tools.canonical(Call(call.tool, call.arguments))
                assert made.rounded_key == wanted.rounded_key
                response = replay.answer(made)
                assert response.success
                bodies.append(response.body)


def test_all_counts_are_exact(published: Published) -> None:
    """Also those of tasks, which repeat no call and no value: compared with looking at all traces."""
    for source in sources(published):
        assert source.task_count == source.join.count_where(source.are_tasks)
        assert isinstance(source.task_count, Estimate)
        assert source.task_count.is_exact


def test_published_traces_that_satisfy_their_template_are_among_those_of_the_join(published: Published) -> None:
    found = {template["id"]: template for template in templates()}
    by_key = {answer.key: answer for answer in published.answers}
    satisfied = 0
    for trace in published.data_set.traces:
        name = trace.id.rpartition("-")[0]
        calls = [published.snapshot.tools.canonical(made.answered.call) for made in trace.calls]
        search = Search(found[name], published.answers, published.snapshot.tools)
        chosen: dict[int, Answer] = {}
        literals: dict[Any, bytes] | None = {}
        for step, key in enumerate(call.key for call in calls):
            literals = None if literals is None else search.fit(step, by_key[key], chosen, literals)
            chosen[step] = by_key[key]
        source = published.generator.sources[name]
        if literals is not None:
            satisfied += 1
            wanted = [row_of(published, source, call) for call in calls]
            assert any((rows == wanted).all(axis=1).any() for rows in source.join.all_rows())
    assert satisfied == SATISFIED


def row_of(published: Published, source: TraceSource, call: CanonicalCall) -> int | None:
    """Row of a recorded call in the table of its tool."""
    response = published.snapshot.look_up(call)
    assert response is not None
    assert response.row is not None
    return source.compiled.tables[call.tool].find(response.row)
