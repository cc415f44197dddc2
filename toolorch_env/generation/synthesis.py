"""Drawing many tasks into a file: whole or not at all, resumable, and the same bytes whatever draws them."""

import shutil
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolorch_env.core.errors import ConfigurationError, SnapshotWriteError
from toolorch_env.generation.constraints import TaskConstraints, read_constraints
from toolorch_env.generation.synthesis_chunks import Chunk, ChunkDrawer, SynthesisRequest
from toolorch_env.generation.synthesis_partial import PartialFile, partial_path
from toolorch_env.generation.synthesis_ray import draw_on_ray
from toolorch_env.generation.synthesis_supply import Supply, supply_of
from toolorch_env.generation.synthesis_workers import draw_here, draw_in_processes
from toolorch_env.generation.task_files import task_format
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.files import replacing
from toolorch_env.store.snapshot import Snapshot

_PROBES = 20
_PACKED = 0.15
"""About what a task takes packed, as a share of its JSON."""


@dataclass(frozen=True)
class Drawers:
    """What draws tasks: this process, several, or a cluster. The tasks are the same.

    Attributes:
        workers: number of processes; 1: this one alone.
        ray: address of a Ray cluster, as ``ray.init`` takes it, in place of processes.

    Raises:
        ConfigurationError: the number is out of range, or both are asked for.
    """

    workers: int = 1
    ray: str | None = None

    def __post_init__(self) -> None:
        if self.workers < 1:
            raise ConfigurationError(f"{self.workers} workers draw nothing: ask for 1 or more")
        if self.ray is not None and self.workers > 1:
            raise ConfigurationError("tasks are drawn by workers here or on a Ray cluster, not both")

    def draw(self, drawer: ChunkDrawer, numbers: Sequence[int]) -> Generator[Chunk, None, None]:
        """The chunks of these numbers, in any order."""
        if self.ray is not None:
            return draw_on_ray(drawer.snapshot.path, drawer.request, numbers, self.ray)
        workers = min(self.workers, len(numbers))
        if workers > 1:
            return draw_in_processes(drawer.snapshot.path, drawer.request, numbers, workers)
        return draw_here(drawer, numbers)


@dataclass(frozen=True)
class Synthesis:
    """What came of drawing tasks into a file.

    Attributes:
        path: the file.
        drawn: number of tasks in it.
        resumed: how many of them an earlier run had drawn.
        valid: how many are well posed; ``None`` where that was not checked.
        problem: what is wrong with the first one that is not, empty where none is.
        distinct: how many differ in their workflow or their reference calls.
        seconds: how long it took, without counting what there is to draw from.
        supply: what there is to draw from; ``None`` where the generator cannot say.
    """

    path: Path
    drawn: int
    resumed: int
    valid: int | None
    problem: str
    distinct: int
    seconds: float
    supply: Supply | None


def synthesize(
    snapshot: str | Path | Snapshot,
    path: str | Path,
    *,
    n: int,
    seed: int = 0,
    constraints: TaskConstraints | Mapping[str, Any] | None = None,
    generator: str | None = None,
    check: bool = True,
    drawers: Drawers | None = None,
    overwrite: bool = False,
    progress: Callable[[int], None] = lambda drawn: None,
) -> Synthesis:
    """Draws tasks into a file.

    Task i depends on the snapshot, the constraints, the generator, the seed and i alone. What is drawn is kept in a
    file beside the target; interrupted and run again, it goes on where it was and ends with the same bytes.

    Args:
        snapshot: the recorded API, or its bundled name or path.
        path: the file; its name ends in ``.jsonl``, ``.jsonl.zst`` or ``.parquet``.
        n: number of tasks, 1 to 10^9.
        seed: 0 to 2^64 - 1.
        constraints: what is asked of each task.
        generator: name of the generator (see :mod:`toolorch_env.generation.registry`); by default the snapshot's tasks
            where it has any, else its workflows.
        check: whether each task is checked to be well posed, by replaying it.
        drawers: what draws; by default this process alone.
        overwrite: whether to replace the file, and to start anew where an earlier run was interrupted.
        progress: told the number of tasks that are there, now and then.

    Raises:
        ConfigurationError: an option is wrong, the file exists, or an earlier run for it asked for something else.
        ConstraintError: no task satisfies the constraints.
        TaskError, WorkflowError: the snapshot does not hold what the generator draws from.
        SnapshotWriteError: the file cannot be written.
        ToolOrchError: a worker or the cluster failed; what was drawn before is kept.
    """
    path, opened, drawers = Path(path), open_snapshot(snapshot), drawers or Drawers()
    check_target(path, overwrite)
    asked = read_constraints(constraints)
    request = SynthesisRequest(opened.content_hash, n, seed, asked, task_format(path).suffix, generator, check)
    drawer = ChunkDrawer(opened, request)
    _check_room(path, drawer)
    started = time.perf_counter()
    with PartialFile(path, request.header(), overwrite=overwrite) as partial:
        resumed = partial.tasks()
        _draw_all(drawer, drawers, partial, progress)
        with replacing(path) as temporary, temporary.open("wb") as file:
            task_format(path).join(partial.data(), file)
        seconds = time.perf_counter() - started
        valid = partial.valid() if check else None
        facts = (path, partial.tasks(), resumed, valid, partial.problem(), partial.distinct(), seconds)
        partial.discard()
    return Synthesis(*facts, supply_of(drawer.generator, asked))


def check_target(path: Path, overwrite: bool) -> None:
    """Checks that a file of tasks can be written there.

    Raises:
        ConfigurationError: its name or folder is wrong, or it exists.
    """
    task_format(path)
    if path.is_dir() or not path.resolve().parent.is_dir():
        raise ConfigurationError(f"{path} cannot be written: it is a folder, or its folder does not exist")
    if path.exists() and not overwrite:
        raise ConfigurationError(f"{path} exists: choose another name, or replace it with --overwrite")


def _check_room(path: Path, drawer: ChunkDrawer) -> None:
    """Draws a few tasks, to see that there are any, and that all of them fit on the disk."""
    request = drawer.request
    sizes = [len(drawer.tasks[index].to_json()) for index in range(min(request.n, _PROBES))]
    share = _PACKED + (1 if request.suffix == ".jsonl" else _PACKED)
    needed, free = int(sum(sizes) / len(sizes) * share * request.n), shutil.disk_usage(path.resolve().parent).free
    if needed > free and not partial_path(path).exists():
        raise SnapshotWriteError(
            f"{path} cannot be written: {request.n:,} tasks take about {needed / 1e9:,.1f} GB, and "
            f"{free / 1e9:,.1f} GB are free"
        )


def _draw_all(drawer: ChunkDrawer, drawers: Drawers, partial: PartialFile, progress: Callable[[int], None]) -> None:
    there, drawn = partial.numbers(), partial.tasks()
    progress(drawn)
    missing = [number for number in range(drawer.request.chunks) if number not in there]
    if not missing:
        return
    with closing(drawers.draw(drawer, missing)) as chunks:  # else workers live until the generator is collected
        for chunk in chunks:
            partial.add(chunk)
            drawn += chunk.tasks
            progress(drawn)
