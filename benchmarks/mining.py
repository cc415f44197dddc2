"""Do mined workflows find the dependencies of the published templates?

    python benchmarks/mining.py [--data FOLDER] [--json FILE] [--list]

Imports the published training tasks, mines workflows from them, and compares these with the published templates for
the patterns (sequences of tools) that occur in both. A dependency is (pattern, step, argument, step it comes from),
or that with the place in the response: exactly, or whatever the index in lists. The envelope ``data``, which the
published fields leave out, does not count.

    recall     share of a template's dependencies that a mined workflow of its pattern has
    precision  share of the dependencies of the mined workflows of a pattern that its template has

A template was made from one sample, and other samples take other places, or none where the query says the value. So
recall is also counted over the tasks that hold every value where their template says. Of these a few are missed on
purpose: what the query says, and options and dates that stand in a response by chance. Exit code 1 if precision or
recall of the steps over these tasks is below the limit.
"""

import json
import re
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer
from rich.console import Console
from rich.table import Table

from toolorch_env.core.canonical import token
from toolorch_env.core.tasks import Task
from toolorch_env.generation.envelopes import reference_bodies
from toolorch_env.generation.mining import MinedWorkflows, mine
from toolorch_env.recording.importing.templates import PublishedDependency, published_dependencies, select_field
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import ResponseArgument

TASKS, TEMPLATES, TOOLS = "bfcl_training_3_per_workflow.pkl", "workflow_templates.json", "booking_tools.jsonl"
DATA = Path(__file__).parents[2] / "shared" / "booking"
console = Console(width=140)

Solved = tuple[Task, Sequence[Any]]
"""A task and what its calls are answered."""

LEAST = 0.95
"""Precision and recall must be at least that high."""

Pattern = tuple[str, ...]
Dependency = PublishedDependency


def same_step(found: Dependency) -> Any:
    """A dependency, wherever in the response the value stands."""
    return found[:3]


def same_field(found: Dependency) -> Any:
    """A dependency, whatever the index in lists."""
    return (*found[:3], re.sub(r"\[\d+\]", "[]", found.from_field))


def same_place(found: Dependency) -> Any:
    """A dependency with its exact place."""
    return found


LEVELS: dict[str, Callable[[Dependency], Any]] = {"step": same_step, "field": same_field, "place": same_place}


Dependencies = Mapping[Pattern, Collection[Dependency]]


def read_templates(path: Path) -> dict[Pattern, Collection[Dependency]]:
    """The dependencies of the published templates by their pattern."""
    return {template.pattern: template.dependencies for template in published_dependencies(path)}


def mined_dependencies(mined: MinedWorkflows) -> dict[Pattern, set[Dependency]]:
    """The dependencies of all mined workflows of each pattern together."""
    found: dict[Pattern, set[Dependency]] = defaultdict(set)
    for workflow in mined.workflows.workflows:
        found[tuple(step.tool for step in workflow.order)] |= {
            Dependency(index, name, workflow.position[argument.step], bare(argument.select))
            for index, step in enumerate(workflow.order)
            for name, argument in step.arguments.items()
            if isinstance(argument, ResponseArgument)
        }
    return found


def bare(select: str) -> str:
    """A place without the envelope ``data``."""
    return re.sub(r"^(\(data \|\| @\)|data(?=[.\[]))\.?", "", select)


def pattern_of(task: Task) -> Pattern:
    """The tools that a task calls, in order."""
    return tuple(call.tool for call in task.reference)


def satisfies(task: Task, bodies: Sequence[Any], template: Collection[Dependency] | None) -> bool:
    """Whether a task has a template and holds every value where that says."""
    if template is None:
        return False
    for step, argument, source, field in template:
        given = token(task.reference[step].arguments.get(argument))
        if given is None or given != hold(bodies[source], field):
            return False
    return True


def scores(published: Dependencies, mined: Dependencies) -> dict[str, dict[str, float]]:
    """Precision and recall on each level, over all patterns together."""
    found = {}
    for level, view in LEVELS.items():
        counts: Counter[str] = Counter()
        for pattern in published.keys() & mined.keys():
            wanted, got = set(map(view, published[pattern])), set(map(view, mined[pattern]))
            counts.update(wanted=len(wanted), got=len(got), both=len(wanted & got))
        found[level] = {
            "published": counts["wanted"],
            "mined": counts["got"],
            "both": counts["both"],
            "precision": counts["both"] / max(counts["got"], 1),
            "recall": counts["both"] / max(counts["wanted"], 1),
        }
    return found


class Odd(NamedTuple):
    """A dependency that only one side has, and why."""

    pattern: Pattern
    dependency: Dependency
    reason: str


def missed(templates: Dependencies, mined: Dependencies, solved: Sequence[Solved]) -> Iterator[Odd]:
    """The dependencies of templates that no mined workflow of their pattern has, whatever the place."""
    for pattern in sorted(templates.keys() & mined.keys()):
        found = set(map(same_step, mined[pattern]))
        own = [(task, bodies) for task, bodies in solved if pattern_of(task) == pattern]
        for dependency in sorted(templates[pattern]):
            if same_step(dependency) not in found:
                reasons = Counter(why_missed(*one, dependency) for one in own)
                yield Odd(pattern, dependency, ", ".join(f"{reason} ({n})" for reason, n in reasons.most_common()))


def why_missed(task: Task, bodies: Sequence[Any], wanted: Dependency) -> str:
    """Why a task does not show a dependency of its template."""
    call = task.reference[wanted.step]
    if wanted.argument not in call.arguments:
        return "the call has no such argument"
    bound = {binding.parameter: binding.step for binding in call.bindings}
    if wanted.argument in bound:
        return "the value comes from another step"
    value = token(call.arguments[wanted.argument])
    if value in {token(mention.value) for mention in task.mentions}:
        return "the query says the value"
    if value == hold(bodies[wanted.from_step], wanted.from_field):
        return "the value is an option, a date or a count, which may stand there by chance"
    return "the value does not stand there"


def extra(templates: Dependencies, mined: Dependencies) -> Iterator[Odd]:
    """The dependencies of mined workflows that the template of their pattern does not have, whatever the place."""
    for pattern in sorted(templates.keys() & mined.keys()):
        known = set(map(same_step, templates[pattern]))
        bound = {dependency[:2] for dependency in templates[pattern]}
        for dependency in sorted(mined[pattern]):
            if same_step(dependency) in known:
                continue
            where = "another step" if dependency[:2] in bound else "no response"
            yield Odd(pattern, dependency, f"the template takes it from {where}")


def elsewhere(templates: Dependencies, mined: Dependencies, solved: Sequence[Solved]) -> Iterator[Odd]:
    """The dependencies of templates that mined workflows have with other places in the same response only."""
    for pattern in sorted(templates.keys() & mined.keys()):
        answered = [bodies for task, bodies in solved if pattern_of(task) == pattern]
        for wanted in sorted(set(templates[pattern]) - set(mined[pattern])):
            fields = sorted(found.from_field for found in mined[pattern] if same_step(found) == same_step(wanted))
            held = [{hold(body[wanted.from_step], field) for field in (wanted[3], *fields)} for body in answered]
            equal = "hold the same value" if all(len(values) == 1 for values in held) else "hold different values"
            if fields:
                yield Odd(pattern, wanted, f"{wanted.from_field} and mined {', '.join(fields)} {equal}")


def hold(body: Any, field: str) -> str | None:
    """The value of a published field, as a text."""
    return token(Selector(select_field(field))(body))


def import_tasks(data: Path, target: Path) -> Snapshot:
    """The published training tasks as a snapshot."""
    from toolorch_env.recording.importing.booking import read_booking
    from toolorch_env.recording.importing.pipeline import import_data_set

    import_data_set(read_booking([data / TASKS, data / TOOLS]), target)
    return Snapshot(target)


def measure(snapshot: Snapshot, templates: Dependencies) -> dict[str, Any]:
    """All figures."""
    replay = SnapshotReplay(snapshot)
    solved: list[Solved] = [(task, reference_bodies(task, replay)) for task in snapshot.tasks]
    faithful = [one for one in solved if satisfies(*one, templates.get(pattern_of(one[0])))]
    mined = mine(snapshot.tasks, replay=replay)
    found = mined_dependencies(mined)
    found_faithful = mined_dependencies(mine((task for task, _ in faithful), replay=replay))
    return {
        "tasks": len(solved),
        "tasks_that_follow_their_template": len(faithful),
        "patterns": {"published": len(templates), "mined": len(found), "both": len(found.keys() & templates.keys())},
        "workflows": len(mined.frequencies),
        "all_tasks": scores(templates, found),
        "tasks_that_follow": scores(templates, found_faithful),
        "missed": as_json(missed(templates, found, solved)),
        "missed_by_tasks_that_follow": as_json(missed(templates, found_faithful, faithful)),
        "elsewhere": as_json(elsewhere(templates, found, solved)),
        "extra": as_json(extra(templates, found)),
    }


def as_json(odd: Iterable[Odd]) -> list[dict[str, Any]]:
    """The dependencies that one side lacks, for a report."""
    return [one._asdict() for one in odd]


def show(figures: Mapping[str, Any], everything: bool) -> None:
    """Prints the figures."""
    console.print(
        f"{figures['tasks']} tasks, {figures['tasks_that_follow_their_template']} of them hold every value where "
        f"their template says; {figures['workflows']} workflows mined; patterns: {figures['patterns']}"
    )
    table = Table("tasks", "dependencies with", "published", "mined", "both", "precision", "recall")
    for tasks in ("all_tasks", "tasks_that_follow"):
        for level, score in figures[tasks].items():
            counts = (str(score[name]) for name in ("published", "mined", "both"))
            table.add_row(tasks, level, *counts, f"{score['precision']:.1%}", f"{score['recall']:.1%}")
    console.print(table)
    for what in ("missed", "missed_by_tasks_that_follow", "elsewhere", "extra"):
        console.print(f"{what}: {len(figures[what])} dependencies")
        show_odd(figures[what], everything)


def show_odd(odd: Iterable[Mapping[str, Any]], everything: bool) -> None:
    """Prints dependencies that one side lacks: their number by reason, or each one."""
    if everything:
        for one in odd:
            dependency = Dependency(*one["dependency"])
            tools = [one["pattern"][index] for index in (dependency.from_step, dependency.step)]
            place = f"{tools[0]} ({dependency.from_step}) {dependency.from_field} -> {tools[1]} ({dependency.step})"
            console.print(f"  {place}.{dependency.argument}: {one['reason']}", highlight=False, markup=False)
        return
    for reason, count in Counter(one["reason"] for one in odd).most_common():
        console.print(f"  {count:3} {reason}", highlight=False, markup=False)


def main(
    data: Annotated[Path, typer.Option(help="Folder of the published data.")] = DATA,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    everything: Annotated[bool, typer.Option("--list", help="List each dependency that one side lacks.")] = False,
) -> None:
    """Mines workflows from the published training tasks and compares them with the published templates."""
    absent = [name for name in (TASKS, TEMPLATES, TOOLS) if not (data / name).is_file()]
    if absent:
        console.print(f"{', '.join(absent)} not in {data}: say with --data where the published data lies")
        raise typer.Exit(2)
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(import_tasks(data, Path(folder) / "booking.sqlite"), read_templates(data / TEMPLATES))
    show(figures, everything)
    if json_file is not None:
        json_file.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    found = figures["tasks_that_follow"]["step"]
    raise typer.Exit(0 if min(found["precision"], found["recall"]) >= LEAST else 1)


if __name__ == "__main__":
    typer.run(main)
