"""From a data set to a snapshot with fixed tasks."""

from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from toolorch_env.core.errors import DataSetError, SnapshotWriteError, TaskError
from toolorch_env.core.responses import Source
from toolorch_env.core.tasks import Task
from toolorch_env.recording.importing.answers import Conflict, keep_answers
from toolorch_env.recording.importing.tasks import ArgumentCounts, task_of
from toolorch_env.recording.importing.traces import DataSet
from toolorch_env.store.compiled import Link
from toolorch_env.store.files import replacing
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.sealing import all_links, with_learned_misses, write_snapshot
from toolorch_env.store.snapshot import Snapshot


@dataclass(frozen=True)
class ImportSummary:
    """What became of a data set.

    Attributes:
        path: the snapshot.
        tasks: number of tasks.
        calls: number of calls of their solutions.
        responses: number of different calls that the snapshot answers.
        without_body: how many of these are answered without a body, as it is not known.
        conflicts: calls that were answered differently in different places.
        arguments: where the arguments of the solutions come from.
        notes: what else is to be told, a sentence each.
    """

    path: Path
    tasks: int
    calls: int
    responses: int
    without_body: int
    conflicts: tuple[Conflict, ...]
    arguments: ArgumentCounts
    notes: tuple[str, ...]


def import_data_set(data_set: DataSet, target: str | PathLike[str], *, overwrite: bool = False) -> ImportSummary:
    """Writes a data set as a snapshot that holds its responses, and its problems as tasks.

    Of a call that is answered differently in different places one answer is kept, by the rule of
    :data:`toolorch_env.recording.importing.answers.RULE`. Where a trace does not say what its calls depend on, that is
    found in what they were answered (see :mod:`toolorch_env.core.data_flow`), as it is kept: so every task can be
    solved on the snapshot.

    Args:
        data_set: what an importer read.
        target: path of the snapshot; it is there whole or not at all.
        overwrite: whether to replace what is there.

    Raises:
        DataSetError: the parts of the data set do not fit together; says where.
        SnapshotWriteError: there is something already, or the snapshot cannot be written.
        WorkflowError: the data set's workflows do not fit its tools.
    """
    path = Path(target)
    if path.exists() and not overwrite:
        raise SnapshotWriteError(
            f"there is a file at {path} already: name another, or say that it is to be overwritten"
        )
    with replacing(path) as temporary, closing(RecordStore(None)) as store:
        provenance = {name: getattr(data_set, name) for name in ("name", "description", "source", "licence")}
        store.declare(data_set.tools, **provenance)
        conflicts = keep_answers(data_set, store)
        tasks, counts = _tasks(data_set, store)
        store.declare(with_learned_misses(store).values(), **provenance, workflows=data_set.workflows, tasks=tasks)
        try:
            write_snapshot(store, temporary, links=all_links(store) | links_of(tasks))
        except TaskError as error:
            raise DataSetError(str(error)) from None
    snapshot = Snapshot(path)
    without_body = sum(record.response.source is Source.WITHOUT_BODY for record in snapshot.records())
    calls = sum(len(task.reference) for task in tasks)
    return ImportSummary(path, len(tasks), calls, len(snapshot), without_body, tuple(conflicts), counts, data_set.notes)


def links_of(tasks: Iterable[Task]) -> set[Link]:
    """The ways in which values flow in the solutions of tasks."""
    return {
        Link(binding.parameter, task.reference[binding.step].tool, binding.select)
        for task in tasks
        for call in task.reference
        for binding in call.bindings
    }


def _tasks(data_set: DataSet, store: RecordStore) -> tuple[list[Task], ArgumentCounts]:
    tasks, counts = [], ArgumentCounts()
    for trace in data_set.traces:
        try:
            task, found = task_of(trace, store)
        except TaskError as error:
            raise DataSetError(f"trace {trace.id!r}: {error}") from None
        tasks.append(task)
        counts += found
    repeated = [task_id for task_id, count in Counter(task.id for task in tasks).items() if count > 1]
    if repeated:
        raise DataSetError(f"two traces have the same id {repeated[0]!r}: name each file once")
    return tasks, counts
