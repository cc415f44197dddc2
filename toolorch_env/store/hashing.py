"""The content hash: one number over everything that a snapshot recorded."""

from collections.abc import Iterable
from hashlib import blake2b

from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.responses import Response
from toolorch_env.core.tools import Tool


def content_hash(tools: Iterable[Tool], records: Iterable[tuple[str, bytes, Response]], workflows: bytes | None) -> str:
    """Hash over tools, workflows, calls, statuses and bodies, in hexadecimal. Times and latencies are left out.

    Args:
        tools: the tools, in their order.
        records: tool name, canonical arguments as JSON and response, in the order of rows.
        workflows: the workflow document as it is stored, if there is one.
    """
    state = blake2b(digest_size=16)
    for tool in tools:
        described = [tool.name, tool.description, tool.parameters, tool.miss_status, tool.miss_body, tool.read_only]
        state.update(canonical_json(described) + b"\n")
    state.update(b"%d\n" % len(workflows or b"") + (workflows or b""))
    for name, arguments, response in records:
        head = canonical_json([name, response.status, len(response.raw)])
        state.update(head + b"\n" + arguments + b"\n" + response.raw + b"\n")
    return state.hexdigest()
