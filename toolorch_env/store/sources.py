"""What every collection of recorded calls has in common, whatever it is kept in."""

from collections.abc import Iterator
from typing import Protocol

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.tasks import Task
from toolorch_env.store.compiled import Link
from toolorch_env.store.records import Record


class Source(Protocol):
    """Recorded calls with their tools: a snapshot, or a store of recorded calls."""

    @property
    def tools(self) -> ToolSet:
        """The recorded tools."""
        ...

    @property
    def meta(self) -> dict[str, str]:
        """Provenance by name: ``name``, ``description``, ``source``, ``licence``, and more."""
        ...

    @property
    def workflows(self) -> bytes | None:
        """The workflow document as it is stored, ``None`` if there is none."""
        ...

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The stored tasks: the fixed problems of a data set."""
        ...

    @property
    def links(self) -> tuple[Link, ...]:
        """Ways in which values can flow. Those of the workflows may be missing."""
        ...

    def records(self) -> Iterator[Record]:
        """All recorded calls in the order of their rows, read as they are asked for."""
        ...

    def __len__(self) -> int:
        """Number of recorded calls."""
        ...


PROVENANCE = ("name", "description", "source", "licence")
"""The entries of :attr:`Source.meta` that go with the calls wherever they are copied."""


def provenance(source: Source) -> dict[str, str]:
    """Name, description, source and licence of recorded calls."""
    meta = source.meta
    return {name: meta.get(name, "") for name in PROVENANCE}
