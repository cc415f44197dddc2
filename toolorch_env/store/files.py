"""Files that appear whole or not at all."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from toolorch_env.core.errors import SnapshotWriteError


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, which takes its place when the block ends without an error.

    Raises:
        SnapshotWriteError: the folder is missing or read-only, the path is a folder, or the disk is full.
    """
    if path.is_dir():
        raise SnapshotWriteError(f"{path} cannot be written: there is a folder of that name")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".partial", dir=path.parent)
    except (OSError, ValueError) as error:  # ValueError: the path holds a null byte
        raise SnapshotWriteError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from None
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # or a loss of power may leave the new name with nothing in it
        temporary.replace(path)
    except OSError as error:
        raise SnapshotWriteError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        temporary.unlink(missing_ok=True)
