"""What is earned at the end of an episode: asked for once, whatever ends it, and part of the last reward."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, TEXT, make, message, reference_actions
from gymnasium.vector import SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import tasks, turns
from worlds import snapshot_path, world

from toolorch_env.core.calls import Call, CanonicalCall
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import EpisodeError, MissError
from toolorch_env.core.progress import Match, Progress, Reference
from toolorch_env.core.responses import Response
from toolorch_env.core.scoring import Score, Step
from toolorch_env.core.tasks import Task
from toolorch_env.evaluation.metrics import episode_result
from toolorch_env.evaluation.runner import evaluate
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.rewards import REWARDS, make_reward
from toolorch_env.store.replay import SnapshotReplay

every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
EACH, CLOSING = 0.125, 0.5


class Ending:
    """A call of ``finish``: what the scorer was told, and how many calls it had scored by then."""

    def __init__(self, steps: Sequence[Step], answer: str | None, scored: int) -> None:
        self.steps, self.answer, self.scored = list(steps), answer, scored


class Recorder:
    """A reward that pays at each call and at the end, and remembers the ends that its scorers were told of."""

    name = "recorder"

    def __init__(self) -> None:
        self.endings: list[Ending] = []

    def start(self, reference: Reference) -> "RecordingScorer":
        return RecordingScorer(self)


class RecordingScorer:
    def __init__(self, reward: Recorder, scored: int = 0) -> None:
        self.reward, self.scored = reward, scored

    def score(self, call: CanonicalCall | None, response: Response, match: Match, progress: Progress) -> Score:
        self.scored += 1
        return Score(EACH, 0.0, 0.0, match.step, {})

    def finish(self, steps: Sequence[Step], answer: str | None) -> float:
        self.reward.endings.append(Ending(steps, answer, self.scored))
        return CLOSING

    def copy(self) -> "RecordingScorer":
        return RecordingScorer(self.reward, self.scored)


def library_task() -> Task:
    return world("library").generator.task("town_neighbours/3/0/7/0")


def started(max_calls: int = 10) -> tuple[Episode, Recorder]:
    reward = Recorder()
    return Episode(library_task(), world("library").replay, reward, max_calls), reward


def solution() -> list[Call]:
    return [Call(call.tool, call.arguments) for call in library_task().reference]


def ended_once(reward: Recorder, episode: Episode, answer: str | None) -> bool:
    """Whether the scorer was told of one end, after all calls, with these last words."""
    [ending] = reward.endings
    assert (ending.answer, ending.scored) == (answer, len(episode.steps))
    assert ending.steps == episode.steps
    assert episode.closing_reward == CLOSING
    assert episode.total == EACH * len(episode.steps) + CLOSING
    return True


def test_the_agents_word_ends_it_with_its_last_words() -> None:
    episode, reward = started()
    episode.send(solution())
    assert (reward.endings, episode.total, episode.answer) == ([], 3 * EACH, None)
    episode.finish("It is T0.")
    assert episode.answer == "It is T0."
    assert ended_once(reward, episode, "It is T0.")


def test_saying_nothing_is_an_answer_too() -> None:
    episode, reward = started()
    episode.finish()
    assert ended_once(reward, episode, "")


@pytest.mark.parametrize("size", [1, 3, 5], ids=["call by call", "a turn that fits", "a turn longer than what is left"])
def test_the_limit_ends_it_without_words(size: int) -> None:
    episode, reward = started(max_calls=3)
    while not episode.done:
        assert reward.endings == []
        episode.send([Call("get_author", {"author_id": "A1"})] * size)
    assert (len(episode.steps), episode.truncated, episode.answer) == (3, True, None)
    assert ended_once(reward, episode, None)


def test_after_the_end_nothing_more_is_earned() -> None:
    episode, reward = started(max_calls=3)
    episode.send(solution())
    for more in (episode.finish, lambda: episode.send(solution())):
        with pytest.raises(EpisodeError):
            more()
    assert ended_once(reward, episode, None)


@given(data=st.data(), limit=st.integers(1, 12), finish=st.booleans())
def test_it_is_told_exactly_once_whatever_is_played(data: st.DataObject, limit: int, finish: bool) -> None:
    here = world("library")
    reward = Recorder()
    task = data.draw(tasks(here))
    episode = Episode(task, here.replay, reward, limit)
    for turn in data.draw(turns(here, task)):
        if not episode.done:
            assert reward.endings == []
            episode.send(turn)
    if finish and not episode.done:
        episode.finish("Done.")
    assert len(reward.endings) == episode.done
    assert episode.done == (finish or len(episode.steps) == limit)
    if episode.done:
        assert ended_once(reward, episode, "Done." if episode.finished else None)
        assert episode_result(episode).total == episode.total


def test_each_fork_ends_by_itself() -> None:
    episode, reward = started()
    episode.send(solution()[:1])
    fork, other = episode.fork(), episode.fork()
    fork.send(solution()[1:2])
    fork.finish("fork")
    assert [(ending.answer, ending.scored) for ending in reward.endings] == [("fork", 2)]
    assert (episode.done, episode.total, episode.closing_reward) == (False, EACH, 0.0)
    episode.finish("episode")
    assert [(ending.answer, ending.scored) for ending in reward.endings] == [("fork", 2), ("episode", 1)]
    assert (fork.total, episode.total, other.total) == (2 * EACH + CLOSING, EACH + CLOSING, EACH)
    assert episode.fork().total == episode.total


def test_a_turn_that_raises_ends_nothing() -> None:
    reward = Recorder()
    here = world("library")
    episode = Episode(library_task(), SnapshotReplay(here.snapshot, "raise"), reward, max_calls=2)
    with pytest.raises(MissError):
        episode.send([solution()[0], Call("get_author", {"author_id": "A777"})])
    assert (reward.endings, episode.steps, episode.done) == ([], [], False)
    episode.finish("done")
    assert ended_once(reward, episode, "done")


def fresh(env_id: str, **options: Any) -> tuple[Any, Recorder]:
    """An environment that plays the one task, and its reward."""
    reward = Recorder()
    env = make(env_id, reward=reward, **options)
    env.reset(options={"task": library_task()})
    return env, reward


@every_env
def test_the_last_reward_of_an_environment_holds_it_when_the_agent_finishes(env_id: str) -> None:
    env, reward = fresh(env_id)
    rewards = [env.step(action)[1] for action in reference_actions(env)]
    assert rewards == [EACH, EACH, EACH, CLOSING]
    assert sum(rewards) == env.episode.total
    assert ended_once(reward, env.episode, env.action_for(None) if env_id == TEXT else "")


@every_env
def test_the_last_reward_of_an_environment_holds_it_at_the_limit(env_id: str) -> None:
    env, reward = fresh(env_id, max_calls=2)
    results = [env.step(env.action_for(call)) for call in solution()[:2]]
    assert [result[1:4] for result in results] == [(EACH, False, False), (EACH + CLOSING, False, True)]
    assert ended_once(reward, env.episode, None)


@every_env
def test_an_empty_episode_earns_only_the_end(env_id: str) -> None:
    env, reward = fresh(env_id)
    assert env.step(env.action_for(None))[1:4] == (CLOSING, True, False)
    assert len(reward.endings) == 1
    with pytest.raises(EpisodeError):
        env.step(env.action_for(None))
    assert len(reward.endings) == 1


@pytest.mark.parametrize("words", ["The town is T0.", "", "{not a call}", "Zürich 东京 \n\n"])
def test_the_last_words_are_the_last_message(words: str) -> None:
    env, reward = fresh(TEXT)
    env.step(message(*solution()))
    assert env.step(words)[1] == CLOSING
    assert env.episode.answer == words
    assert ended_once(reward, env.episode, words)


def test_a_message_longer_than_what_is_left_ends_without_words() -> None:
    env, reward = fresh(TEXT, max_calls=2)
    assert env.step("That is all. " + message(*solution()))[1:4] == (2 * EACH + CLOSING, False, True)
    assert ended_once(reward, env.episode, None)


@pytest.mark.parametrize(("max_calls", "answer"), [(10, ""), (3, None)], ids=["on the way", "on the last call"])
def test_finishing_for_the_agent_ends_it_once(max_calls: int, answer: str | None) -> None:
    env, reward = fresh(NUMERIC, max_calls=max_calls, auto_finish=True)
    results = [env.step(env.action_for(call)) for call in solution()]
    assert [result[1] for result in results] == [EACH, EACH, EACH + CLOSING]
    assert results[-1][2:4] == (True, False)
    assert results[-1][4]["is_success"]
    assert ended_once(reward, env.episode, answer)


@every_env
def test_a_new_episode_owes_nothing_to_the_one_before(env_id: str) -> None:
    env, reward = fresh(env_id)
    env.step(env.action_for(solution()[0]))
    env.reset(options={"task": library_task()})  # the first one was broken off: it never ended
    assert reward.endings == []
    assert env.episode.total == 0.0
    assert [env.step(action)[1] for action in reference_actions(env)] == [EACH, EACH, EACH, CLOSING]
    assert len(reward.endings) == 1


@every_env
def test_evaluation_counts_it(env_id: str) -> None:
    reward = Recorder()
    env = gym.make(env_id, snapshot=snapshot_path("library"), reward=reward)
    metrics = evaluate(env, OraclePolicy(env_id), tasks=8, seed=5)
    assert metrics.mean_return == EACH * metrics.mean_calls + CLOSING
    assert len(reward.endings) == 8


@every_env
def test_vector_environments_pay_it(env_id: str) -> None:
    path = snapshot_path("library")
    vector = SyncVectorEnv([lambda: gym.make(env_id, snapshot=path, reward=Recorder())] * 2)
    try:
        vector.reset(seed=1)
        envs: list[Any] = [env.unwrapped for env in vector.envs]
        actions = [env.action_for(None) for env in envs]
        assert vector.step(actions if env_id == NUMERIC else tuple(actions))[1].tolist() == [CLOSING, CLOSING]
    finally:
        vector.close()


@pytest.mark.parametrize("name", REWARDS)
@every_env
def test_the_rewards_of_an_environment_add_up_to_the_return(env_id: str, name: str) -> None:
    env = make(env_id, reward=name, generator=WorkflowGenerator(snapshot_path("library")))
    for seed in range(4):
        env.reset(seed=seed)
        rewards = [env.step(action)[1] for action in reference_actions(env)]
        assert sum(rewards) == pytest.approx(env.episode.total, abs=1e-12)
        assert env.episode.closing_reward == pytest.approx(rewards[-1], abs=0)


@pytest.mark.parametrize("name", REWARDS)
def test_the_end_is_scored_anew_alike(name: str) -> None:
    """The same calls and the same words give the same closing reward."""
    found = set()
    for _ in range(2):
        episode = Episode(library_task(), world("library").replay, make_reward(name), max_calls=10)
        episode.send(solution())
        episode.finish("It is T0.")
        found.add((episode.closing_reward, episode.total))
    assert len(found) == 1
