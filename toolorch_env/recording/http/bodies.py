"""Reading the body of an HTTP response in bounded memory, whatever the server sends."""

import zlib

import httpx

from toolorch_env.core.errors import UnansweredError

ACCEPT_ENCODING = "gzip, deflate"
"""The content encodings that :func:`read_body` decodes."""

_GZIP = 16 + zlib.MAX_WBITS
_RAW = -zlib.MAX_WBITS


async def read_body(response: httpx.Response, max_bytes: int) -> bytes:
    """The body of a response that was sent with ``stream=True``, decoded.

    Args:
        response: the response; closing it is up to the caller.
        max_bytes: the largest body that is read, decoded or not, in bytes.

    Raises:
        UnansweredError: of kind ``too large``, or ``not JSON`` where the encoding is unknown or broken.
    """
    encoding = response.headers.get("content-encoding", "").strip().lower()
    decoder = _Decoder(encoding, max_bytes) if encoding not in ("", "identity") else None
    if _claimed_length(response) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    received = decoded = 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        if decoder is not None:
            chunk = decoder.decode(chunk)
        decoded += len(chunk)
        if received > max_bytes or decoded > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    if decoder is not None and received:
        decoder.finish()
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _claimed_length(response: httpx.Response) -> int:
    length = response.headers.get("content-length", "0")
    return int(length) if length.isdecimal() else 0


def _too_large(max_bytes: int) -> UnansweredError:
    return UnansweredError("too large", f"the response is larger than {max_bytes:,} bytes")


class _Decoder:
    """Decodes gzip or deflate, never to much more than the limit."""

    def __init__(self, encoding: str, max_bytes: int) -> None:
        if encoding not in ("gzip", "x-gzip", "deflate"):
            raise UnansweredError("not JSON", f"the response has the content encoding {encoding[:50]!r}")
        self._gzip = encoding != "deflate"
        self._decompress = zlib.decompressobj(_GZIP) if self._gzip else None
        self._left = max_bytes + 1

    def decode(self, data: bytes) -> bytes:
        """What ``data`` decodes to; cut off one byte after the limit."""
        decoded = b""
        while data and self._left > 0:
            if self._decompress is None or (self._decompress.eof and self._gzip):
                self._decompress = zlib.decompressobj(_GZIP if self._gzip else _deflate_window(data))
            try:
                part = self._decompress.decompress(data, self._left)
            except zlib.error as error:
                raise UnansweredError("not JSON", f"the response cannot be decompressed: {error}") from None
            self._left -= len(part)
            decoded += part
            data = self._decompress.unused_data if self._gzip else b""
        return decoded

    def finish(self) -> None:
        """Checks that the end was reached."""
        if self._decompress is None or not self._decompress.eof:
            raise UnansweredError("not JSON", "the response cannot be decompressed: it ends too early")


def _deflate_window(data: bytes) -> int:
    """Deflate comes with zlib's header, as the standard says, or bare, as some servers send it."""
    return zlib.MAX_WBITS if data[0] & 0x0F == zlib.DEFLATED else _RAW
