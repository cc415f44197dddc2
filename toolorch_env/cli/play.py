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

from toolorch_env.cli.constraint_options import with_constraint_options
from toolorch_env.cli.display import check_writable, console, error_console, progress_bar, write_json
from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.scoring import Step
from toolorch_env.envs.base import EpisodeEnv
from toolorch_env.envs.blank_query import BlankQuery
from toolorch_env.envs.messages import read_message
from toolorch_env.envs.rendering import call_text
from toolorch_env.envs.shortening import shorten_json
from toolorch_env.evaluation.metrics import Metrics
from toolorch_env.evaluation.runner import evaluate as evaluate_policy
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.generation.registry import BUILT_IN, as_generator
from toolorch_env.integrations.sb3_policy import TrainedPolicy
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
GeneratorOption = Annotated[
    str | None,
    typer.Option(
        help=f"What draws the tasks: {', '.join(BUILT_IN)}, or a name that a package offers; by default stored tasks "
        "where there are any, else workflows."
    ),
]
RewardOption = Annotated[str, typer.Option(help=f"Reward: {', '.join(REWARDS)}.")]
SeedOption = Annotated[int, typer.Option(help="The same seed gives the same tasks.", min=0)]


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
        _policy(name)  # what is not there is told at once
    env: Any = gym.make("ToolOrch-v0", snapshot=snapshot, constraints={"min_steps": 4})
    env.reset(seed=seed)
    console.rule("One episode, played by the oracle")
    show_episode(env, env.unwrapped.episode, oracle_calls)
    console.rule(f"{tasks} tasks with each policy")
    table = metrics_table()
    for name in names:
        # an agent is shown on values that it was not trained on; small snapshots may have no such tasks
        shown = TaskConstraints(split="train" if agent is None else "test")
        metrics = run_policy(name, snapshot, shown, tasks=tasks, seed=seed)
        add_metrics(table, name, metrics)
    console.print(table)


@with_constraint_options
def evaluate(
    asked: TaskConstraints,
    policy: Annotated[
        str, typer.Option(help=f"Which policy: {', '.join(POLICIES)}, or sb3:FILE.zip for one that was trained.")
    ],
    snapshot: SnapshotOption = "travel",
    tasks: Annotated[
        int | None, typer.Option(help="Number of tasks to draw: by default 200, or all stored tasks, each once.", min=1)
    ] = None,
    seed: SeedOption = 0,
    generator: GeneratorOption = None,
    reward: RewardOption = "graduated",
    blank_query: Annotated[
        bool, typer.Option("--blank-query", help="Let observations tell nothing of the query (in numbers only).")
    ] = False,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the metrics as JSON.")] = None,
) -> None:
    """Play tasks with a policy and print its metrics. Tasks that are drawn are of the split test by default."""
    if json_file is not None:
        check_writable(json_file)
    metrics = run_policy(
        policy, snapshot, asked, generator=generator, reward=reward, tasks=tasks, seed=seed, blank_query=blank_query
    )
    table = metrics_table()
    add_metrics(table, policy, metrics)
    console.print(table)
    failed = {kind: count for kind, count in metrics.errors.items() if count}
    console.print("Failed calls: " + (", ".join(f"{kind} {count}" for kind, count in failed.items()) or "none"))
    if json_file is not None:
        write_json(json_file, metrics.to_dict())


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


def run_policy(
    name: str,
    snapshot: str,
    asked: TaskConstraints,
    *,
    generator: str | None = None,
    reward: str = "graduated",
    tasks: int | None,
    seed: int,
    blank_query: bool = False,
) -> Metrics:
    """Evaluates a policy with a progress bar."""
    policy = _policy(name)
    if blank_query and policy.env_id != "ToolOrch-v0":
        raise ConfigurationError(f"{name!r} plays in words: only in numbers can the query be blanked out")
    opened = open_snapshot(snapshot)
    drawing = _drawing(generator, opened, policy.env_id)
    if "split" not in asked.model_fields_set and not isinstance(drawing, FixedTasks):
        asked = asked.model_copy(update={"split": "test"})
    env: Any = gym.make(policy.env_id, snapshot=opened, reward=reward, generator=drawing, constraints=asked)
    if blank_query:
        env = BlankQuery(env)
    played = tasks or _listed_tasks(env.unwrapped, drawing) or _DRAWN_TASKS
    with progress_bar(name, played if isinstance(played, int) else len(played)) as advance:
        return evaluate_policy(env, policy, tasks=played, seed=seed, progress=lambda _: advance())


def _policy(name: str) -> Policy:
    """The policy of that name.

    Raises:
        ConfigurationError: there is none.
    """
    kind, _, path = name.partition(":")
    if kind == "sb3" and path:
        return TrainedPolicy(path)
    if name not in POLICIES:
        raise ConfigurationError(f"there is no policy {name!r}; choose one of {', '.join(POLICIES)}, or sb3:FILE.zip")
    return POLICIES[name]()


def _drawing(generator: str | None, snapshot: Snapshot, env_id: str) -> TaskGenerator:
    """What draws the tasks; in numbers a graph of what the snapshot is compiled for, as nothing else is an action."""
    from toolorch_env.generation.graph_generator import GraphGenerator

    found = as_generator(generator, snapshot)
    if isinstance(found, GraphGenerator) and env_id == "ToolOrch-v0":
        return found.within(snapshot.links)
    return found


def _listed_tasks(env: EpisodeEnv[Any, Any], drawing: TaskGenerator) -> list[str]:
    """The ids of all listed tasks that satisfy the constraints and can be played; none where tasks are generated."""
    if not isinstance(env.generator, FixedTasks) or not isinstance(drawing, FixedTasks):
        return []
    left_out = len(drawing) - len(env.generator)
    if left_out:
        error_console.print(f"{left_out} of {len(drawing)} tasks can be played in words only")
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
