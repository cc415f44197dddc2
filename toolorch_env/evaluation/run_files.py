"""Runs as files of JSON lines, so that an evaluation can be gone on with, scored anew and looked at.

The first line is the :class:`toolorch_env.evaluation.runs.RunHeader`; each other line is an episode that has ended, a
``PlayedEpisode`` or a ``FailedEpisode``. Lines come in the order in which episodes end.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import orjson
from pydantic import Field, TypeAdapter, ValidationError

from toolorch_env.core.errors import RunError
from toolorch_env.core.tasks import Task
from toolorch_env.evaluation.runs import FailedEpisode, Line, Outcome, PlayedEpisode, RunHeader
from toolorch_env.store.locks import WritingLock

_BEGINNING = b'{"kind":"run"'
_MAY_DIFFER = frozenset({"toolorch_env", "snapshot"})
"""What may be another one when a run is gone on with: the version, and where the snapshot is."""

_KEPT_TASKS = 20

_LINE: TypeAdapter[RunHeader | PlayedEpisode | FailedEpisode] = TypeAdapter(
    Annotated[RunHeader | PlayedEpisode | FailedEpisode, Field(discriminator="kind")]
)


@dataclass(frozen=True)
class Run:
    """A run as it is read.

    Attributes:
        header: its first line.
        episodes: those that were played, by task and attempt.
        failures: those that came to nothing and were not played since, the latest failure of each.
    """

    header: RunHeader
    episodes: list[PlayedEpisode]
    failures: list[FailedEpisode]

    @property
    def outcomes(self) -> list[Outcome]:
        """What figures are made of."""
        return [*(line.outcome for line in self.episodes), *(line.outcome for line in self.failures)]


def read_run(path: Path) -> Run:
    """Reads a run. A last line that was not written to its end is passed over.

    Raises:
        RunError: it is missing, no run, or damaged.
    """
    header: RunHeader | None = None
    episodes: dict[tuple[int, int], PlayedEpisode] = {}
    failures: dict[tuple[int, int], FailedEpisode] = {}
    for line in _lines_of(path, _whole_lines(path)[0]):
        if isinstance(line, RunHeader):
            if header is not None and line != header:
                raise RunError(f"{path} holds more than one run: give each a file of its own")
            header = line
        elif isinstance(line, PlayedEpisode):
            episodes[line.index, line.attempt] = line
        else:
            failures[line.index, line.attempt] = line
    if header is None:
        raise RunError(f"{path} is empty: nothing was evaluated")
    still_open = sorted(failures.keys() - episodes.keys())
    return Run(header, [episodes[key] for key in sorted(episodes)], [failures[key] for key in still_open])


def _whole_lines(path: Path) -> tuple[list[bytes], int]:
    """The whole lines of a file, and how many bytes they are."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if not content.startswith(_BEGINNING[: len(content)]):
        raise RunError(f"{path} is no run: its first line has to tell what was evaluated")
    end = content.rfind(b"\n") + 1
    return content[:end].splitlines(), end


def _lines_of(path: Path, lines: list[bytes]) -> Iterator[RunHeader | PlayedEpisode | FailedEpisode]:
    for number, line in enumerate(lines, 1):
        try:
            yield _LINE.validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the line"
            raise RunError(f"{path}, line {number} is no line of a run: {where}: {first['msg']}") from None


class RunWriter:
    """Writes a run, line by line, or goes on with one that was interrupted. To be used with ``with``.

    Args:
        path: the file.
        header: of the run.

    A file that holds a first line and no episode is begun anew, whatever was asked for then.

    Attributes:
        played: what was played to its end before.
        tasks: those of the first episodes among them.
        spent: tokens, read and written, of episodes that came to nothing and are to be played anew.

    Raises:
        RunError: the file is another run or none, cannot be written, or is written by another process now.
    """

    def __init__(self, path: Path, header: RunHeader) -> None:
        self._path = path
        self._lock = WritingLock(path, RunError, "write to another file")
        self.played: dict[tuple[int, int], Outcome] = {}
        self.tasks: dict[tuple[int, int], Task] = {}
        self.spent: dict[tuple[int, int], tuple[int, int]] = {}
        try:
            self._open(header)
        except BaseException:
            self._lock.release()
            raise

    def _open(self, header: RunHeader) -> None:
        lines, end = _whole_lines(self._path) if self._path.exists() else ([], 0)
        if len(lines) == 1:
            list(_lines_of(self._path, lines))  # it has to be a run's
            lines, end = [], 0
        for line in _lines_of(self._path, lines):
            if isinstance(line, RunHeader):
                _check_same(self._path, line, header)
                continue
            key = line.index, line.attempt
            if isinstance(line, PlayedEpisode):
                self.played[key] = line.outcome
                self.spent.pop(key, None)
                if len(self.tasks) < _KEPT_TASKS:
                    self.tasks[key] = line.task
            else:
                self.spent[key] = line.prompt_tokens, line.completion_tokens
        try:
            self._file = self._path.open("r+b" if self._path.exists() else "wb", buffering=0)
            self._file.truncate(end)
        except OSError as error:
            raise RunError(f"{self._path} cannot be written: {error.strerror}") from None
        self._end = end
        if not lines:
            self.write(header)

    def write(self, line: Line) -> None:
        """Writes a line, or nothing of it.

        Raises:
            RunError: it cannot be written.
        """
        left = memoryview(line.model_dump_json().encode() + b"\n")
        end = self._end + len(left)
        try:
            self._file.seek(self._end)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            with contextlib.suppress(OSError):  # what is left is written over, or passed over when it is read
                self._file.truncate(self._end)
            raise RunError(f"{self._path} cannot be written: {error.strerror}") from None
        self._end = end

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._lock.release()


def _check_same(path: Path, earlier: RunHeader, asked: RunHeader) -> None:
    before, now = (_flat(orjson.loads(header.model_dump_json())) for header in (earlier, asked))
    for name in [*now, *before]:
        if name not in _MAY_DIFFER and before.get(name) != now.get(name):
            told = [f"{values.get(name)!r:.150}" for values in (before, now)]
            raise RunError(
                f"{path} is another run: its {name} is {told[0]}, not {told[1]}; give another file, or go on as it was "
                "begun"
            )


def _flat(header: dict[str, Any]) -> dict[str, Any]:
    """A header whose settings stand among the rest, so that one that differs is told by its name."""
    settings = {f"settings.{name}": value for name, value in header.pop("settings").items()}
    return header | settings
