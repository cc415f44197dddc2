"""Recording the solutions of problems, each in a session of its own, and what there is to see on the way."""

from collections import ChainMap
from collections.abc import MutableMapping, Sequence
from dataclasses import replace

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import DataSetError
from toolorch_env.core.states import state_after
from toolorch_env.recording.answers import record_of
from toolorch_env.recording.api import Api, Session
from toolorch_env.recording.importing.bfcl.world import is_error
from toolorch_env.store.records import Record


async def record_solution(
    api: Api, tools: ToolSet, calls: Sequence[Call], looks: Sequence[Call], records: dict[bytes, Record]
) -> tuple[Record, ...]:
    """Makes the calls of a solution in a fresh session, and all looks in every state that it comes through.

    Args:
        api: the back ends.
        tools: their tools.
        calls: the calls of the solution, the one that begins it first.
        looks: read-only calls; those that were recorded in a state before are not made there again.
        records: the records so far. Those of this session are put in together, or none of them.

    Returns:
        The records of the solution.

    Raises:
        DataSetError: a call of the solution fails, or was answered otherwise in the same state before.
        UnansweredError: an answer cannot be recorded.
    """
    new: dict[bytes, Record] = {}
    made = []
    async with api.session() as session:
        recorder = SessionRecorder(session, tools, ChainMap(new, records))
        for call in calls:
            made.append(await recorder.make(call))
            if not tools[call.tool].read_only:
                await recorder.look(looks)
    records.update(new)
    return tuple(made)


class SessionRecorder:
    """Records calls in one session, each in its state.

    Args:
        session: a fresh session.
        tools: the tools of its API.
        records: what was recorded before, by key; what is recorded here is put in.
    """

    def __init__(self, session: Session, tools: ToolSet, records: MutableMapping[bytes, Record]) -> None:
        self._session = session
        self._tools = tools
        self._records = records
        self._state = b""

    async def make(self, call: Call) -> Record:
        """Makes a call that has to succeed; returns its record, the first one of this call in this state.

        Raises:
            DataSetError: it fails, or was answered otherwise in the same state before.
            UnansweredError: the answer cannot be recorded.
        """
        record = await self._ask(call)
        if not record.response.success:
            raise DataSetError(f"{call.tool}({dict(call.arguments)}) is answered with {record.response.body}")
        first = self._records.setdefault(record.key, record)
        if first.response.raw != record.response.raw:
            raise DataSetError(f"{call.tool}({dict(call.arguments)}) is answered differently in one state")
        canonical = self._tools.canonical(call).within(self._state)
        self._state = state_after(canonical, first.response, self._tools[call.tool].read_only)
        return first

    async def look(self, looks: Sequence[Call]) -> None:
        """Makes the read-only calls that were not recorded in this state, whatever they are answered."""
        for look in looks:
            if self._tools.canonical(look).within(self._state).key not in self._records:
                record = await self._ask(look)
                self._records[record.key] = record

    async def _ask(self, call: Call) -> Record:
        canonical = self._tools.canonical(call).within(self._state)
        answer = await self._session.ask(Call(call.tool, canonical.arguments))
        if is_error(answer.body):
            answer = replace(answer, status=400)
        return record_of(self._tools, canonical, answer, {})
