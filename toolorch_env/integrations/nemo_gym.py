"""ToolOrch as a resources server of NeMo Gym (package ``nemo-gym``), played by its ``gymnasium_agent``.

Models call tools natively. A row of the data says which episode is played: ``seed``, and ``env``, keyword arguments of
``ToolOrchText-v0``; all rollouts of a row play the same one.
"""

import time
from collections.abc import Mapping
from typing import Any

import orjson
from nemo_gym.openai_utils import NeMoGymResponse
from resources_servers.gymnasium import GymnasiumServer, extract_text

from toolorch_env.core.errors import ConfigurationError, EpisodeError
from toolorch_env.integrations.text_chats import episode_metrics, text_env

AGENT = "toolorch_agent"
"""Name of the agent in the example's configuration, which rows refer to."""


IDLE_SECONDS = 1800.0


class ToolOrchServer(GymnasiumServer):
    """Episodes of ``ToolOrchText-v0``, one for each session.

    The agent sums the rewards of messages up; ``info`` of each message has what the rollout comes to so far, by name.
    Episodes that nobody plays on for half an hour, as their model or agent gave up, are dropped.
    """

    async def reset(self, metadata: dict[str, Any], session_id: str | None = None) -> tuple[str | None, dict[str, Any]]:
        """Begins the episode of a row. The row's prompt has the query already, so nothing is added to it.

        Raises:
            ConfigurationError: the row has no seed.
            ConstraintError, TaskError, ConfigurationError: as for the environment.
        """
        if metadata.get("seed") is None:
            raise ConfigurationError("the row has no seed: make rows with toolorch_env.integrations.nemo_gym.dataset")
        env = text_env(metadata.get("env"))
        _, info = env.reset(seed=metadata["seed"])
        now = time.monotonic()
        for name, (_, last_used) in list(self.session_state.items()):
            if now - last_used > IDLE_SECONDS:
                del self.session_state[name]
        self.session_state[session_id or ""] = env, now
        return None, {"task_id": info["task_id"]}

    async def step(
        self, action: NeMoGymResponse, metadata: dict[str, Any], session_id: str | None = None
    ) -> tuple[str | None, float, bool, bool, dict[str, Any]]:
        """Takes a message: its calls, native or in text, are made; one without any finishes.

        ``info`` has the components of the reward for each call (``rewards``), and what tools answered.

        Raises:
            EpisodeError: the episode has ended or was not begun.
        """
        env, _ = self.session_state.get(session_id or "", (None, 0.0))
        if env is None:
            raise EpisodeError("there is no episode in this session: it has ended, or reset() was not called")
        self.session_state[session_id or ""] = env, time.monotonic()
        calls = [item for item in action.output if item.type == "function_call"]
        text = extract_text(action)
        observation, reward, terminated, truncated, info = env.step(_message(text, calls) if calls else text)
        told: dict[str, Any] = {"rewards": info["reward"], **episode_metrics(env.episode)}
        if terminated or truncated:
            return None, reward, terminated, truncated, told
        if not calls:
            return observation, reward, False, False, told
        outputs = [{"call_id": message["tool_call_id"], "output": message["content"]} for message in info["messages"]]
        return None, reward, False, False, told | {"tool_outputs": outputs}


def _message(text: str, calls: list[Any]) -> str:
    """The assistant's message in OpenAI form, as an action."""
    requested = [
        {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in calls
    ]
    return orjson.dumps({"role": "assistant", "content": text, "tool_calls": requested}).decode()


def dataset(count: int, *, first_seed: int = 0, env: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows of a NeMo Gym data set, one task each.

    Args:
        count: number of rows.
        first_seed: of the first one; the next has the next one.
        env: keyword arguments of the environment.

    Raises:
        ConstraintError, ConfigurationError: as for the environment.
    """
    given = dict(env or {})
    played = text_env(given)
    rows = []
    for seed in range(first_seed, first_seed + count):
        _, info = played.reset(seed=seed)
        tools = [{"type": "function", "strict": False, **tool["function"]} for tool in info["tools"]]
        rows.append(
            {
                "responses_create_params": {"input": info["messages"], "tools": tools},
                "agent_ref": {"type": "responses_api_agents", "name": AGENT},
                "seed": seed,
                "env": given,
            }
        )
    return rows
