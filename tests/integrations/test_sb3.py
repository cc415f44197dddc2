"""Stable-Baselines3 trains on copies that step at once, and on copies one after the other."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import orjson
import pytest
from worlds import snapshot_path

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.envs.blank_query import BlankQuery, blanked
from toolorch_env.evaluation.runner import evaluate

pytest.importorskip("sb3_contrib", reason="the extra 'sb3' is not installed")
pytest.importorskip("numba", reason="the extra 'vector' is not installed")
import torch
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported

from toolorch_env.integrations.sb3 import ToolOrchVecEnv, make_vec_env
from toolorch_env.integrations.sb3_policy import TrainedPolicy
from toolorch_env.integrations.sb3_training import TrainingSettings, load_model, make_model, read_card, train

SMALL = TrainingSettings(num_envs=8, n_steps=16, batch_size=64, n_epochs=1, width=32, mention_width=16)
LIBRARY = str(snapshot_path("library"))
# torch counts its kernels in a way that Python's garbage collector warns about at exit
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def random_actions(env: ToolOrchVecEnv, rng: np.random.Generator) -> np.ndarray:
    masks = get_action_masks(env)
    parts = np.split(masks, np.cumsum(env.action_space.nvec)[:-1], axis=1)  # type: ignore[attr-defined]
    return np.stack([(part * rng.random(part.shape)).argmax(axis=1) for part in parts], axis=1)


def test_both_kinds_of_copies_give_the_same() -> None:
    native, looped = make_vec_env(4, seed=3, snapshot=LIBRARY), make_vec_env(4, seed=3, native=False, snapshot=LIBRARY)
    rng = np.random.default_rng(0)
    seen, expected = native.reset(), looped.reset()
    ends = 0
    for _ in range(60):
        for name in expected:
            np.testing.assert_array_equal(seen[name], expected[name])
        np.testing.assert_array_equal(get_action_masks(native), get_action_masks(looped))
        actions = random_actions(native, rng)
        seen, *rest = native.step(actions)
        expected, *wanted = looped.step(actions)
        np.testing.assert_array_equal(rest[0], wanted[0])
        np.testing.assert_array_equal(rest[1], wanted[1])
        for told, other in zip(rest[2], wanted[2], strict=True):
            assert told.keys() == other.keys()
            if told:
                ends += 1
                assert told["episode"] == other["episode"]
                assert told["is_success"] == other["is_success"]
                for name, array in other["terminal_observation"].items():
                    np.testing.assert_array_equal(told["terminal_observation"][name], array)
    assert ends > 10
    native.close()
    looped.close()


def test_it_is_a_vectorised_environment_of_their_kind() -> None:
    env = make_vec_env(3, seed=0, snapshot=LIBRARY)
    assert is_masking_supported(env)
    assert get_action_masks(env).shape == (3, int(env.action_space.nvec.sum()))  # type: ignore[attr-defined]
    assert env.env_method("action_masks", indices=[1])[0].shape == get_action_masks(env)[1].shape
    assert env.get_attr("num_envs", indices=0) == [3]
    assert not env.has_attr("nothing")
    with pytest.raises(ConfigurationError, match="share one environment"):
        env.set_attr("reward", "binary")
    with pytest.raises(ConfigurationError, match="share one environment"):
        env.env_method("reset")
    with pytest.raises(ConfigurationError, match="SAME_STEP"):
        ToolOrchVecEnv(gym.vector.SyncVectorEnv([lambda: gym.make("ToolOrch-v0", snapshot=LIBRARY)]))


def test_the_return_of_an_episode_is_the_sum_of_its_rewards() -> None:
    env = make_vec_env(2, seed=5, snapshot=LIBRARY)
    env.reset()
    rng, sums, lengths = np.random.default_rng(2), np.zeros(2), np.zeros(2)
    for _ in range(50):
        _, rewards, dones, infos = env.step(random_actions(env, rng))
        sums += rewards
        lengths += 1
        for copy in np.flatnonzero(dones):
            assert infos[copy]["episode"]["r"] == pytest.approx(sums[copy], abs=1e-6)
            assert infos[copy]["episode"]["l"] == lengths[copy]
            sums[copy] = lengths[copy] = 0


def test_the_policy_gives_probabilities_of_calls() -> None:
    env = make_vec_env(16, seed=0, snapshot=LIBRARY)
    model = make_model(env, env.vocabulary, SMALL)
    policy: Any = model.policy
    observation = env.reset()
    for _ in range(5):
        given = {name: torch.as_tensor(array) for name, array in observation.items()}
        masks = get_action_masks(env)
        actions, values, log_prob = policy(given, action_masks=masks)
        assert (actions.shape, values.shape, log_prob.shape) == ((16, len(env.action_space.nvec)), (16, 1), (16,))
        chosen = actions.numpy() + np.concatenate([[0], np.cumsum(env.action_space.nvec)[:-1]])
        assert np.take_along_axis(masks, chosen, axis=1).all()
        again, same_log_prob, entropy = policy.evaluate_actions(given, actions, torch.as_tensor(masks).float())
        torch.testing.assert_close(same_log_prob, log_prob)
        torch.testing.assert_close(again, values)
        assert (entropy >= 0).all()
        other = actions.clone()  # parameters that the tool does not have are no choice
        for copy, tool in enumerate(actions[:, 0].tolist()):
            own = {place for _, place in env.vocabulary.tool_parameters[tool - 1]} if tool else set()
            for place in range(len(env.vocabulary.parameters)):
                if place not in own:
                    other[copy, 1 + place] = 1
        torch.testing.assert_close(policy.evaluate_actions(given, other, torch.as_tensor(masks).float())[1], log_prob)
        observation, *_ = env.step(actions.numpy())


def test_the_probabilities_of_all_calls_add_up_to_one() -> None:
    env = make_vec_env(2, seed=0, snapshot=LIBRARY)
    policy: Any = make_model(env, env.vocabulary, SMALL).policy
    given = {name: torch.as_tensor(array)[:1] for name, array in env.reset().items()}
    mask = get_action_masks(env)[:1]
    parts = np.split(mask[0], np.cumsum(env.action_space.nvec)[:-1])  # type: ignore[attr-defined]
    total = 0.0
    for tool in np.flatnonzero(parts[0]).tolist():
        places = [1 + place for _, place in env.vocabulary.tool_parameters[tool - 1]] if tool else []
        choices = [np.flatnonzero(parts[place]) for place in places]
        for place, is_required in enumerate(env.vocabulary.required[tool - 1] if tool else ()):
            if is_required and len(choices[place]) > 1:
                choices[place] = choices[place][1:]  # what is required is not left out
        grids = np.meshgrid(*choices) if places else [np.zeros(1, int)]
        actions = np.zeros((grids[0].size, len(parts)), np.int64)
        actions[:, 0] = tool
        for place, grid in zip(places, grids, strict=False):
            actions[:, place] = grid.reshape(-1)
        many = {name: array.expand(len(actions), -1) for name, array in given.items()}
        masks = torch.as_tensor(mask).float().expand(len(actions), -1)
        total += float(policy.evaluate_actions(many, torch.as_tensor(actions), masks)[1].detach().exp().sum())
    assert total == pytest.approx(1.0, abs=1e-4)


@pytest.mark.long
def test_an_agent_learns_is_saved_and_evaluates_to_the_same_in_another_process(tmp_path: Path) -> None:
    out = tmp_path / "agent.zip"
    settings = TrainingSettings(num_envs=64, n_steps=16, batch_size=512, width=64, mention_width=32)
    shares: list[float] = []
    done = train(out, steps=60_000, settings=settings, seed=1, snapshot=LIBRARY, progress=lambda _, s: shares.append(s))
    assert done.steps >= 60_000
    assert done.clean_success > 0.3 > 0.1 > shares[0]  # a random agent succeeds hardly ever
    card = read_card(out)
    assert card["settings"]["num_envs"] == 64
    assert card["steps"] == done.steps
    env = gym.make("ToolOrch-v0", snapshot=LIBRARY)
    found = evaluate(env, TrainedPolicy(out), tasks=30).to_dict()
    code = ["-m", "toolorch_env.cli", "evaluate", "--policy", f"sb3:{out}", "--snapshot", LIBRARY, "--tasks", "30"]
    there = tmp_path / "metrics.json"
    subprocess.run([sys.executable, *code, "--split", "train", "--json", str(there)], check=True, capture_output=True)
    other = orjson.loads(there.read_bytes())
    for name in ("success_rate", "clean_success_rate", "call_accuracy", "mean_return"):
        assert other[name] == found[name]
    blank = evaluate(BlankQuery(env), TrainedPolicy(out), tasks=30)
    assert blank.clean_success_rate < found["clean_success_rate"]
    env.close()

    more = train(tmp_path / "more.zip", steps=1024, settings=settings, resume=out, snapshot=LIBRARY)
    assert more.steps == done.steps + 1024


def test_checkpoints_ends_and_bad_files(tmp_path: Path) -> None:
    out = tmp_path / "agent.zip"
    steps: list[int] = []
    kept: list[int] = []

    def tell(done: int, share: float) -> None:
        steps.append(done)
        kept.append(read_card(out)["steps"] if out.exists() else 0)

    done = train(out, steps=10_000, settings=SMALL, checkpoint_every=64, progress=tell, go_on=lambda: len(steps) < 40,
                 snapshot=LIBRARY, tensorboard=tmp_path / "log")  # fmt: skip
    assert done.steps == 40 * 8
    assert len(set(kept)) > 3
    assert not done.interrupted
    assert list((tmp_path / "log").rglob("events*"))
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    env = make_vec_env(2, snapshot=LIBRARY)
    with pytest.raises(ConfigurationError, match="no model at"):
        load_model(tmp_path / "absent.zip", env.vocabulary)
    (tmp_path / "odd.zip").write_bytes(b"no zip")
    with pytest.raises(ConfigurationError, match="no model that"):
        load_model(tmp_path / "odd.zip", env.vocabulary)
    bank = gym.make("ToolOrch-v0", snapshot=str(snapshot_path("bank"))).unwrapped
    with pytest.raises(ConfigurationError, match="tools or links are other ones"):
        load_model(out, bank.vocabulary)  # type: ignore[attr-defined]
    out.write_bytes(out.read_bytes()[:-40])
    with pytest.raises(ConfigurationError):
        load_model(out, env.vocabulary)


def test_interrupted_it_writes_what_it_has(tmp_path: Path) -> None:
    def interrupt(steps: int, share: float) -> None:
        if steps >= 400:
            raise KeyboardInterrupt

    done = train(tmp_path / "agent.zip", steps=10_000, settings=SMALL, progress=interrupt, snapshot=LIBRARY)
    assert done.interrupted
    assert read_card(tmp_path / "agent.zip")["steps"] == done.steps == 400


def test_a_blank_query_tells_nothing() -> None:
    env: Any = gym.make("ToolOrch-v0", snapshot=LIBRARY)
    blank: Any = BlankQuery(gym.make("ToolOrch-v0", snapshot=LIBRARY))
    plain, _ = env.reset(seed=3)
    seen, _ = blank.reset(seed=3)
    assert blank.observation_space.contains(seen)
    assert plain["query"].any()
    assert plain["mentions"].any()
    assert not seen["query"].any()
    assert not seen["mentions"].any()
    for name in ("calls", "links", "progress", "tools"):
        np.testing.assert_array_equal(seen[name], plain[name])
    np.testing.assert_array_equal(blank.action_masks(), env.unwrapped.action_masks())
    used = {**plain, "mentions": plain["mentions"].copy()}
    used["mentions"].reshape(12, -1)[2, -1] = 1.0
    assert blanked(used)["mentions"].reshape(12, -1)[2, -1] == 1.0
    many = {name: np.stack([array, array]) for name, array in used.items()}
    np.testing.assert_array_equal(blanked(many)["mentions"][1], blanked(used)["mentions"])
