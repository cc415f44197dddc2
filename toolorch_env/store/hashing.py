"""The content hash: one number over everything that a snapshot recorded."""

from collections.abc import Iterable, Iterator
from hashlib import blake2b

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.tasks import Task
from toolorch_env.core.tools import Tool
from toolorch_env.store.records import Record


class ContentHash:
    """Hash over tools, workflows, tasks, calls, states, statuses and bodies. Times and latencies are left out.

    Args:
        tools: the tools, in their order.
        workflows: the workflow document as it is stored, if there is one.
        tasks: the stored tasks, in their order.
    """

    def __init__(self, tools: Iterable[Tool], workflows: bytes | None, tasks: Iterable[Task] = ()) -> None:
        self._state = blake2b(digest_size=16)
        for tool in tools:
            described = [tool.name, tool.description, tool.parameters, tool.miss_status, tool.miss_body, tool.read_only]
            self._state.update(canonical_json(described) + b"\n")
        self._state.update(b"%d\n" % len(workflows or b"") + (workflows or b""))
        for task in tasks:
            self._state.update(task.to_json() + b"\n")

    def through(self, records: Iterable[Record]) -> Iterator[Record]:
        """Hands records on, in the order of rows, and takes each into the hash."""
        for record in records:
            raw = record.response.raw
            head = canonical_json([record.tool, record.response.status, len(raw), record.state.hex()])
            self._state.update(head + b"\n" + record.arguments + b"\n" + raw + b"\n")
            yield record

    def hexdigest(self) -> str:
        """The hash over what was taken in so far, in hexadecimal."""
        return self._state.hexdigest()
