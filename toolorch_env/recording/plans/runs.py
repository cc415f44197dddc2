"""Runs of workflows: chains of calls from the first step to the last, each in a session where tools change state."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import PlanError
from toolorch_env.recording.plans.plan import Plan
from toolorch_env.store.selection import Selector
from toolorch_env.store.workflows import QueryArgument, Workflow, WorkflowSet, WorkflowStep, load_workflows

MAX_DRAWS = 50
"""A run whose literals were drawn before is drawn anew, at most that often."""


@dataclass(frozen=True)
class Run:
    """One run of a workflow.

    Attributes:
        workflow: the workflow.
        literals: the values of its query.
        stateful: whether some step changes the API's state, so that the run needs a session of its own.
    """

    workflow: Workflow
    literals: Mapping[str, Any]
    stateful: bool

    def call(self, step: WorkflowStep, bodies: Mapping[str, Any], state: bytes, tools: ToolSet) -> CanonicalCall | None:
        """The call of a step, ``None`` where an earlier response does not hold what it takes."""
        arguments = {}
        for name, argument in step.arguments.items():
            if isinstance(argument, QueryArgument):
                arguments[name] = self.literals[argument.query]
            else:
                arguments[name] = Selector(argument.written(self.literals))(bodies[argument.step])
                if arguments[name] is None:
                    return None
        return tools.canonical(Call(step.tool, arguments)).within(state)


def plan_workflows(plan: Plan, tools: ToolSet) -> WorkflowSet | None:
    """The workflows of a plan, ``None`` if it has none.

    Raises:
        WorkflowError: the file is not valid, or does not fit the tools.
        PlanError: runs are asked for, and a kind of literal has no values.
    """
    if plan.workflows is None:
        return None
    workflows = load_workflows(plan.folder / plan.workflows.file)
    workflows.check_tools(tools)
    if plan.workflows.runs:
        kinds = {kind for workflow in workflows.workflows for kind in workflow.literals.values()}
        missing = sorted(kinds - plan.workflows.literals.keys())
        if missing:
            raise PlanError(f"workflows are to be run, but `literals` has no values of: {', '.join(missing)}")
    return workflows


def draw_runs(plan: Plan, workflows: WorkflowSet, pools: Mapping[str, Sequence[Any]], tools: ToolSet) -> Iterator[Run]:
    """The runs of a plan, the same ones from the same pools.

    Args:
        plan: gives seed and number of runs.
        workflows: the plan's workflows.
        pools: the values of each kind of literal.
        tools: the API's tools.
    """
    runs = plan.workflows.runs if plan.workflows else 0
    for workflow in workflows.workflows:
        stateful = not all(tools[step.tool].read_only for step in workflow.steps)
        drawn: set[bytes] = set()
        for number in range(runs):
            for attempt in range(MAX_DRAWS):
                literals = _draw(f"{plan.seed} {workflow.name} {number} {attempt}", workflow, pools)
                if literals is None or canonical_json(literals) not in drawn:
                    break
            if literals is None or canonical_json(literals) in drawn:
                break  # there are no more
            drawn.add(canonical_json(literals))
            yield Run(workflow, literals, stateful)


def _draw(seed: str, workflow: Workflow, pools: Mapping[str, Sequence[Any]]) -> dict[str, Any] | None:
    """A value for each literal, different ones for literals of one kind; ``None`` where there are too few values."""
    draws = Draws.seeded_by(seed.encode())
    literals: dict[str, Any] = {}
    for name, kind in sorted(workflow.literals.items()):
        taken = [literals[other] for other in literals if workflow.literals[other] == kind]
        left = [value for value in pools[kind] if value not in taken] if taken else pools[kind]
        if not left:
            return None
        literals[name] = draws.choose(left)
    return literals
