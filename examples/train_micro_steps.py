"""Trains MaskablePPO of sb3-contrib on calls that are chosen in small steps, with nothing but its own parts.

    pip install 'toolorch-env[sb3]'
    python examples/train_micro_steps.py [--steps N] [--copies N]

``MicroSteps`` makes one small choice a step: a tool, then its parameters one by one, each from one Discrete space with
a mask. Any library that knows masks for such spaces can train on it. It takes about three steps for a call, and copies
step one after the other: the vector environment is far faster (see train_sb3.py).
"""

import argparse
from functools import partial
from typing import Any

import gymnasium as gym
from sb3_contrib import MaskablePPO
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv

import toolorch_env
from toolorch_env.envs.micro_steps import MicroSteps


def make_copy(snapshot: Any, generator: Any) -> Monitor:
    """One copy; they share what they can."""
    return Monitor(MicroSteps(gym.make("ToolOrch-v0", snapshot=snapshot, generator=generator)))


def make_model(snapshot: str, copies: int, seed: int = 0) -> MaskablePPO:
    """An untrained model and its copies."""
    first: Any = gym.make("ToolOrch-v0", snapshot=snapshot).unwrapped
    make = partial(make_copy, first.snapshot, first.generator)
    env = DummyVecEnv([make] * copies)
    return MaskablePPO(
        "MultiInputPolicy",
        env,
        n_steps=64,
        batch_size=min(1024, 64 * copies),
        n_epochs=4,
        learning_rate=1e-3,
        gamma=0.99,
        ent_coef=0.005,
        policy_kwargs={"net_arch": [256, 256]},
        seed=seed,
        device="cpu",
    )


def main() -> None:
    """Trains with the library's own table of progress."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", default="travel")
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--copies", type=int, default=16)
    given = parser.parse_args()
    print(f"toolorch-env {toolorch_env.__version__}")
    model = make_model(given.snapshot, given.copies)
    model.verbose = 1
    model.learn(given.steps)


if __name__ == "__main__":
    main()
