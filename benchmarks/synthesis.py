"""Valid chains and complete tasks a second, and the yield of sampling, against two baselines in the same run.

    python benchmarks/synthesis.py [--snapshot FILE] [--data FOLDER] [--tasks N] [--json FILE]

On the bundled snapshot, or another one with workflows, and on the published responses where ``--data`` holds them (by
default ``../shared/booking`` beside the checkout). All take the workflows in turn, the same number of chains of each,
in rounds that take turns; medians of the rounds and of the ratios in each round are printed.

- join sampling, batched: traces as rows of the compiled tables; the goal is 200,000 chains a second
- complete tasks, phrased, with distractors: as they are written (the goal is 10,000 a second), composed (in all five
  composed styles), with implicit values, and both
- independent sampling: each literal is drawn from the values that were recorded for it, and the calls follow from that;
  a chain works if all of its calls were recorded
- retrying as published: the template is walked step by step; each step gets a random recorded response among those
  whose arguments are what earlier responses say; where there is none, or a literal comes out with two values, the whole
  chain is begun anew, up to 50 times

Both baselines are spared values and responses that lack what the step's successors need, and look up in an index.

The yield is the share of attempts that end in a valid chain: over all workflows, and over those that have any.

Then, on the first snapshot, in fresh processes: seconds from opening it to the first task (the goal is 1), and tasks a
second of ``toolorch synthesize``, which checks each of them, with one worker and with two.
"""

import json
import logging
import random
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from rich.console import Console
from synthesis_runs import first_task, synthesize

import toolorch_env
from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import ConstraintError
from toolorch_env.generation.constraints import SPLITS, TaskConstraints
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.relations import Attribute
from toolorch_env.generation.sources import TraceSource
from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.pipeline import import_data_set
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import Workflow

DATA = Path(__file__).parents[2] / "shared" / "booking"
FILES = ("bfcl_training_3_per_workflow.pkl", "booking_tools.jsonl", "workflow_templates.json")
BATCH = 100_000
RETRIES = 50
JOIN, INDEPENDENT, RETRYING = "join, batched", "independent", "retrying as published"
WRITTEN, COMPOSED = "tasks, written", ("plain", "numbered", "terse", "chatty", "backward")
WORDINGS: dict[str, dict[str, Any]] = {
    WRITTEN: {},
    "tasks, composed": {"styles": COMPOSED},
    "tasks, implicit": {"values": "implicit"},
    "tasks, both": {"styles": COMPOSED, "values": "implicit"},
}
GOALS = {JOIN: "goal: 200,000", WRITTEN: "goal: 10,000"}
console = Console()
Values = dict[Attribute, int]


class Tally(NamedTuple):
    """What came of drawing for some time.

    Attributes:
        attempts: chains that were begun.
        valid: those that fit together.
        wanted: chains that were asked for, each begun up to so many times as retrying allows.
        seconds: how long it took.
    """

    attempts: int
    valid: int
    wanted: int
    seconds: float

    @property
    def rate(self) -> float:
        """Valid chains a second."""
        return self.valid / self.seconds


class Walk:
    """One workflow for the baselines: what each step's responses hold that a trace can use, with indexes."""

    def __init__(self, source: TraceSource, tools: ToolSet) -> None:
        relations = source.join.relations()
        columns = [{name: column.tolist() for name, column in relation.columns.items()} for relation in relations]
        self.rows: list[list[Values]] = [
            [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
            if found
            else [{} for _ in relation.rows]
            for found, relation in zip(columns, relations, strict=True)
        ]
        names: list[set[Attribute]] = [set(found) for found in columns]
        asked = [_asked(source.workflow, tools, step, found) for step, found in enumerate(names)]
        self.bound = [sorted(name for name in found if name[0] != "query") for found in asked]
        self.asked = [sorted(found) for found in asked]
        self.by_bound = [_index(rows, by) for rows, by in zip(self.rows, self.bound, strict=True)]
        self.by_asked = [_index(rows, by) for rows, by in zip(self.rows, self.asked, strict=True)]
        literals = {name for found in names for name in found if name[0] == "query"}
        self.pools = {
            name: sorted({row[name] for rows in self.rows for row in rows if name in row}) for name in sorted(literals)
        }

    def independent(self, rng: random.Random) -> bool:
        """Whether one chain works whose literals are drawn independently."""
        if not all(self.pools.values()):
            return False
        known: Values = {name: rng.choice(pool) for name, pool in self.pools.items()}
        for by, index in zip(self.asked, self.by_asked, strict=True):
            found = index.get(tuple([known[name] for name in by]))
            if not found:
                return False
            known.update(found[0] if len(found) == 1 else rng.choice(found))
        return True

    def retried(self, rng: random.Random) -> bool:
        """Whether one walk along the template comes to an end."""
        known: Values = {}
        for by, index in zip(self.bound, self.by_bound, strict=True):
            found = index.get(tuple([known[name] for name in by]))
            if not found:
                return False
            row = rng.choice(found)
            if any(known.get(name, value) != value for name, value in row.items()):
                return False
            known.update(row)
        return True


def _asked(workflow: Workflow, tools: ToolSet, step: int, names: set[Attribute]) -> set[Attribute]:
    """The columns that a step's call depends on: all but those that its own response gives."""
    changing = sum(not tools[before.tool].read_only for before in workflow.order[:step])
    given = {name for name in names if name[:2] == ("response", workflow.order[step].id)}
    return names - given - {("state", str(changing + 1))}


def _index(rows: list[Values], by: list[Attribute]) -> dict[tuple[int, ...], list[Values]]:
    index: defaultdict[tuple[int, ...], list[Values]] = defaultdict(list)
    for row in rows:
        index[tuple([row[name] for name in by])].append(row)
    return dict(index)


def sample_joins(sources: list[TraceSource], seed: int) -> Tally:
    """The same number of traces of each workflow that has any, batched."""
    rng = np.random.default_rng(seed)
    attempts = valid = 0
    begin = time.perf_counter()
    for source in sources:
        if source.join.count:
            valid += len(source.join.sample(rng, BATCH))
            attempts += round(BATCH / source.join.acceptance)
    return Tally(attempts, valid, valid, time.perf_counter() - begin)


def sample_tasks(generator: WorkflowGenerator, wording: dict[str, Any], seconds: float, seed: int) -> Tally:
    """Complete tasks of the first split that has any, for some time."""
    constraints = TaskConstraints(split=next(split for split in SPLITS if _has_tasks(generator, split)), **wording)
    rng = np.random.default_rng(seed)
    count = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for _ in range(100):
            generator.sample(rng, constraints)
        count += 100
    return Tally(count, count, count, time.perf_counter() - begin)


def _has_tasks(generator: WorkflowGenerator, split: str) -> bool:
    try:
        generator.sample(np.random.default_rng(0), {"split": split})
    except ConstraintError:
        return False
    return True


def draw_independently(walks: list[Walk], seconds: float, seed: int) -> Tally:
    """Independent chains of all workflows in turn, for some time."""
    rng = random.Random(seed)  # noqa: S311
    attempts = valid = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        valid += sum(walk.independent(rng) for walk in walks)
        attempts += len(walks)
    return Tally(attempts, valid, attempts, time.perf_counter() - begin)


def draw_retrying(walks: list[Walk], seconds: float, seed: int) -> Tally:
    """Chains as published of all workflows in turn, for some time."""
    rng = random.Random(seed)  # noqa: S311
    attempts = valid = wanted = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for walk in walks:
            wanted += 1
            for _ in range(RETRIES):
                attempts += 1
                if walk.retried(rng):
                    valid += 1
                    break
    return Tally(attempts, valid, wanted, time.perf_counter() - begin)


def measure(snapshot: Snapshot, rounds: int, seconds: float) -> dict[str, Any]:
    """All figures of one snapshot."""
    begin = time.perf_counter()
    generator = WorkflowGenerator(snapshot)
    compiled = snapshot.compiled
    assert compiled is not None
    sources = [TraceSource(workflow, compiled, snapshot.tools) for workflow in generator.workflows.workflows]
    chains = sum(source.join.count > 0 for source in sources)
    ready = time.perf_counter() - begin
    walks = [Walk(source, snapshot.tools) for source in sources]
    able = [walk for walk, source in zip(walks, sources, strict=True) if source.join.count]
    tallies: dict[str, list[Tally]] = {name: [] for name in (JOIN, *WORDINGS, INDEPENDENT, RETRYING)}
    begin = time.perf_counter()
    tasks = [source.task_count for source in sources]
    counting = time.perf_counter() - begin
    for wording in WORDINGS.values():
        sample_tasks(generator, wording, seconds, rounds)  # so that phrasings are there
    for seed in range(rounds):
        tallies[JOIN].append(sample_joins(sources, seed))
        for name, wording in WORDINGS.items():
            tallies[name].append(sample_tasks(generator, wording, seconds, seed))
        tallies[INDEPENDENT].append(draw_independently(able, seconds, seed))
        tallies[RETRYING].append(draw_retrying(able, seconds, seed))
    everything = {INDEPENDENT: draw_independently(walks, seconds, 0), RETRYING: draw_retrying(walks, seconds, 0)}
    return {
        "workflows": len(sources),
        "feasible": chains,
        "traces": sum(source.join.trace_count.value for source in sources),
        "tasks": sum(count.value for count in tasks),
        "all_exact": all(count.is_exact for count in tasks),
        "seconds_to_join_all": ready,
        "seconds_to_count_tasks": counting,
        "figures": {name: _figures(found, tallies[JOIN], everything.get(name)) for name, found in tallies.items()},
    }


def _figures(found: list[Tally], joins: list[Tally], everything: Tally | None) -> dict[str, float]:
    figures = {
        "valid_per_second": statistics.median(tally.rate for tally in found),
        "yield_per_attempt": sum(tally.valid for tally in found) / sum(tally.attempts for tally in found),
        "yield_per_chain_asked_for": sum(tally.valid for tally in found) / sum(tally.wanted for tally in found),
        "join_is_faster_by": statistics.median(
            join.rate / max(tally.rate, 1 / tally.seconds) for join, tally in zip(joins, found, strict=True)
        ),
    }
    if everything is not None:
        figures["yield_per_attempt_over_all_workflows"] = everything.valid / everything.attempts
        figures["yield_per_chain_asked_for_over_all_workflows"] = everything.valid / everything.wanted
    return figures


def report(name: str, found: dict[str, Any]) -> None:
    """Prints the figures of one snapshot."""
    exact = "exactly" if found["all_exact"] else "about"
    console.print(
        f"[bold]{name}[/bold]: {found['feasible']} of {found['workflows']} workflows have traces, {found['traces']:,} "
        f"in total, of which {exact} {found['tasks']:,} are tasks; joined in {found['seconds_to_join_all']:.2f} s, "
        f"counted in {found['seconds_to_count_tasks']:.2f} s more",
        soft_wrap=True,
    )
    for kind, figures in found["figures"].items():
        line = (
            f"  {kind:22} {figures['valid_per_second']:>11,.0f} valid/s   {figures['yield_per_attempt']:>7.2%} of "
            f"attempts   {figures['yield_per_chain_asked_for']:>7.2%} of chains   1/{figures['join_is_faster_by']:,.0f}"
        )
        if "yield_per_attempt_over_all_workflows" in figures:
            line += (
                f"   over all workflows {figures['yield_per_attempt_over_all_workflows']:.2%} of attempts, "
                f"{figures['yield_per_chain_asked_for_over_all_workflows']:.2%} of chains"
            )
        console.print(f"{line}   {GOALS.get(kind, '')}", soft_wrap=True)


def measure_runs(snapshot: str, tasks: int, rounds: int) -> dict[str, Any]:
    """What is measured in processes of their own: the first task by wording, and the command."""
    found: dict[str, Any] = {
        "seconds_to_first_task": {name: first_task(snapshot, asked, rounds) for name, asked in WORDINGS.items()}
    }
    if tasks:
        found["synthesize"] = synthesize(snapshot, tasks, rounds)
    return found


def report_runs(found: dict[str, Any]) -> None:
    """Prints what was measured in processes of their own."""
    told = ", ".join(f"{name} {seconds:.2f} s" for name, seconds in found["seconds_to_first_task"].items())
    console.print(f"  first task after opening: {told}   goal: 1", soft_wrap=True)
    if "synthesize" in found:
        figures = found["synthesize"]
        console.print(
            f"  toolorch synthesize, {figures['tasks']:,.0f} tasks: {figures['tasks_per_second_by_1']:,.0f}/s with one "
            f"worker, {figures['tasks_per_second_by_2']:,.0f}/s with two, {figures['two_are_faster_by']:.2f} times as "
            f"many; {figures['seconds_by_1']:.1f} s and {figures['seconds_by_2']:.1f} s in all",
            soft_wrap=True,
        )


def main(
    snapshot: Annotated[str, typer.Option(help="Snapshot with workflows: a bundled name or a path.")] = "travel",
    data: Annotated[Path, typer.Option(help="Folder of the published data.")] = DATA,
    rounds: Annotated[int, typer.Option(help="Rounds that take turns.")] = 5,
    seconds: Annotated[float, typer.Option(help="Length of each measurement.")] = 1.0,
    tasks: Annotated[int, typer.Option(help="Tasks that the command draws in each round; 0: none.", min=0)] = 20_000,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Measures and prints speed and yield of sampling."""
    logging.getLogger("toolorch_env").setLevel(logging.ERROR)  # workflows without traces are counted below
    opened = WorkflowGenerator(snapshot).snapshot
    found = {opened.name: measure(opened, rounds, seconds)}
    report(opened.name, found[opened.name])
    runs = measure_runs(snapshot, tasks, rounds)
    report_runs(runs)
    if all((data / name).is_file() for name in FILES):
        with tempfile.TemporaryDirectory() as folder:
            summary = import_data_set(read_booking([data / name for name in FILES]), Path(folder) / "booking.sqlite")
            found["booking"] = measure(Snapshot(summary.path), rounds, seconds)
        report("booking", found["booking"])
    if json_file is not None:
        document = {"toolorch_env": toolorch_env.__version__, "rounds": rounds, "snapshots": found, "runs": runs}
        json_file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
