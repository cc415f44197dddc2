"""Trains MaskablePPO of sb3-contrib on ToolOrch-v0 from Python: all copies step at once, in compiled code.

    pip install 'toolorch-env[sb3,vector]'
    python examples/train_sb3.py [--steps N] [--copies N] [--reward NAME] [--out FILE.zip]

This is what ``toolorch train`` does, in a form to change. On the bundled snapshot, 600,000 steps take some three
minutes on two cores.
"""

import argparse
from pathlib import Path

from toolorch_env.envs.vector.env import ToolOrchVectorEnv
from toolorch_env.evaluation.batched import play_at_once
from toolorch_env.evaluation.metrics import Metrics, aggregate
from toolorch_env.integrations.sb3 import make_vec_env
from toolorch_env.integrations.sb3_training import TrainingSettings, Watch, make_model, save_model


def train_and_evaluate(
    snapshot: str, *, steps: int, copies: int, reward: str = "graduated", out: Path | None = None, tasks: int = 500
) -> Metrics:
    """Trains an agent and plays tasks with values that it has not seen."""
    settings = TrainingSettings(num_envs=copies)
    env = make_vec_env(copies, seed=0, word_dropout=settings.word_dropout, snapshot=snapshot, reward=reward)
    model = make_model(env, env.vocabulary, settings)
    watch = Watch(report=lambda done, share: print(f"\r{done:,} steps, clean success {share:.2f}", end=""))
    model.learn(steps, callback=watch)
    print()
    if out is not None:
        save_model(model, out, env.vocabulary, {"steps": model.num_timesteps})
    unseen = ToolOrchVectorEnv(tasks, snapshot=snapshot, constraints={"split": "test"})
    results = play_at_once(
        unseen, lambda observation, masks: model.predict(observation, deterministic=True, action_masks=masks)[0]
    )
    return aggregate(results, 1.0)


def main() -> None:
    """Trains, and prints what was learned."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--snapshot", default="travel")
    parser.add_argument("--steps", type=int, default=600_000)
    parser.add_argument("--copies", type=int, default=512)
    parser.add_argument("--reward", default="graduated")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    metrics = train_and_evaluate(
        given.snapshot, steps=given.steps, copies=given.copies, reward=given.reward, out=given.out
    )
    print(f"{metrics.tasks} tasks with unseen values: {metrics.clean_success_rate:.3f} clean success")


if __name__ == "__main__":
    main()
