"""Why a workflow has no traces: at which step, and at which of the edges that lead to it or from it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from toolorch_env.generation.join_tree import count_tree
from toolorch_env.generation.relations import Attribute, Relation, RelationBuilder
from toolorch_env.store.workflows import Workflow, WorkflowStep


def broken_step(workflow: Workflow, relations: Sequence[Relation], max_merged_rows: int) -> WorkflowStep | None:
    """The first step in order for which no rows are left, ``None`` where there is a trace.

    Args:
        workflow: the workflow.
        relations: the relation of each of its steps in order.
        max_merged_rows: as for :func:`toolorch_env.generation.join_tree.count_tree`.
    """
    for prefix, step in enumerate(workflow.order, 1):
        if not count_tree(relations[:prefix], max_merged_rows).size:
            return step
    return None


def broken_edges(
    workflow: Workflow,
    step: WorkflowStep,
    relations: Sequence[Relation],
    builder: RelationBuilder,
    max_merged_rows: int,
) -> list[str]:
    """What does not fit at the step of :func:`broken_step`, in words.

    Each edge that is named breaks the workflow by itself: no recorded call of the step fits what comes before it even
    where all other edges to the step are left out. Where none does, it is said that they break it together.

    Args:
        workflow, relations, max_merged_rows: as for :func:`broken_step`.
        step: the step.
        builder: makes relations of the workflow.
    """
    position = workflow.position[step.id]
    before, own = list(relations[:position]), relations[position]
    if not len(own.rows):
        return list(_own_problems(step, builder))
    shared = [name for name in own.columns if any(name in relation.columns for relation in before)]
    broken = [
        name
        for name in shared
        if not count_tree([*before, replace(own, columns={name: own.columns[name]})], max_merged_rows).size
    ]
    if broken:
        return [_edge(workflow, name) for name in broken]
    return [f"no recorded call fits all of these together, though each alone: {'; '.join(map(_named, shared))}"]


def _own_problems(step: WorkflowStep, builder: RelationBuilder) -> Iterator[str]:
    """Why no recorded call can be the step, whatever comes before it."""
    if not len(builder.build(step, uses=()).rows):
        yield f"no recorded success passes just {', '.join(map(repr, sorted(step.arguments))) or 'nothing'}"
        return
    uses = builder.uses_of(step)
    broken = [use for use in uses if not len(builder.build(step, uses=[use]).rows)]
    for consumer, name, select in broken:
        yield f"{select!r}, which {consumer} takes as {name!r}, selects nothing in any of its recorded responses"
    if not broken:
        selects = ", ".join(repr(select) for _, _, select in uses)
        yield f"no recorded response has all that later steps take from it: {selects}"


def _edge(workflow: Workflow, name: Attribute) -> str:
    """An edge that nothing fits, in words."""
    kind, *rest = name
    if kind == "response":
        source, select, consumer = rest
        tool, _, parameter = consumer.rpartition(".")
        from_tool = workflow.order[workflow.position[source]].tool
        return (
            f"no recorded call of {tool} takes as {parameter!r} what {select!r} selects from {source!r} ({from_tool}) "
            "in the traces up to here"
        )
    if kind == "state":
        return "no recorded call was made in a state that the calls before it lead to"
    return f"no recorded call has a value for the literal {rest[0]!r} that the steps before it have, too"


def _named(name: Attribute) -> str:
    kind, *rest = name
    if kind == "response":
        return f"{rest[1]!r} from {rest[0]!r} as {rest[2].rpartition('.')[2]!r}"
    return "the state" if kind == "state" else f"the literal {rest[0]!r}"
