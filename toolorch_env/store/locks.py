"""A file that one process at a time may write: the lock goes away with the process, however it ends."""

import contextlib
import os
from pathlib import Path

from filelock import FileLock, Timeout

from toolorch_env.core.errors import SnapshotWriteError, ToolOrchError


class WritingLock:
    """The right to write a file, held in a file beside it.

    Args:
        path: the file that is to be written.
        failure: what is raised; by default an error about snapshots.
        instead: what to do where another one writes it.

    Raises:
        SnapshotWriteError: another one writes it, or its folder cannot be written.
    """

    def __init__(
        self,
        path: Path,
        failure: type[ToolOrchError] = SnapshotWriteError,
        instead: str = "record into another file and merge the two",
    ) -> None:
        if not path.parent.is_dir():  # it would be made
            raise failure(f"{path} cannot be written: there is no folder {path.parent}")
        self._file = path.with_name(f"{path.name}.lock")
        self._lock = FileLock(self._file, timeout=0, thread_local=False)
        try:
            self._lock.acquire()
        except Timeout:
            if not self._file.exists():
                raise failure(f"{path} cannot be written: nothing can be made in its folder") from None
            raise failure(f"{path} is being written by {self._holder()}: wait until it is done, or {instead}") from None
        except (OSError, ValueError) as error:  # ValueError: the path holds a null byte
            raise failure(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None
        self._leave_name()

    def _leave_name(self) -> None:
        with contextlib.suppress(OSError):  # a full disk: the name is only for messages
            self._file.write_text(str(os.getpid()))

    def _holder(self) -> str:
        try:
            process = int(self._file.read_text())
        except (OSError, ValueError):
            return "another process"
        return "this process itself" if process == os.getpid() else f"process {process}"

    def release(self) -> None:
        """Gives the right back."""
        self._file.unlink(missing_ok=True)  # while it is held: nobody can hold a file that is gone
        self._lock.release()
