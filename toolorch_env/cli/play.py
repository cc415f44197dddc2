"""Commands that play: one episode to be looked at, or many to be measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import typer
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from toolorch_env.cli.display import check_writable, console, error_console, progress_bar, write_json
from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.scoring import Step
from toolorch_env.envs.base import EpisodeEnv
from toolorch_env.envs.messages import read_message
from toolorch_env.envs.rendering import call_text
from toolorch_env.envs.shortening import shorten_json
from toolorch_env.evaluation.metrics import Metrics
from toolorch_env.evaluation.runner import evaluate as evaluate_policy
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.policies.base import Policy
from toolorch_env.policies.oracle import OraclePolicy, next_reference_call
from toolorch_env.policies.random import RandomPolicy
from toolorch_env.rewards import REWARDS
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.snapshot import Snapshot

_SHOWN_RESPONSE = 600
_DRAWN_TASKS = 200
POLICIES: dict[str, Callable[[], Policy]] = {"oracle": OraclePolicy, "random": RandomPolicy}

SnapshotOption = Annotated[str, typer.Option(help="Name of a bundled snapshot, or path of one.")]
SplitOption = Annotated[str | None, typer.Option(help=f"Which tasks: {', '.join(SPLITS)}.")]
RewardOption = Annotated[str, typer.Option(help=f"Reward: {', '.join(REWARDS)}.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same tasks.", min=0)]


def demo(
    snapshot: SnapshotOption = "travel",
    tasks: Annotated[int, typer.Option(help="Tasks for each policy.", min=1)] = 300,
    seed: SeedOption = 0,
) -> None:
    """Show one episode in full, then play many with the oracle and with random actions."""
    env = make_env("ToolOrch-v0", snapshot, "graduated", {"min_steps": 4})
    env.reset(seed=seed)
    console.rule("One episode, played by the oracle")
    show_episode(env, env.unwrapped.episode, oracle_calls)
    console.rule(f"{tasks} tasks with each policy")
    table = metrics_table()
    for name in POLICIES:
        metrics = run_policy(name, snapshot, "train", "graduated", tasks, seed)
        add_metrics(table, name, metrics)
    console.print(table)


def evaluate(
    policy: Annotated[str, typer.Option(help=f"Which policy: {', '.join(POLICIES)}.")],
    snapshot: SnapshotOption = "travel",
    tasks: Annotated[
        int | None, typer.Option(help="Number of tasks to draw: by default 200, or all stored tasks, each once.", min=1)
    ] = None,
    seed: SeedOption = 0,
    split: SplitOption = None,
    reward: RewardOption = "graduated",
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the metrics as JSON.")] = None,
) -> None:
    """Play tasks with a policy and print its metrics. Drawn from workflows, tasks are of the split test by default."""
    if json_file is not None:
        check_writable(json_file)
    metrics = run_policy(policy, snapshot, split, reward, tasks, seed)
    table = metrics_table()
    add_metrics(table, policy, metrics)
    console.print(table)
    failed = {kind: count for kind, count in metrics.errors.items() if count}
    console.print("Failed calls: " + (", ".join(f"{kind} {count}" for kind, count in failed.items()) or "none"))
    if json_file is not None:
        write_json(json_file, metrics.to_dict())


def play(
    snapshot: SnapshotOption = "travel",
    seed: SeedOption = 0,
    split: SplitOption = None,
    reward: RewardOption = "graduated",
    task_id: Annotated[str | None, typer.Option(help="Play this task.")] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Type the calls; an empty line finishes.")
    ] = False,
) -> None:
    """Show one episode call by call: query, calls, responses, reward components."""
    env = make_env("ToolOrchText-v0", snapshot, reward, {"split": split} if split else {})
    env.reset(seed=seed, options={"task_id": task_id} if task_id else None)
    show_episode(env, env.unwrapped.episode, ask_person if interactive else oracle_calls)


def make_env(env_id: str, snapshot: str | Snapshot, reward: str, constraints: dict[str, Any]) -> Any:
    """The environment that a command plays in."""
    return gym.make(env_id, snapshot=snapshot, reward=reward, constraints=constraints)


def run_policy(name: str, snapshot: str, split: str | None, reward: str, tasks: int | None, seed: int) -> Metrics:
    """Evaluates a policy with a progress bar."""
    if name not in POLICIES:
        raise ConfigurationError(f"there is no policy {name!r}; choose one of {', '.join(POLICIES)}")
    policy = POLICIES[name]()
    opened = open_snapshot(snapshot)
    if split is None and not opened.tasks:
        split = "test"
    env = make_env(policy.env_id, opened, reward, {"split": split} if split else {})
    played = tasks or _stored_tasks(env.unwrapped) or _DRAWN_TASKS
    with progress_bar(name, played if isinstance(played, int) else len(played)) as advance:
        return evaluate_policy(env, policy, tasks=played, seed=seed, progress=lambda _: advance())


def _stored_tasks(env: EpisodeEnv[Any, Any]) -> list[str]:
    """The ids of all stored tasks that satisfy the constraints and can be played; none where tasks are generated."""
    if not isinstance(env.generator, FixedTasks):
        return []
    left_out = len(env.snapshot.tasks) - len(env.generator)
    if left_out:
        error_console.print(f"{left_out} of {len(env.snapshot.tasks)} tasks can be played in words only")
    return [task.id for task in env.generator.eligible(env.constraints)]


def metrics_table() -> Table:
    """An empty table of metrics."""
    titles = ("policy", "tasks", "success", "clean", "calls ok", "turns ok", "return", "calls", "steps/s")
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in titles:
        table.add_column(title, justify="left" if title == "policy" else "right")
    return table


def add_metrics(table: Table, name: str, metrics: Metrics) -> None:
    """Adds a row to a table of metrics."""
    shares = (metrics.success_rate, metrics.clean_success_rate, metrics.call_accuracy, metrics.turn_accuracy)
    table.add_row(
        name,
        f"{metrics.tasks}",
        *(f"{share:.3f}" for share in shares),
        f"{metrics.mean_return:+.3f}",
        f"{metrics.mean_calls:.2f}",
        f"{metrics.steps_per_second:,.0f}",
    )


def show_episode(env: Any, episode: Episode, choose: Callable[[Episode], list[Call | Malformed]]) -> None:
    """Plays an episode and shows it call by call."""
    assert isinstance(env.unwrapped, EpisodeEnv)
    console.print(Panel(escape(episode.task.query), title="query", title_align="left"))
    console.print(f"[dim]tools on offer: {', '.join(episode.task.tools)}", soft_wrap=True)
    while not episode.done:
        calls = choose(episode)
        if not calls:
            episode.finish()
            break
        for step in episode.send(calls):
            show_step(len(episode.steps), step)
    ended = "finished" if episode.finished else "stopped at the call limit"
    solved = "[green]solved" if episode.success else "[red]not solved"
    console.print(f"{ended}, {solved}[/], return {episode.total:+.3f}, {len(episode.steps)} calls "
                  f"(the reference has {len(episode.task.reference)})")  # fmt: skip


def show_step(number: int, step: Step) -> None:
    """Shows a call, its response and the components of its reward."""
    response, score = step.response, step.score
    colour = "green" if response.success else "red"
    body = escape(shorten_json(response.raw, _SHOWN_RESPONSE))
    console.print(f"\n[bold]{number}.[/] [cyan]{escape(call_text(step.call))}", soft_wrap=True)
    console.print(
        f"   [{colour}]{response.status}[/] [dim]{response.source}[/] {body}", soft_wrap=True, highlight=False
    )
    parts = "  ".join(f"{name} {value:.2f}" for name, value in score.components.items() if name != "rise")
    matched = "no reference call" if score.matched is None else f"reference call {score.matched + 1}"
    summary = f"[bold]reward {score.reward:+.3f}[/]  potential {score.potential:.3f}  {matched}"
    console.print(f"   {summary}  [dim]{parts}", soft_wrap=True)


def oracle_calls(episode: Episode) -> list[Call | Malformed]:
    """The next reference call, none when all are made."""
    call = next_reference_call(episode)
    return [] if call is None else [call]


def ask_person(episode: Episode) -> list[Call | Malformed]:
    """Calls that a person types: ``tool {"argument": value}``, or anything that a model may write; empty to finish."""
    while True:
        try:
            line = console.input('\n[bold]call[/] (tool {"argument": value}, empty to finish): ').strip()
        except EOFError:  # what was piped in has ended
            line = ""
        if not line:
            return []
        name, _, arguments = line.partition(" ")
        if name in episode.task.tools:
            line = f'<tool_call>{{"name": "{name}", "arguments": {arguments.strip() or "{}"}}}</tool_call>'
        calls = [request.call for request in read_message(line)]
        if calls:
            return calls
        console.print("[red]That is no call. Tools on offer are listed above.")
