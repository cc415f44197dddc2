"""A thread that a session's functions run in, and that can be left behind."""

import asyncio
import concurrent.futures
import queue
import threading
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from toolorch_env.core.errors import UnansweredError

T = TypeVar("T")

_CLOSING = 2.0  # seconds for tasks that the functions left running to end


class SessionThread:
    """Runs one function after the other, all in one thread, with an event loop of its own for awaitables.

    So objects that belong to the thread that made them work, and neither a function that blocks nor one that tries to
    end the program disturbs the recorder. A function that never returns does not keep the program from ending.
    """

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], concurrent.futures.Future[Any]] | None]
        self._jobs = queue.SimpleQueue()
        self._ended: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._runner = asyncio.Runner()
        self._lost = False
        self._thread = threading.Thread(target=self._work, name="toolorch-session", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[[], T], timeout: float, name: str) -> T:
        """What a function returns.

        Args:
            function: what to run; it raises nothing but what ends programs.
            timeout: seconds to wait.
            name: what runs, for messages.

        Raises:
            UnansweredError: it does not return in time, or tried to end the program; nothing can run after it.
        """
        if self._lost:
            raise UnansweredError("exited", f"{name}: the session is lost")
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        self._jobs.put((function, future))
        self._lost = True  # until it returns
        try:
            async with asyncio.timeout(timeout):
                result = await asyncio.wrap_future(future)
        except TimeoutError:
            raise UnansweredError("timeout", f"{name} did not return within {timeout} s") from None
        self._lost = False
        return result

    def wait_for(self, awaitable: Awaitable[T]) -> T:
        """The result of an awaitable, waited for in this thread."""

        async def awaited() -> T:
            return await awaitable

        return self._runner.run(awaited())

    async def end(self, last: Callable[[], None]) -> None:
        """Runs ``last`` and ends the thread, as soon as what runs in it returns."""
        self._jobs.put((last, concurrent.futures.Future()))
        self._jobs.put(None)
        if not self._lost:
            await asyncio.wait({asyncio.wrap_future(self._ended)}, timeout=_CLOSING)
        if self._ended.done():
            self._thread.join()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            function, future = job
            if future.set_running_or_notify_cancel():
                _settle(function, future)
            del job, function, future  # what they hold is free while this waits
        self._runner.close()
        self._ended.set_result(None)


def _settle(function: Callable[[], T], future: concurrent.futures.Future[T]) -> None:
    try:
        result = function()
    except BaseException as error:  # SystemExit, KeyboardInterrupt
        future.set_exception(UnansweredError("exited", f"a function tried to end the program: {error!r}"))
    else:
        future.set_result(result)
