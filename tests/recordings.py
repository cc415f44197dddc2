"""Recorded calls for the tests of stores."""

from collections.abc import Sequence
from hashlib import sha512
from typing import Any

from hypothesis import strategies as st
from json_values import json_values

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.tools import Tool
from toolorch_env.store.records import Record, make_record

ANY = Tool("any", "Takes anything.", {"type": "object", "properties": {"value": {}}})
OTHER = Tool("other", "Takes anything, too.", {"type": "object", "properties": {"value": {}}}, read_only=False)
TOOLS = ToolSet([ANY, OTHER])


def record(
    value: Any, body: Any = "x", *, status: int = 200, tool: str = "any", state: bytes = b"", at: int = 0
) -> Record:
    """The record of a call of `any`."""
    call = TOOLS.canonical(Call(tool, {"value": value})).within(state)
    return make_record(TOOLS, call, status, body, latency=0.001, recorded_at=at)


def records(start: int, stop: int) -> list[Record]:
    """The records of a range of numbers, with bodies that cannot be compressed by much."""
    return [
        record(number, {"number": number, "text": sha512(b"%d" % number).hexdigest()}) for number in range(start, stop)
    ]


def random_records() -> st.SearchStrategy[list[Record]]:
    """Records of any values, in any states; some may be of the same call."""
    states = st.sampled_from([b"", b"a" * 16, bytes(range(16))])
    tools = st.sampled_from(["any", "other"])
    made = st.builds(
        record,
        json_values,
        json_values,
        status=st.integers(100, 599),
        tool=tools,
        state=states,
        at=st.integers(0, 2**40),
    )
    return st.lists(made, max_size=8)


def contents(found: Sequence[Record]) -> list[tuple[Any, ...]]:
    """All that records hold, in their order."""
    return [(r.key, r.tool, r.arguments, r.state, *answer(r), r.response.digest, r.response.row) for r in found]


def answer(one: Record) -> tuple[Any, ...]:
    """What was answered and when, microseconds exact."""
    response = one.response
    return response.status, response.raw, round(response.latency, 6), response.recorded_at
