"""Generators by name: those of this package, and those that installed packages offer.

A package offers one as an entry point of the group ``toolorch_env.generators``: a callable that takes the open snapshot
and returns the generator. In its ``pyproject.toml``::

    [project.entry-points."toolorch_env.generators"]
    short = "my_package.generators:ShortTasks"
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from toolorch_env.core.errors import ConfigurationError, TaskError
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator, stored_generator
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.snapshot import Snapshot

GROUP = "toolorch_env.generators"
"""Entry point group of generators."""


def _tasks(snapshot: Snapshot) -> TaskGenerator:
    if not snapshot.tasks:
        raise TaskError(f"the snapshot {snapshot.name!r} holds no tasks: draw from its workflows")
    return FixedTasks(snapshot.tasks)


def _graph(snapshot: Snapshot) -> TaskGenerator:
    from toolorch_env.generation.graph_generator import GraphGenerator

    return GraphGenerator(snapshot)


BUILT_IN: dict[str, Callable[[Snapshot], TaskGenerator]] = {
    "workflows": WorkflowGenerator,
    "tasks": _tasks,
    "graph": _graph,
}
"""Generators of this package by name: from the snapshot's workflows, its stored tasks, and workflows nobody wrote.

No package can offer one under these names.
"""


def generator_names() -> tuple[str, ...]:
    """The names that :func:`load_generator` knows here, those of this package first."""
    offered = {entry_point.name for entry_point in entry_points(group=GROUP)}
    return (*BUILT_IN, *sorted(offered - BUILT_IN.keys()))


def load_generator(name: str, snapshot: str | Path | Snapshot) -> TaskGenerator:
    """The generator of that name on a snapshot.

    Args:
        name: one of :func:`generator_names`.
        snapshot: the recorded API, or its bundled name or path.

    Raises:
        ConfigurationError: there is no such generator, several packages offer it, it cannot be imported, or what it
            makes is no generator.
        TaskError: ``tasks`` was asked for, and the snapshot holds none.
        WorkflowError: ``workflows`` was asked for, and there are none, or they do not fit the snapshot.
    """
    make = BUILT_IN.get(name) or _load(_entry_point(name))
    generator = make(open_snapshot(snapshot))
    return _checked(generator, f"the generator {name!r} makes {generator!r}")


def as_generator(generator: TaskGenerator | str | None, snapshot: Snapshot) -> TaskGenerator:
    """What an environment draws from: a generator, one by its name, or what is stored in the snapshot for ``None``.

    Raises:
        ConfigurationError: it is no generator, or none can be had by that name (see :func:`load_generator`).
        TaskError, WorkflowError: the snapshot does not hold what the generator draws from.
    """
    if generator is None:
        return stored_generator(snapshot)
    if isinstance(generator, str):
        return load_generator(generator, snapshot)
    return _checked(generator, f"got {generator!r}")


def _checked(generator: TaskGenerator, told: str) -> TaskGenerator:
    if isinstance(generator, type) or not isinstance(generator, TaskGenerator):
        raise ConfigurationError(f"a generator is an object with sample() and task(), {told}")
    return generator


def _entry_point(name: str) -> EntryPoint:
    found = {point.value: point for point in entry_points(group=GROUP) if point.name == name}
    if not found:
        names = ", ".join(generator_names())
        raise ConfigurationError(
            f"there is no generator {name!r}; choose one of {names}, or install a package that offers it as an entry "
            f"point of the group {GROUP!r}"
        )
    if len(found) > 1:
        raise ConfigurationError(
            f"several packages offer a generator {name!r}: {', '.join(map(_told, found.values()))}"
        )
    return next(iter(found.values()))


def _load(point: EntryPoint) -> Callable[[Snapshot], TaskGenerator]:
    try:
        make: Callable[[Snapshot], TaskGenerator] = point.load()
    except Exception as error:  # whatever a package does when it is imported
        raise ConfigurationError(
            f"the generator {point.name!r} cannot be imported from {_told(point)}: {type(error).__name__}: {error}"
        ) from error
    if not callable(make):
        raise ConfigurationError(f"the generator {point.name!r} is to be made by {_told(point)}, which is not callable")
    return make


def _told(point: EntryPoint) -> str:
    return f"{point.value} of {point.dist.name}" if point.dist else point.value
