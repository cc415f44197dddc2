"""Metrics: against episodes made by hand, deterministic, and perfect for the oracle."""

from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, TEXT, make
from worlds import WORLD_NAMES, World, world

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.tasks import ReferenceCall, Task
from toolorch_env.evaluation.metrics import ERROR_KINDS, EpisodeResult, aggregate, episode_result
from toolorch_env.evaluation.runner import evaluate, play_episodes
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.policies.random import RandomPolicy
from toolorch_env.rewards import GraduatedReward

GOOD = [Call("get_author", {"author_id": "A7"}), Call("get_town", {"town_id": "T1"})]


def played(*turns: Any, finish: bool = True, task: Task | None = None, limit: int = 50) -> EpisodeResult:
    """The result of turns (a call, or several) on the task of where A7 lives."""
    here = world("library")
    task = task or here.generator.task("author_town/1/1068c872/7/2")
    episode = Episode(task, here.replay, GraduatedReward(), max_calls=limit)
    for turn in turns:
        episode.send(turn if isinstance(turn, list) else [turn])
    if finish:
        episode.finish()
    return episode_result(episode)


def test_a_clean_solution_counts_everywhere() -> None:
    result = played(*GOOD)
    assert (result.success, result.clean_success, result.total, result.calls) == (True, True, 1.0, 2)
    assert (result.complete_calls, result.reference_calls) == (2, 2)
    assert (result.complete_turns, result.reference_turns) == (2, 2)
    assert result.errors == {}
    assert (result.task_id, result.workflow) == ("author_town/1/1068c872/7/2", "author_town")


def test_a_solution_with_a_call_too_many_is_a_success_but_not_clean() -> None:
    result = played(*GOOD, GOOD[0])
    assert (result.success, result.clean_success, result.calls) == (True, False, 3)
    assert result.errors == {"repeated": 1}


def test_without_the_word_finish_there_is_no_success() -> None:
    result = played(*GOOD, finish=False, limit=2)
    assert (result.success, result.clean_success, result.complete_calls, result.total) == (False, False, 2, 1.0)


def test_half_a_solution_is_half_the_calls_and_turns() -> None:
    result = played(GOOD[0])
    assert (result.success, result.complete_calls, result.complete_turns) == (False, 1, 1)


def test_an_empty_episode_has_nothing() -> None:
    result = played()
    assert (result.calls, result.total, result.complete_calls, result.complete_turns) == (0, 0.0, 0, 0)


def test_a_turn_is_complete_when_all_its_calls_are() -> None:
    pair = tuple(ReferenceCall(call.tool, dict(call.arguments), turn=0) for call in GOOD)
    task = Task("pair", "A7 lives in T1.", ("get_author", "get_town"), pair)
    assert (played(GOOD[0], task=task).complete_turns, played(GOOD[0], task=task).reference_turns) == (0, 1)
    assert played(*GOOD, task=task).complete_turns == 1


@pytest.mark.parametrize(
    ("kind", "turns"),
    [
        ("unknown_tool", [Call("rent_car", {})]),
        ("missing_parameter", [Call("get_author", {})]),
        ("extra_parameter", [Call("get_author", {"author_id": "A7", "colour": "red"})]),
        ("ill_typed_parameter", [Call("get_author", {"author_id": 7})]),
        ("wrong_value", [Call("get_author", {"author_id": "A3"})]),
        ("wrong_value", [Call("get_author", {"author_id": "A999"})]),
        ("wrong_value", [Call("opening_hours", {"weekday": "Monday"})]),
        ("value_not_yet_seen", [GOOD[1]]),
        ("value_not_yet_seen", [[GOOD[0], GOOD[1]]]),
        ("repeated", [GOOD[0], GOOD[0]]),
        ("repeated", [[GOOD[0], GOOD[0]]]),
        ("malformed", [Malformed("{", "no JSON")]),
        ("malformed", [Call("get_author", {"author_id": float("nan")})]),
    ],
)
def test_every_error_kind_occurs_and_is_counted_once(kind: str, turns: list[Any]) -> None:
    assert played(*turns).errors == {kind: 1}


def test_a_call_with_two_faults_counts_once_and_a_malformed_one_is_never_a_repetition() -> None:
    assert played(Call("get_author", {"colour": "red"})).errors == {"missing_parameter": 1}
    assert played(Malformed("{", "no JSON"), Malformed("{", "no JSON")).errors == {"malformed": 2}


def test_rates_are_over_all_calls_turns_and_tasks() -> None:
    metrics = aggregate([played(*GOOD), played(GOOD[0]), played(), played(*GOOD, GOOD[0])], seconds=2.0)
    assert metrics.tasks == 4
    assert metrics.success_rate == 0.5
    assert metrics.clean_success_rate == 0.25
    assert metrics.call_accuracy == 5 / 8
    assert metrics.turn_accuracy == 5 / 8
    assert metrics.mean_calls == 6 / 4
    assert metrics.mean_return == pytest.approx((1.0 + 0.5 + 0.0 + 0.95) / 4)
    assert metrics.errors == {**dict.fromkeys(ERROR_KINDS, 0), "repeated": 1}
    assert metrics.steps_per_second == (6 + 4) / 2.0
    assert set(metrics.to_dict()) == set(metrics.__slots__)


def test_there_are_no_metrics_of_nothing() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        aggregate([], 1.0)
    with pytest.raises(ConfigurationError, match="at least 1 task"):
        evaluate(make(NUMERIC), RandomPolicy(), tasks=0)


def test_a_policy_plays_in_its_own_environment_only() -> None:
    with pytest.raises(ConfigurationError, match="'random' plays in ToolOrch-v0"):
        evaluate(make(TEXT), RandomPolicy(), tasks=1)
    with pytest.raises(ConfigurationError, match="no ToolOrch environment"):
        evaluate(gym.make("CartPole-v1"), RandomPolicy(), tasks=1)


def without_speed(metrics: Any) -> dict[str, Any]:
    """The metrics that are the same on every machine."""
    return {name: value for name, value in metrics.to_dict().items() if name != "steps_per_second"}


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_evaluation_is_decided_by_its_seed(name: str) -> None:
    first, again, other = (
        without_speed(evaluate(make(NUMERIC, name), RandomPolicy(), tasks=10, seed=seed)) for seed in (4, 4, 5)
    )
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", WORLD_NAMES)
@pytest.mark.parametrize("policy", [RandomPolicy, OraclePolicy])
def test_task_i_is_the_same_however_many_are_played(name: str, policy: Callable[[], Any]) -> None:
    env = make(NUMERIC, name)
    few, many = (list(play_episodes(env, policy(), tasks, seed=1)) for tasks in (4, 9))
    assert many[:4] == few
    assert len({result.task_id for result in many}) > 1


def test_task_i_is_the_same_for_every_policy_and_in_both_environments() -> None:
    policies = [(NUMERIC, RandomPolicy()), (NUMERIC, OraclePolicy()), (TEXT, OraclePolicy(TEXT))]
    ids = [[r.task_id for r in play_episodes(make(env_id), policy, 6, seed=2)] for env_id, policy in policies]
    assert ids[0] == ids[1] == ids[2]


@pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
@pytest.mark.parametrize("name", WORLD_NAMES)
def test_the_oracle_solves_every_split_cleanly_with_return_exactly_one(env_id: str, name: str) -> None:
    for split in world(name).splits:
        metrics = evaluate(make(env_id, name, constraints={"split": split}), OraclePolicy(env_id), tasks=40, seed=3)
        assert metrics.mean_return == 1.0
        assert metrics.success_rate == metrics.clean_success_rate == 1.0
        assert metrics.call_accuracy == metrics.turn_accuracy == 1.0
        assert not any(metrics.errors.values())


@pytest.mark.long
@pytest.mark.parametrize("name", WORLD_NAMES)
def test_the_oracle_solves_every_workflow(name: str) -> None:
    here: World = world(name)
    env = make(NUMERIC, name)
    for workflow in here.generator.counts():
        for split in here.splits:
            for seed in range(3):
                constraints = {"split": split, "workflows": [workflow]}
                try:
                    task = here.generator.sample(np.random.default_rng(seed), constraints)
                except ValueError:  # no task of this workflow in this split
                    break
                env.reset(options={"task": task})
                policy = OraclePolicy()
                policy.reset(env, np.random.default_rng(0))
                while not env.episode.done:
                    env.step(policy.act(None, {}))
                assert env.episode.total == 1.0, task.id


def test_every_call_is_reported_to_progress() -> None:
    seen: list[EpisodeResult] = []
    evaluate(make(NUMERIC), OraclePolicy(), tasks=3, progress=seen.append)
    assert [result.success for result in seen] == [True] * 3
