"""Episodes that clients of a server play: limited in number, and dropped when nobody plays on."""

import copy
import logging
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError, SessionError, ToolOrchError
from toolorch_env.core.scoring import Step
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.evaluation.runs import PlayedEpisode, played_episode

_LOG = logging.getLogger(__name__)


@dataclass
class Session:
    """One episode that is played over a network.

    Attributes:
        id: what it is asked for by; nobody can guess it.
        agent_key: what its agent knows it by: who has it can make calls, and cannot tell the id.
        index: how many sessions were begun before it.
        env: where its episode is played.
        last_used: when it was used last, by the clock of its store.
        is_told: whether what was played was handed over.
    """

    id: str
    agent_key: str
    index: int
    env: ToolOrchTextEnv
    last_used: float
    is_told: bool = False

    @property
    def episode(self) -> Episode:
        """The episode."""
        return self.env.episode

    def call(self, tool: str, arguments: Mapping[str, Any]) -> Step:
        """Makes a call.

        Raises:
            EpisodeError: the episode has ended.
        """
        return self.episode.send((Call(tool, arguments),))[0]

    def finish(self, answer: str = "") -> PlayedEpisode:
        """Ends the episode, where it has not ended yet, and tells how it went."""
        if not self.episode.done:
            self.episode.finish(answer)
        self.env.report()
        return played_episode(self.index, 0, self.episode)


class SessionStore:
    """The sessions of a server.

    Args:
        env: what they play in; each in a copy of it.
        most: number of sessions at a time, at least 1.
        idle_seconds: a session that nobody has used for so long is dropped; above 0.
        on_end: called once with what was played in each session that was finished; also in those in which calls were
            made, and that were dropped, or open when the store was closed: their agents have left.
        clock: seconds.

    Raises:
        ConfigurationError: a number is too small.
    """

    def __init__(
        self,
        env: ToolOrchTextEnv,
        *,
        most: int = 1000,
        idle_seconds: float = 1800.0,
        on_end: Callable[[PlayedEpisode], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if most < 1 or not idle_seconds > 0:
            raise ConfigurationError("there is at least 1 session, and it may be idle for more than 0 seconds")
        self._env = env
        self._most = most
        self._idle_seconds = idle_seconds
        self._on_end = on_end
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._ids: dict[str, str] = {}  # by the keys of agents
        self._begun = 0

    def __len__(self) -> int:
        """Number of sessions that are open."""
        return len(self._sessions)

    @property
    def ids(self) -> set[str]:
        """Those of the sessions that are open."""
        return set(self._sessions)

    def begin(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> Session:
        """Begins a session. Where there is no room for it, one that was finished is forgotten.

        Args:
            seed, options: of the environment's ``reset``: the same seed gives the same task.

        Raises:
            SessionError: there are too many that were not finished.
            ConstraintError, TaskError, ConfigurationError: as for the environment.
        """
        self.drop_idle()
        finished = [session for session in self._sessions.values() if session.is_told]
        if len(self._sessions) >= self._most and not finished:
            raise SessionError(f"there are {self._most:,} sessions already: end one, or come back later")
        env = copy.copy(self._env)
        env.reset(seed=seed, options=options)
        if len(self._sessions) >= self._most:
            self._forget(min(finished, key=lambda session: session.last_used))
        keys = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
        session = Session(*keys, self._begun, env, self._clock())
        self._sessions[session.id] = session
        self._ids[session.agent_key] = session.id
        self._begun += 1
        return session

    def get(self, session_id: str) -> Session:
        """A session, which is used by that.

        Raises:
            SessionError: there is none; perhaps it was dropped.
        """
        session = self._sessions.get(session_id)
        if session is None or self._clock() - session.last_used > self._idle_seconds:
            raise SessionError("there is no such session, or it was idle for too long")
        session.last_used = self._clock()
        return session

    def of_agent(self, agent_key: str) -> Session:
        """The session of an agent, which is used by that.

        Raises:
            SessionError: there is none; perhaps it was dropped.
        """
        return self.get(self._ids.get(agent_key, ""))

    def finish(self, session_id: str, answer: str = "") -> PlayedEpisode:
        """Ends the episode of a session, where it has not ended yet, and tells how it went.

        Raises:
            SessionError: there is none.
        """
        return self._tell(self.get(session_id), answer)

    def end(self, session_id: str) -> None:
        """Forgets a session, and what was played in it.

        Raises:
            SessionError: there is none.
        """
        self._forget(self.get(session_id))

    def drop_idle(self) -> int:
        """Forgets the sessions that nobody plays on; returns how many these were."""
        latest = self._clock() - self._idle_seconds
        return self._leave([session for session in self._sessions.values() if session.last_used < latest])

    def close(self) -> int:
        """Forgets all sessions; returns how many these were."""
        return self._leave(list(self._sessions.values()))

    def _leave(self, sessions: list[Session]) -> int:
        """Forgets sessions that their agents have left; one that cannot be handed over now is kept for another time."""
        left = 0
        for session in sessions:
            try:
                if session.episode.steps or session.episode.done:
                    self._tell(session)
            except ToolOrchError as error:
                _LOG.error("what was played in a session cannot be kept: %s", error)
                continue
            self._forget(session)
            left += 1
        return left

    def _tell(self, session: Session, answer: str = "") -> PlayedEpisode:
        played = session.finish(answer)
        if not session.is_told:
            self._on_end(played)
            session.is_told = True
        return played

    def _forget(self, session: Session) -> None:
        del self._sessions[session.id]
        del self._ids[session.agent_key]
