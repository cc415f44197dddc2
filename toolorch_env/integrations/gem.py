"""ToolOrch as an environment of GEM (extra ``gem``): ``gem.make("toolorch:Text-v0", constraints={...})``."""

from typing import Any

from gem.core import Env
from gem.envs.registration import ENV_REGISTRY
from gem.envs.registration import register as register_env

from toolorch_env.integrations.text_chats import TextChat

ENV_ID = "toolorch:Text-v0"


class ToolOrchGemEnv(Env):
    """Episodes in text: observations and actions are messages.

    Args:
        seed: of the first episode.
        **env: keyword arguments of ``ToolOrchText-v0``.
    """

    def __init__(self, seed: int | None = None, **env: Any) -> None:
        super().__init__()
        self._options = env
        self._seed = seed
        self._chat: TextChat | None = None

    def reset(self, seed: int | None = None, **_: Any) -> tuple[str, dict[str, Any]]:
        """Begins an episode: the system message and the query, in one text. The same seed gives the same one."""
        given, self._seed = self._seed if seed is None else seed, None
        self._chat = TextChat(self._options, seed=given)
        return "\n\n".join(message["content"] for message in self._chat.prompt), {"task_id": self._chat.task_id}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Takes a message; ``info["rewards"]`` has the components of the reward for each of its calls."""
        assert self._chat is not None, "call reset() first"
        reply = self._chat.send(action)
        told = "\n".join(message["content"] for message in reply.messages)
        info: dict[str, Any] = {"rewards": reply.rewards}
        if not reply.done:
            return told, reply.reward, False, False, info
        terminated = self._chat.finished
        return told, reply.reward, terminated, not terminated, info | self._chat.metrics()

    def sample_random_action(self) -> str:
        """The next call of the solution, else words: GEM asks for any action, to try environments."""
        assert self._chat is not None, "call reset() first"
        return self._chat.solution() or "That is all."

    def spawn(self, same_state: bool = False, **kwargs: Any) -> "ToolOrchGemEnv":
        """Another environment of the same kind.

        Raises:
            NotImplementedError: with the same state: an episode of the same seed is another way to have it.
        """
        if same_state:
            raise NotImplementedError("reset both with the same seed, and send the same messages")
        return ToolOrchGemEnv(**{**self._options, **kwargs})


def register() -> None:
    """Makes ``gem.make("toolorch:Text-v0")`` known; again and again does no harm."""
    if ENV_ID not in ENV_REGISTRY:
        register_env(ENV_ID, "toolorch_env.integrations.gem:ToolOrchGemEnv")
