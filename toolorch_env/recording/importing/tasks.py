"""Tasks from traces: what each argument of a solution comes from, and where the query says it."""

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import token, tokens
from toolorch_env.core.data_flow import Explanation, Step, StepFlow, find_flow
from toolorch_env.core.errors import DataSetError
from toolorch_env.core.progress import says
from toolorch_env.core.states import state_order
from toolorch_env.core.tasks import Mention, ReferenceCall, Task
from toolorch_env.recording.importing.answers import MadeCall, made_calls
from toolorch_env.recording.importing.mentions import find_mentions, options_of
from toolorch_env.recording.importing.traces import Trace, TracedCall
from toolorch_env.store.record_store import RecordStore


@dataclass(frozen=True, slots=True)
class ArgumentCounts:
    """Where the arguments of solutions come from, by number.

    Attributes:
        total: all arguments that are not at their default.
        exact: from a response that holds this very value.
        rounded: from a response that holds it with other decimals after the fourth.
        query: from the query.
        parts: lists and objects whose parts come from responses and from the query.
        neither: they stand nowhere: defaults, guesses, or computed.
        declared: dependencies that the data set declares.
        pure_order: how many of these no argument explains; they stay as pure order.
        undeclared: dependencies that arguments show, though the data set, which declares others, does not declare them.
    """

    total: int = 0
    exact: int = 0
    rounded: int = 0
    query: int = 0
    parts: int = 0
    neither: int = 0
    declared: int = 0
    pure_order: int = 0
    undeclared: int = 0

    def __add__(self, other: "ArgumentCounts") -> "ArgumentCounts":
        return ArgumentCounts(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))


def task_of(trace: Trace, store: RecordStore) -> tuple[Task, ArgumentCounts]:
    """The task of a trace, and where the arguments of its solution come from.

    Args:
        trace: the trace.
        store: holds the answers that were kept; data flow is looked for in these.

    Raises:
        DataSetError: a call is of a tool that is not on offer.
        TaskError: the trace makes no task.
    """
    tools = store.tools
    offered = trace.tools or tuple(tools)
    missing = sorted({made.answered.call.tool for made in trace.calls} - set(offered))
    if missing:
        raise DataSetError(f"trace {trace.id!r} calls {missing[0]!r}, which is not among its tools on offer")
    made = list(made_calls(trace, tools))[len(trace.setup) :]
    options = options_of(schema for name in offered for schema in tools[name].properties.values())
    mentions = find_mentions(trace.query, options)
    flow = find_flow(_steps(trace.calls, made, store), _Query(trace.query, mentions).says)
    order = state_order([step.answered.call.tool not in tools.state_changing for step in trace.calls])
    task = Task(
        id=trace.id,
        query=trace.query,
        tools=offered,
        reference=tuple(_reference_call(*parts) for parts in zip(trace.calls, flow, order, strict=True)),
        mentions=mentions,
        workflow=trace.workflow,
        split=trace.split,
        setup=tuple(ReferenceCall(answered.call.tool, dict(answered.call.arguments)) for answered in trace.setup),
        answer=trace.answer,
    )
    return task, _counts(flow)


class _Query:
    """Which values a query says, as the reward sees it."""

    def __init__(self, query: str, mentions: Sequence[Mention]) -> None:
        self._query = query
        self._mentioned = tokens([mention.value for mention in mentions])

    def says(self, value: Any) -> bool:
        text = token(value)
        return text is not None and says(self._query, self._mentioned, text)


def _steps(traced: Sequence[TracedCall], made: Sequence[MadeCall], store: RecordStore) -> list[Step]:
    kept = store.find([call.key for call, _ in made])
    return [
        Step(
            call.arguments,
            kept[call.key].response.body,
            step.depends_on,
            _choices(store.tools, call.tool),
            step.turn,
        )
        for step, (call, _) in zip(traced, made, strict=True)
    ]


def _choices(tools: ToolSet, tool: str) -> frozenset[str]:
    parameters = tools.signature(tool).parameters
    return frozenset(name for name, parameter in parameters.items() if parameter.is_choice)


def _reference_call(traced: TracedCall, flow: StepFlow, order: Sequence[int]) -> ReferenceCall:
    call = traced.answered.call
    after = tuple(sorted({*flow.after, *order}))
    return ReferenceCall(call.tool, dict(call.arguments), flow.bindings, after, traced.turn, traced.optional)


def _counts(flow: Sequence[StepFlow]) -> ArgumentCounts:
    found = [explanation for step in flow for explanation in step.explanations.values()]
    return ArgumentCounts(
        total=len(found),
        exact=found.count(Explanation.EXACT),
        rounded=found.count(Explanation.ROUNDED),
        query=found.count(Explanation.QUERY),
        parts=found.count(Explanation.PARTS),
        neither=found.count(Explanation.NEITHER),
        declared=sum(step.declared for step in flow),
        pure_order=sum(len(step.after) for step in flow),
        undeclared=sum(step.undeclared for step in flow),
    )
