"""Asking the real API what a snapshot does not hold, while episodes are played, and keeping what it answers."""

import asyncio
import logging
import os
import threading
import weakref
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyio.from_thread import BlockingPortal, start_blocking_portal

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import ConfigurationError, RecordingError, SnapshotWriteError
from toolorch_env.core.responses import Response, Source
from toolorch_env.recording.answers import record_of
from toolorch_env.recording.api import Api
from toolorch_env.recording.asking import Asker, Patience, limiter_of
from toolorch_env.recording.plans.plan import Plan
from toolorch_env.recording.summary import Unanswered
from toolorch_env.recording.text import compile_extractions
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.databases import is_url
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.sources import provenance

LIVE_PATIENCE = Patience(attempts=3, longest_pause=10.0, give_up_after=4)
"""Less than a recording has: an episode waits. A tool that failed four times in a row is asked once for each call."""

_LOGGER = logging.getLogger(__name__)


class LiveApi:
    """The real API behind a snapshot, for ``on_miss="live"``::

        api = asyncio.run(open_http_api("https://api.example.org/openapi.json"))
        with LiveApi(api, "example.sqlite") as live:
            env = gym.make("ToolOrchText-v0", snapshot="example.sqlite", on_miss="live", live=live)

    What the API answers, its refusals (4xx) among them, goes to a store of recorded calls and is found there from then
    on, also by later processes; ``toolorch snapshot merge`` adds it to the snapshot. A call that gets no answer is a
    miss, and is asked again next time; a warning is logged for each kind of failure.

    State-changing tools are never asked: what they change would be there in all episodes to come, which then were not
    the same any more, and it may be a booking. Nor is anything asked after a state-changing call of the episode: the
    real API was not told of that one.

    Environments of one process share one of these, from any of their threads. Nothing is opened before the first call
    that the snapshot does not hold; each process, forked ones too, opens its own. A file takes one process: several
    keep their answers in a database together.

    Args:
        api: the API, as for recording.
        snapshot: name, path or object of the snapshot that is played.
        store: file or database URL (``postgresql://...``) of the answers; default: ``<snapshot>.live.recording``.
        plan: the plan that the snapshot was recorded by, where it extracts values from texts.
        patience: how hard the API is asked.

    Raises:
        SnapshotError: the snapshot cannot be read.
        ConfigurationError: a tool of the snapshot is not among the API's, or takes other parameters there.
    """

    def __init__(
        self,
        api: Api,
        snapshot: str | os.PathLike[str] | Snapshot,
        store: str | os.PathLike[str] | None = None,
        *,
        plan: Plan | None = None,
        patience: Patience = LIVE_PATIENCE,
    ) -> None:
        self.snapshot = snapshot if isinstance(snapshot, Snapshot) else open_snapshot(os.fspath(snapshot))
        self.store = str(store or self.snapshot.path.with_name(f"{self.snapshot.path.name}.live.recording"))
        if not is_url(self.store):
            self.store = str(Path(self.store).absolute())  # processes that were started elsewhere find it, too
        _check_tools(self.snapshot.tools, api)
        self._api = api
        self._plan = plan or Plan()
        self._patience = patience
        self._inherited: list[_Service | None] = []  # from before forks: kept, for nothing of it to be closed here
        self._set_out()

    def _set_out(self) -> None:
        self._lock = threading.Lock()
        self._process = os.getpid()
        self._service: _Service | None = None

    def __getstate__(self) -> dict[str, Any]:
        own = ("_lock", "_process", "_service")
        return {name: value for name, value in vars(self).items() if name not in own} | {"_inherited": []}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._set_out()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self  # Gymnasium copies what environments are made with; this is there to be shared

    def __repr__(self) -> str:
        return f"LiveApi({self._api.source!r}, store={self.store!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes sessions and store. The next call that is not in the snapshot opens them again."""
        self._heed_fork()
        with self._lock:
            if self._service is not None:
                self._service.close()
            self._service = None

    def answer(self, call: CanonicalCall) -> Response | None:
        """What the API answers to a call of a read-only tool in a fresh session, now or earlier.

        Returns:
            The response; ``None`` if the API gives none, or may not be asked.

        Raises:
            SnapshotError: the store cannot be opened or written.
        """
        if call.state or call.tool in self.snapshot.tools.state_changing:
            return None
        return _as_live(self._opened().answer(call))

    def look_up(self, call: CanonicalCall) -> Response | None:
        """What the API answered earlier, ``None`` where it was not asked. It is not asked now.

        Raises:
            SnapshotError: the store cannot be opened.
        """
        if call.state:
            return None  # only calls in the first state are asked
        return _as_live(self._opened().look_up(call))

    def _heed_fork(self) -> None:
        if self._process != os.getpid():  # the thread that serves is not there, and the lock may be held for good
            self._inherited.append(self._service)
            self._set_out()

    def _opened(self) -> "_Service":
        self._heed_fork()
        with self._lock:
            if self._service is None:
                self._service = self._open()
            return self._service

    def _open(self) -> "_Service":
        try:
            store = RecordStore(self.store)
        except SnapshotWriteError as error:
            if is_url(self.store):
                raise
            raise SnapshotWriteError(
                f"{error}. Environments of one process share one LiveApi; several processes keep live answers in a "
                "database: LiveApi(..., store='postgresql://...')"
            ) from None
        try:
            told = provenance(self.snapshot)
            store.declare(
                self.snapshot.tools.values(),
                name=self.snapshot.name,
                description=told["description"],
                source=told["source"],
                licence=told["licence"],
            )
        except BaseException:
            store.close()
            raise
        return _Service(self._api, self.snapshot.tools, store, self._plan, self._patience)


def _check_tools(tools: ToolSet, api: Api) -> None:
    for name, tool in tools.items():
        other = api.tools.get(name)
        if other is None or canonical_json(other.parameters) != canonical_json(tool.parameters):
            what = "lacks" if other is None else "takes other parameters for"
            raise ConfigurationError(f"{api.source} cannot be asked live: it {what} the snapshot's tool {name!r}")


def _as_live(record: Record | None) -> Response | None:
    if record is None:
        return None
    told = record.response
    return Response(
        told.status, told.raw, Source.LIVE, digest=told.digest, latency=told.latency, recorded_at=told.recorded_at
    )


class _Service:
    """An open store and sessions with an API, in a thread of their own that does all of the work."""

    def __init__(self, api: Api, tools: ToolSet, store: RecordStore, plan: Plan, patience: Patience) -> None:
        self._portal_context: AbstractContextManager[BlockingPortal] = start_blocking_portal(name="toolorch-live")
        self._portal = self._portal_context.__enter__()
        self._sessions = _Sessions(api, tools, store, plan, patience)
        self.close = weakref.finalize(self, _close, os.getpid(), self._portal_context, self._portal, self._sessions)

    def answer(self, call: CanonicalCall) -> Record | None:
        found: Record | None = self._portal.call(self._sessions.answer, call)
        return found

    def look_up(self, call: CanonicalCall) -> Record | None:
        found: Record | None = self._portal.call(self._sessions.look_up, call)
        return found


def _close(
    process: int, context: AbstractContextManager[BlockingPortal], portal: BlockingPortal, sessions: "_Sessions"
) -> None:
    if process == os.getpid():
        portal.call(sessions.close)
        context.__exit__(None, None, None)


class _Sessions:
    """Sessions with an API, opened as they are needed, each served by one task. Lives in one event loop."""

    def __init__(self, api: Api, tools: ToolSet, store: RecordStore, plan: Plan, patience: Patience) -> None:
        self._api = api
        self._tools = tools
        self._store = store
        self._extractions = compile_extractions(plan.extract)
        self._patience = patience
        self._limiter = limiter_of(patience.rate)
        self._unanswered = Unanswered()
        self._warned: set[str] = set()
        self._under_way: dict[bytes, asyncio.Future[Record | None]] = {}
        self._waiting: asyncio.Queue[CanonicalCall] = asyncio.Queue()
        self._servers: set[asyncio.Task[None]] = set()

    def look_up(self, call: CanonicalCall) -> Record | None:
        return self._store.find([call.key]).get(call.key)

    async def answer(self, call: CanonicalCall) -> Record | None:
        known = self.look_up(call)
        if known is not None:
            return known
        if call.key not in self._under_way:  # two environments may ask the same
            self._under_way[call.key] = asyncio.get_running_loop().create_future()
            self._waiting.put_nowait(call)
            if len(self._servers) < min(len(self._under_way), self._patience.sessions):
                self._servers.add(asyncio.create_task(self._serve()))
        return await asyncio.shield(self._under_way[call.key])

    async def close(self) -> None:
        for server in self._servers:
            server.cancel()
        await asyncio.gather(*self._servers, return_exceptions=True)
        for answer in self._under_way.values():
            answer.set_result(None)
        self._store.close()

    async def _serve(self) -> None:
        asker = Asker(self._api, self._patience, self._limiter, self._unanswered)
        try:
            while True:
                call = await self._waiting.get()
                try:
                    record = await self._ask(call, asker)
                except Exception as error:  # told where the call was made
                    self._under_way.pop(call.key).set_exception(error)
                else:
                    self._under_way.pop(call.key).set_result(record)
        finally:
            await asker.close()

    async def _ask(self, call: CanonicalCall, asker: Asker) -> Record | None:
        try:
            answer = await asker.ask(Call(call.tool, call.arguments))
            if answer is None:
                self._warn(self._unanswered.examples)
                return None
            record = record_of(self._tools, call, answer, self._extractions)
        except RecordingError as error:
            self._warn({"gone": str(error)})
            return None
        self._store.add([record])
        return record

    def _warn(self, examples: dict[str, str]) -> None:
        for kind, example in examples.items():
            if kind not in self._warned:
                self._warned.add(kind)
                _LOGGER.warning("%s gives no answer, which is a miss (told once): %s", self._api.source, example)
