"""The file in which a synthesis keeps its chunks until all are there: an SQLite database beside the file to be."""

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from toolorch_env.core.errors import ConfigurationError, SnapshotWriteError
from toolorch_env.generation.synthesis_chunks import Chunk

_TABLES = """
CREATE TABLE IF NOT EXISTS header (document TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS chunks (
    number INTEGER PRIMARY KEY, data BLOB NOT NULL, tasks INTEGER NOT NULL, valid INTEGER NOT NULL,
    problem TEXT NOT NULL, digests BLOB NOT NULL
);
"""
_EMPTY = "DROP TABLE IF EXISTS header; DROP TABLE IF EXISTS chunks"
_NOT_OURS = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR)


class PartialFile:
    """Chunks of a request, kept whatever ends the process. One process at a time may have it open.

    Args:
        target: the file that the chunks are for.
        header: the request, as JSON values by name.
        overwrite: whether to start anew where there are chunks.

    Raises:
        ConfigurationError: there are chunks of another request, or something else is in the way.
        SnapshotWriteError: it cannot be written, or another process writes it.
    """

    def __init__(self, target: Path, header: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.path = partial_path(target)
        with self._telling("nothing was drawn"):
            # autocommit; the lock is kept until the file is closed, and goes away with the process
            self._connection = sqlite3.connect(self.path, timeout=0, isolation_level=None)
        try:
            self._declare(json.dumps(header, sort_keys=True), overwrite)
        except BaseException:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _declare(self, document: str, overwrite: bool) -> None:
        with self._telling("nothing was drawn"):
            self._connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._connection.execute("BEGIN EXCLUSIVE")
            for statement in (_EMPTY if overwrite else "").split(";") + _TABLES.split(";"):
                self._connection.execute(statement)
            found = self._connection.execute("SELECT document FROM header").fetchone()
            if found is None:
                self._connection.execute("INSERT INTO header VALUES (?)", (document,))
            self._connection.execute("COMMIT")
        if found is not None and found[0] != document:
            raise ConfigurationError(
                f"{self.path} holds the beginning of another request ({_differences(json.loads(found[0]), document)}): "
                "ask for that one to go on, name another file, or start anew with --overwrite"
            )

    def numbers(self) -> set[int]:
        """Which chunks are there."""
        return {number for (number,) in self._connection.execute("SELECT number FROM chunks")}

    def add(self, chunk: Chunk) -> None:
        """Keeps a chunk.

        Raises:
            SnapshotWriteError: the disk is full, or the file cannot be written for another reason.
        """
        row = (chunk.number, chunk.data, chunk.tasks, chunk.valid, chunk.problem, chunk.digests)
        with self._telling("what was drawn before is kept: make room and run the same again to go on"):
            self._connection.execute("INSERT INTO chunks VALUES (?, ?, ?, ?, ?, ?)", row)

    def data(self) -> Iterator[bytes]:
        """The data of all chunks, in their order."""
        for (data,) in self._connection.execute("SELECT data FROM chunks ORDER BY number"):
            yield data

    def tasks(self) -> int:
        """Number of tasks that are there."""
        return int(self._connection.execute("SELECT coalesce(sum(tasks), 0) FROM chunks").fetchone()[0])

    def valid(self) -> int:
        """Number of tasks that were found to be well posed."""
        return int(self._connection.execute("SELECT coalesce(sum(valid), 0) FROM chunks").fetchone()[0])

    def problem(self) -> str:
        """What is wrong with the first task that is not well posed; empty where none was found."""
        found = self._connection.execute("SELECT problem FROM chunks WHERE problem != '' ORDER BY number").fetchone()
        return found[0] if found else ""

    def distinct(self) -> int:
        """Number of tasks that differ in their workflow or their reference calls."""
        rows = self._connection.execute("SELECT digests FROM chunks").fetchall()
        return len(np.unique(np.concatenate([np.frombuffer(digests, np.uint64) for (digests,) in rows])))

    def close(self) -> None:
        """Closes the file; what is in it stays."""
        self._connection.close()

    def discard(self) -> None:
        """Closes the file and removes it."""
        self.close()
        self.path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _telling(self, kept: str) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            code = getattr(error, "sqlite_errorcode", None)
            if code == sqlite3.SQLITE_BUSY:
                raise SnapshotWriteError(f"{self.path} is being written by another process: wait for it") from None
            if code in _NOT_OURS:
                told = f"{self.path} is not the beginning of a file of tasks ({error}): remove it"
                raise ConfigurationError(told) from None
            raise SnapshotWriteError(f"{self.path} cannot be written ({error}); {kept}") from None


def partial_path(target: Path) -> Path:
    """Where the chunks of a file are kept until it is whole."""
    return target.with_name(f"{target.name}.partial")


def _differences(found: dict[str, Any], document: str) -> str:
    asked = json.loads(document)
    names = [name for name in {**found, **asked} if found.get(name) != asked.get(name)]
    return "; ".join(
        f"{name}: {json.dumps(found.get(name))} there, {json.dumps(asked.get(name))} now" for name in names
    )
