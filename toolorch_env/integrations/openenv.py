"""ToolOrch as a server of OpenEnv, and its client (extra ``openenv``).

Each WebSocket connection is a session with an episode of its own; an observation carries the reward of its message.
"""

import copy
from collections.abc import Sequence
from typing import Any

import gymnasium as gym
from fastapi import FastAPI
from openenv.core import EnvClient
from openenv.core.client_types import StepResult
from openenv.core.env_server.http_server import create_fastapi_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, ConcurrencyConfig, Observation, State
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from toolorch_env.core.errors import EpisodeError, SessionError, ToolOrchError
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.integrations.server_access import host_middleware, token_middleware


class ToolOrchAction(Action):
    """A message of the model: calls as ``ToolOrchText-v0`` reads them, or words to finish."""

    message: str


class ToolOrchObservation(Observation):
    """What the model reads next.

    Attributes:
        messages: OpenAI form: at first the system message and the query, then what tools answered.
        tools: on offer, OpenAI form; at first only.
        rewards: for each call of the message the components of its reward by name.
        task_id: the task.
    """

    messages: list[dict[str, Any]] = Field(default_factory=list)
    tools: list[dict[str, Any]] = Field(default_factory=list)
    rewards: list[dict[str, Any]] = Field(default_factory=list)
    task_id: str = ""


class ToolOrchState(State):
    """How the episode stands.

    Attributes:
        is_success, is_clean_success: whether it was solved; known at its end.
        total: sum of the rewards so far.
    """

    is_success: bool = False
    is_clean_success: bool = False
    total: float = 0.0


class ToolOrchEnvironment(Environment[ToolOrchAction, ToolOrchObservation, ToolOrchState]):
    """One session.

    Args:
        env: what it plays in; each session in a copy of it.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env: ToolOrchTextEnv) -> None:
        super().__init__()
        self._env: ToolOrchTextEnv = copy.copy(env)
        self._has_begun = False
        self._is_closed = False

    def close(self) -> None:
        """Ends the session: where nobody used it for too long, its connection stays open, and may not be played on."""
        self._is_closed = True

    def reset(self, seed: int | None = None, episode_id: str | None = None, **options: Any) -> ToolOrchObservation:
        """Begins an episode; the same seed gives the same one. Further arguments are options of the environment.

        Raises:
            SessionError: the session was dropped.
        """
        self._check_open()
        _, info = self._env.reset(seed=seed, options=options or None)
        self._has_begun = True
        self._episode_id = episode_id
        return ToolOrchObservation(messages=info["messages"], tools=info["tools"], task_id=info["task_id"])

    def step(self, action: ToolOrchAction, timeout_s: float | None = None, **more: Any) -> ToolOrchObservation:
        """Takes a message.

        Raises:
            EpisodeError: the episode has ended or was not begun.
            SessionError: the session was dropped.
        """
        self._check_open()
        if not self._has_begun:
            raise EpisodeError("call reset() first")
        _, reward, terminated, truncated, info = self._env.step(action.message)
        return ToolOrchObservation(
            done=terminated or truncated,
            reward=reward,
            messages=info["messages"],
            rewards=info["reward"],
            task_id=self._env.episode.task.id,
        )

    @property
    def state(self) -> ToolOrchState:
        """How the episode stands."""
        if not self._has_begun:
            return ToolOrchState()
        episode = self._env.episode
        return ToolOrchState(
            episode_id=self._episode_id,
            step_count=len(episode.steps),
            is_success=episode.success,
            is_clean_success=episode.clean_success,
            total=episode.total,
        )

    def _check_open(self) -> None:
        if self._is_closed:
            raise SessionError("the session was idle for too long, and was dropped: connect anew")


class ToolOrchClient(EnvClient[ToolOrchAction, ToolOrchObservation, ToolOrchState]):
    """The client: ``async with ToolOrchClient(base_url=...) as env: await env.reset(seed=1)``."""

    def _step_payload(self, action: ToolOrchAction) -> dict[str, Any]:
        payload: dict[str, Any] = action.model_dump(exclude_defaults=True)
        return payload

    def _parse_result(self, payload: dict[str, Any]) -> StepResult[ToolOrchObservation]:
        told: dict[str, Any] = {"done": payload.get("done", False), "reward": payload.get("reward")}
        observation = ToolOrchObservation(**{**payload.get("observation", {}), **told})
        return StepResult(observation=observation, **told)

    def _parse_state(self, payload: dict[str, Any]) -> ToolOrchState:
        return ToolOrchState(**payload)


def make_app(
    *,
    sessions: int = 1000,
    idle_seconds: float | None = 1800.0,
    token: str | None = None,
    hosts: Sequence[str] | None = None,
    **env: Any,
) -> FastAPI:
    """The server's application.

    Args:
        sessions: number of sessions at a time.
        idle_seconds: sessions that nobody uses for so long are dropped.
        token: what clients have to carry: ``ToolOrchClient(headers={"Authorization": "Bearer ..."})``.
        hosts: names that requests may ask for; by default any.
        **env: keyword arguments of ``ToolOrchText-v0``.
    """
    shared: Any = gym.make("ToolOrchText-v0", **env).unwrapped
    limits = ConcurrencyConfig(max_concurrent_envs=sessions, session_timeout=idle_seconds)
    app: FastAPI = create_fastapi_app(
        lambda: ToolOrchEnvironment(shared),
        ToolOrchAction,
        ToolOrchObservation,
        concurrency_config=limits,
        env_name="toolorch",
        state_cls=ToolOrchState,
    )
    app.add_exception_handler(ToolOrchError, _refused)
    for middleware in (*token_middleware(token), *host_middleware(hosts)):  # the last one that is added comes first
        app.add_middleware(middleware.cls, *middleware.args, **middleware.kwargs)
    return app


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 400)
