"""Responses: what the API answered, or what the environment says where it did not."""

from collections.abc import Mapping
from enum import StrEnum
from functools import cached_property
from typing import Any

import orjson

from toolorch_env.core.canonical import is_empty, read_number, tokens


class Source(StrEnum):
    """Where a response comes from."""

    RECORDED = "recorded"
    """Recorded for exactly this call."""
    ROUNDED = "rounded"
    """Recorded for this call with its fractions rounded to four decimals."""
    WITHOUT_BODY = "without_body"
    """Recorded for this call as answered, but what the body said is not known: the agent reads null."""
    LIVE = "live"
    """Answered by the real API itself, now or earlier, as it was not in the snapshot."""
    NEAREST = "nearest"
    """Not recorded: what the API said to the nearest recorded call, not to this one."""
    MISS = "miss"
    """Not recorded: the error that the tool gives for unknown input."""
    UNRECORDED_STATE = "unrecorded_state"
    """Not recorded after the state-changing calls before it: answered like a miss."""
    INVALID = "invalid"
    """Not recorded, and the arguments do not fit the tool's schema."""
    UNKNOWN_TOOL = "unknown_tool"
    """The tool is not on offer."""
    MALFORMED = "malformed"
    """What the agent sent is no call."""


_BACKSLASH = ord("\\")
_AFTER_TEXT = frozenset(",:]}")

RECORDED_SOURCES = frozenset({Source.RECORDED, Source.ROUNDED, Source.WITHOUT_BODY, Source.LIVE})
"""Where the API itself answered this very call."""

SEEN_SOURCES = RECORDED_SOURCES | {Source.NEAREST}
"""Where what a response holds was said by the API: who reads it has seen real values."""


class UnknownBody:
    """Stands in the place of a body that is not known: :data:`UNKNOWN_BODY`, its one value."""

    def __repr__(self) -> str:
        return "UNKNOWN_BODY"

    def __reduce__(self) -> str:
        return "UNKNOWN_BODY"  # copied or sent to another process, it is still the one value


UNKNOWN_BODY = UnknownBody()


class Response:
    """An answer to a call. The body is decoded when it is first asked for.

    Attributes:
        status: HTTP status, or its nearest equivalent for other kinds of API.
        raw: the JSON body, UTF-8, as orjson writes it (no white space, characters escaped only where they must be);
            nothing where it is not known.
        source: where it comes from.
        digest: 64-bit digest of a successful body that says something, else 0. Equal non-zero digests: equal bodies.
        latency: seconds that the real API took, 0.0 where it was not asked.
        recorded_at: Unix time of the recording in seconds, 0 where there was none.
        row: identifier of the row in the snapshot, ``None`` where there is none.
        recorded_key: key of the recorded call where that is another one than was asked for, as its fractions are other
            ones; else empty.
        tier: how near the recorded call is that a nearest answer was given to, ``None`` for all other answers (see
            :class:`toolorch_env.store.nearest.Tier`).
        recorded_arguments: arguments of that call.
    """

    def __init__(
        self,
        status: int,
        raw: bytes,
        source: Source,
        *,
        digest: int = 0,
        latency: float = 0.0,
        recorded_at: int = 0,
        row: int | None = None,
    ) -> None:
        self.status = status
        self.raw = raw
        self.source = source
        self.digest = digest
        self.latency = latency
        self.recorded_at = recorded_at
        self.row = row
        self.recorded_key = b""
        self.tier: str | None = None
        self.recorded_arguments: Mapping[str, Any] = {}

    @classmethod
    def synthetic(cls, status: int, body: Any, source: Source) -> "Response":
        """A response that no API gave."""
        return cls(status, orjson.dumps(body), source)

    @classmethod
    def nearest(cls, recorded: "Response", arguments: Mapping[str, Any], tier: str) -> "Response":
        """What was answered to another call, as an answer to one that was not recorded.

        Args:
            recorded: the answer.
            arguments: of the call that it was given to.
            tier: how near that call is.
        """
        response = cls(recorded.status, recorded.raw, Source.NEAREST, row=recorded.row)
        response.tier = tier
        response.recorded_arguments = arguments
        return response

    @property
    def success(self) -> bool:
        """Whether the API answered, and did so with a 2xx status."""
        return 200 <= self.status < 300 and self.source in RECORDED_SOURCES

    @property
    def informs(self) -> bool:
        """Whether the API said this with a 2xx status, be it to another call."""
        return 200 <= self.status < 300 and self.source in SEEN_SOURCES

    @cached_property
    def body(self) -> Any:
        """The decoded body, ``None`` where it is not known. Treat it as read-only: it is shared."""
        return orjson.loads(self.raw) if self.raw else None

    def holds(self, text: str) -> bool:
        """Whether a token is among :attr:`tokens`. Mostly found without decoding the body."""
        if text[:1] in _AFTER_TEXT:  # could stand between two texts
            return text in self.tokens
        needle = orjson.dumps(text)
        place = self.raw.find(needle)
        while place > 0 and self.raw[place - 1] == _BACKSLASH:  # the opening quote belongs to a longer text
            place = self.raw.find(needle, place + 1)
        if place >= 0:
            return True
        return read_number(text) is not None and (self._holds_digits(text.encode()) or text in self.tokens)

    def _holds_digits(self, digits: bytes) -> bool:
        """Whether a number stands in the body just so. May miss one, as where characters are escaped."""
        if b"\\" in self.raw:
            return False
        place = self.raw.find(digits)
        while place > 0:
            alone = self.raw[place - 1] in b":[," and self.raw[place + len(digits)] in b",]}"
            if alone and self.raw.count(b'"', 0, place) % 2 == 0:  # not within a text
                return True
            place = self.raw.find(digits, place + 1)
        return False

    @cached_property
    def tokens(self) -> frozenset[str]:
        """Tokens of all values in the body (see :func:`toolorch_env.core.canonical.tokens`)."""
        return tokens(self.body)

    @cached_property
    def is_empty(self) -> bool:
        """Whether the body says nothing."""
        return is_empty(self.body)

    def __repr__(self) -> str:
        return f"Response(status={self.status}, source={self.source.value!r}, {len(self.raw)} bytes)"
