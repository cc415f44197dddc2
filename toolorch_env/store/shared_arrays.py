"""Arrays that the processes of a machine share: files in the user's cache folder, mapped into memory."""

import logging
import mmap
import os
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

import numpy as np
import orjson
from platformdirs import user_cache_path

LEAST_SHARED_BYTES = 2**18
"""Packed arrays that are smaller are unpacked in each process: a file would cost more than it saves."""

_ALIGNMENT = 64
_log = logging.getLogger(__name__)

Arrays = Mapping[str, np.ndarray]


def shared_arrays(packed: bytes, unpack: Callable[[bytes], Arrays], folder: Path | None = None) -> Arrays:
    """What ``unpack(packed)`` gives, in memory that all processes of this machine share.

    The first process that asks writes a file, under the hash of ``packed``; all map it. A file that is damaged is
    written anew, and where none can be written the arrays are this process's own.

    Args:
        packed: the arrays in their packed form.
        unpack: unpacks them. What it raises is passed on.
        folder: where the files stand; by default the user's cache folder (``TOOLORCH_CACHE`` names another).
    """
    if len(packed) < LEAST_SHARED_BYTES:
        return unpack(packed)
    path = (folder or cache_folder()) / f"{sha256(packed).hexdigest()}.arrays"
    with suppress(OSError, ValueError, KeyError, TypeError):
        return _map(path)
    arrays = unpack(packed)
    try:
        _write(path, arrays)
        return _map(path)
    except (OSError, ValueError) as error:
        _log.info("%s cannot be shared between processes: %s", path, error)
        return arrays


def cache_folder() -> Path:
    """Where files stand that can be made again."""
    named = os.environ.get("TOOLORCH_CACHE")
    return Path(named) if named else user_cache_path("toolorch", appauthor=False)


def _write(path: Path, arrays: Arrays) -> None:
    index, pieces, position = [], [], 0
    for name, array in arrays.items():
        content = np.ascontiguousarray(array).tobytes()
        index.append([name, array.dtype.str, array.shape, position])
        pieces.append(content + bytes(-len(content) % _ALIGNMENT))
        position += len(pieces[-1])
    body = b"".join(pieces)
    head = orjson.dumps({"arrays": index, "bytes": len(body), "crc32": zlib.crc32(body)})
    head += b" " * (-(len(head) + 1) % _ALIGNMENT) + b"\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile(dir=path.parent, suffix=".unfinished", delete=False) as file:
        try:
            file.write(head + body)
            file.close()
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def _map(path: Path) -> Arrays:
    """The arrays of a file.

    Raises:
        OSError: there is no such file.
        ValueError, KeyError, TypeError: it is damaged.
    """
    with path.open("rb") as file:
        head = file.readline()
        # pages are shared as long as nobody writes on them; compiled code takes arrays that may be written on
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
    described = orjson.loads(head)
    body = memoryview(mapped)[len(head) :]
    if len(body) != described["bytes"] or zlib.crc32(body) != described["crc32"]:
        raise ValueError(f"{path} is damaged")
    arrays = {}
    for name, kind, shape, position in described["arrays"]:
        count = int(np.prod(shape, dtype=np.int64))
        arrays[name] = np.frombuffer(mapped, np.dtype(kind), count, len(head) + position).reshape(shape)
    return arrays
