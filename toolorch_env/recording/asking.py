"""Asking patiently: sessions that are opened anew when lost, retries with growing pauses, a limit on the rate."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from math import inf
from typing import TypeVar

from aiolimiter import AsyncLimiter
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, RecordingError, UnansweredError
from toolorch_env.recording.api import Answer, Api, Session
from toolorch_env.recording.summary import Unanswered

Result = TypeVar("Result")
Ask = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True)
class Patience:
    """How hard an API is asked.

    Attributes:
        sessions: number of calls that are under way at once, each in a session of its own.
        rate: most calls a second, ``None`` for no limit. Retries count.
        attempts: how often a call is made before it counts as not answered.
        first_pause: seconds; the pause before a further attempt is drawn below it, and below twice as much each time.
        longest_pause: seconds; where the API asks for more by ``Retry-After``, the call counts as not answered.
        give_up_after: the recording stops when so many calls in a row did not reach the API; a tool that failed so
            often in a row is asked only once for each further call.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    sessions: int = 8
    rate: float | None = None
    attempts: int = 5
    first_pause: float = 0.5
    longest_pause: float = 60.0
    give_up_after: int = 16

    def __post_init__(self) -> None:
        for name in ("sessions", "attempts", "give_up_after"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.rate is not None and not 0 < self.rate < inf:
            raise ConfigurationError(f"the rate must be more than 0 calls a second, got {self.rate}")


class Asker:
    """Asks an API, patiently, in a session that is opened anew when it is lost.

    Args:
        api: the API.
        patience: how hard it is asked.
        limiter: of the rate; shared by all askers of an API.
        unanswered: where calls without an answer are counted; shared likewise.
    """

    def __init__(self, api: Api, patience: Patience, limiter: AsyncLimiter | None, unanswered: Unanswered) -> None:
        self._api = api
        self._patience = patience
        self._limiter = limiter
        self._unanswered = unanswered
        self._stack = AsyncExitStack()
        self._session: Session | None = None
        self._pauses = wait_random_exponential(multiplier=patience.first_pause, max=patience.longest_pause)

    async def ask(self, call: Call) -> Answer | None:
        """The answer to a call, ``None`` where there is none that can be recorded.

        Raises:
            RecordingError: the API seems to be gone for good.
        """
        return await self._patiently(call.tool, lambda: self._attempt(call), lambda error: error.retryable)

    async def in_fresh_session(self, tool: str, work: Callable[[Ask], Awaitable[Result]]) -> Result | None:
        """What ``work`` makes of a fresh session, ``None`` where a call in it was not answered.

        Nothing that may have had an effect is asked again in a session: the work begins anew in another one.

        Args:
            tool: the tool that the work is about.
            work: is given a function that asks a call in the session.

        Raises:
            RecordingError: the API seems to be gone for good.
        """
        refused: list[UnansweredError] = []  # what was asked again in its session, as often as it may be

        async def attempt() -> Result:
            async with self._api.session() as session:

                async def ask(call: Call) -> Answer:
                    try:
                        async for again in self._retrying(tool, _had_no_effect):
                            with again:
                                return await self._limited(session, call)
                    except UnansweredError as error:
                        if _had_no_effect(error):
                            refused.append(error)
                        raise
                    raise AssertionError  # the loop ends by an answer or an error

                return await work(ask)

        return await self._patiently(tool, attempt, lambda error: error.retryable and error not in refused)

    async def close(self) -> None:
        """Closes the session; the next call opens another one."""
        self._session = None
        await self._stack.aclose()

    async def _patiently(
        self, tool: str, attempt: Callable[[], Awaitable[Result]], may_help: Callable[[UnansweredError], bool]
    ) -> Result | None:
        try:
            async for again in self._retrying(tool, may_help):
                with again:
                    result = await attempt()
        except UnansweredError as error:
            self._unanswered.add(tool, error)
            if self._unanswered.out_of_reach >= self._patience.give_up_after:
                raise RecordingError(
                    f"{self._api.source} did not answer {self._unanswered.out_of_reach} calls in a row; "
                    f"the last one: {error}"
                ) from None
            return None
        self._unanswered.answered(tool)
        return result

    async def _attempt(self, call: Call) -> Answer:
        if self._session is None:
            self._session = await self._stack.enter_async_context(self._api.session())
        try:
            return await self._limited(self._session, call)
        except UnansweredError as error:
            if error.lost_session:
                await self.close()
            raise

    async def _limited(self, session: Session, call: Call) -> Answer:
        if self._limiter:
            await self._limiter.acquire()
        return await session.ask(call)

    def _retrying(self, tool: str, may_help: Callable[[UnansweredError], bool]) -> AsyncRetrying:
        def worth_it(error: BaseException) -> bool:
            if not isinstance(error, UnansweredError) or (error.retry_after or 0) > self._patience.longest_pause:
                return False
            return may_help(error)

        broken = self._unanswered.faults[tool] >= self._patience.give_up_after
        return AsyncRetrying(
            retry=retry_if_exception(worth_it),
            stop=stop_after_attempt(1 if broken else self._patience.attempts),
            wait=self._pause,
            reraise=True,
        )

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, UnansweredError) else None
        return self._pauses(state) if asked is None else asked


def _had_no_effect(error: UnansweredError) -> bool:
    return error.kind == "busy"


def limiter_of(rate: float | None) -> AsyncLimiter | None:
    """A limiter to ``rate`` calls a second that lets through what came up in a tenth of a second at once."""
    if rate is None:
        return None
    burst = max(1.0, rate / 10)
    return AsyncLimiter(burst, burst / rate)
