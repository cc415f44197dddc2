"""The command that trains an agent."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from toolorch_env.cli.constraint_options import with_constraint_options
from toolorch_env.cli.display import check_writable, console, error_console
from toolorch_env.cli.policies import GeneratorOption, RewardOption, SnapshotOption
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.generation.constraints import TaskConstraints


@with_constraint_options
def train(
    asked: TaskConstraints,
    out: Annotated[Path, typer.Option(metavar="FILE.zip", help="Model to write.")],
    snapshot: SnapshotOption = "travel",
    steps: Annotated[int, typer.Option(min=1, help="Steps of all copies together.")] = 2_000_000,
    minutes: Annotated[float | None, typer.Option(min=0, help="End after so many minutes in any case.")] = None,
    num_envs: Annotated[int, typer.Option(min=2, help="Copies of the environment.")] = 512,
    seed: Annotated[int, typer.Option(min=0, help="Of tasks, weights and choices.")] = 0,
    generator: GeneratorOption = None,
    reward: RewardOption = "graduated",
    resume: Annotated[Path | None, typer.Option(metavar="FILE.zip", help="Model to train on.")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Also write a log for TensorBoard.")
    ] = None,
    checkpoint_every: Annotated[int, typer.Option(min=0, help="Write the model every so many steps.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")] = False,
) -> None:
    """Train an agent with MaskablePPO (extras `sb3` and `vector`).

    What is written says what it was trained for; `toolorch evaluate --policy sb3:FILE.zip` plays it. Exit code 130 when
    interrupted: the model is written, and `--resume` goes on.
    """
    check_writable(out)
    if out.exists() and not overwrite and (resume is None or resume.resolve() != out.resolve()):
        raise ConfigurationError(f"{out} exists: choose another name, or replace it with --overwrite")
    try:
        from toolorch_env.integrations.sb3_training import TrainingSettings
        from toolorch_env.integrations.sb3_training import train as train_model
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"training needs the extras 'sb3' and 'vector' ({error.name} is not installed): "
            "pip install 'toolorch-env[sb3,vector]'"
        ) from None
    begin = time.monotonic()
    with _training_bar(steps) as progress:
        done = train_model(
            out,
            steps=steps,
            settings=TrainingSettings(num_envs=num_envs),
            seed=seed,
            resume=resume,
            tensorboard=tensorboard,
            checkpoint_every=checkpoint_every,
            progress=progress,
            go_on=lambda: minutes is None or time.monotonic() - begin < 60 * minutes,
            snapshot=snapshot,
            generator=generator,
            reward=reward,
            constraints=asked,
        )
    took = time.monotonic() - begin
    console.print(
        f"{escape(str(out))}: {done.steps:,} steps, {took:,.0f} s, clean success {done.clean_success:.3f} at the end",
        soft_wrap=True,
        highlight=False,
    )
    if done.interrupted:
        error_console.print(f"interrupted: go on with --resume {escape(str(out))}")
        raise typer.Exit(130)


@contextmanager
def _training_bar(steps: int) -> Iterator[Callable[[int, float], None]]:
    """A progress bar with the share of clean successes; gives a function that is told of steps."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,} steps"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("training", total=steps)
        first: list[int] = []

        def tell(done: int, share: float) -> None:
            first[:] = first or [done]
            bar.update(task, completed=done - first[0], description=f"clean success {share:.2f}")

        yield tell
