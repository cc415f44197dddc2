"""Mining workflows: what many solved tasks have in common becomes templates that new tasks can be drawn from.

Tasks are of one workflow if they call the same tools in the same order, with arguments for the same parameters, and
take the same ones from the same places of the same responses. Expressions are kept as they are: ``results[0].id`` and
``results[3].id`` are two workflows, since an expression has to select one value. Only an envelope that some bodies of
a tool lack makes no difference (:mod:`toolorch_env.generation.envelopes`).

All other arguments are literals, also those that no query says: a task drawn from the workflow has to say them.
Arguments are one literal if they are equal in all tasks of the workflow; whole numbers, which are often equal by
coincidence, only where the parameters have the same name.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.episode import Replay
from toolorch_env.core.errors import ConfigurationError, TaskError, WorkflowError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.envelopes import find_envelopes
from toolorch_env.generation.mined_phrasings import said_key
from toolorch_env.generation.mined_workflow import MinedWorkflow, Structure, identifier, structure_of, unique_names
from toolorch_env.store.workflows import WorkflowSet, parse_workflows


@dataclass(frozen=True)
class MiningReport:
    """What the mined tasks were like.

    Attributes:
        tasks: number of tasks that were read.
        prepared: number of tasks that are left out because calls precede them, which no workflow can express.
        rare: number of tasks that are left out because their workflow is too rare.
        tool_sequences: number of different sequences of tools, rare ones included.
        structures: number of different workflows, rare ones included.
        phrased: number of mined workflows that have phrasings of the tasks' own queries.
        bound: number of arguments in all tasks that come from responses.
        said: number of arguments that the query mentions.
        unsaid: number of arguments that neither gives: most are defaults and guesses.
        envelopes: for each tool whose bodies are wrapped at times, the key that they are wrapped under.
    """

    tasks: int
    prepared: int
    rare: int
    tool_sequences: int
    structures: int
    phrased: int
    bound: int
    said: int
    unsaid: int
    envelopes: Mapping[str, str]


@dataclass(frozen=True)
class MinedWorkflows:
    """Workflows that were mined.

    Attributes:
        workflows: the workflows, the most frequent first.
        report: what the tasks were like.
    """

    workflows: WorkflowSet
    report: MiningReport

    @property
    def frequencies(self) -> dict[str, int]:
        """Number of tasks of each workflow, by its name."""
        return {workflow.name: workflow.frequency or 0 for workflow in self.workflows.workflows}


def mine(
    tasks: Iterable[Task], *, domain: str = "mined", min_frequency: int = 1, replay: Replay | None = None
) -> MinedWorkflows:
    """The workflows of solved tasks, whatever the order of the tasks.

    Args:
        tasks: solved tasks of any source.
        domain: name of the domain.
        min_frequency: workflows with fewer tasks are left out, at least 1.
        replay: answers the calls of the tasks; without it, wrapped and bare bodies of a tool are not told apart.

    Raises:
        ConfigurationError: ``min_frequency`` is below 1.
        WorkflowError: no workflow is frequent enough, or a task selects a value with an invalid expression.
        TaskError: a task holds a value that is not JSON, or calls a tool that ``replay`` does not have.
    """
    if min_frequency < 1:
        raise ConfigurationError(f"min_frequency is at least 1, got {min_frequency}")
    given = list(tasks)
    for task in given:
        _check(task, replay)
    usable = [task for task in given if not task.setup]
    envelopes = find_envelopes(usable, replay) if replay is not None else {}
    groups: dict[Structure, list[Task]] = defaultdict(list)
    for task in usable:
        groups[structure_of(task, envelopes)].append(task)
    kept = {structure: group for structure, group in groups.items() if len(group) >= min_frequency}
    if not kept:
        raise WorkflowError(_why_nothing(len(given), groups.values(), min_frequency))
    mined = sorted((MinedWorkflow(structure, group) for structure, group in kept.items()), key=lambda found: found.rank)
    report = _report(given, usable, groups, mined, envelopes)
    return MinedWorkflows(_workflow_set(mined, identifier(domain)), report)


def _report(
    given: Sequence[Task],
    usable: Sequence[Task],
    groups: Mapping[Structure, Sequence[Task]],
    mined: Sequence[MinedWorkflow],
    envelopes: Mapping[str, str],
) -> MiningReport:
    counts = _count_arguments(usable)
    return MiningReport(
        tasks=len(given),
        prepared=len(given) - len(usable),
        rare=len(usable) - sum(len(workflow.tasks) for workflow in mined),
        tool_sequences=len({tuple(step.tool for step in structure) for structure in groups}),
        structures=len(groups),
        phrased=sum(bool(workflow.phrasings) for workflow in mined),
        bound=counts["bound"],
        said=counts["said"],
        unsaid=counts["unsaid"],
        envelopes=envelopes,
    )


def _check(task: Task, replay: Replay | None) -> None:
    try:
        canonical_json([[call.arguments for call in task.reference], [mention.value for mention in task.mentions]])
    except ValueError as error:
        raise TaskError(f"task {task.id!r}: {error}") from None
    unknown = [call.tool for call in task.reference if replay is not None and call.tool not in replay.tools]
    if unknown:
        raise TaskError(f"task {task.id!r} calls {unknown[0]!r}, which is none of the recorded tools")


def _workflow_set(mined: Sequence[MinedWorkflow], domain: str) -> WorkflowSet:
    parameters: dict[str, set[str]] = defaultdict(set)
    for workflow in mined:
        for literal, kind in workflow.kinds.items():
            parameters[kind].update(parameter for _, parameter in workflow.literals[literal])
    names = unique_names(workflow.base_name for workflow in mined)
    document = {
        "domain": domain,
        "kinds": {kind: f"as in {', '.join(sorted(names))}" for kind, names in sorted(parameters.items())},
        "workflows": [workflow.document(name) for workflow, name in zip(mined, names, strict=True)],
    }
    return parse_workflows(document, "mined workflows")


def _count_arguments(tasks: Iterable[Task]) -> Counter[str]:
    """Number of arguments that come from responses, that the query says, and others."""
    counts: Counter[str] = Counter()
    for task in tasks:
        said = {said_key(mention.value) for mention in task.mentions}
        for call in task.reference:
            bound = {binding.parameter for binding in call.bindings}
            literal = [said_key(value) for name, value in call.arguments.items() if name not in bound]
            counts["bound"] += len(bound)
            counts["said"] += sum(key in said for key in literal)
            counts["unsaid"] += sum(key not in said for key in literal)
    return counts


def _why_nothing(tasks: int, groups: Iterable[Sequence[Task]], min_frequency: int) -> str:
    most = max(map(len, groups), default=0)
    if not tasks:
        return "there are no tasks to mine workflows from"
    if not most:
        return f"all {tasks:,} tasks begin after a setup of calls, which no workflow can express"
    return f"no workflow has {min_frequency:,} tasks: the most frequent one has {most:,}; lower the least frequency"
