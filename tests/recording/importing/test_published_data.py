"""The published data of Booking.com, imported: answered as published, and solved by its own solutions."""

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import booking_data
import gymnasium as gym
import orjson
import pytest
from booking_data import BOOKING, FILES, needs_booking
from json_values import same_json

import toolorch_env  # noqa: F401  registers the environments
from toolorch_env.core.calls import Call
from toolorch_env.core.canonical import plain
from toolorch_env.core.episode import Episode
from toolorch_env.core.responses import Source
from toolorch_env.core.tasks import Task
from toolorch_env.evaluation.solutions import check_solutions
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.pipeline import import_data_set
from toolorch_env.rewards import GraduatedReward
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

pytestmark = needs_booking

ORDERS = 5
"""That many other orders of each solution are played."""


class Published:
    """The data set, and the snapshot made of it."""

    def __init__(self) -> None:
        self.data_set, self.summary, self.snapshot = booking_data.published()
        self.replay = SnapshotReplay(self.snapshot, "raise")


@pytest.fixture(scope="module")
def published() -> Published:
    return Published()


def calls_of(task: Task) -> list[Call]:
    return [Call(made.tool, made.arguments) for made in task.reference]


# --------------------------------------------------------------------------------------------------- what was read


def test_all_tasks_and_calls_are_there(published: Published) -> None:
    summary = published.summary
    assert (summary.tasks, summary.calls, summary.responses, summary.without_body) == (101, 442, 379, 0)
    assert len({task.id for task in published.snapshot.tasks}) == 101
    assert verify_snapshot(published.snapshot.path).ok


def test_every_call_is_answered_with_the_published_body(published: Published) -> None:
    answered = 0
    for trace in published.data_set.traces:
        for made in trace.calls:
            response = published.replay.answer(published.snapshot.tools.canonical(made.answered.call))
            assert response.source is Source.RECORDED
            assert response.status == made.answered.status
            assert same_json(orjson.loads(response.raw), made.answered.body)
            answered += 1
    assert answered == 442


def test_conflicts_are_all_told(published: Published) -> None:
    """Counted anew: keys that are answered in more than one way; also those that only round to the same key."""
    exact: defaultdict[bytes, set[bytes]] = defaultdict(set)
    rounded: defaultdict[bytes, set[bytes]] = defaultdict(set)
    for trace in published.data_set.traces:
        for made in trace.calls:
            call = published.snapshot.tools.canonical(made.answered.call)
            for keys, key in ((exact, call.key), (rounded, call.rounded_key)):
                keys[key].add(b"%d " % made.answered.status + orjson.dumps(made.answered.body))
    assert len(published.summary.conflicts) == sum(len(answers) > 1 for answers in exact.values())
    ambiguous = sum(len(answers) > 1 for answers in rounded.values()) - len(published.summary.conflicts)
    assert ambiguous == 0


def test_the_snapshot_is_small(published: Published) -> None:
    """With the tasks; the workflow templates are as large as all answers compressed, and come on top."""
    assert published.snapshot.path.stat().st_size <= 700_000
    whole = booking_data.published(templates=True).snapshot
    assert whole.path.stat().st_size <= 900_000
    assert whole.workflows is not None
    assert [task.to_json() for task in whole.tasks] == [task.to_json() for task in published.snapshot.tasks]
    assert not check_solutions(whole).unsolved


def test_a_second_import_gives_the_same_snapshot(published: Published, tmp_path: Path) -> None:
    assert BOOKING is not None
    again = import_data_set(read_booking([BOOKING / name for name in reversed(FILES)]), tmp_path / "again.sqlite")
    assert Snapshot(again.path).meta["content_hash"] == published.snapshot.meta["content_hash"]


# ------------------------------------------------------------------------------------------------------- solutions


def returned(task: Task, calls: list[Call], replay: SnapshotReplay) -> Episode:
    episode = Episode(task, replay, GraduatedReward(), max_calls=len(calls) + 1)
    for call in calls:
        episode.send([call])
    episode.finish()
    return episode


def other_orders(task: Task, count: int, rng: random.Random) -> Iterator[list[int]]:
    """Orders of a solution that respect its dependencies."""
    for _ in range(count):
        order: list[int] = []
        while len(order) < len(task.reference):
            free = [
                index
                for index, made in enumerate(task.reference)
                if index not in order and made.depends_on <= set(order)
            ]
            order.append(rng.choice(free))
        yield order


def test_every_solution_returns_exactly_one(published: Published) -> None:
    for task in published.snapshot.tasks:
        episode = returned(task, calls_of(task), published.replay)
        assert (episode.success, episode.total) == (True, 1.0), task.id


def test_every_order_that_respects_dependencies_returns_exactly_one(published: Published) -> None:
    rng, tried = random.Random(0), 0
    for task in published.snapshot.tasks:
        calls = calls_of(task)
        for order in other_orders(task, ORDERS, rng):
            tried += order != sorted(order)
            episode = returned(task, [calls[index] for index in order], published.replay)
            assert (episode.success, episode.total) == (True, 1.0), (task.id, order)
    assert tried > 100


def test_a_solution_with_a_call_left_out_returns_less(published: Published) -> None:
    for task in published.snapshot.tasks:
        calls = calls_of(task)
        for left_out in range(len(calls)):
            episode = returned(task, calls[:left_out] + calls[left_out + 1 :], published.replay)
            assert episode.total < 1.0
            assert not episode.success


@pytest.mark.parametrize("env_id", ["ToolOrch-v0", "ToolOrchText-v0"])
def test_the_oracle_solves_every_task_of_an_environment(published: Published, env_id: str) -> None:
    env = gym.make(env_id, snapshot=published.snapshot.path)
    tasks = env.unwrapped.generator.tasks  # type: ignore[attr-defined]
    words_only = check_solutions(published.snapshot).words_only
    assert len(tasks) == (101 if env_id == "ToolOrchText-v0" else 101 - len(words_only))
    policy = OraclePolicy(env_id)
    for task in tasks:
        observation, info = env.reset(options={"task_id": task.id})
        policy.reset(env, None)  # type: ignore[arg-type]
        total, ended = 0.0, False
        while not ended:
            observation, reward, terminated, truncated, info = env.step(policy.act(observation, info))
            total, ended = total + float(reward), terminated or truncated
        assert (total, info["is_success"], info["is_clean_success"]) == (1.0, True, True), task.id


# ------------------------------------------------------------------------------------------------- short responses


def solution(task: Task) -> list[Call]:
    return calls_of(task)


def perturbed(task: Task) -> list[Call]:
    """The solution with a call repeated, one spoilt, one of a tool that is not needed, and the order turned round."""
    rng = random.Random(task.id)
    calls = calls_of(task)
    spoilt = rng.choice(calls)
    arguments = {name: f"{value}x" if rng.random() < 0.5 else value for name, value in spoilt.arguments.items()}
    calls = [*calls, rng.choice(calls), Call(spoilt.tool, arguments), Call(rng.choice(task.tools), {})]
    return calls if rng.random() < 0.3 else rng.sample(calls, len(calls))


def observe(path: Path, task: Task, calls: list[Call], limit: int) -> tuple[list[float], list[str]]:
    env = gym.make("ToolOrchText-v0", snapshot=path, max_response_chars=limit, max_calls=20)
    env.reset(options={"task": task})
    action_for = env.unwrapped.action_for  # type: ignore[attr-defined]
    rewards, observations = [], []
    for call in [*calls, None]:
        observation, reward, *_ = env.step(action_for(call))
        rewards.append(float(reward))
        observations.append(str(observation))
    return rewards, observations


@pytest.mark.parametrize("policy", [solution, perturbed])
def test_short_responses_are_json_and_change_no_reward(
    published: Published, policy: Callable[[Task], list[Call]]
) -> None:
    begin, end = "<tool_response>\n", "\n</tool_response>"
    shortened: Counter[bool] = Counter()
    for task in published.snapshot.tasks:
        calls = policy(task)
        short_rewards, short = observe(published.snapshot.path, task, calls, 10_000)
        long_rewards, whole = observe(published.snapshot.path, task, calls, 1_000_000)
        assert short_rewards == long_rewards
        for said, all_said in zip(short[:-1], whole[:-1], strict=True):
            assert said.startswith(begin)
            assert said.endswith(end)
            block = said.removeprefix(begin).removesuffix(end)
            assert len(block) <= 10_000
            orjson.loads(block)
            shortened[said != all_said] += 1
    assert shortened[True] > 50
    assert shortened[False] > 50


def test_bodies_are_kept_as_they_were_parsed(published: Published) -> None:
    """Whole fractions stay fractions in bodies, though in arguments they are whole numbers."""
    fractions = 0
    for trace in published.data_set.traces:
        for made in trace.calls:
            fractions += not same_json(plain(made.answered.body), made.answered.body)
    assert fractions > 0


def test_nothing_is_lost_of_what_files_say(published: Published) -> None:
    described: dict[str, Any] = {tool.name: tool for tool in published.data_set.tools}
    assert set(published.snapshot.tools) == described.keys()
    for task, trace in zip(published.snapshot.tasks, published.data_set.traces, strict=True):
        assert (task.id, task.query, task.tools) == (trace.id, trace.query, trace.tools)
        for made, traced in zip(task.reference, trace.calls, strict=True):
            assert same_json(made.arguments, dict(traced.answered.call.arguments))
            assert set(traced.depends_on or ()) <= made.depends_on
