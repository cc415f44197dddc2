"""Environments on snapshots that store tasks: they play these, unless told otherwise."""

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import orjson
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, TEXT, make, reference_actions, rollout, same
from fresh_command import run_command
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from small_world import EXTRA_LINKS, TOOLS, WORKFLOWS, answers, workflow_set
from worlds import snapshot_path, world

from toolorch_env.core.errors import ConstraintError, TaskError, WorkflowError
from toolorch_env.core.tasks import Mention, ReferenceCall, Task
from toolorch_env.evaluation.runner import evaluate
from toolorch_env.evaluation.solutions import check_solutions
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

UNSAID = Task("unsaid", "Who is it?", ("get_author", "get_town"), (ReferenceCall("get_author", {"author_id": "A3"}),))
"""A task whose value can only be guessed."""


def stored_tasks() -> list[Task]:
    """Tasks with ids of their own; every third has an optional call."""
    found = list({task.id: task for task in world("library").tasks(24)}.values())
    return [
        replace(
            task,
            id=f"fixed {number}",
            reference=(replace(task.reference[0], optional=not number % 3), *task.reference[1:]),
        )
        for number, task in enumerate(found)
    ]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library with tasks stored, among them one that cannot be played in numbers."""
    return write(tmp_path_factory.mktemp("fixed") / "library.sqlite", [*stored_tasks(), UNSAID])


def write(path: Path, tasks: list[Task]) -> Path:
    links = workflow_set().links().union(EXTRA_LINKS)
    with SnapshotWriter(path, TOOLS, name="library", workflows=WORKFLOWS, links=links, tasks=tasks) as writer:
        for call, status, body in answers():
            writer.add(call, status, body)
    return path


def drawn(env: Any, count: int = 200, **options: Any) -> set[str]:
    """Ids of the tasks that an environment draws."""
    return {env.reset(seed=seed, **options)[1]["task_id"] for seed in range(count)}


@every_env
def test_the_stored_tasks_are_played_by_default(env_id: str, path: Path) -> None:
    env = gym.make(env_id, snapshot=path)
    playable = {task.id for task in stored_tasks()}
    assert drawn(env) == (playable if env_id == NUMERIC else playable | {"unsaid"})


@every_env
def test_a_generator_that_is_given_wins(env_id: str, path: Path) -> None:
    few = FixedTasks(stored_tasks()[:2])
    assert drawn(gym.make(env_id, snapshot=path, generator=few), 20) == {"fixed 0", "fixed 1"}
    env = gym.make(env_id, snapshot=path, generator=WorkflowGenerator(path)).unwrapped
    assert env.reset(seed=3)[1]["task_id"] == make(env_id).reset(seed=3)[1]["task_id"]


class Empty(FixedTasks):
    """A generator that does not know its tasks in advance, so that it counts none."""

    def __len__(self) -> int:
        return 0


@every_env
def test_a_generator_that_is_falsy_wins_too(env_id: str, path: Path) -> None:
    env = gym.make(env_id, snapshot=snapshot_path("library"), generator=Empty(stored_tasks()[:1]))
    assert drawn(env, 3) == {"fixed 0"}


@every_env
def test_a_snapshot_without_tasks_plays_its_workflows(env_id: str) -> None:
    env = make(env_id)
    assert isinstance(env.generator, WorkflowGenerator)
    assert {env.generator.task(name).split for name in drawn(env, 10)} == {"train"}


@every_env
def test_a_snapshot_with_neither_says_so(env_id: str, tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="bare"):
        pass
    with pytest.raises(WorkflowError):
        gym.make(env_id, snapshot=tmp_path / "s.sqlite")


@every_env
def test_constraints_choose_among_them(env_id: str, path: Path) -> None:
    tasks = {task.id: task for task in stored_tasks()}
    env = gym.make(env_id, snapshot=path, constraints={"include_tools": ("towns_near",)})
    chosen = drawn(env, 60)
    assert chosen
    assert all(any(call.tool == "towns_near" for call in tasks[name].reference) for name in chosen)
    for split in ("train", "test"):
        options = {"constraints": {"split": split}}
        assert {tasks[name].split for name in drawn(env, 20, options=options)} == {split}
    with pytest.raises(ConstraintError, match="exclude_tools"):
        env.reset(options={"constraints": {"include_tools": (), "exclude_tools": tuple(tool.name for tool in TOOLS)}})


@every_env
def test_the_oracle_returns_exactly_one_on_each(env_id: str, path: Path) -> None:
    env = gym.make(env_id, snapshot=path).unwrapped
    for task in stored_tasks():
        env.reset(options={"task_id": task.id})
        rewards = [env.step(action)[1] for action in reference_actions(env)]
        assert sum(rewards) == env.episode.total == 1.0
        assert env.episode.clean_success
        assert env.episode.task == task


@every_env
def test_without_its_optional_calls_it_is_clean_too(env_id: str, path: Path) -> None:
    """Not played as the oracle does: what comes from the call that is left out is passed in words only."""
    env = gym.make(TEXT, snapshot=path).unwrapped
    for task in stored_tasks():
        env.reset(options={"task_id": task.id})
        actions = list(reference_actions(env))
        for index in [*task.required, len(task.reference)]:
            _, _, terminated, _, info = env.step(actions[index])
        assert terminated
        assert (info["is_clean_success"], env.episode.total) == (True, 1.0)


def test_the_metrics_of_an_evaluation_are_perfect_for_the_oracle(path: Path) -> None:
    for env_id in ENVIRONMENT_IDS:
        env = gym.make(env_id, snapshot=path, generator=FixedTasks(stored_tasks()))
        metrics = evaluate(env, OraclePolicy(env_id), tasks=40, seed=1)
        shares = (metrics.success_rate, metrics.clean_success_rate, metrics.call_accuracy, metrics.turn_accuracy)
        assert (*shares, metrics.mean_return) == (1.0,) * 5
        assert not any(metrics.errors.values())


def test_known_solutions_are_checked_as_they_are_played(path: Path) -> None:
    advanced: list[None] = []
    found = check_solutions(Snapshot(path), advance=lambda: advanced.append(None))
    assert (found.tasks, len(advanced), found.unsolved) == (25, 25, ())
    assert list(found.words_only) == ["unsaid"]


@every_env
def test_the_same_seed_drives_it_alike(env_id: str, path: Path) -> None:
    def made() -> Any:
        return gym.make(env_id, snapshot=path).unwrapped

    assert all(same(one, two) for one, two in zip(rollout(made(), 4), rollout(made(), 4), strict=True))


@every_env
def test_it_is_a_sound_environment(env_id: str, path: Path) -> None:
    check_env(gym.make(env_id, snapshot=path).unwrapped, skip_render_check=True)


@every_env
@pytest.mark.parametrize("build", [SyncVectorEnv, AsyncVectorEnv])
def test_vector_environments_draw_the_same_tasks(env_id: str, build: Any, path: Path) -> None:
    single = gym.make(env_id, snapshot=path)
    expected = [single.reset(seed=seed)[0] for seed in (5, 6)]
    vector = build([lambda: gym.make(env_id, snapshot=path)] * 2)
    try:
        seen, info = vector.reset(seed=5)
        for index, observation in enumerate(expected):
            if env_id == TEXT:
                assert seen[index] == observation
            else:
                assert same({name: array[index] for name, array in seen.items()}, observation)
        assert [single.reset(seed=seed)[1]["task_id"] for seed in (5, 6)] == list(info["task_id"])
    finally:
        vector.close()


@every_env
def test_an_environment_can_be_pickled(env_id: str, path: Path) -> None:
    env = gym.make(env_id, snapshot=path).unwrapped
    env.reset(seed=2)
    back = pickle.loads(pickle.dumps(env))
    assert same(list(back.reset(seed=9)), list(env.reset(seed=9)))
    for left, right in zip(reference_actions(back), reference_actions(env), strict=True):
        assert same(list(back.step(left)), list(env.step(right)))


@every_env
def test_random_play_stays_in_the_spaces(env_id: str, path: Path) -> None:
    env = gym.make(env_id, snapshot=path).unwrapped
    for record in rollout(env, 6, episodes=20):
        observation = record[0] if len(record) == 2 else record[1]
        assert env.observation_space.contains(observation)
        assert env.episode.total <= 1.0


def test_a_task_that_cannot_be_played_in_numbers_says_why(path: Path) -> None:
    env = gym.make(NUMERIC, snapshot=path).unwrapped
    env.reset(seed=0)
    running = env.episode
    with pytest.raises(TaskError, match=r"'unsaid' cannot be played in numbers.*ToolOrchText-v0.*author_id = 'A3'"):
        env.reset(options={"task_id": "unsaid"})
    with pytest.raises(TaskError, match="no task 'unheard of'"):
        env.reset(options={"task_id": "unheard of"})
    assert env.episode is running
    text = gym.make(TEXT, snapshot=path).unwrapped
    text.reset(options={"task_id": "unsaid"})
    assert [text.step(action)[1] for action in reference_actions(text)] == [1.0, 0.0]


def test_where_no_task_can_be_played_in_numbers_the_first_says_why(tmp_path: Path) -> None:
    path = write(tmp_path / "s.sqlite", [UNSAID, replace(UNSAID, id="other")])
    with pytest.raises(TaskError, match=r"no task can be played in numbers.*'unsaid'.*author_id = 'A3'"):
        gym.make(NUMERIC, snapshot=path)
    assert drawn(gym.make(TEXT, snapshot=path), 20) == {"unsaid", "other"}


def test_a_limit_that_is_too_low_for_a_task_leaves_it_out(path: Path) -> None:
    tasks = {task.id: task for task in stored_tasks()}
    for limit in (3, 4):
        chosen = drawn(gym.make(NUMERIC, snapshot=path, max_calls=limit))
        assert chosen == {name for name, task in tasks.items() if len(task.reference) < limit}
    with pytest.raises(TaskError, match="4 calls, and an episode at most 4 with the finish"):
        gym.make(NUMERIC, snapshot=path, max_calls=4, generator=FixedTasks([stored_tasks()[0]]))


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (replace(UNSAID, tools=("get_author", "teleport")), "'teleport'"),
        (
            replace(UNSAID, setup=(ReferenceCall("get_author", {"author_id": "A77"}),)),
            "nothing is recorded for get_author",
        ),
        (replace(UNSAID, reference=(ReferenceCall("get_author", {"author_id": float("nan")}),)), "NaN"),
        (replace(UNSAID, mentions=(Mention(float("nan"), "number", 0, 0),)), "NaN"),
        (replace(UNSAID, reference=(ReferenceCall("get_author", {"authors": "A3"}),)), "no parameter 'authors'"),
        (replace(UNSAID, mentions=(Mention("A3", "author", 0, 0),) * 13), "13 values"),
    ],
)
def test_tasks_that_do_not_fit_the_snapshot_are_left_out_with_a_reason(task: Task, why: str, path: Path) -> None:
    with pytest.raises(TaskError, match=why):
        gym.make(NUMERIC, snapshot=path, generator=FixedTasks([task]))
    env = gym.make(NUMERIC, snapshot=path, generator=FixedTasks([task, stored_tasks()[0]]))
    assert drawn(env, 5) == {"fixed 0"}


def test_the_commands_play_them(path: Path, tmp_path: Path) -> None:
    shown = run_command("play", "--snapshot", str(path), "--task-id", "fixed 4")
    assert shown.returncode == 0, shown.stderr
    assert "return +1.000" in shown.stdout
    file = tmp_path / "metrics.json"
    options = ("--snapshot", str(path), "--tasks", "5", "--json", str(file))
    done = run_command("evaluate", "--policy", "oracle", *options)
    assert done.returncode == 0, done.stderr
    metrics = orjson.loads(file.read_bytes())
    assert (metrics["episodes"], metrics["clean_success_rate"], metrics["mean_return"]) == (5, 1.0, 1.0)
    every = run_command("evaluate", "--policy", "oracle", "--snapshot", str(path), "--json", str(file))
    assert "1 of 25 tasks can be played in words only" in every.stderr
    assert orjson.loads(file.read_bytes())["tasks"] == 24  # each once


def test_the_commands_tell_how_many_there_are_and_what_differs(path: Path, tmp_path: Path) -> None:
    shown = run_command("snapshot", "info", str(path))
    assert "tasks 25" in " ".join(shown.stdout.replace("│", " ").split())
    bare = snapshot_path("library")
    assert "tasks" not in run_command("snapshot", "info", str(bare)).stdout
    compared = run_command("snapshot", "diff", str(path), str(bare))
    assert (compared.returncode, compared.stdout.splitlines()[0]) == (1, "tasks changed")
    assert run_command("snapshot", "verify", str(path)).returncode == 0
