"""An MCP server that speaks the protocol by hand, so that it can break it: one way for each tool or each argument.

The argument says how it behaves from the start, the tool how it behaves when it is called.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

START = sys.argv[1] if len(sys.argv) > 1 else "well"
EMPTY = {"type": "object", "properties": {}}
SCHEMAS = {
    "broken": {"type": "object", "properties": {"a": {"type": "no such type"}}},
    "dangling": {"type": "object", "properties": {"a": {"$ref": "#/$defs/nowhere"}}},
    "shared": {
        "type": "object", "$defs": {"day": {"type": "string"}}, "properties": {"a": {"$ref": "#/$defs/day"}},
    },
}  # fmt: skip


def write(line: str, stream: TextIO = sys.stdout) -> None:
    stream.write(line)
    stream.flush()


def send(message: object) -> None:
    write(json.dumps(message) + "\n")


def raw(data: bytes) -> None:
    sys.stdout.buffer.write(data + b"\n")
    sys.stdout.flush()


def answer(identifier: object, result: dict[str, Any]) -> None:
    if START == "later-versions-only":
        result = {"resultType": "complete", "ttlMs": 0, "cacheScope": "public", **result}
    send({"jsonrpc": "2.0", "id": identifier, "result": result})


def refuse(identifier: object, code: int, message: str) -> None:
    send({"jsonrpc": "2.0", "id": identifier, "error": {"code": code, "message": message}})


def text(value: str) -> dict[str, str]:
    return {"type": "text", "text": value}


def list_tools(identifier: object, cursor: str | None) -> None:
    if START == "no-tools":
        answer(identifier, {"tools": []})
    elif START in SCHEMAS:
        answer(identifier, {"tools": [{"name": "odd", "inputSchema": SCHEMAS[START]}]})
    elif START == "bare":
        answer(identifier, {"tools": [{"name": "odd", "inputSchema": {"type": "object"}}]})
    elif START == "endless":
        answer(identifier, {"tools": [], "nextCursor": "again"})
    elif START == "twice":
        answer(identifier, {"tools": [{"name": "odd", "inputSchema": EMPTY}] * 2})
    else:
        page = int(cursor or 0)
        tools = [{"name": name, "inputSchema": EMPTY} for name in TOOLS[page : page + 3]]
        rest = {"nextCursor": str(page + 3)} if page + 3 < len(TOOLS) else {}
        answer(identifier, {"tools": tools, **rest})


def contents(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"content": list(blocks)}


RESULTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "echo": lambda arguments: contents(text(json.dumps({"arguments": arguments, "pid": os.getpid()}))),
    "contents": lambda _: contents(
        text("a"), text("[1, 2]"), {"type": "image", "data": "AAEC", "mimeType": "image/png"},
        {"type": "audio", "data": "no base64", "mimeType": "audio/wav"},
        {"type": "resource", "resource": {"uri": "file:///t", "mimeType": "text/plain", "text": "inside"}},
        {"type": "resource", "resource": {"uri": "file:///b", "blob": "AAEC"}},
        {"type": "resource_link", "uri": "file:///l", "name": "link"},
    ),
    "mixed": lambda _: {**contents(text("for people")), "structuredContent": {"for": "machines"}},
    "nothing": lambda _: contents(),
    "unstructured": lambda arguments: {**contents(text(arguments["text"])), "isError": "error" in arguments},
    "huge": lambda arguments: contents(text("x" * arguments["bytes"])),
    "malformed": lambda _: {"content": "no list"},
    "ask_back": lambda _: {"resultType": "input_required", "inputRequests": {}},
}  # fmt: skip


def hang() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


def leave() -> None:
    write("out of ink\n", sys.stderr)
    sys.exit(3)


def close() -> None:
    os.close(1)
    time.sleep(1000)


def noise() -> None:
    write("thinking...\n\n[1, 2]\nnull\n")
    raw(b"\xff\x00")


ACTIONS: dict[str, Callable[[], None]] = {
    "hang": hang,
    "exit": leave,
    "close": close,
    "noise": noise,
    "flood": lambda: write("x" * 300_000, sys.stderr),
    "broken_json": lambda: raw(b'{"jsonrpc": "2.0", "id": '),
    "broken_utf8": lambda: raw(b'{"jsonrpc": "2.0", "id": 1, "result": "\xff\xfe"}'),
}
TOOLS = [*RESULTS, *ACTIONS, "fail"]


def call(identifier: object, name: str, arguments: dict[str, Any]) -> None:
    if name in RESULTS:
        answer(identifier, RESULTS[name](arguments))
    elif name in ACTIONS:
        ACTIONS[name]()
        if not name.startswith("broken"):
            answer(identifier, contents(text("done")))
    elif name == "fail":
        refuse(identifier, arguments["code"], "no")
    else:
        refuse(identifier, -32602, f"unknown tool {name}")


def handle(message: dict[str, Any]) -> None:
    identifier, method, params = message.get("id"), message["method"], message.get("params") or {}
    if method == "initialize" and START == "later-versions-only":
        refuse(identifier, -32601, "no such method")
    elif method == "server/discover" and START == "later-versions-only":
        answer(identifier, {
            "supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}},
        })  # fmt: skip
    elif method == "initialize":
        answer(identifier, {
            "protocolVersion": params["protocolVersion"], "capabilities": {"tools": {}},
            "serverInfo": {"name": "odd", "version": "1"},
        })  # fmt: skip
    elif method == "tools/list":
        list_tools(identifier, params.get("cursor"))
    elif method == "tools/call":
        call(identifier, params["name"], params.get("arguments") or {})
    elif identifier is not None:
        refuse(identifier, -32601, "no such method")


if START == "child":  # a child that holds no pipe, and that its parent does not end
    child = subprocess.Popen(["sleep", "1000"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)  # fmt: skip
elif START == "junk":
    write("Welcome!\n{}\n\n")
elif START == "silent":
    write("Usage: read the manual\n")
    time.sleep(1000)
elif START == "exit":
    write("cannot open the database\n", sys.stderr)
    sys.exit(2)
for line in sys.stdin:
    handle(json.loads(line))
if START == "stays":
    time.sleep(1000)
