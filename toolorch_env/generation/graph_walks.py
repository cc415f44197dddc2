"""Random walks on a tool graph: directed acyclic graphs of calls that nobody wrote.

How a graph of calls is drawn, and so how graphs are distributed:

1. The number of steps is uniform in the range that is asked for, and so is the depth among those that are possible.
2. A chain of that depth is grown from a tool, uniform among all (those to be included, where there are any): at its
   end or its beginning by the toss of a coin, with a tool uniform among those that the graph allows there.
3. The other steps are attached one by one, each uniformly among all ways to attach one: a tool that takes something
   from a step, or a tool that gives something to one. None makes the graph deeper.
4. Between two tools the edge is uniform, and so is the element of a list that it takes. Further parameters of a step
   are bound to the same object where they belong together in the recorded calls, else by the toss of a coin.

A graph of the wrong width, without a tool that is to be included, with the same call twice, or with a literal that no
user would say (a long token), or with too many literals, is drawn anew.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from toolorch_env.core.draws import Draws
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.recorded_parameters import RecordedParameters
from toolorch_env.generation.tool_graph import Edge, ToolGraph

MAX_SAME_TOOL = 2
"""A graph calls the same tool at most that often."""

MAX_DRAWN_STEPS = 6
"""Graphs have at most that many steps, unless more are asked for."""

MIN_DRAWN_STEPS = 2
"""They have at least that many, unless fewer are asked for."""

MAX_LITERALS = 9
"""A query says at most that many values that are needed: with three sentences more it can be played in numbers."""

_SHAPES = 400


class Flow(NamedTuple):
    """An argument that is taken from the response of another step.

    Attributes:
        source: index of that step.
        edge: index of the edge among the graph's flows.
        element: index of the edge's element that is taken.
    """

    source: int
    edge: int
    element: int


@dataclass(frozen=True)
class CallNode:
    """A step of a graph of calls.

    Attributes:
        tool: the tool.
        flows: the arguments that are taken from other steps, by their parameters.
        optional: the parameters that are passed though they are not required.
    """

    tool: str
    flows: Mapping[str, Flow] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()

    @property
    def sources(self) -> set[int]:
        """Indices of the steps that it takes something from."""
        return {flow.source for flow in self.flows.values()}


CallGraph = tuple[CallNode, ...]
"""Steps in an order in which they can be made."""


class Walks:
    """Draws graphs of calls from a tool graph.

    Args:
        graph: the tool graph.
        recorded: which parameters the recorded calls pass.
    """

    def __init__(self, graph: ToolGraph, recorded: RecordedParameters) -> None:
        self._flows = graph.flows
        self._recorded = recorded
        self._between: dict[tuple[str, str], list[int]] = defaultdict(list)
        for index, edge in enumerate(graph.flows):
            if recorded.is_passed(edge.tool, edge.parameter) and edge.source in recorded.tools:
                self._between[edge.source, edge.tool].append(index)

    def draw(self, draws: Draws, asked: TaskConstraints) -> CallGraph | None:
        """A graph of calls of the kind that is asked for, ``None`` if none was found in 400 draws."""
        for _ in range(_SHAPES):
            found = _Growth(self, draws, asked).grow()
            if found is not None:
                return found
        return None

    @property
    def tools(self) -> tuple[str, ...]:
        """The tools that have recorded successes."""
        return self._recorded.tools

    def edges(self, source: str, tool: str) -> Sequence[int]:
        """Indices of the edges between two tools."""
        return self._between.get((source, tool), ())

    def edge(self, index: int) -> Edge:
        """The edge of that index."""
        return self._flows[index]

    def options(self, draws: Draws, tool: str, passed: frozenset[str] = frozenset()) -> frozenset[str]:
        """Optional parameters of a call, as recorded calls pass them together, ``passed`` among them."""
        return self._recorded.draw_optional(draws, tool, passed)

    def partners(self, tool: str, parameter: str) -> frozenset[str]:
        """Parameters that go with a parameter (see :class:`RecordedParameters`)."""
        return self._recorded.partners(tool, parameter)

    def unsayable(self, tool: str) -> frozenset[str]:
        """Parameters that no query says (see :class:`RecordedParameters`): they have to be taken from a response."""
        return self._recorded.unsayable(tool)

    def required(self, tool: str) -> tuple[str, ...]:
        """Parameters that every call of a tool passes."""
        return self._recorded.required(tool)


class _Attachment(NamedTuple):
    """A way to attach a tool to a step: below it, as one that takes from it, or above, as one that gives to it."""

    tool: str
    step: int
    below: bool


class _Growth:
    """One graph while it grows. Its steps come in the order in which they were added."""

    def __init__(self, walks: Walks, draws: Draws, asked: TaskConstraints) -> None:
        self._walks, self._draws, self._asked = walks, draws, asked
        self._nodes: list[CallNode] = []
        self._tools = [tool for tool in walks.tools if tool not in asked.exclude_tools]

    def grow(self) -> CallGraph | None:
        asked, draws = self._asked, self._draws
        numbers = step_range(asked)
        if not numbers or not self._tools:
            return None
        count = draws.choose(numbers)
        shallow = max(asked.min_depth, -(-count // asked.max_width))
        deep = min(asked.max_depth, count - asked.min_width + 1)
        if shallow > deep:
            return None
        depth = shallow + draws.below(deep - shallow + 1)
        first = draws.choose(asked.include_tools or self._tools)
        if first not in self._tools:
            return None
        self._nodes.append(CallNode(first, optional=self._walks.options(draws, first)))
        chain = [0]
        while len(chain) < depth:
            if not self._lengthen(chain):
                return None
        while len(self._nodes) < count:
            if not self._attach(depth):
                return None
        return self._finished()

    def _lengthen(self, chain: list[int]) -> bool:
        below = bool(self._draws.below(2))
        for direction in (below, not below):
            end = chain[-1] if direction else chain[0]
            ways = [_Attachment(tool, end, direction) for tool in self._tools if self._fits(tool, end, direction)]
            if ways:
                self._add(self._choose(ways))
                chain.insert(len(chain) if direction else 0, len(self._nodes) - 1)
                return True
        return False

    def _attach(self, depth: int) -> bool:
        levels = _levels(self._nodes)
        ways = [
            _Attachment(tool, step, below)
            for step, level in enumerate(levels)
            for below in (True, False)
            if (level + 1 < depth if below else level)
            for tool in self._tools
            if self._fits(tool, step, below)
        ]
        if ways:
            self._add(self._choose(ways))
        return bool(ways)

    def _choose(self, ways: list[_Attachment]) -> _Attachment:
        """One of the ways, one that adds a tool that is still to be included, where there is any."""
        missing = set(self._asked.include_tools) - {node.tool for node in self._nodes}
        return self._draws.choose([way for way in ways if way.tool in missing] or ways)

    def _fits(self, tool: str, step: int, below: bool) -> bool:
        if sum(node.tool == tool for node in self._nodes) >= MAX_SAME_TOOL:
            return False
        node = self._nodes[step]
        if below:
            return bool(self._walks.edges(node.tool, tool))
        return any(
            self._walks.edge(index).parameter in self._free(node) for index in self._walks.edges(tool, node.tool)
        )

    def _free(self, node: CallNode) -> set[str]:
        """The parameters that a step passes and takes from nowhere yet."""
        return {*node.optional, *self._walks.required(node.tool)} - node.flows.keys()

    def _add(self, way: _Attachment) -> None:
        draws, new = self._draws, len(self._nodes)
        if way.below:
            index = draws.choose(self._walks.edges(self._nodes[way.step].tool, way.tool))
            passed = frozenset({self._walks.edge(index).parameter}) - set(self._walks.required(way.tool))
            node = CallNode(way.tool, optional=self._walks.options(draws, way.tool, passed))
            self._nodes.append(self._bound(node, way.step, index))
            self._bind_more(new)
        else:
            node = self._nodes[way.step]
            free = [
                i for i in self._walks.edges(way.tool, node.tool) if self._walks.edge(i).parameter in self._free(node)
            ]
            self._nodes.append(CallNode(way.tool, optional=self._walks.options(draws, way.tool)))
            self._nodes[way.step] = self._bound(node, new, draws.choose(free))

    def _bound(self, node: CallNode, source: int, index: int) -> CallNode:
        """A step with an edge from another one, and what is taken from the same object with it."""
        edge = self._walks.edge(index)
        element = self._draws.below(len(edge.elements))
        flows = dict(node.flows) | {edge.parameter: Flow(source, index, element)}
        used = {edge.below}
        for other_index in self._walks.edges(edge.source, edge.tool):
            other = self._walks.edge(other_index)
            if other.parameter in flows or other.parameter not in self._free(node) or other.below in used:
                continue
            if edge.elements[element] not in other.elements or not self._belongs(edge, other):
                continue
            flows[other.parameter] = Flow(source, other_index, other.elements.index(edge.elements[element]))
            used.add(other.below)
        return replace(node, flows=flows)

    def _belongs(self, edge: Edge, other: Edge) -> bool:
        return other.parameter in self._walks.partners(edge.tool, edge.parameter) or not self._draws.below(2)

    def _bind_more(self, step: int) -> None:
        """Binds parameters of the latest step that are still free to other steps, each by the toss of a coin."""
        for source in range(step):
            node = self._nodes[step]
            free = [
                index
                for index in self._walks.edges(self._nodes[source].tool, node.tool)
                if self._walks.edge(index).parameter in self._free(node) and source not in node.sources
            ]
            if free and self._may_bind(source, step) and not self._draws.below(2):
                self._nodes[step] = self._bound(node, source, self._draws.choose(free))

    def _may_bind(self, source: int, step: int) -> bool:
        """Whether an edge from a step makes no other one deeper than it was."""
        levels = _levels(self._nodes)
        return levels[source] < levels[step]

    def _finished(self) -> CallGraph | None:
        if any(not self._walks.unsayable(node.tool) <= node.flows.keys() for node in self._nodes):
            return None
        if sum(len(self._free(node)) for node in self._nodes) > MAX_LITERALS:
            return None
        levels, asked = _levels(self._nodes), self._asked
        width = max(map(levels.count, levels))
        called = {node.tool for node in self._nodes}
        if not asked.min_width <= width <= asked.max_width or not called.issuperset(asked.include_tools):
            return None
        return None if self._repeats_a_call() else in_order(self._nodes)

    def _repeats_a_call(self) -> bool:
        """Whether two steps make the same call in every trace: the same tool with the same flows and no literals."""
        calls = [(node.tool, tuple(sorted(node.flows.items()))) for node in self._nodes if not self._free(node)]
        return len(set(calls)) < len(calls)


def step_range(asked: TaskConstraints) -> range:
    """The numbers of steps that are drawn under constraints; empty, where the constraints contradict each other."""
    fewest = max(asked.min_steps, asked.min_depth + asked.min_width - 1)
    least = max(fewest, min(MIN_DRAWN_STEPS, asked.max_steps))
    return range(least, min(asked.max_steps, max(MAX_DRAWN_STEPS, fewest + 1)) + 1)


def _levels(nodes: Sequence[CallNode]) -> list[int]:
    """The dependency level of each step, whatever their order."""
    levels: dict[int, int] = {}

    def level(index: int) -> int:
        if index not in levels:
            levels[index] = 1 + max((level(source) for source in nodes[index].sources), default=-1)
        return levels[index]

    return [level(index) for index in range(len(nodes))]


def in_order(nodes: Sequence[CallNode]) -> CallGraph:
    """The steps by level, and within one in an order that does not depend on how they were added.

    Graphs that are the same but for the order of their steps become equal, unless two of their steps are alike in all
    that they take and give.
    """
    levels = _levels(nodes)
    told = [_told(nodes, index) for index in range(len(nodes))]
    given = [
        sorted(
            (told[i], name) for i, node in enumerate(nodes) for name, flow in node.flows.items() if flow.source == index
        )
        for index in range(len(nodes))
    ]
    order = sorted(range(len(nodes)), key=lambda index: (levels[index], told[index], given[index], index))
    place = {index: position for position, index in enumerate(order)}
    return tuple(
        replace(
            nodes[index],
            flows={name: flow._replace(source=place[flow.source]) for name, flow in sorted(nodes[index].flows.items())},
        )
        for index in order
    )


def _told(nodes: Sequence[CallNode], index: int) -> str:
    """A step and all that it comes from, as a text."""
    node = nodes[index]
    taken = [
        f"{name}={flow.edge}.{flow.element}<{_told(nodes, flow.source)}>" for name, flow in sorted(node.flows.items())
    ]
    return f"{node.tool}({','.join(sorted(node.optional))};{','.join(taken)})"
