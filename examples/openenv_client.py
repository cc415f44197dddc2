"""Plays episodes of a server of OpenEnv with a language model behind an endpoint, all at the same time.

    pip install 'toolorch-env[openenv]' openai
    toolorch serve http &
    python examples/openenv_client.py --base-url http://127.0.0.1:8001/v1 --model MODEL [--episodes N]

A server elsewhere asks for a token: ``ToolOrchClient(base_url=..., headers={"Authorization": "Bearer ..."})``.
"""

import argparse
import asyncio
import json

from openai import AsyncOpenAI

from toolorch_env.integrations.openenv import ToolOrchAction, ToolOrchClient


async def play(server: str, model: str, client: AsyncOpenAI, seed: int) -> None:
    """Plays the episode of a seed, with tools that are called natively."""
    async with ToolOrchClient(base_url=server) as env:
        result = await env.reset(seed=seed)
        chat, tools = list(result.observation.messages), result.observation.tools
        earned = []
        while not result.done:
            answer = await client.chat.completions.create(model=model, messages=chat, tools=tools)  # type: ignore[call-overload]
            message = answer.choices[0].message.model_dump(exclude_none=True)
            calls = message.get("tool_calls", [])
            result = await env.step(
                ToolOrchAction(message=json.dumps(message) if calls else message.get("content", ""))
            )
            answered = result.observation.messages
            if not calls:  # calls in words are answered in words
                answered = [{"role": "user", "content": "\n".join(each["content"] for each in answered)}]
            chat += [message, *answered]
            earned.append(round(result.reward or 0.0, 3))
        state = await env.state()
        print(f"seed {seed}: {earned}, success {state.is_success}")


async def main() -> None:
    """Plays all episodes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--server", default="http://127.0.0.1:8000", help="of ToolOrch")
    parser.add_argument("--base-url", required=True, help="of the model")
    parser.add_argument("--model", required=True)
    parser.add_argument("--api-key", default="none")
    parser.add_argument("--episodes", type=int, default=4)
    given = parser.parse_args()
    async with AsyncOpenAI(base_url=given.base_url, api_key=given.api_key) as client:
        await asyncio.gather(*(play(given.server, given.model, client, seed) for seed in range(given.episodes)))


if __name__ == "__main__":
    asyncio.run(main())
