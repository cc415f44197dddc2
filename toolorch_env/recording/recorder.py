"""Recording an API by a plan: many calls at once, nothing asked twice, to be interrupted and taken up at any moment."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from random import SystemRandom
from typing import Any

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.errors import UnansweredError
from toolorch_env.core.states import state_after
from toolorch_env.recording.answers import record_of
from toolorch_env.recording.api import Answer, Api
from toolorch_env.recording.asking import Ask, Asker, Patience, limiter_of
from toolorch_env.recording.plans.crawling import Frontier
from toolorch_env.recording.plans.plan import Plan
from toolorch_env.recording.plans.runs import Run, draw_runs, plan_workflows
from toolorch_env.recording.summary import Progress, Summary
from toolorch_env.recording.text import compile_extractions
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record

FLUSH_SECONDS = 0.02
CHUNK = 500


class Recorder:
    """Records what a plan asks of an API into a store.

    Args:
        api: the API.
        tools: its tools, as they are recorded (see :func:`marked_tools`).
        store: where answers go, declared for these tools.
        patience: how hard the API is asked.
        progress: is told after each call, and after each run of a workflow in a session of its own.
        shared: whether other recorders may work into the store at the same time. Each takes an order of its own, and
            looks again right before it asks.
    """

    def __init__(
        self,
        api: Api,
        tools: ToolSet,
        store: RecordStore,
        patience: Patience,
        progress: Progress | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self.summary = Summary()
        self._api = api
        self._tools = tools
        self._store = store
        self._patience = patience
        self._progress = progress
        self._shared = shared
        self._limiter = limiter_of(patience.rate)
        self._pending: dict[bytes, Record] = {}
        self._under_way: dict[bytes, asyncio.Event] = {}
        self._planned: set[bytes] = set()
        self._extractions: Mapping[str, Any] = {}

    async def carry_out(self, plan: Plan) -> Frontier:
        """Makes all calls of a plan that are not in the store; returns what was planned.

        A call that got no answer is not asked again by a further plan.

        Raises:
            PlanError, WorkflowError: the plan or its workflows do not fit the API.
            RecordingError: the API is gone. What was answered is kept.
            SnapshotWriteError: the store cannot be written.
        """
        frontier = Frontier(plan, self._tools)
        workflows = plan_workflows(plan, self._tools)
        self._extractions = compile_extractions(plan.extract)
        async with self._workers() as work:
            while calls := frontier.next_round(self._store.find):
                new = [call for call in calls if self._plan(call.key)]
                if self._shared:
                    SystemRandom().shuffle(new)
                await work(self._missing(new))
            if workflows and plan.workflows and plan.workflows.runs:
                literals = plan.workflows.literals
                pools = {kind: frontier.values(source, self._store.find) for kind, source in literals.items()}
                await work(draw_runs(plan, workflows, pools, self._tools))
        return frontier

    def _plan(self, key: bytes) -> bool:
        """Counts a call; says whether it is for the first time."""
        if key in self._planned:
            return False
        self._planned.add(key)
        self.summary.planned += 1
        return True

    def _missing(self, calls: Sequence[CanonicalCall]) -> Iterator[CanonicalCall]:
        """The calls that are not in the store."""
        for start in range(0, len(calls), CHUNK):
            part = calls[start : start + CHUNK]
            held = self._store.held([call.key for call in part])
            self.summary.known += len(held)
            self._tell()
            yield from (call for call in part if call.key not in held)

    @asynccontextmanager
    async def _workers(self) -> AsyncIterator[Callable[[Iterable[CanonicalCall | Run]], Any]]:
        """Tasks that make calls as long as the block lasts; gives a function that hands them jobs and waits."""
        queue: asyncio.Queue[CanonicalCall | Run] = asyncio.Queue(2 * self._patience.sessions)

        async def work(jobs: Iterable[CanonicalCall | Run]) -> None:
            for job in jobs:
                await queue.put(job)
            await queue.join()
            self._flush()

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._serve(queue)) for _ in range(self._patience.sessions)]
                tasks.append(group.create_task(self._flush_regularly()))
                yield work
                for task in tasks:
                    task.cancel()
        except BaseExceptionGroup as errors:
            raise _first_error(errors) from None
        finally:
            self._flush()

    async def _serve(self, queue: "asyncio.Queue[CanonicalCall | Run]") -> None:
        asker = Asker(self._api, self._patience, self._limiter, self.summary.unanswered)
        try:
            while True:
                job = await queue.get()
                if isinstance(job, Run):
                    await self._run(job, asker)
                else:
                    await self._record(job, asker)
                self._tell()
                queue.task_done()
        finally:
            await asker.close()

    async def _flush_regularly(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            self._flush()

    async def _record(self, call: CanonicalCall, asker: Asker) -> Record | None:
        """Asks a call and keeps the answer; where another task is asking the same, waits for its answer."""
        if call.key in self._under_way:
            await self._under_way[call.key].wait()
            return self._held(call)
        if self._shared and (record := self._held(call)) is not None:
            self.summary.known += 1
            return record
        self._under_way[call.key] = asyncio.Event()
        try:
            record = await self._ask(call, asker)
            if record is not None:
                self._keep([record])
            return record
        except UnansweredError as error:
            self.summary.unanswered.add(call.tool, error)
            return None
        finally:
            self._under_way.pop(call.key).set()

    async def _ask(self, call: CanonicalCall, asker: Asker) -> Record | None:
        plain = Call(call.tool, call.arguments)
        if self._tools[call.tool].read_only:
            answer = await asker.ask(plain)
        else:  # what it changes must not be seen by other calls
            answer = await asker.in_fresh_session(call.tool, lambda ask: ask(plain))
        return None if answer is None else self._as_record(call, answer)

    def _as_record(self, call: CanonicalCall, answer: Answer) -> Record:
        return record_of(self._tools, call, answer, self._extractions)

    async def _run(self, run: Run, asker: Asker) -> None:
        self.summary.runs += 1
        if not run.stateful:
            records = await self._chain(run, lambda call: self._look_up_or_record(call, asker))
        elif (known := await self._known_chain(run)) is not None:
            records = known
        else:
            records = await self._chain_in_fresh_session(run, asker)
        self.summary.complete_runs += len(records) == len(run.workflow.order)

    async def _chain(self, run: Run, answer: Callable[[CanonicalCall], Awaitable[Record | None]]) -> list[Record]:
        """Makes the calls of a run as far as it goes."""
        bodies: dict[str, Any] = {}
        state, records = b"", []
        for step in run.workflow.order:
            call = run.call(step, bodies, state, self._tools)
            record = await answer(call) if call is not None else None
            if call is None or record is None:
                break
            records.append(record)
            bodies[step.id] = record.response.body
            state = state_after(call, record.response, call.tool not in self._tools.state_changing)
            if not record.response.success:
                break
        return records

    async def _known_chain(self, run: Run) -> list[Record] | None:
        """The records of a run that was recorded before, ``None`` if a call of it was not."""
        missed = False

        async def look_up(call: CanonicalCall) -> Record | None:
            nonlocal missed
            record = self._held(call)
            missed = record is None
            return record

        records = await self._chain(run, look_up)
        if missed:
            return None
        self.summary.known += sum(self._plan(record.key) for record in records)
        return records

    async def _chain_in_fresh_session(self, run: Run, asker: Asker) -> list[Record]:
        """Makes all calls of a run in a session of its own; they are kept together, or none of them."""

        async def work(ask: Ask) -> list[Record]:
            async def answer(call: CanonicalCall) -> Record:
                return self._as_record(call, await ask(Call(call.tool, call.arguments)))

            return await self._chain(run, answer)

        made = await asker.in_fresh_session(run.workflow.order[-1].tool, work)
        if made is None:
            self.summary.planned += 1  # the call that was not answered
            return []
        return self._keep_session(made)

    def _keep_session(self, made: Sequence[Record]) -> list[Record]:
        """Keeps the calls of a session, up to one that was answered otherwise before: it led into another state."""
        held = self._all_held([record.key for record in made])
        first, agreeing = dict(held), []
        for record in made:
            if _said(first.setdefault(record.key, record)) != _said(record):
                self.summary.changed += 1
                break
            agreeing.append(record)
        self.summary.known += sum(self._plan(record.key) and record.key in held for record in agreeing)
        self._keep([record for record in agreeing if record.key not in held])
        return agreeing

    async def _look_up_or_record(self, call: CanonicalCall, asker: Asker) -> Record | None:
        is_new = self._plan(call.key)
        record = self._held(call)
        if record is not None:
            self.summary.known += is_new
            return record
        if is_new or call.key in self._under_way:
            return await self._record(call, asker)
        return None  # it was asked, and not answered

    def _held(self, call: CanonicalCall) -> Record | None:
        return self._all_held([call.key]).get(call.key)

    def _all_held(self, keys: Sequence[bytes]) -> dict[bytes, Record]:
        """The records that there are under some keys, in the store or on their way to it."""
        pending = {key: self._pending[key] for key in keys if key in self._pending}
        return self._store.find([key for key in keys if key not in pending]) | pending

    def _keep(self, records: Sequence[Record]) -> None:
        """Keeps records; those kept together reach the store together or not at all."""
        for record in records:
            if record.key not in self._pending:
                self.summary.recorded += 1
                self.summary.statuses[record.response.status] += 1
                self._pending[record.key] = record

    def _flush(self) -> None:
        if self._pending:
            self._store.add(list(self._pending.values()))
            self._pending = {}

    def _tell(self) -> None:
        if self._progress:
            self._progress(self.summary)


def _said(record: Record) -> tuple[int, bytes]:
    return record.response.status, record.response.raw


def _first_error(errors: BaseException) -> BaseException:
    """What went wrong, out of a group of tasks that were stopped for it."""
    while isinstance(errors, BaseExceptionGroup):
        errors = errors.exceptions[0]
    return errors


def marked_tools(tools: ToolSet, plan: Plan) -> ToolSet:
    """The tools of an API as a plan marks them: read-only or state-changing.

    Raises:
        PlanError: the plan does not fit the tools.
    """
    plan.check_tools(tools)
    return ToolSet(
        replace(
            tool, read_only=(tool.read_only or tool.name in plan.read_only) and tool.name not in plan.state_changing
        )
        for tool in tools.values()
    )
