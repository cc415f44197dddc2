"""Calls and their keys."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

import orjson

from toolorch_env.core.canonical import MAX_DEPTH, canonical_json, is_deeper, plain, rounded
from toolorch_env.core.errors import ToolSchemaError
from toolorch_env.core.signatures import Signature
from toolorch_env.core.tools import Tool

KEY_BYTES = 16


@dataclass(frozen=True, slots=True)
class Call:
    """A tool name and its arguments, as an agent made it."""

    tool: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Malformed:
    """What an agent sent in place of a call, and why it is none.

    Attributes:
        text: the offending text, shortened.
        problem: one sentence for the agent.
    """

    text: str
    problem: str


class CanonicalCall(NamedTuple):
    """A call read through its tool's schema.

    Attributes:
        tool: tool name.
        arguments: canonical arguments, defaults left out.
        key: 16 bytes, BLAKE2b of tool and canonical JSON; equal keys mean the same call, on every machine.
        rounded_key: key of the call with fractions rounded to four decimals; equals ``key`` where there are none.
        state: what was changed before this call in its session: empty in a fresh one, else the key of the latest
            state-changing call that succeeded, which in turn stands for all before it.
    """

    tool: str
    arguments: dict[str, Any]
    key: bytes
    rounded_key: bytes
    state: bytes = b""

    def within(self, state: bytes) -> "CanonicalCall":
        """The same call in another state, with other keys."""
        if state == self.state:
            return self
        key = call_key(self.tool, canonical_json(self.arguments), state)
        if self.key == self.rounded_key:
            return CanonicalCall(self.tool, self.arguments, key, key, state)
        rounded_key = call_key(self.tool, canonical_json(rounded(self.arguments)), state)
        return CanonicalCall(self.tool, self.arguments, key, rounded_key, state)

    def same_as(self, other: "CanonicalCall") -> bool:
        """Whether both are one call, fractions compared by their fourth decimal."""
        return self.key == other.key or self.rounded_key == other.rounded_key


def call_key(tool: str, arguments: bytes, state: bytes = b"") -> bytes:
    """The 128-bit key of a tool and its canonical arguments in a state: BLAKE2b, keyed with the state."""
    return blake2b(tool.encode("utf-8", "replace") + b"\n" + arguments, digest_size=KEY_BYTES, key=state).digest()


def canonical_call(tool: str, arguments: dict[str, Any]) -> CanonicalCall:
    """The canonical call of arguments that were already read through the schema.

    Raises:
        ValueError: an argument is not a JSON value.
    """
    try:
        written = orjson.dumps(arguments, option=orjson.OPT_SORT_KEYS)  # what was read is plain: canonical_json, faster
    except TypeError as error:
        raise ValueError(f"not a JSON value: {error}") from None
    key = call_key(tool, written)
    for value in arguments.values():
        if isinstance(value, (float, list, dict)):
            return CanonicalCall(tool, arguments, key, call_key(tool, canonical_json(rounded(arguments))))
    return CanonicalCall(tool, arguments, key, key)


class ToolSet(Mapping[str, Tool]):
    """The tools of a snapshot by name, in their order, with their signatures compiled on first use.

    Attributes:
        state_changing: names of the tools that are not read-only.
    """

    def __init__(self, tools: Iterable[Tool]) -> None:
        self._tools: dict[str, Tool] = {}
        for tool in tools:
            if tool.name in self._tools:
                raise ToolSchemaError(f"two tools are named {tool.name!r}")
            self._tools[tool.name] = tool
        self._signatures: dict[str, Signature] = {}
        self.state_changing = frozenset(name for name, tool in self._tools.items() if not tool.read_only)

    def __getitem__(self, name: str) -> Tool:
        return self._tools[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tools)

    def __len__(self) -> int:
        return len(self._tools)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_signatures": {}}  # compiled validators cannot be pickled

    def signature(self, name: str) -> Signature:
        """The compiled signature of a tool.

        Raises:
            KeyError: there is no such tool.
        """
        signature = self._signatures.get(name)
        if signature is None:
            signature = self._signatures[name] = Signature(self._tools[name])
        return signature

    def canonical(self, call: Call) -> CanonicalCall:
        """The call in canonical form. Arguments of an unknown tool are taken as they are.

        Raises:
            ValueError: an argument is not a JSON value, or is nested more than 64 levels deep.
        """
        for value in call.arguments.values():
            if is_deeper(value, MAX_DEPTH):
                raise ValueError(f"the arguments are nested more than {MAX_DEPTH} levels deep")
        if call.tool in self._tools:
            return canonical_call(call.tool, self.signature(call.tool).read(call.arguments))
        return canonical_call(call.tool, plain(dict(call.arguments)))
