"""``compiled=True``: one environment that steps in compiled code gives what the one in Python gives, to the bit."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from envs.driving import random_act
from gymnasium.utils.env_checker import check_env
from worlds import WORLD_NAMES, snapshot_path

from toolorch_env.core.errors import ConfigurationError, EpisodeError, InvalidActionError, TaskError
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.generation.curriculum import Curriculum
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.graph_generator import GraphGenerator
from toolorch_env.policies.oracle import next_reference_call
from toolorch_env.rewards import REWARDS

pytest.importorskip("numba", reason="the extra 'vector' is not installed")
from toolorch_env.envs.vector.env import ToolOrchVectorEnv
from toolorch_env.envs.vector.scalar import CompiledToolOrchEnv

LIBRARY = snapshot_path("library")
every_world = pytest.mark.parametrize("name", [name for name in WORLD_NAMES if name != "bank"])


class Pair:
    """An environment of each kind, driven alike."""

    def __init__(self, make_generator: Callable[[], Any] = lambda: None, **options: Any) -> None:
        self.python = ToolOrchEnv(generator=make_generator(), **options)
        made = gym.make("ToolOrch-v0", generator=make_generator(), compiled=True, **options)
        self.compiled: Any = made.unwrapped
        assert isinstance(self.compiled, CompiledToolOrchEnv)
        self.rng = np.random.default_rng(5)
        self.successes = 0

    def reset(self, **arguments: Any) -> None:
        seen, info = self.compiled.reset(**arguments)
        assert info == {}
        self.same(seen, self.python.reset(**arguments)[0])
        assert self.compiled.np_random.bit_generator.state == self.python.np_random.bit_generator.state

    def same(self, seen: Any, expected: Any) -> None:
        """Checks observations and masks."""
        assert list(seen) == list(expected)
        for name, array in expected.items():
            assert seen[name].dtype == array.dtype
            np.testing.assert_array_equal(seen[name], array, name)
        np.testing.assert_array_equal(self.compiled.action_masks(), self.python.action_masks())

    def action(self) -> Any:
        """The next reference call, a wild action, or one that is open."""
        which = self.rng.random()
        call = next_reference_call(self.python.episode)
        if which < 0.6:
            try:
                action = self.python.action_for(call)
            except InvalidActionError:
                with pytest.raises(InvalidActionError):
                    self.compiled.action_for(call)
            else:
                np.testing.assert_array_equal(self.compiled.action_for(call), action)
                return action
        return self.rng.integers(self.python.vocabulary.sizes) if which > 0.95 else random_act(self.python, self.rng)

    def step(self) -> bool:
        action = self.action()
        seen, *result, info = self.compiled.step(action)
        expected, *wanted, told = self.python.step(action)
        self.same(seen, expected)
        assert result == wanted
        assert [type(value) for value in result] == [float, bool, bool]
        ended = result[1] or result[2]
        assert info == ({name: told[name] for name in ("is_success", "is_clean_success")} if ended else {})
        self.successes += bool(info.get("is_success"))
        return ended

    def run(self, steps: int) -> None:
        self.reset(seed=8)
        for _ in range(steps):
            if self.step():
                self.reset()


@every_world
@pytest.mark.parametrize("reward", [name for name in REWARDS if name not in ("published", "execution")])
def test_it_gives_what_python_gives(name: str, reward: str) -> None:
    pair = Pair(snapshot=snapshot_path(name), reward=reward)
    pair.run(400)
    assert pair.successes > 5


@pytest.mark.parametrize(
    "options",
    [
        {"auto_finish": True},
        {"max_calls": 3},
        {"constraints": {"values": "implicit", "styles": ["chatty"]}},
        {"constraints": {"split": "test_workflows", "distractor_tools": 2}},
    ],
)
def test_it_does_whatever_is_asked_for(options: dict[str, Any]) -> None:
    Pair(snapshot=LIBRARY, **options).run(200)


def test_tasks_of_any_generator_are_played() -> None:
    drawn = WorkflowGenerator(LIBRARY)
    rng = np.random.default_rng(0)
    tasks = [drawn.sample(rng) for _ in range(9)]
    for make_generator in (lambda: FixedTasks(tasks), lambda: GraphGenerator(LIBRARY).within(drawn.snapshot.links)):
        Pair(make_generator, snapshot=LIBRARY).run(100)


def test_a_curriculum_learns_of_successes() -> None:
    pair = Pair(lambda: Curriculum(WorkflowGenerator(LIBRARY), [{"max_steps": 2}, {}]), snapshot=LIBRARY)
    pair.run(300)
    assert pair.compiled.generator.state == pair.python.generator.state  # type: ignore[attr-defined]
    assert pair.successes


def test_options_are_those_of_python() -> None:
    pair = Pair(snapshot=LIBRARY)
    pair.reset(seed=1, options={"constraints": {"max_steps": 2}})
    task = pair.compiled.episode.task
    for options in ({"task": task}, {"task_id": task.id}, {"constraints": {"distractor_tools": 0}}, {}):
        pair.reset(options=options)
        while not pair.step():
            pass
    for options, error in [({"task_id": "nothing"}, TaskError), ({"color": 1}, ConfigurationError)]:
        for env in (pair.python, pair.compiled):
            with pytest.raises(error):
                env.reset(options=options)


def test_what_there_is_to_know_is_told_when_asked_for() -> None:
    pair = Pair(snapshot=LIBRARY, render_mode="ansi")
    pair.reset(seed=2)
    ended = False
    while not ended:
        ended = pair.step()
        episode, expected = pair.compiled.episode, pair.python.episode
        assert episode.task == expected.task
        assert [step.score for step in episode.steps] == [step.score for step in expected.steps]
        assert (episode.done, episode.success, episode.total) == (expected.done, expected.success, expected.total)
        assert pair.compiled.render() == pair.python.render()


def test_checkers_find_nothing() -> None:
    check_env(gym.make("ToolOrch-v0", snapshot=LIBRARY, compiled=True).unwrapped)
    checker = pytest.importorskip("stable_baselines3.common.env_checker")
    checker.check_env(ToolOrchEnv(LIBRARY, compiled=True))


def test_what_is_returned_stays_as_it_is() -> None:
    env = ToolOrchEnv(LIBRARY, compiled=True)
    first, _ = env.reset(seed=0)
    kept = {name: array.copy() for name, array in first.items()}  # type: ignore[attr-defined]
    rng = np.random.default_rng(0)
    env.action_masks()[:] = False
    for _ in range(3):
        env.step(random_act(env, rng, finish=0))
    assert env.action_masks().any()
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)  # type: ignore[literal-required]


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_duplicate_goes_its_own_way(duplicate: Callable[[ToolOrchEnv], ToolOrchEnv]) -> None:
    env = ToolOrchEnv(LIBRARY, compiled=True)
    env.reset(seed=4)
    other = duplicate(env)
    assert type(other) is CompiledToolOrchEnv
    rng = np.random.default_rng(0)
    actions = [random_act(env, rng, finish=0) for _ in range(3)]
    results = [[each.step(action)[1] for action in actions] for each in (env, other)]
    assert results[0] == results[1]
    env.reset(seed=5)
    assert other.episode.task != env.episode.task


def test_bad_use_is_told() -> None:
    env = ToolOrchEnv(LIBRARY, compiled=True)
    nothing = np.zeros(len(env.vocabulary.sizes), np.int64)
    for use in (lambda: env.step(nothing), env.action_masks, lambda: env.episode):
        with pytest.raises(EpisodeError, match="reset"):
            use()
    env.reset(seed=0)
    for action in (nothing[:1], nothing.astype(float), nothing - 1, nothing + 1000, None, "no"):
        with pytest.raises(InvalidActionError):
            env.step(action)
    env.step(nothing)
    with pytest.raises(EpisodeError, match="has ended"):
        env.step(nothing)


def test_what_only_python_can_do_is_said() -> None:
    for options in ({"snapshot": snapshot_path("bank")}, {"on_miss": "raise"}, {"reward": "execution"}):
        with pytest.raises(ConfigurationError, match="leave out compiled=True"):
            ToolOrchEnv(**{"snapshot": LIBRARY, **options}, compiled=True)


def test_subclasses_say_how_they_step() -> None:
    class Slow(ToolOrchEnv):
        pass

    class Fast(CompiledToolOrchEnv):
        pass

    with pytest.raises(ConfigurationError, match="Slow steps in Python"):
        Slow(LIBRARY, compiled=True)
    assert type(Slow(LIBRARY)) is Slow
    assert type(Fast(LIBRARY)) is type(Fast(LIBRARY, compiled=True)) is Fast


def test_many_copies_take_the_argument_too() -> None:
    env = ToolOrchVectorEnv(2, snapshot=LIBRARY, compiled=True)
    env.reset(seed=0)
    assert env.render_mode is None
    sync = gym.make_vec("ToolOrch-v0", 2, vectorization_mode="sync", snapshot=LIBRARY, compiled=True)
    observation, _ = sync.reset(seed=0)
    assert sync.observation_space.contains(observation)
