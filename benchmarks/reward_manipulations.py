"""What rewards pay for manipulated solutions, against what they pay for the solution itself.

    python benchmarks/reward_manipulations.py [--snapshot NAME_OR_PATH] [--tasks N] [--json FILE] [--markdown FILE]

Plays the reference solution of each task and manipulated forms of it, and prints for each manipulation the mean score
and the share of tasks where it beats and where it equals the solution. A task that a manipulation leaves as it is does
not count for it. ``--snapshot`` takes a bundled snapshot or any file, as ``toolorch import`` writes it; a snapshot with
tasks of its own is measured on these, any other on tasks of the split ``test``. ``--markdown`` writes the table into a
document, between two comments that name the snapshot. Exit code 1 if ``graduated`` pays for a manipulation what it must
not: more than for the solution, or as much where the manipulation does harm.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Annotated

import numpy as np
import typer
from manipulations import MANIPULATIONS, SELF_WRITTEN, Play, Problem, World
from rich.console import Console
from rich.table import Table

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.generator import stored_generator
from toolorch_env.rewards import make_reward
from toolorch_env.rewards.published import published_score
from toolorch_env.store.bundled import open_snapshot

REWARDS = ("graduated", "binary", "execution", "published")
SOLUTION = "the solution itself"
EXACT = 1e-9
"""Scores that differ by no more are equal."""

console = Console(width=160)


@dataclass
class Figures:
    """What one reward pays for one manipulation.

    Attributes:
        scores: the score of each task.
        beats: number of tasks where it is more than the solution's.
        equals: number of tasks where it is the solution's.
    """

    scores: list[float] = field(default_factory=list)
    beats: int = 0
    equals: int = 0

    def add(self, score: float, solution: float) -> None:
        """Counts one task."""
        self.scores.append(score)
        self.equals += abs(score - solution) <= EXACT
        self.beats += score > solution + EXACT

    def as_json(self) -> dict[str, float]:
        """Mean and shares."""
        count = len(self.scores) or 1
        return {
            "mean": fmean(self.scores) if self.scores else 0.0,
            "beats": self.beats / count,
            "equals": self.equals / count,
        }

    def as_cell(self) -> str:
        """Mean and shares for a table; a share of 0 is exact."""
        if not self.scores:
            return ""
        shares = [_percent(part, len(self.scores)) for part in (self.beats, self.equals)]
        return f"{fmean(self.scores):.3f} · {shares[0]} · {shares[1]}"


def _percent(part: int, whole: int) -> str:
    """A share in percent that is 0 or 100 only where it is exactly that."""
    return f"{min(max(round(100 * part / whole), part > 0), 100 - (part < whole)):d}%"


Measured = dict[str, dict[str, Figures]]
"""Figures by name of the manipulation and of the reward."""


def score_of(problem: Problem, play: Play, reward: str) -> float:
    """What a reward pays for a play. The published one takes responses that the model wrote for real ones."""
    if reward == "published" and play.self_written:
        made = [(call, SELF_WRITTEN) for turn in play.turns for call in turn if isinstance(call, Call)]
        return published_score(problem.task.reference, problem.world.replay.tools, made).total
    limit = 1 + sum(len(turn) for turn in play.turns)
    episode = Episode(problem.task, problem.world.replay, make_reward(reward), limit)
    for turn in play.turns:
        episode.send(turn)
    episode.finish()
    return episode.total


def measure(world: World, seed: int = 0) -> Measured:
    """Plays all manipulations on all tasks."""
    measured: Measured = {
        name: {reward: Figures() for reward in REWARDS} for name in (SOLUTION, *(m.name for m in MANIPULATIONS))
    }
    for task in world.tasks:
        problem = Problem(task, world, seed)
        solution = Play(problem.ordered_by(range(len(problem.calls))))
        paid = {reward: score_of(problem, solution, reward) for reward in REWARDS}
        for reward in REWARDS:
            measured[SOLUTION][reward].add(paid[reward], 1.0)
        for manipulation in MANIPULATIONS:
            play = manipulation.make(problem)
            if play is not None:
                for reward in REWARDS:
                    measured[manipulation.name][reward].add(score_of(problem, play, reward), paid[reward])
    return measured


def faults(measured: Measured, reward: str = "graduated") -> Iterator[str]:
    """What a reward pays and must not."""
    for manipulation in MANIPULATIONS:
        figures = measured[manipulation.name][reward]
        if figures.beats:
            yield f"{reward}: {manipulation.name!r} beats the solution on {figures.beats} tasks"
        if figures.equals and not manipulation.may_equal:
            yield f"{reward}: {manipulation.name!r} equals the solution on {figures.equals} tasks"


def open_world(snapshot: str, tasks: int, seed: int) -> World:
    """A snapshot with its own tasks, or with as many as are asked for."""
    opened = open_snapshot(snapshot)
    if opened.tasks:
        return World(opened, opened.tasks[:tasks])
    generator = stored_generator(opened)
    rng, test = np.random.default_rng(seed), TaskConstraints(split="test")
    drawn = {task.id: task for task in (generator.sample(rng, test) for _ in range(tasks))}
    return World(opened, list(drawn.values()))


def columns() -> list[str]:
    """The headings of the table."""
    return ["manipulation", "tasks", *REWARDS]


def rows(measured: Measured) -> list[list[str]]:
    """The rows of the table: mean score · share that beats the solution · share that equals it."""
    return [
        [name, str(len(figures[REWARDS[0]].scores)), *(figures[reward].as_cell() for reward in REWARDS)]
        for name, figures in measured.items()
    ]


def write_markdown(document: Path, snapshot: str, measured: Measured) -> None:
    """Puts the table into a document, between the comments that name the snapshot.

    Raises:
        typer.BadParameter: the document has no such comments.
    """
    lines = [columns(), ["---", "---:", *("---" for _ in REWARDS)], *rows(measured)]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    begin, end = (f"<!-- manipulations on {snapshot}: {edge} -->" for edge in ("begin", "end"))
    text = document.read_text()
    replaced, count = re.subn(
        f"({re.escape(begin)}\n).*?({re.escape(end)})", lambda found: f"{found[1]}{table}\n{found[2]}", text, flags=re.S
    )
    if not count:
        raise typer.BadParameter(f"{document} has no place for the table: put {begin} and {end} where it is to go")
    document.write_text(replaced)


def main(
    snapshot: Annotated[str, typer.Option(help="Name of a bundled snapshot, or path of any.")] = "travel",
    tasks: Annotated[int, typer.Option(min=1, help="At most so many tasks.")] = 500,
    seed: Annotated[int, typer.Option(help="Decides which tasks are drawn, and what is manipulated in them.")] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    markdown: Annotated[Path | None, typer.Option(help="Also put the table into this document.")] = None,
) -> None:
    """Measures all rewards on all manipulations and prints a table."""
    world = open_world(snapshot, tasks, seed)
    measured = measure(world, seed)
    title = f"{world.snapshot.name}: mean score · share that beats the solution · share that equals it"
    table = Table(*columns(), title=title)
    for row in rows(measured):
        table.add_row(*row)
    console.print(table)
    if json_file is not None:
        figures = {
            name: {"tasks": len(by_reward[REWARDS[0]].scores), **{r: by_reward[r].as_json() for r in REWARDS}}
            for name, by_reward in measured.items()
        }
        json_file.write_text(json.dumps({"snapshot": world.snapshot.name, "figures": figures}, indent=2) + "\n")
    if markdown is not None:
        write_markdown(markdown, world.snapshot.name, measured)
    found = list(faults(measured))
    for fault in found:
        console.print(f"[red]{fault}[/red]")
    raise typer.Exit(1 if found else 0)


if __name__ == "__main__":
    typer.run(main)
