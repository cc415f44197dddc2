"""Trains agents with each reward on the bundled snapshot, and says what they have learned.

    python benchmarks/learning.py [--json FILE] [--steps N] [--seeds N] [--rewards graduated,...] [--figures FOLDER]
                                  [--constraints JSON] [--graph-share S] [--word-dropout S]
    python benchmarks/learning.py --draw FILE.json --figures FOLDER

``MaskablePPO`` with the settings of ``toolorch train``, for each reward and seed the same number of steps, two
trainings at a time with a thread each; ``--rewards`` also knows ``binary_penalised``, which has the penalty of the
others. The constraints are the default ones: 7 tools that are not needed, up to two
sentences that mention values nobody needs, and the agent has to finish by itself. Of the phrasings that were written
for each workflow the last is held out. Evaluated greedily on tasks of

- ``test``: values that the agent has not seen, in phrasings that it has
- ``phrasings``: such values in the phrasing that was held out
- ``style``: such values in queries composed in the style ``chatty``
- ``workflows``: workflows that were held out
- ``workflows_plain``: such workflows in queries composed in the style ``plain``
- ``blank``: as ``test``, with the query blanked out

``--constraints '{"styles": ["written", "plain", "numbered", "terse", "backward"]}'`` trains with queries in several
styles; evaluation is as above. ``--graph-share 0.5`` draws half of the training tasks from workflows that nobody wrote,
random walks on the tool graph, none of them one that was held out.

Figures (needs matplotlib): learning curves with their spread over seeds, and the kinds of wrong calls over training.
"""

import json
import os
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path
from statistics import mean
from typing import Annotated, Any

import typer
from rich.box import MARKDOWN
from rich.console import Console
from rich.table import Table

console = Console(width=160)

REWARDS = "graduated,atomic,orchestration,binary"
PENALISED = "binary_penalised"
"""The reward ``binary`` with the penalty that the others have: without one nothing tells an agent to finish."""

PLACES: dict[str, dict[str, Any]] = {
    "test": {"split": "test"},
    "phrasings": {"split": "test"},
    "style": {"split": "test", "styles": ["chatty"]},
    "workflows": {"split": "test_workflows"},
    "workflows_plain": {"split": "test_workflows", "styles": ["plain"]},
    "blank": {"split": "test"},
}
MEASURES = ("success_rate", "clean_success_rate", "call_accuracy", "turn_accuracy")
CURVE_TASKS = 256
FINAL_TASKS = 1000


def generators(snapshot: str) -> tuple[Any, Any]:
    """A generator with all phrasings of each workflow but the last, and one with the last alone."""
    from toolorch_env.generation.generator import WorkflowGenerator
    from toolorch_env.store.bundled import open_snapshot
    from toolorch_env.store.workflows import WorkflowSet, snapshot_workflows

    opened = open_snapshot(snapshot)
    stored = snapshot_workflows(opened)

    def with_phrasings(which: slice) -> Any:
        changed = [w.model_copy(update={"phrasings": w.phrasings[which]}) for w in stored.workflows]
        return WorkflowGenerator(opened, WorkflowSet(**{**dict(stored), "workflows": changed}))

    return with_phrasings(slice(0, -1)), with_phrasings(slice(-1, None))


def with_graph(written: Any, share: float) -> Any:
    """A generator that draws a share of its tasks from workflows that nobody wrote."""
    from toolorch_env.generation.graph_generator import GraphGenerator
    from toolorch_env.generation.mixture import Mixture

    if not share:
        return written
    walks = GraphGenerator(written.snapshot).within(written.snapshot.links)
    return Mixture([(written, 1 - share), (walks, share)], names=["written", "graph"])


def train_one(job: dict[str, Any]) -> dict[str, Any]:
    """Trains one agent; gives its curve and its metrics."""
    import torch

    from toolorch_env.envs.vector.env import ToolOrchVectorEnv
    from toolorch_env.evaluation.batched import play_at_once
    from toolorch_env.evaluation.metrics import aggregate
    from toolorch_env.integrations.sb3 import make_vec_env
    from toolorch_env.integrations.sb3_training import TrainingSettings, Watch, make_model, save_model
    from toolorch_env.rewards import BinaryReward, GraduatedReward

    torch.set_num_threads(1)
    settings = TrainingSettings(word_dropout=job["word_dropout"])
    seen, unseen = generators(job["snapshot"])
    drawing = with_graph(seen, job["graph_share"])
    reward = BinaryReward(GraduatedReward().penalty) if job["reward"] == PENALISED else job["reward"]
    env = make_vec_env(
        settings.num_envs, seed=100_000 * job["seed"], word_dropout=settings.word_dropout, generator=drawing,
        snapshot=seen.snapshot, reward=reward, constraints=job["constraints"],
    )  # fmt: skip
    model = make_model(env, env.vocabulary, settings, seed=job["seed"])
    copies: dict[tuple[str, int], ToolOrchVectorEnv] = {}

    def measure(place: str, tasks: int) -> dict[str, Any]:
        if (place, tasks) not in copies:
            generator = unseen if place == "phrasings" else seen
            copies[place, tasks] = ToolOrchVectorEnv(
                tasks, generator=generator, snapshot=generator.snapshot,
                constraints={**job["constraints"], "styles": ["written"], **PLACES[place]},
            )  # fmt: skip
        results = play_at_once(
            copies[place, tasks],
            lambda observation, masks: model.predict(observation, deterministic=True, action_masks=masks)[0],
            seed=7,
            blank_query=place == "blank",
        )
        found = aggregate(results, 1.0).to_dict()
        return {name: value for name, value in found.items() if name != "steps_per_second"}

    curve: list[dict[str, Any]] = []
    spent = 0.0
    begin = time.perf_counter()

    def report(steps: int, share: float) -> None:
        nonlocal spent
        if steps < (len(curve) + 1) * job["every"]:
            return
        paused = time.perf_counter()
        found = measure("test", CURVE_TASKS)
        curve.append({"steps": steps, "seconds": paused - begin - spent, "train_clean_success": share, **found})
        spent += time.perf_counter() - paused

    model.learn(job["steps"], callback=Watch(report))
    took = time.perf_counter() - begin - spent
    final = {place: measure(place, FINAL_TASKS) for place in PLACES}
    if job["model"]:
        save_model(model, Path(job["model"]), env.vocabulary, {"settings": asdict(settings), "seed": job["seed"]})
    told = {name: value for name, value in job.items() if name != "model"}
    return {**told, "seconds": took, "steps": model.num_timesteps, "curve": curve, "final": final}


def by_reward(runs: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The runs with each reward."""
    return {reward: [run for run in runs if run["reward"] == reward] for reward in {run["reward"]: 0 for run in runs}}


def measures_table(runs: list[dict[str, Any]]) -> list[list[str]]:
    """What was reached on ``test``: a row for each reward, means over seeds, and the range of clean success."""
    rows = [["reward", "seeds", "steps", "success", "clean success", "calls right", "turns right", "seconds"]]
    for reward, own in by_reward(runs).items():
        found = {name: [run["final"]["test"][name] for run in own] for name in MEASURES}
        clean = found["clean_success_rate"]
        rows.append(
            [
                f"`{reward}`",
                f"{len(own)}",
                f"{own[0]['steps']:,}",
                f"{mean(found['success_rate']):.3f}",
                f"{mean(clean):.3f} ({min(clean):.3f} to {max(clean):.3f})",
                f"{mean(found['call_accuracy']):.3f}",
                f"{mean(found['turn_accuracy']):.3f}",
                f"{mean(run['seconds'] for run in own):,.0f}",
            ]
        )
    return rows


def places_table(runs: list[dict[str, Any]]) -> list[list[str]]:
    """Clean success by kind of task: a row for each reward, means over seeds."""
    places = list(runs[0]["final"])
    rows = [["reward", *places]]
    for reward, own in by_reward(runs).items():
        shares = [mean(run["final"][place]["clean_success_rate"] for run in own) for place in places]
        rows.append([f"`{reward}`", *(f"{share:.3f}" for share in shares)])
    return rows


def show(rows: list[list[str]]) -> None:
    """Prints a table as Markdown."""
    table = Table(*rows[0], box=MARKDOWN)
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table)


def draw(runs: list[dict[str, Any]], folder: Path) -> None:
    """Writes the figures."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    folder.mkdir(parents=True, exist_ok=True)
    figure, axes = pyplot.subplots(figsize=(7, 4), layout="constrained")
    for reward in dict.fromkeys(run["reward"] for run in runs):
        curves = [run["curve"] for run in runs if run["reward"] == reward]
        length = min(map(len, curves))
        steps = [curves[0][place]["steps"] / 1000 for place in range(length)]
        points = [[curve[place]["clean_success_rate"] for curve in curves] for place in range(length)]
        axes.plot(steps, [mean(values) for values in points], label=f"{reward} ({len(curves)} seeds)")
        axes.fill_between(steps, [min(values) for values in points], [max(values) for values in points], alpha=0.2)
    axes.set(xlabel="thousand steps", ylabel="clean success, unseen values", ylim=(0, 1))
    axes.legend()
    figure.savefig(folder / "learning_curves.svg", metadata={"Date": None})
    pyplot.close(figure)

    rewards = list(dict.fromkeys(run["reward"] for run in runs))
    figure, grid = pyplot.subplots(1, len(rewards), figsize=(3.2 * len(rewards), 3.4), sharey=True, squeeze=False,
                                   layout="constrained")  # fmt: skip
    kinds = [
        kind for kind in runs[0]["curve"][-1]["errors"] if any(p["errors"][kind] for r in runs for p in r["curve"])
    ]
    for axes, reward in zip(grid[0], rewards, strict=True):
        curves = [run["curve"] for run in runs if run["reward"] == reward]
        length = min(map(len, curves))
        for kind in kinds:
            shares = [mean(curve[place]["errors"][kind] / curve[place]["tasks"] for curve in curves)
                      for place in range(length)]  # fmt: skip
            axes.plot([point["steps"] / 1000 for point in curves[0][:length]], shares, label=kind.replace("_", " "))
        axes.set(title=reward, xlabel="thousand steps")
        axes.set_yscale("symlog", linthresh=0.1)
    grid[0][0].set(ylabel="wrong calls of a kind per task")
    grid[0][-1].legend(fontsize="small")
    figure.savefig(folder / "error_kinds.svg", metadata={"Date": None})
    pyplot.close(figure)


def main(
    steps: Annotated[int, typer.Option(min=1, help="Steps of each training.")] = 800_000,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings with each reward.")] = 3,
    rewards: Annotated[str, typer.Option(help="Which rewards.")] = REWARDS,
    snapshot: Annotated[str, typer.Option(help="Name of a bundled snapshot, or path of one.")] = "travel",
    constraints: Annotated[str, typer.Option(help="Constraints of training and evaluation, as JSON.")] = "{}",
    graph_share: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of training tasks from the tool graph.")
    ] = 0.0,
    word_dropout: Annotated[
        float, typer.Option(min=0, max=0.99, help="Share of the query's features that are left out.")
    ] = 0.1,
    workers: Annotated[int, typer.Option(min=1, help="Trainings at a time, one thread each.")] = os.cpu_count() or 1,
    models: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Also write the models.")] = None,
    figures: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Also draw the figures.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures as JSON.")] = None,
    drawn: Annotated[
        Path | None, typer.Option("--draw", metavar="FILE.json", help="Draw from a file, train none.")
    ] = None,
) -> None:
    """Trains with each reward, evaluates, and prints what was learned."""
    if drawn is not None:
        runs = json.loads(drawn.read_text())["runs"]
    else:
        jobs = [
            {
                "reward": reward,
                "seed": seed,
                "steps": steps,
                "every": max(1, steps // 20),
                "snapshot": snapshot,
                "constraints": json.loads(constraints),
                "graph_share": graph_share,
                "word_dropout": word_dropout,
                "model": "" if models is None else str(models / f"{reward}-{seed}.zip"),
            }
            for seed in range(seeds)
            for reward in rewards.split(",")
        ]
        if models is not None:
            models.mkdir(parents=True, exist_ok=True)
        runs = []
        with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
            for run in pool.map(train_one, jobs):
                runs.append(run)
                clean = {place: f"{run['final'][place]['clean_success_rate']:.3f}" for place in PLACES}
                console.print(f"{run['reward']}, seed {run['seed']}: {run['seconds']:.0f} s, clean success {clean}")
                if json_file is not None:
                    json_file.write_text(json.dumps({"runs": runs}) + "\n")
        runs.sort(key=lambda run: rewards.split(",").index(run["reward"]))
    show(measures_table(runs))
    show(places_table(runs))
    if json_file is not None:
        json_file.write_text(json.dumps({"runs": runs}) + "\n")
    if figures is not None:
        draw(runs, figures)


if __name__ == "__main__":
    typer.run(main)
