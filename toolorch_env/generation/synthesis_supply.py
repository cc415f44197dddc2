"""How many different tasks there are to draw from, by workflow, and why there are none of some."""

from collections import Counter
from dataclasses import dataclass

from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.estimates import Estimate
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator
from toolorch_env.generation.sources import TraceSource


@dataclass(frozen=True)
class WorkflowSupply:
    """What a workflow has to offer, whatever the split.

    Attributes:
        name: of the workflow.
        tasks: number of different tasks: traces that repeat no call and no value, or stored tasks.
        acceptance: share of draws that are tasks, in [0, 1]: the others are drawn anew.
        why_infeasible: where no recorded responses fit together; empty where they do.
    """

    name: str
    tasks: Estimate
    acceptance: float = 1.0
    why_infeasible: str = ""


@dataclass(frozen=True)
class Supply:
    """What there is to draw from.

    Attributes:
        workflows: the workflows that satisfy the constraints, in their order.
    """

    workflows: tuple[WorkflowSupply, ...]

    @property
    def total(self) -> Estimate:
        """Number of different tasks of all workflows."""
        counts = [workflow.tasks for workflow in self.workflows]
        return Estimate(
            sum(count.value for count in counts),
            sum(count.low for count in counts),
            sum(count.high for count in counts),
        )


def supply_of(generator: TaskGenerator, constraints: TaskConstraints) -> Supply | None:
    """What a generator has to offer under constraints; ``None`` where the generator cannot say.

    Tasks of all splits are counted, of workflows that have tasks in the split that is asked for.
    """
    if isinstance(generator, FixedTasks):
        counts = Counter(task.workflow for task in generator.eligible(constraints))
        return Supply(tuple(WorkflowSupply(name, Estimate.exactly(count)) for name, count in counts.items()))
    if isinstance(generator, WorkflowGenerator):
        held_out = constraints.split == "test_workflows"
        sources = (source for source in generator.sources.values() if source.satisfies(constraints))
        return Supply(tuple(_workflow_supply(source) for source in sources if source.held_out == held_out))
    return None


def _workflow_supply(source: TraceSource) -> WorkflowSupply:
    why = "" if source.join.count else source.why_infeasible
    return WorkflowSupply(source.workflow.name, source.task_count, source.acceptance, why)
