"""Keys and digests as the 64-bit integers that rows are found by."""

from hashlib import blake2b
from struct import Struct
from struct import error as StructError  # noqa: N812  a class

import orjson

from toolorch_env.core.canonical import is_empty
from toolorch_env.core.errors import SnapshotCorruptError
from toolorch_env.core.responses import Response

_HALVES = Struct(">qq")


def split_key(key: bytes) -> tuple[int, int]:
    """The two signed 64-bit halves of a 16-byte key: row identifier and check."""
    row, rest = _HALVES.unpack(key)
    return row, rest


def join_key(row: int, rest: int) -> bytes:
    """The 16-byte key of its two halves.

    Raises:
        SnapshotCorruptError: one of them is no 64-bit integer.
    """
    try:
        return _HALVES.pack(row, rest)
    except StructError as error:
        raise SnapshotCorruptError(f"a key is damaged: {error}") from None


def body_digest(response: Response) -> int:
    """Non-zero signed 64-bit digest of a successful body that says something, 0 for any other."""
    # not `response.is_empty`, which would keep the parsed body for as long as the response
    if not response.success or not response.raw or is_empty(orjson.loads(response.raw)):
        return 0
    return int.from_bytes(blake2b(response.raw, digest_size=8).digest(), "big", signed=True) or 1
