"""Tasks as they are stored: the fixed problems of a data set, beside the responses that they are played on."""

from collections.abc import Iterable

import orjson
import zstandard

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.errors import SnapshotCorruptError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.store.content import MAX_CONTENT_BYTES

_LEVEL = 19


def pack_tasks(tasks: Iterable[Task]) -> bytes:
    """Tasks as JSON lines in a zstd frame."""
    return zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join([task.to_json() + b"\n" for task in tasks]))


def unpack_tasks(data: bytes | None) -> tuple[Task, ...]:
    """The tasks that :func:`pack_tasks` packed; none for ``None``.

    Raises:
        SnapshotCorruptError: they are damaged.
    """
    if data is None:
        return ()
    try:
        if zstandard.frame_content_size(data) > MAX_CONTENT_BYTES:
            raise SnapshotCorruptError("the tasks claim to be larger than any that are stored")
        lines = zstandard.ZstdDecompressor().decompress(data).splitlines()
        return tuple([Task.from_json(line) for line in lines])
    except (zstandard.ZstdError, TypeError, TaskError) as error:
        raise SnapshotCorruptError(f"the tasks cannot be read: {error}") from None


def check_tasks(tasks: Iterable[Task], tools: ToolSet) -> None:
    """Checks that tasks can be told apart and call only tools that there are.

    Raises:
        TaskError: says which task does not.
    """
    seen: set[str] = set()
    for task in tasks:
        if task.id in seen:
            raise TaskError(f"there are two tasks {task.id!r}")
        seen.add(task.id)
        named = {*task.tools, *(call.tool for call in task.setup)}
        for name in sorted(named - tools.keys()):
            raise TaskError(f"task {task.id!r} names a tool {name!r}, which is not in the snapshot")
        for call in task.reference:
            try:
                orjson.dumps(call.arguments)
            except TypeError as error:
                raise TaskError(f"task {task.id!r}, call of {call.tool}: {error}") from None
