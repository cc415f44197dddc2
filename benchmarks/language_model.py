"""Compares the rewards on a small language model: warmed up once on known solutions, then GRPO with each of them.

    pip install 'toolorch-env[trl]'
    python benchmarks/language_model.py FOLDER [--json FILE] [--warm-up N] [--steps N] [--seeds N] [--rewards ...]
                                        [--rate R] [--device cpu]

``examples/tiny_lm.py`` makes a model that can copy, ``examples/grpo_small_lm.py`` warms it up and trains it, with each
reward from the same warmed-up model, on the same tasks in the same number of steps. Tasks are small ones, of two
calls at most and without other tools. Measured before and after: greedily on unseen values (``test``) and unseen
workflows (``test_workflows``), and on unseen values as messages are sampled in training (``test_sampled``). Printed is
what a reward has made of the turn accuracy, as a multiple of what it was.

Parts whose files are in FOLDER already are not done again, so that an interrupted run goes on.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

console = Console(width=200)

EXAMPLES = Path(__file__).parents[1] / "examples"
REWARDS = "graduated,atomic,orchestration,binary"
TASKS = ("--distractor-tools", "0", "--turn-tokens", "72", "--tasks", "200", "--bf16", "--no-before")
WARM_UP = ("--batch", "8", "--warm-up-rate", "1.5e-3", "--tasks", "0")
MEASURES = ("turn_accuracy", "success")
FOLDERS_AND_FILES = ("model", "save", "out")
MEASURED = ("test", "test_sampled", "test_workflows")


def run(script: str, *arguments: str) -> None:
    """Runs an example, which has to succeed."""
    console.print(f"{script} {' '.join(arguments)}", highlight=False)
    subprocess.run([sys.executable, str(EXAMPLES / script), *arguments], check=True)  # noqa: S603


def train(folder: Path, name: str, *arguments: str) -> dict[str, Any]:
    """What ``grpo_small_lm.py`` writes, from its file where there is one."""
    out = folder / f"{name}.json"
    if not out.exists():
        run("grpo_small_lm.py", *TASKS, *arguments, "--out", str(out))
    found: dict[str, Any] = json.loads(out.read_text())
    settings = {name: value for name, value in found["arguments"].items() if name not in FOLDERS_AND_FILES}
    return {**found, "arguments": settings}


def rows(found: dict[str, Any]) -> list[list[str]]:
    """A row for the warmed-up model and for each reward, and three columns for each measure: its means over seeds."""
    shown = [["none, warmed up", "", *_figures([found["before"]["before"]])]]
    for reward in dict.fromkeys(run["reward"] for run in found["runs"]):
        own = [run for run in found["runs"] if run["reward"] == reward]
        shown.append([f"`{reward}`", str(len(own)), *_figures([run["after"] for run in own])])
    return shown


def _figures(measured: list[dict[str, dict[str, float]]]) -> list[str]:
    return [f"{mean(each[split][name] for each in measured):.3f}" for name in MEASURES for split in MEASURED]


def show(found: dict[str, Any]) -> None:
    """Prints the tables."""
    columns = [f"{name}, {split}".replace("_", " ") for name in MEASURES for split in MEASURED]
    table = Table("reward", "seeds", *columns, box=MARKDOWN)
    for row in rows(found):
        table.add_row(*row)
    console.print(table)
    before = found["before"]["before"]
    for run in found["runs"]:
        ratios = {split: run["after"][split]["turn_accuracy"] / before[split]["turn_accuracy"] for split in MEASURED}
        told = ", ".join(f"{split} x {ratio:.2f}" for split, ratio in ratios.items())
        console.print(f"turn accuracy, {run['reward']}, seed {run['seed']}: {told}", highlight=False)


def main(
    folder: Annotated[Path, typer.Argument(help="Where models and results of the parts are kept.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures.")] = None,
    warm_up: Annotated[int, typer.Option(help="Supervised steps of 8 solutions.", min=1)] = 200,
    steps: Annotated[int, typer.Option(help="Steps of GRPO.", min=1)] = 48,
    seeds: Annotated[int, typer.Option(min=1)] = 1,
    rewards: str = REWARDS,
    rate: Annotated[float, typer.Option(help="Learning rate of GRPO.")] = 2e-4,
    device: str = "cpu",
) -> None:
    """Runs what is not there yet, and prints the tables."""
    folder.mkdir(parents=True, exist_ok=True)
    tiny, warm = str(folder / "tiny"), str(folder / "warm")
    if not (folder / "tiny").exists():
        run("tiny_lm.py", tiny)
    first = ("--device", device, "--model", tiny, "--save", warm, "--steps", "0", "--warm-up", str(warm_up), *WARM_UP)
    found: dict[str, Any] = {"warm_up": train(folder, "warm", *first), "runs": []}
    then = ("--device", device, "--model", warm, "--warm-up", "0", "--batch", "32")
    found["before"] = train(folder, "before", *then, "--steps", "0", "--before")
    for seed in range(seeds):
        for reward in rewards.split(","):
            own = ("--steps", str(steps), "--rate", str(rate), "--reward", reward, "--seed", str(seed))
            trained = train(folder, f"{reward}-{seed}", *then, *own)
            found["runs"].append({"reward": reward, "seed": seed, **trained})
    show(found)
    if json_file:
        json_file.write_text(json.dumps(found, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
