"""The snapshots that tests run on: the small library, the bank that changes, the bundled travel where it was built."""

import atexit
import shutil
import tempfile
from collections import Counter
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from small_world import write_small_world
from stateful_world import write_stateful_world

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConstraintError
from toolorch_env.core.responses import Response
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import SPLITS
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.graph_generator import VARIETY, GraphGenerator
from toolorch_env.generation.tool_graph import ToolGraph, infer_tool_graph
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot

TRAVEL = Path(__file__).parents[1] / "cache_snapshots" / "travel" / "travel.sqlite"
WORLD_NAMES = ("library", "bank", "travel") if TRAVEL.exists() else ("library", "bank")
TASK_SEEDS = 400
"""Tasks are drawn from that many seeds for each split."""

RECORDED_CALLS = 400
"""That many recorded calls of a snapshot are used in generated sequences."""


class World:
    """A snapshot with its replay and its tasks, opened once in each process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.snapshot = Snapshot(path)
        self.replay = SnapshotReplay(self.snapshot)
        self.generator = WorkflowGenerator(self.snapshot)

    @cached_property
    def graph_generator(self) -> GraphGenerator:
        """Draws tasks that nobody wrote."""
        return self.graph_generator_of(VARIETY)

    def graph_generator_of(self, variety: int) -> GraphGenerator:
        """The same with so many draws of a workflow; all of them share what takes seconds to find."""
        return GraphGenerator(self.snapshot, self._graph, variety=variety)

    @cached_property
    def _graph(self) -> ToolGraph:
        return infer_tool_graph(self.snapshot)

    @cached_property
    def splits(self) -> list[str]:
        """The splits that have tasks."""
        return [split for split in SPLITS if self._has_tasks(split)]

    def _has_tasks(self, split: str) -> bool:
        try:
            self.generator.sample(np.random.default_rng(0), {"split": split})
        except ConstraintError:
            return False
        return True

    @cache  # noqa: B019  worlds live as long as their process
    def task(self, split: str, seed: int) -> Task:
        """A task of a split."""
        return self.generator.sample(np.random.default_rng(seed), {"split": split})

    def tasks(self, count: int) -> list[Task]:
        """Tasks of all splits in turn."""
        return [self.task(self.splits[index % len(self.splits)], index) for index in range(count)]

    @cached_property
    def recorded(self) -> list[Call]:
        """Recorded calls, about as many of each tool, successes and errors."""
        counts: Counter[str] = Counter()
        found = []
        for call, _ in self._records:
            if counts[call.tool] < max(RECORDED_CALLS // len(self.snapshot.tools), 8):
                counts[call.tool] += 1
                found.append(call)
        return found

    @cached_property
    def by_digest(self) -> dict[int, list[Call]]:
        """Recorded calls by the digest of their response: other ways to ask for the same thing."""
        found: dict[int, list[Call]] = {}
        for call, digest in self._records:
            if digest:
                found.setdefault(digest, []).append(call)
        return found

    @cached_property
    def responses(self) -> dict[bytes, list[Response]]:
        """The recorded responses to each call, in whatever state, by the call's key in a fresh session."""
        found: dict[bytes, list[Response]] = {}
        for record in self.snapshot.records():
            call = self.snapshot.tools.canonical(Call(record.tool, _loads(record.arguments)))
            found.setdefault(call.key, []).append(record.response)
        return found

    @cached_property
    def _records(self) -> list[tuple[Call, int]]:
        return [(Call(r.tool, _loads(r.arguments)), r.response.digest) for r in self.snapshot.records()]


def _loads(data: bytes) -> dict[str, Any]:
    arguments: dict[str, Any] = orjson.loads(data)
    return arguments


@cache
def snapshot_path(name: str) -> Path:
    """Path of a world's snapshot; all but travel are written when they are first asked for."""
    if name == "travel":
        return TRAVEL
    folder = Path(tempfile.mkdtemp(prefix="toolorch-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    write = {"library": write_small_world, "bank": write_stateful_world}[name]
    return write(folder / f"{name}.sqlite")


@cache
def world(name: str) -> World:
    """A world by name, one of :data:`WORLD_NAMES`."""
    return World(snapshot_path(name))
