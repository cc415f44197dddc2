"""Graphs of calls as workflows, and as texts from which they can be made again."""

import re
from hashlib import blake2b

import orjson

from toolorch_env.core.calls import ToolSet
from toolorch_env.generation.constraints import Style
from toolorch_env.generation.graph_walks import CallGraph, CallNode, Flow, in_order
from toolorch_env.generation.phraser import Phraser
from toolorch_env.generation.recorded_parameters import RecordedParameters
from toolorch_env.generation.tool_graph import ToolGraph
from toolorch_env.store.naming import snake_case
from toolorch_env.store.workflows import QueryArgument, ResponseArgument, Workflow, WorkflowStep

_STEP = re.compile(r"(\d+)o([\d.]*)((?:b\d+\.\d+\.\d+)*)")
_FLOW = re.compile(r"b(\d+)\.(\d+)\.(\d+)")
_STYLES: tuple[Style, ...] = ("plain", "numbered", "terse")


def workflow_of(calls: CallGraph, graph: ToolGraph, recorded: RecordedParameters, phraser: Phraser) -> Workflow:
    """A graph of calls as a workflow: what is taken from no step is a literal of the query.

    Its name is a hash of its steps, the same whatever the rest of the tool graph. Its phrasings are composed. The kinds
    of its literals are the names of their parameters.
    """
    literals: dict[str, str] = {}
    steps = []
    for index, node in enumerate(calls):
        arguments: dict[str, QueryArgument | ResponseArgument] = {}
        for parameter in (*recorded.required(node.tool), *sorted(node.optional)):
            if parameter in node.flows:
                flow = node.flows[parameter]
                select = graph.flows[flow.edge].selects[flow.element]
                arguments[parameter] = ResponseArgument.model_validate(
                    {"from": f"step_{flow.source + 1}", "select": select}
                )
            else:
                kind = kind_of(parameter)
                name = _unused(kind, literals)
                literals[name] = kind
                arguments[parameter] = QueryArgument(query=name)
        steps.append(WorkflowStep(id=f"step_{index + 1}", tool=node.tool, arguments=arguments))
    phrasings = [" ".join(sentences) for style in _STYLES for sentences in phraser.composed(steps, style)]
    return Workflow(name=name_of(calls, graph), literals=literals, steps=tuple(steps), phrasings=tuple(phrasings))


def name_of(calls: CallGraph, graph: ToolGraph) -> str:
    """Name of the workflow of a graph of calls."""
    told = []
    for node in calls:
        flows = [
            [parameter, flow.source, graph.flows[flow.edge].selects[flow.element]]
            for parameter, flow in sorted(node.flows.items())
        ]
        told.append([node.tool, sorted(node.optional), flows])
    return f"graph_{blake2b(orjson.dumps(told), digest_size=8).hexdigest()}"


def encode(calls: CallGraph, graph: ToolGraph, tools: ToolSet) -> str:
    """A graph of calls as a text, for the same tool graph."""
    order = {name: index for index, name in enumerate(tools)}
    steps = []
    for node in calls:
        names = list(tools[node.tool].properties)
        optional = ".".join(str(names.index(name)) for name in sorted(node.optional))
        flows = "".join(f"b{flow.source}.{flow.edge}.{flow.element}" for _, flow in sorted(node.flows.items()))
        steps.append(f"{order[node.tool]}o{optional}{flows}")
    return "-".join((graph.fingerprint, *steps))


def decode(text: str, graph: ToolGraph, tools: ToolSet) -> CallGraph:
    """The graph of calls of a text that :func:`encode` made.

    Raises:
        ValueError: it is no such text, or of another tool graph.
    """
    fingerprint, *steps = text.split("-")
    if fingerprint != graph.fingerprint or not steps:
        raise ValueError(f"{text!r} stands for nothing in this tool graph")
    try:
        calls = tuple(_decoded(step, index, graph, tools) for index, step in enumerate(steps))
    except IndexError:
        raise ValueError(f"{text!r} stands for nothing in this tool graph") from None
    if encode(in_order(calls), graph, tools) != text:
        raise ValueError(f"{text!r} is not how this graph of calls is written")
    return calls


def _decoded(step: str, index: int, graph: ToolGraph, tools: ToolSet) -> CallNode:
    match = _STEP.fullmatch(step)
    if match is None:
        raise ValueError(f"{step!r} is no step")
    tool = list(tools)[int(match[1])]
    names = list(tools[tool].properties)
    flows = {}
    for source, edge, element in _FLOW.findall(match[3]):
        found = Flow(int(source), int(edge), int(element))
        if found.source >= index or graph.flows[found.edge].tool != tool:
            raise ValueError(f"{step!r} takes what it cannot take")
        if found.element >= len(graph.flows[found.edge].elements):
            raise ValueError(f"{step!r} takes an element that is not there")
        flows[graph.flows[found.edge].parameter] = found
    return CallNode(tool, flows, frozenset(names[int(number)] for number in match[2].split(".") if number))


def kind_of(parameter: str) -> str:
    """The kind of the literals of a parameter."""
    return snake_case(parameter)[:48]


def _unused(name: str, taken: dict[str, str]) -> str:
    number = 1
    while (candidate := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return candidate
