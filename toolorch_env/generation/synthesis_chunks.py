"""What is drawn of a request, chunk by chunk: task i depends on the request and i alone, whatever draws it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.tasks import Task
from toolorch_env.core.version import VERSION
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.generation.registry import as_generator
from toolorch_env.generation.task_files import FORMATS
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

CHUNK_TASKS = 1000
"""Number of tasks in a chunk; the last one may have fewer."""

MAX_TASKS = 10**9
"""More tasks are not drawn into one file."""

DIGEST_BYTES = 8


@dataclass(frozen=True)
class SynthesisRequest:
    """Which tasks are drawn; the bytes of the file depend on nothing else.

    Attributes:
        content_hash: of the snapshot that they are drawn from.
        n: number of tasks, 1 to :data:`MAX_TASKS`.
        seed: 0 to 2^64 - 1.
        constraints: what is asked of each.
        suffix: of the file's format, one of :data:`toolorch_env.generation.task_files.FORMATS`.
        generator: name of the generator; ``None``: what is stored in the snapshot.
        check: whether each task is checked to be well posed.

    Raises:
        ConfigurationError: a number is out of range.
    """

    content_hash: str
    n: int
    seed: int
    constraints: TaskConstraints
    suffix: str
    generator: str | None = None
    check: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.n <= MAX_TASKS:
            raise ConfigurationError(f"{self.n:,} tasks cannot be drawn: ask for 1 to {MAX_TASKS:,}")
        if not 0 <= self.seed < 2**64:
            raise ConfigurationError(f"a seed is a number from 0 to 2^64 - 1, got {self.seed}")

    @property
    def chunks(self) -> int:
        """Number of chunks."""
        return -(-self.n // CHUNK_TASKS)

    def indices(self, number: int) -> range:
        """Which tasks are in a chunk."""
        return range(number * CHUNK_TASKS, min(self.n, (number + 1) * CHUNK_TASKS))

    def header(self) -> dict[str, Any]:
        """The request as JSON values by name, with the version of the package that draws."""
        return {
            "version": VERSION,
            "snapshot": self.content_hash,
            "generator": self.generator,
            "constraints": self.constraints.model_dump(mode="json", exclude_unset=True),
            "seed": self.seed,
            "n": self.n,
            "format": self.suffix,
            "check": self.check,
            "chunk": CHUNK_TASKS,
        }


@dataclass(frozen=True, slots=True)
class Chunk:
    """Drawn tasks.

    Attributes:
        number: which chunk of the request it is.
        data: the tasks as they are packed in the request's format.
        tasks: number of tasks.
        valid: how many of them are well posed; 0 where that was not checked.
        problem: what is wrong with the first one that is not, empty where none is.
        digests: :data:`DIGEST_BYTES` bytes for each task, equal for tasks with the same workflow and reference calls.
    """

    number: int
    data: bytes
    tasks: int
    valid: int
    problem: str
    digests: bytes


class IndexedTasks:
    """The tasks of a generator by number: a stream of Philox (Salmon et al. 2011) of its own decides each.

    Args:
        generator: draws the tasks.
        constraints: what is asked of each.
        seed: 0 to 2^64 - 1.
    """

    def __init__(self, generator: TaskGenerator, constraints: TaskConstraints, seed: int) -> None:
        self._generator = generator
        self._constraints = constraints
        self._bits = np.random.Philox(key=seed)
        self._rng = np.random.Generator(self._bits)
        self._start = self._bits.state  # setting it is ten times as fast as making a generator

    def __getitem__(self, index: int) -> Task:
        self._start["state"]["counter"][:] = 0, index, 0, 0
        self._bits.state = self._start
        return self._generator.sample(self._rng, self._constraints)


class ChunkDrawer:
    """Draws chunks of a request.

    Args:
        snapshot: the recorded API, or the path of its file.
        request: what to draw.

    Raises:
        ConfigurationError: the snapshot is another one than that of the request, or there is no such generator.
        TaskError, WorkflowError: the snapshot does not hold what the generator draws from.
    """

    def __init__(self, snapshot: Snapshot | Path, request: SynthesisRequest) -> None:
        self.snapshot = snapshot = snapshot if isinstance(snapshot, Snapshot) else Snapshot(snapshot)
        if snapshot.content_hash != request.content_hash:
            raise ConfigurationError(f"{snapshot.path} has changed since the tasks were asked for: start anew")
        self.request = request
        self.generator = as_generator(request.generator, snapshot)
        self.tasks = IndexedTasks(self.generator, request.constraints, request.seed)

    @cached_property
    def _replay(self) -> SnapshotReplay:
        return SnapshotReplay(self.snapshot)

    def draw(self, number: int) -> Chunk:
        """A chunk.

        Raises:
            ConstraintError: no task satisfies the constraints.
        """
        tasks = [self.tasks[index] for index in self.request.indices(number)]
        problems = list(self._problems(tasks)) if self.request.check else []
        valid = len(tasks) - len(problems) if self.request.check else 0
        data = FORMATS[self.request.suffix].encode(tasks)
        digests = b"".join(map(reference_digest, tasks))
        return Chunk(number, data, len(tasks), valid, problems[0] if problems else "", digests)

    def _problems(self, tasks: list[Task]) -> Iterator[str]:
        """What is wrong with each task that is not well posed."""
        for task in tasks:
            problem = next(task_problems(task, self._replay), None)
            if problem is not None:
                yield f"task {task.id!r}: {problem}"


def reference_digest(task: Task) -> bytes:
    """A hash of what is done in a task: its workflow and reference calls, however the query says it."""
    calls = [[call.tool, call.arguments] for call in task.reference]
    return blake2b(orjson.dumps([task.workflow, calls]), digest_size=DIGEST_BYTES).digest()
