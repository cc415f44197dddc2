"""Compression of arguments and bodies with a dictionary trained on the snapshot."""

from collections.abc import Sequence

import zstandard

from toolorch_env.core.errors import SnapshotCorruptError

DICTIONARY_BYTES = 64 * 1024
SAMPLE_LIMIT = 20_000
LEVEL = 19
MAX_CONTENT_BYTES = 256 * 1024 * 1024
"""Contents that claim to be larger are refused before any memory is taken for them."""


def train_dictionary(samples: Sequence[bytes]) -> bytes:
    """A zstd dictionary for contents like ``samples``; empty where there are too few to learn from."""
    stride = max(1, len(samples) // SAMPLE_LIMIT)
    chosen: list[bytes | bytearray | memoryview] = list(samples[::stride])
    if len(chosen) < 64:
        return b""
    size = min(DICTIONARY_BYTES, max(1024, sum(map(len, chosen)) // 20))
    try:
        return zstandard.train_dictionary(size, chosen, threads=1).as_bytes()
    except zstandard.ZstdError:  # too little variety to train on
        return b""


class Packer:
    """Compresses contents."""

    def __init__(self, dictionary: bytes) -> None:
        data = zstandard.ZstdCompressionDict(dictionary) if dictionary else None
        self._compressor = zstandard.ZstdCompressor(
            level=LEVEL, dict_data=data, write_checksum=False, write_dict_id=False
        )

    def pack(self, arguments: bytes, body: bytes) -> bytes:
        """One content: canonical arguments and body. Canonical JSON holds no newline, so one separates them."""
        return self._compressor.compress(arguments + b"\n" + body)


class Unpacker:
    """Reads contents. Not to be shared between threads."""

    def __init__(self, dictionary: bytes) -> None:
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
            raise SnapshotCorruptError(f"a recorded response is damaged: {error}") from None
        if not separator:
            raise SnapshotCorruptError("a recorded response is damaged: it has no body")
        return arguments, body
