"""The commands that measure policies: ``evaluate``, and ``rescore`` for what it has written."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from hashlib import file_digest
from itertools import chain
from math import inf
from pathlib import Path
from typing import Annotated, Any

import gymnasium as gym
import typer
from rich.markup import escape

from toolorch_env.cli.constraint_options import with_constraint_options
from toolorch_env.cli.display import check_writable, console, progress_bar, write_json, write_text
from toolorch_env.cli.policies import (
    POLICY_NAMES,
    GeneratorOption,
    RewardOption,
    SeedOption,
    SnapshotOption,
    listed_tasks,
    named_generator,
    named_policy,
)
from toolorch_env.cli.summaries import show_summary
from toolorch_env.core.errors import ConfigurationError, RunError
from toolorch_env.envs.blank_query import BlankQuery
from toolorch_env.evaluation.chatting import ToolCalls
from toolorch_env.evaluation.evaluations import evaluate_chat, evaluate_policy
from toolorch_env.evaluation.report.rendering import TRANSCRIPTS, render_report
from toolorch_env.evaluation.rescoring import rescored
from toolorch_env.evaluation.run_files import Run, RunWriter, read_run
from toolorch_env.evaluation.runs import FailedEpisode, Outcome, PlayedEpisode
from toolorch_env.evaluation.summary import Summary, summarize
from toolorch_env.generation.chat_models import OpenAIChat
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.policies.base import policy_env_id
from toolorch_env.rewards import REWARDS
from toolorch_env.store.bundled import open_snapshot

_DRAWN_TASKS = 200
_MODEL = "Language models"
_CONCURRENCY, _TIMEOUT, _RETRIES = 16, 120.0, 4
_NOT_GIVEN = (None, None, None, None, None, "native", _CONCURRENCY, _TIMEOUT, _RETRIES)
"""The options of language models where none is given."""

PricesOption = Annotated[
    tuple[float, float] | None,
    typer.Option(help="Price of a million tokens that are read, and written.", rich_help_panel=_MODEL),
]


@with_constraint_options
def evaluate(
    asked: TaskConstraints,
    policy: Annotated[str, typer.Option(help=f"Which policy: {POLICY_NAMES}.")],
    snapshot: SnapshotOption = "travel",
    tasks: Annotated[
        int | None, typer.Option(help="Number of tasks to draw: by default 200, or all stored tasks, each once.", min=1)
    ] = None,
    tries: Annotated[int, typer.Option(help="How often each task is played, for pass^k.", min=1)] = 1,
    seed: SeedOption = 0,
    generator: GeneratorOption = None,
    reward: RewardOption = "graduated",
    blank_query: Annotated[
        bool, typer.Option("--blank-query", help="Let observations tell nothing of the query (in numbers only).")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.jsonl", help="Write the run: transcripts and scores. An interrupted one goes on."),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    base_url: Annotated[
        str | None,
        typer.Option(help="Address of the endpoint, by default OPENAI_BASE_URL or OpenAI's.", rich_help_panel=_MODEL),
    ] = None,
    concurrency: Annotated[int, typer.Option(help="Episodes at a time.", min=1, rich_help_panel=_MODEL)] = _CONCURRENCY,
    tool_calls: Annotated[
        ToolCalls, typer.Option(help="How tools are offered and called.", rich_help_panel=_MODEL)
    ] = "native",
    temperature: Annotated[float | None, typer.Option(min=0, rich_help_panel=_MODEL, help="Of sampling.")] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=1, rich_help_panel=_MODEL, help="What an answer is cut off at.")
    ] = None,
    sampling_seed: Annotated[int | None, typer.Option(rich_help_panel=_MODEL, help="Sent with requests.")] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds after which an answer is given up.", rich_help_panel=_MODEL)
    ] = _TIMEOUT,
    retries: Annotated[
        int, typer.Option(min=0, help="Further attempts after errors that may pass.", rich_help_panel=_MODEL)
    ] = _RETRIES,
    max_response_chars: Annotated[
        int, typer.Option(help="Longer responses are shortened.", rich_help_panel=_MODEL)
    ] = 10_000,
    prices: PricesOption = None,
) -> None:
    """Play tasks with a policy and print its metrics. Tasks that are drawn are of the split test by default.

    A language model is asked at an OpenAI-compatible endpoint, with the key in OPENAI_API_KEY.
    """
    _check_files(out, json_file)
    _check_prices(prices)
    env_options: dict[str, Any] = {"generator": generator, "reward": reward}
    kind, _, model = policy.partition(":")
    if kind == "openai" and model:
        chat = OpenAIChat(model, base_url, temperature, sampling_seed, timeout, retries, max_tokens)
        if blank_query:
            raise ConfigurationError("a language model plays in words: only in numbers can the query be blanked out")
        env = make_env("ToolOrchText-v0", snapshot, asked, **env_options, max_response_chars=max_response_chars)
        outcomes = _play(
            policy, env, tasks, tries,
            lambda **told: evaluate_chat(env, chat, **told, concurrency=concurrency, tool_calls=tool_calls),
            seed=seed, path=out, generator=generator,
        )  # fmt: skip
    else:
        given = (
            base_url, temperature, max_tokens, sampling_seed, prices, tool_calls, concurrency, timeout, retries
        )  # fmt: skip
        if given != _NOT_GIVEN:
            raise ConfigurationError(
                f"the policy {policy!r} asks no endpoint: only openai:MODEL takes the options of language models"
            )
        player = named_policy(policy)
        env_id = policy_env_id(player)
        if env_id == "ToolOrchText-v0":
            env_options["max_response_chars"] = max_response_chars
        env = make_env(env_id, snapshot, asked, **env_options, blank_query=blank_query)
        settings = {"blank_query": blank_query} | ({"model": _digest(model)} if kind == "sb3" else {})
        outcomes = _play(
            policy, env, tasks, tries,
            lambda **told: evaluate_policy(env, player, **told, name=policy, settings=settings),
            seed=seed, path=out, generator=generator,
        )  # fmt: skip
    summary = _summarized(outcomes)
    show_summary(policy, summary, prices)
    if json_file is not None:
        write_json(json_file, summary.to_dict())


def rescore(
    run: Annotated[Path, typer.Argument(metavar="RUN.jsonl", help="What `toolorch evaluate --out` has written.")],
    reward: Annotated[str | None, typer.Option(help=f"Reward: {', '.join(REWARDS)}; by default the run's own.")] = None,
    snapshot: Annotated[
        str | None, typer.Option(help="The snapshot that was played on, where it is somewhere else now.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.jsonl", help="Also write the run with its new scores.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Score a run anew, with any reward: the same calls, answered from the same snapshot."""
    _check_files(out, json_file, run)
    if out is not None and out.exists():
        raise ConfigurationError(f"{out} is there already: give another file")
    read = read_run(run)
    opened = open_snapshot(snapshot or read.header.snapshot)
    outcomes = []
    scored = {} if reward is None else {"reward": reward, "reward_parameters": {}}
    header = read.header.model_copy(update=scored)
    anew = rescored(read, opened, reward)  # says what is wrong before a file is begun
    with ExitStack() as stack:
        writer = None if out is None else stack.enter_context(RunWriter(out, header))
        lines: Iterable[PlayedEpisode | FailedEpisode] = chain(anew, read.failures)
        for line in lines:
            outcomes.append(line.outcome)
            if writer is not None:
                writer.write(line)
    summary = _summarized(outcomes)
    show_summary(f"{header.policy}, reward {header.reward}", summary)
    if json_file is not None:
        write_json(json_file, summary.to_dict())


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN.jsonl...", help="Runs that `toolorch evaluate` wrote.")],
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    transcripts: Annotated[
        int, typer.Option(help="Transcripts shown of each run, failures first.", min=0)
    ] = TRANSCRIPTS,
    snapshot: Annotated[
        list[str] | None, typer.Option(help="A snapshot that was played on, where it is somewhere else now.")
    ] = None,
) -> None:
    """Write runs as one HTML file: figures, their comparison, and transcripts to look through."""
    check_writable(out)
    if out.resolve() in [path.resolve() for path in runs]:
        raise ConfigurationError(f"{out} is one of the runs: name another file for the report")
    read = [read_run(path) for path in runs]
    opened = [open_snapshot(name) for name in snapshot or ()]
    document = render_report(
        list(zip(_names(runs, read), read, strict=True)), transcripts=transcripts, snapshots=opened
    )
    write_text(out, document)
    console.print(f"wrote {escape(str(out))}", soft_wrap=True)


def _check_files(out: Path | None, json_file: Path | None, *runs: Path) -> None:
    """Checks that files can be written, and that the figures are not written over a run."""
    for path in (out, json_file):
        if path is not None:
            check_writable(path)
    kept = [path.resolve() for path in (out, *runs) if path is not None]
    if json_file is not None and json_file.resolve() in kept:
        raise ConfigurationError(f"{json_file} is a run: name another file for the figures")


def _check_prices(prices: tuple[float, float] | None) -> None:
    if not all(0 <= price < inf for price in prices or ()):
        raise ConfigurationError("prices are numbers of at least 0, of a million tokens that are read, and written")


def _digest(path: str) -> str:
    """What tells a model's file from another one of the same name."""
    with Path(path).open("rb") as file:
        return file_digest(file, "blake2b").hexdigest()[:32]


def _names(paths: Sequence[Path], runs: Sequence[Run]) -> list[str]:
    """What runs are called: by their policies, where these differ, else with their files."""
    policies = [run.header.policy for run in runs]
    files = [path.stem for path in paths]
    if len(set(files)) < len(files):
        files = list(map(str, paths))
    if len(set(policies)) == len(policies):
        return policies
    return [f"{policy} ({file})" for file, policy in zip(files, policies, strict=True)]


def run_policy(name: str, snapshot: str, asked: TaskConstraints, *, tasks: int, seed: int) -> Summary:
    """Evaluates a policy with a progress bar."""
    player = named_policy(name)
    env = make_env(policy_env_id(player), snapshot, asked)
    return _summarized(_play(name, env, tasks, 1, lambda **told: evaluate_policy(env, player, **told), seed=seed))


def make_env(
    env_id: str,
    snapshot: str,
    asked: TaskConstraints,
    *,
    generator: str | None = None,
    blank_query: bool = False,
    **options: Any,
) -> gym.Env[Any, Any]:
    """The environment that a policy is measured in; drawn tasks are of the split test by default.

    Raises:
        ConfigurationError: the query cannot be blanked out in words.
    """
    if blank_query and env_id != "ToolOrch-v0":
        raise ConfigurationError("the policy plays in words: only in numbers can the query be blanked out")
    opened = open_snapshot(snapshot)
    drawing = named_generator(generator, opened, env_id)
    if "split" not in asked.model_fields_set and not isinstance(drawing, FixedTasks):
        asked = asked.model_copy(update={"split": "test"})
    env: gym.Env[Any, Any] = gym.make(env_id, snapshot=opened, generator=drawing, constraints=asked, **options)
    return BlankQuery(env) if blank_query else env


def _play(
    name: str,
    env: gym.Env[Any, Any],
    tasks: int | None,
    tries: int,
    play: Callable[..., list[Outcome]],
    **told: Any,
) -> list[Outcome]:
    played = tasks or listed_tasks(env.unwrapped) or _DRAWN_TASKS
    count = tries * (played if isinstance(played, int) else len(played))
    with progress_bar(name, count) as advance:
        return play(tasks=played, tries=tries, progress=advance, **told)


def _summarized(outcomes: Sequence[Outcome]) -> Summary:
    if not any(outcome.result for outcome in outcomes):
        kinds = Counter(outcome.failure for outcome in outcomes)
        told = ", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()) or "no episodes"
        last = f". The last one: {outcomes[-1].detail}" if outcomes else ""
        raise RunError(f"there is nothing to score: the model gave no answer ({told}){last}")
    return summarize(outcomes)
