"""Runs in files: gone on with, read back, scored anew; and policies of one method."""

import json
import resource
import sys
from collections.abc import Callable
from dataclasses import astuple, replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.driving import TEXT, random_message
from fresh_command import ROOT
from fresh_python import run_python
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import WORLD_NAMES, snapshot_path

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, RunError
from toolorch_env.evaluation.evaluations import evaluate_policy
from toolorch_env.evaluation.metrics import EpisodeResult
from toolorch_env.evaluation.rescoring import rescored
from toolorch_env.evaluation.run_files import RunWriter, read_run
from toolorch_env.evaluation.runner import evaluate, play_episodes
from toolorch_env.evaluation.runs import Outcome, PlayedEpisode, play_again, played_episode
from toolorch_env.evaluation.summary import summarize
from toolorch_env.generation.curriculum import Curriculum
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.mixture import Mixture
from toolorch_env.policies.loading import load_policy
from toolorch_env.policies.random import RandomPolicy
from toolorch_env.rewards import (
    REWARDS,
    BinaryReward,
    ExecutionReward,
    GraduatedReward,
    changed_parameters,
    make_reward,
)
from toolorch_env.rewards.credit import AtomicWeights
from toolorch_env.store.snapshot import Snapshot

OTHER = next(name for name in WORLD_NAMES if name != "library")


class Scribbler:
    """Writes messages with any calls, several at a time, and what is no call."""

    name = "scribbler"
    env_id = TEXT

    def reset(self, env: Any, rng: np.random.Generator) -> None:
        self.env, self.rng = env.unwrapped, rng

    def act(self, observation: str, info: dict[str, Any]) -> str:
        return "All done \ud800." if self.rng.random() < 0.1 else random_message(self.env, self.rng)


def make(name: str = "library", **options: Any) -> gym.Env[Any, Any]:
    return gym.make(TEXT, snapshot=snapshot_path(name), **options)


def without_times(outcomes: list[Outcome]) -> dict[tuple[int, int], EpisodeResult | None]:
    return {(outcome.index, outcome.attempt): outcome.result for outcome in outcomes}


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("name", WORLD_NAMES)
def test_a_run_scored_anew_has_the_numbers_of_that_reward(name: str, reward: str, tmp_path: Path) -> None:
    """And with its own reward, its own numbers: read from the file, they are the same to the bit."""
    played = evaluate_policy(make(name), Scribbler(), tasks=15, seed=2, path=tmp_path / "run.jsonl")
    run = read_run(tmp_path / "run.jsonl")
    snapshot = Snapshot(snapshot_path(name))
    assert without_times(run.outcomes) == without_times(played)
    assert list(rescored(run, snapshot)) == run.episodes

    directly = evaluate_policy(make(name, reward=reward), Scribbler(), tasks=15, seed=2, path=tmp_path / "other.jsonl")
    anew = list(rescored(run, snapshot, reward))
    assert [line.result for line in anew] == [outcome.result for outcome in directly]
    assert [line.calls for line in anew] == [line.calls for line in read_run(tmp_path / "other.jsonl").episodes]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("runs")


@given(st.integers(0, 10_000))
@settings(max_examples=25)
def test_an_interrupted_run_goes_on_and_comes_to_the_same(folder: Path, cut: int) -> None:
    """Wherever the file was cut off, even in the midst of a line."""
    path = folder / "cut.jsonl"
    path.unlink(missing_ok=True)
    whole = evaluate_policy(make(), Scribbler(), tasks=6, tries=2, seed=4, path=path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * cut // 10_000])
    again = evaluate_policy(make(), Scribbler(), tasks=6, tries=2, seed=4, path=path)
    assert without_times(again) == without_times(whole)
    assert without_times(read_run(path).outcomes) == without_times(whole)
    assert sorted(json.dumps(strip(line)) for line in path.read_bytes().splitlines()) == sorted(
        json.dumps(strip(line)) for line in content.splitlines()
    )


def strip(line: bytes) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(line)
    document.pop("seconds", None)
    return document


def test_a_finished_run_is_not_played_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(), Scribbler(), tasks=5, path=path)
    before = path.read_bytes()

    class Never:
        name, env_id = "scribbler", TEXT

        def act(self, observation: str, info: dict[str, Any]) -> str:
            raise AssertionError

    progress: list[int] = []
    evaluate_policy(make(), Never(), tasks=5, path=path, progress=lambda: progress.append(1))
    assert path.read_bytes() == before
    assert len(progress) == 5


@pytest.mark.parametrize(
    ("what", "options", "changed"),
    [
        ("seed", {}, {"seed": 1}),
        ("tasks", {}, {"tasks": 4}),
        ("tries", {}, {"tries": 2}),
        ("reward", {"reward": "atomic"}, {}),
        ("constraints", {"constraints": {"max_steps": 2}}, {}),
        ("max_calls", {"max_calls": 5}, {}),
        ("content_hash", {"name": OTHER}, {}),
        ("on_miss", {"on_miss": "nearest"}, {}),
        ("policy", {}, {"name": "another.module:Scribbler"}),
        (r"its settings.max_response_chars is \d+, not 900;", {"max_response_chars": 900}, {}),
        ("its settings.brief_tools is False, not True;", {"brief_tools": True}, {}),
        ("its settings.system_prompt is .*, not 'Call tools.';", {"system_prompt": "Call tools."}, {}),
    ],
)
def test_another_run_is_not_mixed_in(
    what: str, options: dict[str, Any], changed: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(), Scribbler(), tasks=3, path=path)
    before = path.read_bytes()
    with pytest.raises(RunError, match=what):
        evaluate_policy(make(**options), Scribbler(), **{"tasks": 3, "path": path, **changed})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.jsonl"]


def test_another_generator_of_the_same_class_is_not_mixed_in(tmp_path: Path) -> None:
    path, members = tmp_path / "run.jsonl", [(WorkflowGenerator(snapshot_path("library")), 1.0)]
    evaluate_policy(make(generator=Mixture(members, ["a"])), Scribbler(), tasks=3, path=path)
    cut_after(path, 2)
    before = path.read_bytes()
    with pytest.raises(RunError, match="another generator draws 'b:"):
        evaluate_policy(make(generator=Mixture(members, ["b"])), Scribbler(), tasks=3, path=path)
    assert path.read_bytes() == before
    assert len(evaluate_policy(make(generator=Mixture(members, ["a"])), Scribbler(), tasks=3, path=path)) == 3


def test_a_run_whose_generator_learns_is_not_gone_on_with(tmp_path: Path) -> None:
    """What it would have drawn depends on results that it was not told."""
    path = tmp_path / "run.jsonl"

    def learning() -> gym.Env[Any, Any]:
        levels: list[dict[str, Any]] = [{}, {}]
        curriculum = Curriculum(WorkflowGenerator(snapshot_path("library")), levels, window=2)
        return make(generator=Mixture([(curriculum, 1.0)]))

    whole = evaluate_policy(learning(), Scribbler(), tasks=4, path=path)
    assert without_times(evaluate_policy(learning(), Scribbler(), tasks=4, path=path)) == without_times(whole)
    cut_after(path, 3)
    with pytest.raises(RunError, match="depends on the results"):
        evaluate_policy(learning(), Scribbler(), tasks=4, path=path)


def test_a_file_in_which_nothing_was_played_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(), Scribbler(), tasks=3, path=path)
    cut_after(path, 1)
    evaluate_policy(make(max_calls=5), Scribbler(), tasks=2, path=path)
    assert (len(read_run(path).episodes), read_run(path).header.max_calls) == (2, 5)


def cut_after(path: Path, lines: int) -> None:
    """Leaves so many lines in a file."""
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:lines]))


FULL_DISK = """
import resource, sys
from pathlib import Path
from evaluation.test_runs import Scribbler, make
from toolorch_env.core.errors import RunError
from toolorch_env.evaluation.evaluations import evaluate_policy

path, env = Path(sys.argv[1]), make()
most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
for limit in (20_000, most):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, most))
    try:
        print(len(evaluate_policy(env, Scribbler(), tasks=30, path=path)))
    except RunError as error:
        print(error)
"""


def test_where_there_is_no_room_it_is_told_and_gone_on_with_later(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    told, count = run_python(FULL_DISK, 0, str(path)).splitlines()
    assert "cannot be written: File too large" in told
    assert count == "30"
    assert len(read_run(path).episodes) == 30
    assert [file.name for file in tmp_path.iterdir()] == ["run.jsonl"]


@pytest.mark.parametrize("content", ["notes", "notes\n", '{"kind":"episode"}\n', "[1]\n", "\n"])
def test_a_file_that_is_no_run_stays_as_it_is(content: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text(content)
    for use in (lambda: evaluate_policy(make(), Scribbler(), tasks=1, path=path), lambda: read_run(path)):
        with pytest.raises(RunError, match=r"notes\.jsonl"):
            use()
    assert path.read_text() == content


def test_two_runs_in_one_file_are_told(tmp_path: Path) -> None:
    paths = [tmp_path / f"{name}.jsonl" for name in ("one", "two", "both")]
    for seed, path in enumerate(paths[:2]):
        evaluate_policy(make(), Scribbler(), tasks=2, seed=seed, path=path)
    paths[2].write_bytes(paths[0].read_bytes() + paths[1].read_bytes())
    with pytest.raises(RunError, match="more than one run"):
        read_run(paths[2])


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(), Scribbler(), tasks=3, path=path)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*lines[:2], lines[2].replace('"attempt"', '"tries"'), *lines[3:]]))
    with pytest.raises(RunError, match=r"line 3 .*attempt"):
        read_run(path)


@pytest.mark.parametrize("characters", [100, 50_000])
def test_a_line_that_could_not_be_written_is_written_once_when_it_can_be(characters: int, tmp_path: Path) -> None:
    """Nothing of it is left of the attempt that failed, however long it is."""
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(), Scribbler(), tasks=3, path=path)
    run = read_run(path)
    first, *others = (episode.model_copy(update={"answer": "x" * characters}) for episode in run.episodes)
    path.unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with RunWriter(path, run.header) as writer:
        writer.write(first)
        for episode in others:
            resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 50, limits[1]))
            try:
                with pytest.raises(RunError, match="cannot be written"):
                    writer.write(episode)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            writer.write(episode)
    assert read_run(path).episodes == [first, *others]
    assert len(path.read_bytes().splitlines()) == 1 + len(run.episodes)


def test_one_process_at_a_time_writes(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(), Scribbler(), tasks=1, path=path)
    with RunWriter(path, read_run(path).header), pytest.raises(RunError, match="being written"):
        evaluate_policy(make(), Scribbler(), tasks=1, path=path)
    evaluate_policy(make(), Scribbler(), tasks=1, path=path)


def test_missing_files_and_other_snapshots_are_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="nowhere"):
        read_run(tmp_path / "nowhere.jsonl")
    with pytest.raises(RunError, match="no folder"):
        evaluate_policy(make(), Scribbler(), tasks=1, path=tmp_path / "no" / "run.jsonl")
    evaluate_policy(make(), Scribbler(), tasks=1, path=tmp_path / "run.jsonl")
    with pytest.raises(RunError, match="another snapshot"):
        list(rescored(read_run(tmp_path / "run.jsonl"), Snapshot(snapshot_path(OTHER))))


@pytest.mark.parametrize(
    "reward",
    [
        GraduatedReward(0.1, 0.2, AtomicWeights(name=0.7, structure=0.1, values=0.1, execution=0.1)),
        BinaryReward(0.05),
        ExecutionReward(answer_weight=0.1),
    ],
    ids=lambda reward: reward.name,
)
def test_a_run_is_scored_anew_with_the_parameters_of_its_reward(reward: Any, tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    played = evaluate_policy(make(reward=reward), Scribbler(), tasks=10, path=path)
    run = read_run(path)
    assert list(rescored(run, Snapshot(snapshot_path("library")))) == run.episodes
    assert vars(make_reward(reward.name, changed_parameters(reward))) == vars(reward)
    with pytest.raises(RunError, match="reward_parameters"):
        evaluate_policy(make(reward=reward.name), Scribbler(), tasks=10, path=path)
    assert summarize(played) == summarize(line.outcome for line in run.episodes)


class Mine(GraduatedReward):
    """A reward of a user's own."""

    name = "mine"


def test_a_run_with_a_reward_of_ones_own_says_how_to_go_on(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(reward=Mine()), Scribbler(), tasks=3, path=path)
    run, snapshot = read_run(path), Snapshot(snapshot_path("library"))
    with pytest.raises(RunError, match="'mine' is one of its user's"):
        rescored(run, snapshot)
    assert len(list(rescored(run, snapshot, "graduated"))) == 3


def test_calls_that_were_answered_by_their_nearest_are_answered_so_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    env = gym.make("ToolOrch-v0", on_miss="nearest")
    evaluate_policy(env, RandomPolicy(), tasks=60, path=path)
    run = read_run(path)
    assert any(call.source == "nearest" for episode in run.episodes for call in episode.calls)
    assert list(rescored(run, env.unwrapped.snapshot)) == run.episodes  # type: ignore[attr-defined]


def test_what_was_no_call_is_none_again(tmp_path: Path) -> None:
    """Arguments that JSON cannot hold come from clients in Python, and over MCP."""
    env = make().unwrapped
    env.reset(seed=1)
    episode, call = env.episode, env.episode.task.reference[0]
    episode.send([Call(call.tool, {**call.arguments, "limit": float("nan")}), Call(call.tool, call.arguments)])
    episode.finish("Done.")
    played = played_episode(0, 0, episode)
    again = PlayedEpisode.model_validate_json(played.model_dump_json())
    assert again == played
    replayed = play_again(again, episode.replay, episode.reward, episode.max_calls)
    assert played_episode(0, 0, replayed) == played
    assert played.result.errors == {"malformed": 1}


def test_what_the_api_itself_answered_is_not_answered_again(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    evaluate_policy(make(), Scribbler(), tasks=1, path=path)
    path.write_text(path.read_text().replace('"on_miss":"error"', '"on_miss":"live"'))
    with pytest.raises(RunError, match="the API itself"):
        rescored(read_run(path), Snapshot(snapshot_path("library")))


def test_figures_do_not_depend_on_the_order_of_lines(tmp_path: Path) -> None:
    outcomes = evaluate_policy(make(), Scribbler(), tasks=20, tries=2)
    assert summarize(outcomes) == summarize(outcomes[::-1])


def test_a_task_that_is_drawn_again_and_again_is_one_task() -> None:
    """Five tasks tell no more when each is drawn a hundred times."""
    outcomes = evaluate_policy(make(), Scribbler(), tasks=5)
    drawn = [replace(outcome, index=outcome.index + 5 * time) for outcome in outcomes for time in range(100)]
    once, often = summarize(outcomes), summarize(drawn)
    assert (often.episodes, often.tasks, often.pass_hat.keys()) == (500, 5, {1})
    for name, estimate in once.metrics.items():
        assert astuple(often.metrics[name]) == pytest.approx(astuple(estimate))


def test_tries_of_a_task_are_other_tries_at_the_same() -> None:
    env = gym.make("ToolOrch-v0", snapshot=snapshot_path("library"))
    outcomes = evaluate_policy(env, RandomPolicy(), tasks=5, tries=4, seed=1)
    for index in range(5):
        tried = [outcome.result for outcome in outcomes if outcome.index == index and outcome.result]
        assert len({result.task_id for result in tried}) == 1
    assert len({(o.result.total, o.result.calls) for o in outcomes if o.result}) > 5
    first = [outcome.result for outcome in outcomes if outcome.attempt == 0]
    assert first == list(play_episodes(env, RandomPolicy(), 5, 1))  # as without tries


# ---------------------------------------------------------------------------------------------------------- policies


class OneMethod:
    """A policy that has nothing but what it needs."""

    def act(self, observation: str, info: dict[str, Any]) -> str:
        if "tools" not in info:
            return "Done."
        return json.dumps({"name": info["tools"][0]["function"]["name"], "arguments": {}})


def test_a_policy_of_one_method_is_enough() -> None:
    metrics = evaluate(make(), OneMethod(), tasks=4)
    assert (metrics.tasks, metrics.mean_calls) == (4, 1.0)


@pytest.fixture
def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Writes the module ``mine_own`` into the current folder."""

    def write(text: str) -> None:
        (tmp_path / "mine_own.py").write_text(text)
        sys.modules.pop("mine_own", None)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(ROOT), *sys.path])
    monkeypatch.setattr("sys.dont_write_bytecode", True)
    return write


def test_policies_of_users_are_found_by_name(module: Callable[[str], None]) -> None:
    module("class P:\n    def act(self, observation, info):\n        return 'Done.'\none, make = P(), lambda: P()\n")
    for name in ("P", "one", "make"):
        assert load_policy(f"mine_own:{name}").act("", {}) == "Done."


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("nowhere:P", "", "no module 'nowhere'"),
        ("mine_own:Q", "P = 1", "has no 'Q'"),
        ("mine_own:P", "P = 1", "no method act"),
        ("mine_own:P", "def P():\n    return 1", "makes a int"),
        ("mine_own:P", "def P(size):\n    return size", "no policy of no arguments"),
        (":P", "", "no name of a module"),
        (".mine_own:P", "", "no name of a module"),
    ],
)
def test_policies_that_are_none_are_told(module: Callable[[str], None], name: str, text: str, said: str) -> None:
    module(text)
    with pytest.raises(ConfigurationError, match=said):
        load_policy(name)


def test_what_is_wrong_in_the_module_itself_is_shown_as_it_is(module: Callable[[str], None]) -> None:
    module("import not_installed_anywhere")
    with pytest.raises(ModuleNotFoundError, match="not_installed_anywhere"):
        load_policy("mine_own:P")
