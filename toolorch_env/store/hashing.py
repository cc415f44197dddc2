"""The content hash: one number over everything that a snapshot recorded."""

from collections.abc import Iterable
from hashlib import blake2b

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.tools import Tool
from toolorch_env.store.records import Record


def content_hash(tools: Iterable[Tool], records: Iterable[Record], workflows: bytes | None) -> str:
    """Hash over tools, workflows, calls, states, statuses and bodies, in hexadecimal. Times and latencies are left out.

    Args:
        tools: the tools, in their order.
        records: the recorded calls, in the order of rows.
        workflows: the workflow document as it is stored, if there is one.
    """
    state = blake2b(digest_size=16)
    for tool in tools:
        described = [tool.name, tool.description, tool.parameters, tool.miss_status, tool.miss_body, tool.read_only]
        state.update(canonical_json(described) + b"\n")
    state.update(b"%d\n" % len(workflows or b"") + (workflows or b""))
    for record in records:
        raw = record.response.raw
        head = canonical_json([record.tool, record.response.status, len(raw), record.state.hex()])
        state.update(head + b"\n" + record.arguments + b"\n" + raw + b"\n")
    return state.hexdigest()
