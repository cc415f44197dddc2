"""A generator of tasks from workflows that nobody wrote: random walks on the tool graph."""

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import ConstraintError, TaskError, WorkflowError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.composing import TaskComposer, draw_trace, read_task_id
from toolorch_env.generation.constraints import Split, TaskConstraints, read_constraints
from toolorch_env.generation.graph_walks import CallGraph, Walks
from toolorch_env.generation.graph_workflows import decode, encode, kind_of, name_of, workflow_of
from toolorch_env.generation.paraphrases import Paraphrases
from toolorch_env.generation.phraser import Phraser
from toolorch_env.generation.phrasing import Template
from toolorch_env.generation.recorded_parameters import LONGEST_SAID, RecordedParameters
from toolorch_env.generation.sources import Trace, TraceSource
from toolorch_env.generation.splits import is_held_out
from toolorch_env.generation.structures import structure_of
from toolorch_env.generation.tool_graph import ToolGraph, infer_tool_graph
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.compiled import Compiled, Link
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import QueryArgument, ResponseArgument, WorkflowSet, parse_workflows

_LOGGER = logging.getLogger(__name__)

VARIETY = 400
"""Tasks under the same structural constraints come from so many draws of a workflow."""

MAX_WORKFLOW_DRAWS = 200
"""So many workflows are tried before a split counts as empty."""

MAX_TRACE_DRAWS = 100
"""Traces of a wrong split, or that are no tasks, are drawn anew from their workflow, at most that often."""

MAX_STRUCTURES = 100
"""So many graphs of calls are drawn for one that has any task."""

_PROBES = 30
_CACHED = 512
_DISTRACTIONS = (
    "By the way, I also came across the {words} {{{kind}}}, but that is for another time.",
    "My neighbour keeps talking about {words} {{{kind}}}.",
)


_STRUCTURE = (
    *("include_tools", "exclude_tools", "min_steps", "max_steps"),
    *("min_depth", "max_depth", "min_width", "max_width"),
)


class GraphGenerator:
    """Draws tasks from workflows that nobody wrote, over the recorded responses of a snapshot.

    A workflow is drawn from the tool graph as :mod:`toolorch_env.generation.graph_walks` says; one that no recorded
    responses satisfy, whose traces all repeat a call or a value, or that is stored in the snapshot under another name,
    is drawn anew and counted in :attr:`counts`. Then one of its traces is drawn, uniformly among all valid ones of the
    split, and worded as those of written workflows are; written phrasings it has none of.

    Every task comes from one of ``variety`` draws of a workflow for its structural constraints, so that workflows can
    be kept: the first tasks are slow, later ones fast. The same seed gives the same task, whatever was drawn before.

    Args:
        snapshot: the recorded API, or its bundled name or path.
        graph: the tool graph; by default it is inferred from the snapshot, which takes seconds.
        variety: number of draws of a workflow that tasks come from, for each set of structural constraints; at least 1.

    Attributes:
        counts: how many workflows were drawn so far, as ``drawn``, and how many of these had no tasks or were written
            by somebody, as ``infeasible``.
    """

    def __init__(
        self, snapshot: str | Path | Snapshot, graph: ToolGraph | None = None, *, variety: int = VARIETY
    ) -> None:
        self.snapshot = open_snapshot(snapshot)
        self.variety = variety
        self._graph = graph
        self._open()

    def _open(self) -> None:
        self.counts: Counter[str] = Counter()
        self._source = lru_cache(_CACHED)(self._make_source)
        self._drawn = lru_cache(8 * _CACHED)(self._draw_name)

    def within(self, links: Collection[Link]) -> "GraphGenerator":
        """The same with those edges of the graph alone in which values flow in these ways."""
        return type(self)(self.snapshot, self.graph.within(links), variety=self.variety)

    def __getstate__(self) -> dict[str, Any]:
        return {"snapshot": self.snapshot, "variety": self.variety, "_graph": self.__dict__.get("graph", self._graph)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._open()

    @cached_property
    def graph(self) -> ToolGraph:
        """The tool graph that workflows are drawn from."""
        return infer_tool_graph(self.snapshot) if self._graph is None else self._graph

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | Mapping[str, Any] | None = None) -> Task:
        """A task drawn under constraints (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        constraints = read_constraints(constraints)
        self._check(constraints)
        structural = _structural(constraints)
        draws = Draws(int(rng.integers(2**63)))
        for _ in range(MAX_WORKFLOW_DRAWS):
            name = self._drawn(structural, draws.below(self.variety))
            source = self._source(name)
            trace = self._draw_trace(source, draws, constraints.split)
            if trace is not None:
                return self._composer.task(name, source, trace, draws.word() >> 32, constraints)
        raise ConstraintError(
            f"no task was found in {MAX_WORKFLOW_DRAWS} workflows that were drawn from the tool graph of "
            f"{self.snapshot.name!r}: they have (nearly) no traces in the split {constraints.split!r}"
        )

    def task(self, task_id: str) -> Task:
        """The task of that id (see :class:`toolorch_env.generation.generator.TaskGenerator`)."""
        try:
            name, _, _, constraints = read_task_id(task_id)
            self._check(constraints)
            source = self._source(name)
            return self._composer.again(task_id, name, source, lambda trace: self._is_wanted(source, trace))
        except (ValueError, KeyError, ConstraintError, WorkflowError):
            raise TaskError(f"this generator has no task {task_id!r}") from None

    @cached_property
    def _compiled(self) -> Compiled:
        return self.snapshot.compiled_for(self.graph.links())

    @cached_property
    def _recorded(self) -> RecordedParameters:
        return RecordedParameters(self._compiled, self.snapshot.tools)

    @cached_property
    def _walks(self) -> Walks:
        return Walks(self.graph, self._recorded)

    @cached_property
    def _composer(self) -> TaskComposer:
        pools: dict[str, set[int]] = {}
        for tool in self._recorded.tools:
            for parameter in self._recorded.required(tool):
                pools.setdefault(kind_of(parameter), set()).update(
                    self._compiled.argument_ids(tool, parameter).tolist()
                )
        values = {kind: [self._compiled.values[number] for number in sorted(pool)] for kind, pool in pools.items()}
        values = {kind: _scalars(pool) for kind, pool in values.items()}
        distractions = [Template.parse(text) for text in _distractions(values)]
        paraphrases = Paraphrases(self._words.paraphrases if self._words else {}, self.snapshot)
        return TaskComposer(self._phraser, values, distractions, paraphrases, _written_kinds(self._words))

    @cached_property
    def _words(self) -> WorkflowSet | None:
        """The snapshot's workflows, which may have words for its tools."""
        document = self.snapshot.workflows
        return None if document is None else parse_workflows(document, self.snapshot.name)

    @cached_property
    def _written(self) -> frozenset[bytes]:
        """Structures of the written workflows: one of these may be held out under its own name."""
        return frozenset(map(structure_of, self._words.workflows if self._words else ()))

    @cached_property
    def _phraser(self) -> Phraser:
        if self._words is None:
            return Phraser(self.snapshot.tools)
        return Phraser(self.snapshot.tools, self._words.grammar, self._words.rewrites)

    def _draw_name(self, structural: TaskConstraints, number: int) -> str:
        """The workflow of one of the draws, encoded: the first one of its stream that has tasks."""
        told = structural.model_dump_json(include={"split", *_STRUCTURE})
        draws = Draws.seeded_by(f"{told} {number}".encode())
        drawn = False
        for _ in range(MAX_STRUCTURES):
            calls = self._draw_for_split(draws, structural)
            if calls is None:
                break
            drawn = True
            self.counts["drawn"] += 1
            name = encode(calls, self.graph, self.snapshot.tools)
            if self._has_tasks(name):
                return name
            self.counts["infeasible"] += 1
        asked = structural.model_dump(exclude_defaults=True)
        if drawn:
            raise ConstraintError(
                f"{MAX_STRUCTURES} workflows were drawn from the tool graph of {self.snapshot.name!r} for the "
                f"constraints {asked}, and no recorded responses fit together in any of them"
            )
        raise ConstraintError(f"no workflow on the tool graph of {self.snapshot.name!r} has the constraints {asked}")

    def _draw_for_split(self, draws: Draws, structural: TaskConstraints) -> CallGraph | None:
        for _ in range(MAX_STRUCTURES):
            calls = self._walks.draw(draws, structural)
            if calls is None or is_held_out(name_of(calls, self.graph)) == (structural.split == "test_workflows"):
                return calls
        return None

    def _has_tasks(self, name: str) -> bool:
        """Whether some of the first few traces are tasks."""
        try:
            source = self._source(name)
            count = source.join.count
        except WorkflowError as error:  # a join that is too large
            _LOGGER.info("%s", error)
            return False
        draws = Draws(count)
        traces = (source.trace(draws.below(count)) for _ in range(_PROBES if count else 0))
        return any(trace is not None and self._is_wanted(source, trace) for trace in traces)

    def _make_source(self, name: str) -> TraceSource:
        tools = self.snapshot.tools
        workflow = workflow_of(decode(name, self.graph, tools), self.graph, self._recorded, self._phraser)
        if structure_of(workflow) in self._written:
            raise WorkflowError(f"the workflow {workflow.name!r} is one that somebody wrote")
        return TraceSource(workflow, self._compiled, tools)

    def _draw_trace(self, source: TraceSource, draws: Draws, split: Split) -> Trace | None:
        for _ in range(MAX_TRACE_DRAWS):
            trace = draw_trace(source, draws, split, MAX_TRACE_DRAWS)
            if trace is None or self._is_wanted(source, trace):
                return trace
        return None

    def _is_wanted(self, source: TraceSource, trace: Trace) -> bool:
        """Whether nothing that is taken from a response is a value that the query says."""
        said = list(trace.literals.values())
        for step, call in zip(source.workflow.order, source.reference(trace), strict=True):
            taken = (name for name, argument in step.arguments.items() if isinstance(argument, ResponseArgument))
            if any(call.arguments.get(name) in said for name in taken):
                return False
        return True

    def _check(self, constraints: TaskConstraints) -> None:
        for name in (*constraints.include_tools, *constraints.exclude_tools):
            if name not in self.snapshot.tools:
                raise ConstraintError(f"constraints name a tool {name!r}, which is not in {self.snapshot.name!r}")
        if constraints.workflows:
            raise ConstraintError("workflows are drawn from the tool graph: they cannot be asked for by name")


@lru_cache(256)
def _structural(constraints: TaskConstraints) -> TaskConstraints:
    """What constraints say of the structure alone; of the split, whether it is that of held-out workflows."""
    split: Split = "test_workflows" if constraints.split == "test_workflows" else "train"
    return TaskConstraints(split=split, **{name: getattr(constraints, name) for name in _STRUCTURE})


def _written_kinds(words: WorkflowSet | None) -> dict[str, str]:
    """What written workflows call the kinds of parameters, where they agree."""
    called: defaultdict[str, set[str]] = defaultdict(set)
    for workflow in words.workflows if words else ():
        for step in workflow.steps:
            for parameter, argument in step.arguments.items():
                if isinstance(argument, QueryArgument):
                    called[kind_of(parameter)].add(workflow.literals[argument.query])
    return {kind: min(names) for kind, names in called.items() if len(names) == 1}


def _scalars(values: list[Any]) -> list[Any]:
    return [value for value in values if isinstance(value, (str, int, float)) and len(str(value)) <= LONGEST_SAID]


def _distractions(pools: Mapping[str, list[Any]]) -> Iterator[str]:
    """Sentences that mention a value of a kind that nobody needs."""
    for kind, pool in sorted(pools.items()):
        if len(pool) > 2:
            for text in _DISTRACTIONS:
                yield text.format(words=kind.replace("_", " ").strip(), kind=kind)
