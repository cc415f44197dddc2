"""Compression of arguments and bodies with a dictionary trained on the snapshot."""

from collections.abc import Iterable, Sequence
from itertools import islice

import zstandard

from toolorch_env.core.errors import SnapshotCorruptError

DICTIONARY_BYTES = 112 * 1024
SAMPLE_LIMIT = 10_000
SAMPLE_BYTES = 8 * 1024 * 1024
LEVEL = 19
FAST_LEVEL = 3
MAX_CONTENT_BYTES = 256 * 1024 * 1024
"""Contents that claim to be larger are refused before any memory is taken for them."""


def train_dictionary(samples: Iterable[bytes]) -> bytes:
    """A zstd dictionary for contents like ``samples``; empty where there are too few to learn from.

    Takes as many samples as are within the limits. Rows are ordered by a hash, so the first are as good as any.
    """
    chosen: list[bytes | bytearray | memoryview] = []
    total = 0
    for sample in islice(samples, SAMPLE_LIMIT):
        chosen.append(sample)
        total += len(sample)
        if total > SAMPLE_BYTES:
            break
    if len(chosen) < 64:
        return b""
    share = 20 if len(chosen) == SAMPLE_LIMIT else 64  # where these are all, the dictionary has to earn its own place
    size = min(DICTIONARY_BYTES, max(1024, total // share))
    try:
        return zstandard.train_dictionary(size, chosen, threads=1).as_bytes()
    except zstandard.ZstdError:  # too little variety to train on
        return b""


def joined(arguments: bytes, body: bytes) -> bytes:
    """What a content holds: canonical arguments and body. Canonical JSON holds no newline, so one separates them."""
    return arguments + b"\n" + body


class Packer:
    """Compresses contents. Not to be shared between threads.

    Args:
        dictionary: a zstd dictionary, or nothing.
        level: zstd's compression level.
    """

    def __init__(self, dictionary: bytes = b"", level: int = LEVEL) -> None:
        data = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self._compressor = zstandard.ZstdCompressor(
            level=level, dict_data=data, write_checksum=False, write_dict_id=False
        )

    def pack(self, arguments: bytes, body: bytes) -> bytes:
        """One content."""
        return self._compressor.compress(joined(arguments, body))

    def pack_all(self, contents: Sequence[bytes]) -> list[bytes]:
        """Many contents (see :func:`joined`), compressed on all processor cores."""
        if len(contents) < 2 or "multi_compress_to_buffer" not in zstandard.backend_features:
            return [self._compressor.compress(content) for content in contents]
        packed = self._compressor.multi_compress_to_buffer(list(contents), threads=-1)
        return [packed[index].tobytes() for index in range(len(contents))]


class Unpacker:
    """Reads contents. Not to be shared between threads."""

    def __init__(self, dictionary: bytes = b"") -> None:
        data = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self._decompressor = zstandard.ZstdDecompressor(dict_data=data, max_window_size=2**27)

    def unpack(self, content: bytes) -> tuple[bytes, bytes]:
        """Canonical arguments and body.

        Raises:
            SnapshotCorruptError: the content is damaged.
        """
        try:
            if zstandard.frame_content_size(content) > MAX_CONTENT_BYTES:
                raise SnapshotCorruptError("a recorded response claims to be larger than any that is recorded")
            arguments, separator, body = self._decompressor.decompress(content).partition(b"\n")
        except (zstandard.ZstdError, TypeError) as error:
            raise SnapshotCorruptError(f"a response cannot be decompressed: {error}") from None
        if not separator:
            raise SnapshotCorruptError("a response has no body")
        return arguments, body
