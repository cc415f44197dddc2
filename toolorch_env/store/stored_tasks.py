"""Tasks as they are stored: the fixed problems of a data set, beside the responses that they are played on."""

from collections.abc import Iterable

import zstandard

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import SnapshotCorruptError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.store.content import MAX_CONTENT_BYTES

_LEVEL = 19


def pack_tasks(tasks: Iterable[Task]) -> bytes:
    """Tasks as JSON lines in a zstd frame.

    Raises:
        TaskError: a value in a task is not JSON, or they are larger than
            :data:`toolorch_env.store.content.MAX_CONTENT_BYTES`.
    """
    lines = b"".join([_line(task) for task in tasks])
    if len(lines) > MAX_CONTENT_BYTES:
        raise TaskError(f"the tasks are larger than {MAX_CONTENT_BYTES:,} bytes: store them in several snapshots")
    return zstandard.ZstdCompressor(level=_LEVEL).compress(lines)


def _line(task: Task) -> bytes:
    try:
        for call in (*task.setup, *task.reference):
            canonical_json(call.arguments)  # else NaN would be written as null
        canonical_json([list(task.answer), [mention.value for mention in task.mentions]])
        return task.to_json() + b"\n"
    except ValueError as error:
        raise TaskError(f"task {task.id!r} cannot be stored: {error}") from None


def same_tasks(left: Iterable[Task], right: Iterable[Task]) -> bool:
    """Whether these are the same tasks in the same order, 1 and true told apart."""
    return [task.to_json() for task in left] == [task.to_json() for task in right]


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
            if call.optional and call.tool in tools.state_changing:
                raise TaskError(f"task {task.id!r}: the call of {call.tool!r} changes the state, so it is not optional")
