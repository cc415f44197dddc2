"""Trains PPO of RLlib on ToolOrch-v0: all copies of an env runner step at once, in compiled code.

    pip install 'toolorch-env[vector]' 'ray[rllib]' torch
    python examples/train_rllib.py [--iterations N] [--env-runners N] [--copies N] [--address RAY]

With ``--env-runners 4 --address auto`` four processes play on the nodes of a Ray cluster; the snapshot has to lie at
the same path everywhere, as the bundled one does where the package is installed. RLlib's PPO takes no masks for actions
of several components: choices that are not open are simply left out.
"""

import argparse

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.env_to_module import FlattenObservations
from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig


def configuration(snapshot: str, env_runners: int, copies: int) -> PPOConfig:
    """PPO on the native vector environment."""
    return (
        PPOConfig()
        .environment("toolorch_env:ToolOrch-v0", env_config={"snapshot": snapshot})
        .env_runners(
            num_env_runners=env_runners,
            num_envs_per_env_runner=copies,
            gym_env_vectorize_mode="vector_entry_point",
            env_to_module_connector=lambda env, spaces, device: FlattenObservations(),
            rollout_fragment_length=16,
        )
        .training(
            lr=1e-3,
            gamma=0.95,
            train_batch_size_per_learner=16 * copies * max(1, env_runners),
            minibatch_size=min(512, 16 * copies),
            num_epochs=4,
            entropy_coeff=0.01,
        )
        .rl_module(model_config=DefaultModelConfig(fcnet_hiddens=[256, 256], fcnet_activation="relu"))
        .learners(num_learners=0, num_gpus_per_learner=0)
    )


def main() -> None:
    """Trains and prints the mean return after each iteration."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", default="travel")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--env-runners", type=int, default=0)
    parser.add_argument("--copies", type=int, default=64)
    parser.add_argument("--address", default=None, help="of a Ray cluster; by default one on this machine is started")
    given = parser.parse_args()
    ray.init(address=given.address, ignore_reinit_error=True)
    algorithm = configuration(given.snapshot, given.env_runners, given.copies).build_algo()
    for iteration in range(1, given.iterations + 1):
        found = algorithm.train()
        runners = found["env_runners"]
        steps = runners.get("num_env_steps_sampled_lifetime", 0)
        print(f"{iteration}: {steps:.0f} steps, mean return {runners.get('episode_return_mean', float('nan')):+.3f}")
    algorithm.stop()
    ray.shutdown()


if __name__ == "__main__":
    main()
