"""Commands that play: one episode to be looked at, or many to be measured."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import typer
from rich.markup import escape
from rich.panel import Panel

from toolorch_env.cli.constraint_options import with_constraint_options
from toolorch_env.cli.display import console
from toolorch_env.cli.evaluate import run_policy
from toolorch_env.cli.policies import POLICIES, GeneratorOption, RewardOption, SeedOption, SnapshotOption, named_policy
from toolorch_env.cli.summaries import add_metrics, metrics_table
from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.scoring import Step
from toolorch_env.envs.base import EpisodeEnv
from toolorch_env.envs.messages import calls_of_tools
from toolorch_env.envs.rendering import call_text
from toolorch_env.envs.shortening import shorten_json
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.policies.oracle import next_reference_call

_SHOWN_RESPONSE = 600


def demo(
    snapshot: SnapshotOption = "travel",
    tasks: Annotated[int, typer.Option(help="Tasks for each policy.", min=1)] = 300,
    seed: SeedOption = 0,
    agent: Annotated[
        Path | None, typer.Option(metavar="FILE.zip", help="Also play with a model that `toolorch train` has written.")
    ] = None,
) -> None:
    """Show one episode in full, then play many with the oracle, with random actions, and with a trained agent."""
    names = [*POLICIES, *([] if agent is None else [f"sb3:{agent}"])]
    for name in names:
        named_policy(name)  # what is not there is told at once
    env: Any = gym.make("ToolOrch-v0", snapshot=snapshot, constraints={"min_steps": 4})
    env.reset(seed=seed)
    console.rule("One episode, played by the oracle")
    show_episode(env, env.unwrapped.episode, oracle_calls)
    console.rule(f"{tasks} tasks with each policy")
    table = metrics_table()
    for name in names:
        # an agent is shown on values that it was not trained on; small snapshots may have no such tasks
        shown = TaskConstraints(split="train" if agent is None else "test")
        add_metrics(table, name, run_policy(name, snapshot, shown, tasks=tasks, seed=seed))
    console.print(table)


@with_constraint_options
def play(
    asked: TaskConstraints,
    snapshot: SnapshotOption = "travel",
    seed: SeedOption = 0,
    generator: GeneratorOption = None,
    reward: RewardOption = "graduated",
    task_id: Annotated[str | None, typer.Option(help="Play this task.")] = None,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Type the calls; an empty line finishes.")
    ] = False,
) -> None:
    """Show one episode call by call: query, calls, responses, reward components."""
    env: Any = gym.make("ToolOrchText-v0", snapshot=snapshot, reward=reward, generator=generator, constraints=asked)
    env.reset(seed=seed, options={"task_id": task_id} if task_id else None)
    show_episode(env, env.unwrapped.episode, ask_person if interactive else oracle_calls)


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
        calls = [request.call for request in calls_of_tools(line, episode.task.tools)]
        if calls:
            return calls
        console.print("[red]That is no call. Tools on offer are listed above.")
