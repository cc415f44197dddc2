"""Does the reward ``published`` give the scores that the published implementation gives?

    python benchmarks/published_reward.py [--data FOLDER] [--json FILE]

Scores the call sequences of ``published_scores.jsonl`` over the published training tasks and compares each component
with what the published implementation gave it, as it is written there to nine decimals. Exit code 1 if a component
agrees on less than 99% of the sequences; each one that does not agree is listed. The data is not part of the project:
``--data`` names the folder that it lies in, by default ``../shared/booking`` beside the checkout.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import orjson
import typer
from rich.console import Console
from rich.table import Table

from toolorch_env.core.calls import Call
from toolorch_env.core.tasks import ReferenceCall
from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.traces import DataSet, Trace
from toolorch_env.rewards.published import NAME_WEIGHT, VALUES_WEIGHT, PublishedScore, published_score

DATA = Path(__file__).parents[2] / "shared" / "booking"
TASKS, TOOLS, SCORES = "bfcl_training_3_per_workflow.pkl", "booking_tools.jsonl", "published_scores.jsonl"
TOLERANCE = 1e-6
GOAL = 0.99
console = Console(width=120)


class Difference(NamedTuple):
    """A component of a sequence that does not agree.

    Attributes:
        task: index of the task.
        variant: what was done to its solution.
        component: name of the component.
        published: the published value.
        found: the value found here.
    """

    task: int
    variant: str
    component: str
    published: float
    found: float


def published_names(score: PublishedScore) -> dict[str, float]:
    """The components under the names of the published implementation."""
    return {
        "R_atomic_validity": score.atomic,
        "R_atomic_validity_ast": score.syntax,
        "R_atomic_validity_semantic": score.semantic,
        "R_atomic_validity_rate": score.values / VALUES_WEIGHT,  # share of calls that are valid
        "R_atomic_validity_name": score.name,
        "R_atomic_validity_structure": score.structure,
        "R_atomic_validity_values": score.values,
        "tool_executable_rate": score.name / NAME_WEIGHT,  # share of calls of functions that the reference calls, too
        "tool_calling_success_rate": score.semantic,
        "R_outcome_orchestration": score.orchestration,
        "R_outcome_state": 0.0,  # weighs nothing in the score
        "score": score.total,
    }


def read_data(folder: Path) -> tuple[DataSet, list[dict[str, Any]]]:
    """The training tasks, and the scored sequences.

    Raises:
        typer.BadParameter: a file is missing.
    """
    missing = [name for name in (TASKS, TOOLS, SCORES) if not (folder / name).is_file()]
    if missing:
        raise typer.BadParameter(
            f"{folder} has no {', '.join(missing)}: name the folder of the published data (--data)"
        )
    sequences = [orjson.loads(line) for line in (folder / SCORES).read_bytes().splitlines()]
    return read_booking([folder / TASKS, folder / TOOLS]), sequences


def score_of(data: DataSet, sequence: Mapping[str, Any]) -> PublishedScore:
    """The score of one sequence of calls."""
    trace = data.traces[sequence["task"]]
    made = [(Call(call["name"], call["arguments"]), _body_of(trace, call)) for call in sequence["calls"]]
    return published_score(_reference_of(trace), {tool.name: tool for tool in data.tools}, made)


def _reference_of(trace: Trace) -> list[ReferenceCall]:
    return [
        ReferenceCall(call.answered.call.tool, dict(call.answered.call.arguments), after=call.depends_on or ())
        for call in trace.calls
    ]


def _body_of(trace: Trace, call: Mapping[str, Any]) -> Any:
    if "response_of_step" in call:
        return trace.calls[call["response_of_step"]].answered.body
    return orjson.loads(call["response"])


def differences(data: DataSet, sequences: list[dict[str, Any]]) -> Iterator[Difference]:
    """Every component of every sequence that does not agree."""
    for sequence in sequences:
        found = published_names(score_of(data, sequence))
        if found.keys() != sequence["scores"].keys():
            raise typer.BadParameter(f"other components than known: {sorted(found.keys() ^ sequence['scores'].keys())}")
        for name, published in sequence["scores"].items():
            if not abs(found[name] - published) <= TOLERANCE:
                yield Difference(sequence["task"], sequence["variant"], name, published, found[name])


def main(
    data: Annotated[Path, typer.Option(help="Folder of the published data.")] = DATA,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Compares all components on all sequences and prints the agreement."""
    data_set, sequences = read_data(data)
    found = list(differences(data_set, sequences))
    names = list(sequences[0]["scores"])
    agreement = {name: 1 - sum(d.component == name for d in found) / len(sequences) for name in names}
    table = Table("component", "agrees", title=f"{len(sequences):,} sequences over {len(data_set.traces)} tasks")
    for name, share in agreement.items():
        table.add_row(name, f"{share:.2%}")
    console.print(table)
    for difference in found:  # published and found value
        console.print(f"task {difference.task}, {difference.variant}, {difference.component}: {difference[3:]}")
    if json_file is not None:
        figures = {"sequences": len(sequences), "agreement": agreement, "differences": [d._asdict() for d in found]}
        json_file.write_text(json.dumps(figures, indent=2) + "\n")
    raise typer.Exit(0 if min(agreement.values()) >= GOAL else 1)


if __name__ == "__main__":
    typer.run(main)
