"""The vector environment whose copies step at once gives what single environments give, to the bit."""

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from booking_data import needs_booking, published
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from worlds import WORLD_NAMES, snapshot_path

from toolorch_env.core.errors import ConfigurationError, EpisodeError, InvalidActionError, TaskError
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.generation.curriculum import Curriculum, CurriculumState
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.graph_generator import GraphGenerator
from toolorch_env.generation.mixture import Mixture
from toolorch_env.policies.oracle import next_reference_call
from toolorch_env.rewards import GraduatedReward
from toolorch_env.rewards.credit import AtomicWeights

pytest.importorskip("numba", reason="the extra 'vector' is not installed")
from toolorch_env.envs.vector.env import ToolOrchVectorEnv

MODES = (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP)
every_world = pytest.mark.parametrize("name", [name for name in WORLD_NAMES if name != "bank"])


class Pair:
    """A native vector environment and scalar ones, driven with the same actions."""

    def __init__(self, count: int, mode: AutoresetMode, **options: Any) -> None:
        self.native = ToolOrchVectorEnv(count, mode, **options)
        self.scalar = SyncVectorEnv([lambda: ToolOrchEnv(**options)] * count, autoreset_mode=mode)
        self.rng = np.random.default_rng(1)
        self.success = 0

    @property
    def scalars(self) -> list[ToolOrchEnv]:
        return [env.unwrapped for env in self.scalar.envs]  # type: ignore[misc]

    def reset(self, **options: Any) -> None:
        self.same(self.native.reset(**options)[0], self.scalar.reset(**options)[0])

    def same(self, seen: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
        """Checks observations and masks."""
        assert list(seen) == list(expected)
        for name, array in expected.items():
            assert array.dtype == seen[name].dtype
            np.testing.assert_array_equal(seen[name], array, name)
        np.testing.assert_array_equal(self.native.action_masks(), np.stack(self.scalar.call("action_masks")))

    def actions(self, share_right: float, share_wild: float) -> np.ndarray:
        """Actions of all copies: the next reference call, any numbers, or at random of what is open."""
        return np.stack([self._action(env, share_right, share_wild) for env in self.scalars])

    def _action(self, env: ToolOrchEnv, share_right: float, share_wild: float) -> np.ndarray:
        sizes, which = env.vocabulary.sizes, self.rng.random()
        if which < share_right and not env.episode.done:
            try:
                return env.action_for(next_reference_call(env.episode))
            except InvalidActionError:
                pass
        if which > 1 - share_wild:
            return self.rng.integers(sizes)
        parts = np.split(env.action_masks(), np.cumsum(sizes)[:-1])
        return np.array([self.rng.choice(np.flatnonzero(part)) for part in parts])

    def step(self, actions: np.ndarray) -> None:
        seen, *result, infos = self.native.step(actions)
        expected, *wanted, told = self.scalar.step(actions)
        self.same(seen, expected)
        for one, other in zip(result, wanted, strict=True):
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
        self.check_infos(infos, told)

    def check_infos(self, infos: dict[str, Any], told: dict[str, Any]) -> None:
        ends, scalar_ends = infos.get("final_info", infos), told.get("final_info", told)
        for name in ("is_success", "is_clean_success"):
            if f"_{name}" in scalar_ends:
                np.testing.assert_array_equal(ends[name] & ends[f"_{name}"], scalar_ends[name])
                np.testing.assert_array_equal(ends[f"_{name}"], scalar_ends[f"_{name}"])
                self.success += int(scalar_ends["is_success"].sum())
            else:
                assert name not in ends
        assert ("final_obs" in infos) == ("final_obs" in told)
        if "final_obs" in told:
            np.testing.assert_array_equal(infos["_final_obs"], told["_final_obs"])
            for one, other in zip(infos["final_obs"], told["final_obs"], strict=True):
                assert (one is None) == (other is None)
                for key in other or ():
                    np.testing.assert_array_equal(one[key], other[key])

    def run(self, rounds: int, seed: int = 3, share_right: float = 0.6, share_wild: float = 0.05) -> None:
        self.reset(seed=seed)
        for _ in range(rounds):
            self.step(self.actions(share_right, share_wild))


@pytest.mark.long
@every_world
@pytest.mark.parametrize("mode", MODES)
def test_64_copies_agree_with_64_scalar_environments(name: str, mode: AutoresetMode) -> None:
    pair = Pair(64, mode, snapshot=snapshot_path(name))
    pair.run(50)  # over 10,000 steps in all worlds and modes
    assert pair.success > 30


@every_world
@pytest.mark.parametrize(
    "options",
    [
        {"reward": "binary"},
        {"reward": "atomic"},
        {"reward": "orchestration", "auto_finish": True},
        {"reward": GraduatedReward(0.3, 0.125, AtomicWeights(0.1, 0.3, 0.3, 0.3)), "max_calls": 3},
        {"constraints": {"split": "test_workflows", "distractions": 0, "distractor_tools": 0}},
        {"constraints": {"styles": ["chatty", "plain", "terse"], "distractions": 3, "distractor_tools": 2}},
        {"constraints": {"values": "implicit", "distractor_tools": 99}},
    ],
)
def test_they_agree_whatever_is_asked_for(name: str, options: dict[str, Any]) -> None:
    pair = Pair(8, AutoresetMode.SAME_STEP, snapshot=snapshot_path(name), **options)
    pair.run(20)


@pytest.mark.parametrize("mode", MODES)
def test_mistakes_are_answered_and_scored_alike(mode: AutoresetMode) -> None:
    """Calls that leave something out, repeat themselves, or pass what does not fit."""
    Pair(16, mode, snapshot=snapshot_path("library")).run(150, share_right=0.2, share_wild=0.6)


@pytest.mark.parametrize("kind", ["fixed", "graph", "mixture", "curriculum"])
def test_tasks_of_any_generator_are_played(kind: str) -> None:
    path = snapshot_path("library")
    drawn = WorkflowGenerator(path)
    rng = np.random.default_rng(0)

    def generator() -> Any:
        made: dict[str, Any] = {
            "fixed": lambda: FixedTasks([drawn.sample(rng) for _ in range(20)]),
            "graph": lambda: GraphGenerator(path).within(drawn.snapshot.links),
            "mixture": lambda: Mixture([(drawn, 1.0), (drawn, 2.0)]),
            "curriculum": lambda: Curriculum(drawn, [{"max_steps": 2}, {"max_steps": 3}]),
        }
        return made[kind]()

    if kind == "curriculum":  # what is drawn depends on the other copies' successes
        env = ToolOrchVectorEnv(4, generator=generator(), snapshot=path)
        env.reset(seed=0)
        for _ in range(20):
            env.step(np.zeros((4, len(env.single_action_space.nvec)), np.int64))
        assert env._scalar.generator.state != CurriculumState()  # type: ignore[attr-defined]
        return
    one = generator()
    Pair(4, AutoresetMode.SAME_STEP, snapshot=path, generator=one).run(60)


@needs_booking
def test_the_published_tasks_are_played_alike() -> None:
    pair = Pair(8, AutoresetMode.SAME_STEP, snapshot=published().summary.path)
    pair.run(100, share_right=0.8)
    assert pair.success


def test_tasks_and_episodes_are_told_when_asked_for() -> None:
    pair = Pair(6, AutoresetMode.NEXT_STEP, snapshot=snapshot_path("library"))
    pair.reset(seed=9)
    for _ in range(12):
        for copy, env in enumerate(pair.scalars):
            assert pair.native.task(copy) == env.episode.task
            episode = pair.native.episode(copy)
            assert [step.score for step in episode.steps] == [step.score for step in env.episode.steps]
            assert (episode.finished, episode.done) == (env.episode.finished, env.episode.done)
            assert episode.total == env.episode.total
        pair.step(pair.actions(0.7, 0.1))


def test_options_seeds_and_masked_resets() -> None:
    pair = Pair(4, AutoresetMode.DISABLED, snapshot=snapshot_path("library"))
    pair.native.reset(seed=[5, None, 7, 7])  # a copy without a seed goes its own way
    assert pair.native.task(2) == pair.native.task(3)
    pair.reset(seed=[5, 6, 7, 8], options={"constraints": {"max_steps": 2}})
    for _ in range(30):
        pair.step(pair.actions(0.5, 0.2))
        ended = np.array([env.episode.done for env in pair.scalars])
        if ended.any():
            pair.reset(options={"reset_mask": ended})
    task = pair.native.task(0)
    pair.reset(options={"task": task})
    pair.reset(options={"task_id": task.id})
    pair.reset(seed=2)


def test_made_by_its_name() -> None:
    env = gym.make_vec(
        "ToolOrch-v0", 3, vectorization_mode="vector_entry_point", snapshot=snapshot_path("library"),
        vector_kwargs={}, autoreset_mode=AutoresetMode.SAME_STEP,
    )  # fmt: skip
    assert isinstance(env.unwrapped, ToolOrchVectorEnv)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    assert env.action_space.shape == (3, len(env.unwrapped.single_action_space.nvec))
    env.close()


def test_arrays_are_fresh_on_each_step() -> None:
    env = ToolOrchVectorEnv(4, snapshot=snapshot_path("library"))
    first, _ = env.reset(seed=0)
    kept = {name: array.copy() for name, array in first.items()}
    masks = env.action_masks()
    masks[:] = False
    actions = np.zeros((4, len(env.single_action_space.nvec)), np.int64)
    for _ in range(3):
        env.step(actions)
    assert env.action_masks().any()
    for name, array in kept.items():
        np.testing.assert_array_equal(first[name], array)


def test_what_copies_cannot_do_together_is_said() -> None:
    path = snapshot_path("library")
    for options, said in [
        ({"snapshot": snapshot_path("bank")}, "changes the state"),
        ({"on_miss": "raise"}, "on_miss is 'raise'"),
        ({"reward": "execution"}, "scored in Python"),
        ({"num_envs": 0}, "at least 1"),
        ({"autoreset_mode": "later"}, "no autoreset mode 'later'"),
    ]:
        with pytest.raises(ConfigurationError, match=said):
            ToolOrchVectorEnv(**{"snapshot": path, **options})


def test_bad_use_is_told() -> None:
    env = ToolOrchVectorEnv(2, AutoresetMode.DISABLED, snapshot=snapshot_path("library"))
    nothing = np.zeros((2, len(env.single_action_space.nvec)), np.int64)
    with pytest.raises(EpisodeError, match="reset"):
        env.step(nothing)
    with pytest.raises(EpisodeError, match="reset"):
        env.task(0)
    for seed in ([1], [1, 2, 3]):
        with pytest.raises(ConfigurationError, match="seeds for 2 copies"):
            env.reset(seed=seed)
    for mask in ([True, False], np.ones(3, bool), np.zeros(2, bool), np.ones(2)):
        with pytest.raises(ConfigurationError, match="reset_mask"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(TaskError, match="no task"):
        env.reset(options={"task_id": "nothing"})
    env.reset(seed=0)
    for actions in (nothing[:1], nothing.astype(float), nothing - 1, nothing + 1000, None, "no"):
        with pytest.raises(InvalidActionError):
            env.step(actions)
    env.step(nothing)
    with pytest.raises(EpisodeError, match="has ended"):
        env.step(nothing)


def test_a_copy_by_pickle_goes_on_alike() -> None:
    env = ToolOrchVectorEnv(2, snapshot=snapshot_path("library"))
    env.reset(seed=4)
    other = pickle.loads(pickle.dumps(env))
    actions = np.zeros((2, len(env.single_action_space.nvec)), np.int64)
    for _ in range(4):
        one, two = env.step(actions), other.step(actions)
        for name in one[0]:
            np.testing.assert_array_equal(one[0][name], two[0][name])
