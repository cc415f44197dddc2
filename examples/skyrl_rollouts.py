"""Plays the rows of a SkyRL data set in SkyRL-gym with a language model behind an endpoint.

    pip install 'toolorch-env[skyrl]' openai
    python examples/skyrl_rollouts.py --base-url http://127.0.0.1:8000/v1 --model MODEL [--rows N] [--samples N]

A trainer does the same with its own engine: it calls ``register()`` before it makes environments, reads rows that
``dataset`` has made, and puts each message's reward on its last token.
"""

import argparse

import skyrl_gym
from openai import OpenAI

from toolorch_env.integrations.skyrl import dataset, register


def main() -> None:
    """Plays a group of samples of each row."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--rows", type=int, default=2)
    parser.add_argument("--samples", type=int, default=2)
    parser.add_argument("--snapshot", default="travel")
    given = parser.parse_args()

    register()
    client = OpenAI(base_url=given.base_url, api_key=given.api_key)
    for row in dataset(given.rows, env={"snapshot": given.snapshot}):
        extras = {name: value for name, value in row.items() if name not in ("prompt", "env_class")}
        for sample in range(given.samples):
            env = skyrl_gym.make(row["env_class"], extras=extras)
            chat, _ = env.init(row["prompt"])
            earned, done = [], False
            while not done:
                answer = client.chat.completions.create(model=given.model, messages=chat)
                said = answer.choices[0].message.content or ""
                output = env.step(said)
                chat = [*chat, {"role": "assistant", "content": said}, *output["observations"]]
                earned.append(round(output["reward"], 3))
                done = output["done"]
            print(f"row {row['seed']}, sample {sample}: {earned}, success {env.get_metrics()['success']:.0f}")


if __name__ == "__main__":
    main()
