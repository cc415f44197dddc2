"""Plays episodes in GEM with a language model behind an endpoint, several at once, and prints what each message earned.

    pip install 'toolorch-env[gem]' openai
    python examples/gem_rollouts.py --base-url http://127.0.0.1:8000/v1 --model MODEL [--episodes N]

The copies of one seed play one episode: so a group of samples is made, as GRPO needs them.
"""

import argparse

import gem
from openai import OpenAI

from toolorch_env.integrations.gem import ENV_ID, register


def main() -> None:
    """Plays a group."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base-url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--episodes", type=int, default=4)
    parser.add_argument("--snapshot", default="travel")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()

    register()
    client = OpenAI(base_url=given.base_url, api_key=given.api_key)
    group = [gem.make(ENV_ID, snapshot=given.snapshot) for _ in range(given.episodes)]
    for number, env in enumerate(group):
        prompt, _ = env.reset(seed=given.seed)
        chat = [{"role": "user", "content": prompt}]
        earned, ended = [], False
        while not ended:
            answer = client.chat.completions.create(model=given.model, messages=chat)  # type: ignore[arg-type]
            said = answer.choices[0].message.content or ""
            told, reward, terminated, truncated, info = env.step(said)
            chat += [{"role": "assistant", "content": said}, {"role": "user", "content": told}]
            earned.append(round(reward, 3))
            ended = terminated or truncated
        print(f"episode {number}: {earned}, success {info['success']:.0f}")


if __name__ == "__main__":
    main()
