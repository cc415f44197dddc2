"""ToolOrch as an environment of SkyRL-gym (extra ``skyrl``): each message's reward lands on its last token.

A data set's row carries what the episode is drawn from: ``seed``, and ``env`` where it has any entries::

    {"prompt": [...], "env_class": "toolorch", "seed": 1, "env": {"constraints": {"max_steps": 3}}}

SkyRL hands all columns but the first two to the environment, so that all samples of a row play one episode.
"""

from collections.abc import Mapping
from typing import Any

import skyrl_gym
from skyrl_gym.envs.base_text_env import BaseTextEnv, BaseTextEnvStepOutput, ConversationType
from skyrl_gym.envs.registration import registry

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.integrations.text_chats import TextChat, chat_rows, plain_values

ENV_ID = "toolorch"


class ToolOrchSkyRLEnv(BaseTextEnv):
    """One episode.

    Args:
        env_config: keyword arguments of ``ToolOrchText-v0`` for rows that have none.
        extras: of the row: ``seed``, ``env``.

    Raises:
        ConfigurationError: the row has no seed.
        ConstraintError, TaskError: as for the environment.
    """

    def __init__(self, env_config: Any = None, extras: dict[str, Any] | None = None) -> None:
        super().__init__()
        given = extras or {}
        if given.get("seed") is None:
            raise ConfigurationError("the row has no seed: make rows with toolorch_env.integrations.skyrl.dataset")
        self._chat = TextChat(plain_values(given.get("env") or env_config), seed=int(given["seed"]))
        self.max_turns = 1_000_000  # the environment has its own limit of calls

    def init(self, prompt: ConversationType) -> tuple[ConversationType, dict[str, Any]]:
        """The chat's own prompt, whatever the row says, and the task's id."""
        return self._chat.prompt, {"task_id": self._chat.task_id}

    def step(self, action: str) -> BaseTextEnvStepOutput:
        """Takes a message; ``metadata`` has the components of the reward for each of its calls."""
        self.turns += 1
        reply = self._chat.send(action)
        return BaseTextEnvStepOutput(
            observations=reply.messages, reward=reply.reward, done=reply.done, metadata={"rewards": reply.rewards}
        )

    def get_metrics(self) -> dict[str, float]:
        """Success and shares of the episode."""
        return self._chat.metrics()


def register() -> None:
    """Makes ``skyrl_gym.make("toolorch", ...)`` known; again and again does no harm."""
    if ENV_ID not in registry:
        skyrl_gym.register(id=ENV_ID, entry_point="toolorch_env.integrations.skyrl:ToolOrchSkyRLEnv")


def dataset(count: int, *, first_seed: int = 0, env: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows of a SkyRL data set, one task each.

    Args:
        count: number of rows.
        first_seed: of the first one; the next has the next one.
        env: keyword arguments of the environment.
    """
    return [{**row, "env_class": ENV_ID} for row in chat_rows(count, first_seed=first_seed, env=env)]
