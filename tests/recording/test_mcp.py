"""Recording over the Model Context Protocol: from real servers, and from one that breaks it in every way."""

import asyncio
import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from mcp_servers import GIT, MARK, NOTES, ODD, TIME, marked_processes, notes_url, npm_server, repository  # noqa: F401

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, RecordingError, UnansweredError
from toolorch_env.recording.api import Answer
from toolorch_env.recording.mcp import McpApi, open_mcp, stdio

# ruff: noqa: F811 - fixtures are imported


@pytest.fixture
def mark() -> Iterator[str]:
    """The value of a variable in the environment of servers, of which none may live when the test is over."""
    mark = uuid.uuid4().hex
    yield mark
    for _ in range(50):  # what was killed may take a moment to be gone
        if not marked_processes(mark):
            return
        time.sleep(0.05)
    assert marked_processes(mark) == []


@pytest.fixture(autouse=True)
def impatience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers get less time to end by themselves than they do in earnest."""
    monkeypatch.setattr(stdio, "_GRACE", 0.5)
    monkeypatch.setattr(stdio, "_KILL_GRACE", 0.5)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Nothing that a server does reaches the console."""
    yield
    assert [record for record in caplog.get_records("call") if record.levelno >= logging.WARNING] == []


@pytest.fixture
def opened(mark: str) -> Callable[..., McpApi]:
    """Opens an API whose server carries the mark."""

    def open_it(command: Sequence[str], **options: Any) -> McpApi:
        environment = {MARK: mark, **options.pop("environment", {})}
        return asyncio.run(open_mcp(command, environment=environment, **options))

    return open_it


@pytest.fixture(scope="module")
def shared() -> McpApi:
    return asyncio.run(open_mcp(ODD))


def ask(api: McpApi, *calls: tuple[str, dict[str, Any]]) -> list[Answer | UnansweredError]:
    """The answers to calls in one session, errors among them."""

    async def session() -> list[Answer | UnansweredError]:
        answers: list[Answer | UnansweredError] = []
        async with api.session() as session:
            for name, arguments in calls:
                try:
                    answers.append(await session.ask(Call(name, arguments)))
                except UnansweredError as error:
                    answers.append(error)
        return answers

    return asyncio.run(session())


def body(answer: Answer | UnansweredError) -> Any:
    assert isinstance(answer, Answer), answer
    return answer.body


def refusal(answer: Answer | UnansweredError, kind: str) -> str:
    assert isinstance(answer, UnansweredError), answer
    assert answer.kind == kind, answer
    return str(answer)


# Servers of third parties


def test_memory_server(opened: Callable[..., McpApi], npm_server: Callable[[str], list[str]]) -> None:
    """It keeps its state in a file: each session begins with an empty one."""
    api = opened(npm_server("server-memory"), environment={"MEMORY_FILE_PATH": "{session}/memory.json"})
    assert api.tools["read_graph"].read_only
    assert not api.tools["create_entities"].read_only
    entity = {"name": "Ada", "entityType": "person", "observations": ["likes numbers"]}
    created, graph, found = ask(
        api,
        ("create_entities", {"entities": [entity]}),
        ("read_graph", {}),
        ("open_nodes", {"names": 3}),
    )
    assert body(created) == {"entities": [entity]}
    assert body(graph) == {"entities": [entity], "relations": []}
    assert isinstance(found, Answer)
    assert found.status == 400
    assert "names" in found.body["text"]
    assert body(ask(api, ("read_graph", {}))[0]) == {"entities": [], "relations": []}


def test_filesystem_server(opened: Callable[..., McpApi], npm_server: Callable[[str], list[str]]) -> None:
    """The folder that it may use is one of its arguments."""
    api = opened([*npm_server("server-filesystem"), "{session}"])
    assert api.tools["read_text_file"].read_only
    assert not api.tools["write_file"].read_only
    (allowed,) = ask(api, ("list_allowed_directories", {}))
    assert "toolorch-" in json.dumps(body(allowed))

    async def session() -> tuple[Answer, Answer, str]:
        async with api.session() as session:
            listed = await session.ask(Call("list_allowed_directories", {}))
            folder = listed.body["content"].splitlines()[-1].strip()
            await session.ask(Call("write_file", {"path": f"{folder}/a.txt", "content": "one"}))
            read = await session.ask(Call("read_text_file", {"path": f"{folder}/a.txt"}))
            outside = await session.ask(Call("read_text_file", {"path": "/etc/hostname"}))
            return read, outside, folder

    read, outside, folder = asyncio.run(session())
    assert (read.status, read.body) == (200, {"content": "one"})
    assert outside.status == 400
    assert "denied" in outside.body["text"]
    assert not Path(folder).exists()


def test_git_server(opened: Callable[..., McpApi], repository: Path) -> None:
    """Texts of it are not JSON, and are the same for the same repository."""
    api = opened(GIT)
    log, unknown = ask(
        api,
        ("git_log", {"repo_path": str(repository), "max_count": 1}),
        ("git_show", {"repo_path": str(repository), "revision": "no-such-revision"}),
    )
    assert body(log).keys() == {"text"}
    assert "Add the second file" in log.body["text"]
    assert unknown.status == 400
    assert ask(api, ("git_log", {"repo_path": str(repository), "max_count": 1}))[0].body == log.body


def test_time_server(opened: Callable[..., McpApi]) -> None:
    api = opened(TIME)
    arguments = {"source_timezone": "Asia/Tokyo", "time": "12:00", "target_timezone": "Asia/Kolkata"}
    converted, invalid = ask(api, ("convert_time", arguments), ("get_current_time", {"timezone": "Mars/Crater"}))
    assert body(converted)["time_difference"] == "-3.5h"
    assert invalid.status == 400
    assert "Mars" in invalid.body["text"]


def test_server_made_with_the_sdk(opened: Callable[..., McpApi]) -> None:
    """Plain values come wrapped; sessions are processes of their own; the caller knows more than annotations say."""
    api = opened(NOTES, read_only={"large"}, state_changing={"count"})
    assert {name for name, tool in api.tools.items() if tool.read_only} == {"read", "large"}
    assert api.tools["count"].properties["longer_than"]["default"] == 0
    written, count, read, missing = ask(
        api,
        ("write", {"title": "a", "text": "hello"}),
        ("count", {}),
        ("read", {"title": "a"}),
        ("read", {"title": "b"}),
    )
    assert body(written) == {"result": "written"}
    assert body(count) == {"result": 1}
    assert body(read) == {"title": "a", "text": "hello"}
    assert missing.status == 400
    assert body(ask(api, ("count", {}))[0]) == {"result": 0}


# What comes back


def test_contents(opened: Callable[..., McpApi]) -> None:
    api = opened(ODD)
    several, mixed, nothing = ask(api, ("contents", {}), ("mixed", {}), ("nothing", {}))
    assert body(mixed) == {"for": "machines"}
    assert body(nothing) is None
    first, second, image, sound, inside, blob, link = body(several)["content"]
    assert (first, second) == ({"text": "a"}, [1, 2])
    assert image == {
        "type": "image",
        "mime_type": "image/png",
        "bytes": 3,
        "blake2b": image["blake2b"],
    }
    assert sound["bytes"] == len("no base64")
    assert inside == {"type": "resource", "uri": "file:///t", "mime_type": "text/plain", "text": "inside"}
    assert blob["blake2b"] == image["blake2b"] != sound["blake2b"]
    assert link == {"type": "resource_link", "uri": "file:///l", "name": "link"}


TEXTS: dict[str, Any] = {
    '{"a": 1}': {"a": 1},
    "[]": [],
    " [1,\n2] ": [1, 2],
    "12": {"text": "12"},
    '"a"': {"text": '"a"'},
    "null": {"text": "null"},
    "": {"text": ""},
    "[NaN]": {"text": "[NaN]"},
    "{'a': 1}": {"text": "{'a': 1}"},
    str([2**70]): [2**70],
}


def test_texts(shared: McpApi) -> None:
    """Objects and arrays are parsed, in errors too, and nothing else is."""
    plain = ask(shared, *(("unstructured", {"text": text}) for text in TEXTS))
    errors = ask(shared, *(("unstructured", {"text": text, "error": True}) for text in TEXTS))
    for answer, error, expected in zip(plain, errors, TEXTS.values(), strict=True):
        assert (answer.status, answer.body) == (200, expected)
        assert (error.status, error.body) == (400, expected)


@pytest.mark.parametrize("code", [-32000, -32001, -32602, -32603, 7])
def test_errors_of_the_protocol_are_answers(shared: McpApi, code: int) -> None:
    """Also those whose codes the SDK uses itself, for timeouts and lost connections."""
    failed, after = ask(shared, ("fail", {"code": code}), ("echo", {}))
    assert (failed.status, failed.body) == (400, {"error": {"code": code, "message": "no"}})
    assert after.status == 200


def test_unknown_tool(shared: McpApi) -> None:
    (answer,) = ask(shared, ("no_such_tool", {}))
    assert (answer.status, answer.body["error"]["code"]) == (400, -32602)


def test_stray_output_between_messages(opened: Callable[..., McpApi]) -> None:
    for answer in ask(opened([*ODD, "junk"]), ("noise", {}), ("echo", {"a": 1}), ("flood", {}))[:2]:
        assert answer.status == 200


def test_all_pages_of_tools(shared: McpApi) -> None:
    assert len(shared.tools) == 16
    assert not any(tool.read_only for tool in shared.tools.values())


def test_server_of_the_later_versions(opened: Callable[..., McpApi]) -> None:
    """One that knows no handshake."""
    api = opened([*ODD, "later-versions-only"])
    (answer,) = ask(api, ("echo", {"a": [1]}))
    assert body(answer)["arguments"] == {"a": [1]}


def test_what_is_no_json_is_not_sent(shared: McpApi) -> None:
    surrogate, object_, after = ask(shared, ("echo", {"a": "\ud800"}), ("echo", {"a": object()}), ("echo", {"a": "ü"}))
    refusal(surrogate, "unsendable")
    refusal(object_, "unsendable")
    assert body(after)["arguments"] == {"a": "ü"}


# Failures


@pytest.mark.parametrize("tool", ["hang", "broken_json", "broken_utf8"])
def test_no_answer_in_time(opened: Callable[..., McpApi], tool: str) -> None:
    """The session is lost, and the server is killed, even if it does not want to end."""
    api = opened(ODD, timeout=2.0)
    late, after = ask(api, (tool, {}), ("echo", {}))
    message = refusal(late, "timeout")
    assert ('"jsonrpc"' in message) == (tool != "hang")  # what it wrote is quoted
    refusal(after, "exited")


def test_server_that_exits(opened: Callable[..., McpApi]) -> None:
    api = opened(ODD)
    gone, after = ask(api, ("exit", {}), ("echo", {}))
    message = refusal(gone, "exited")
    assert "exited with 3" in message
    assert "out of ink" in message
    assert gone.lost_session
    refusal(after, "exited")


def test_server_that_closes_its_output(opened: Callable[..., McpApi]) -> None:
    (gone,) = ask(opened(ODD), ("close", {}))
    assert "closed its output" in refusal(gone, "exited")


@pytest.mark.parametrize("size", [2_000, 100_000_000])
def test_answer_that_is_too_large(opened: Callable[..., McpApi], size: int) -> None:
    """Refused once parsed, or long before; the session goes on."""
    api = opened(ODD, max_response_bytes=1_000)
    large, after = ask(api, ("huge", {"bytes": size}), ("echo", {"a": 1}))
    refusal(large, "too large")
    assert after.status == 200


@pytest.mark.parametrize("tool", ["malformed", "ask_back"])
def test_answer_that_is_none_of_the_protocol(shared: McpApi, tool: str) -> None:
    odd, after = ask(shared, (tool, {}), ("echo", {}))
    refusal(odd, "not JSON")
    assert after.status == 200


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (["/no/such/program", "--please"], "/no/such/program"),
        ([os.devnull], os.devnull),
        ([*ODD, "exit"], "cannot open the database"),
        ([*ODD, "silent"], "read the manual"),
        ([*ODD, "no-tools"], "offers no tools"),
        ([*ODD, "broken"], "'odd'"),
        ([*ODD, "dangling"], "'odd'"),
        ([*ODD, "endless"], "twice"),
        ([*ODD, "twice"], "'odd'"),
        (["sh", "-c", "exit 4"], "exited with 4"),
        (["cat"], "cat"),
        (["a\0b"], "null byte"),
    ],
)
def test_server_that_cannot_be_used(opened: Callable[..., McpApi], command: list[str], reason: str) -> None:
    with pytest.raises(RecordingError, match=reason):
        opened(command, timeout=2.0)


@pytest.mark.parametrize(("start", "properties"), [("shared", {"a"}), ("bare", set())])
def test_schemas_that_can_be_used(opened: Callable[..., McpApi], start: str, properties: set[str]) -> None:
    assert opened([*ODD, start]).tools["odd"].properties.keys() == properties


@pytest.mark.parametrize(("command", "url"), [(None, None), ([], ""), (ODD, "http://127.0.0.1/"), ("server", None)])
def test_command_or_url(command: Any, url: str | None) -> None:
    with pytest.raises(ConfigurationError):
        asyncio.run(open_mcp(command, url))


# Sessions and processes


@pytest.mark.parametrize("start", ["stays", "child"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_no_process_stays_behind(opened: Callable[..., McpApi], start: str, wrapped: bool) -> None:
    """Neither a server that does not end, nor what it started, nor what a shell around it started."""
    command = [*ODD, start]
    if wrapped:
        command = ["sh", "-c", f"sleep 1000 </dev/null >/dev/null 2>&1 & {' '.join(command)}; true"]
    api = opened(command)
    assert isinstance(ask(api, ("echo", {}))[0], Answer)
    (gone,) = ask(api, ("exit", {}))
    assert isinstance(gone, UnansweredError)


def test_cancelled_session_leaves_no_process(opened: Callable[..., McpApi], mark: str) -> None:
    api = opened([*ODD, "stays"])

    async def session() -> None:
        async with api.session() as session:
            await session.ask(Call("hang", {}))

    async def cancel() -> None:
        task = asyncio.create_task(session())
        while not marked_processes(mark):
            await asyncio.sleep(0.05)
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(cancel())


def test_error_within_a_session_comes_out_as_it_is(opened: Callable[..., McpApi]) -> None:
    api = opened(ODD)

    async def session() -> None:
        async with api.session():
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        asyncio.run(session())


def test_many_sessions_at_once(shared: McpApi) -> None:
    async def session(number: int) -> tuple[int, int]:
        async with shared.session() as session:
            first = await session.ask(Call("echo", {"number": number}))
            again = await session.ask(Call("echo", {"number": number}))
        assert first.body == again.body
        return first.body["arguments"]["number"], first.body["pid"]

    async def sessions() -> list[tuple[int, int]]:
        return await asyncio.gather(*map(session, range(6)))

    numbers, processes = zip(*asyncio.run(sessions()), strict=True)
    assert numbers == tuple(range(6))
    assert len(set(processes)) == 6


def test_session_folder_and_environment(opened: Callable[..., McpApi], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLORCH_SECRET", "not for servers")
    api = opened(NOTES, environment={"PLACE": "{session}/x", "WORD": "plain"})
    folders = []
    for _ in range(2):
        place, word, secret, path = ask(
            api, *(("variable", {"name": name}) for name in ("PLACE", "WORD", "TOOLORCH_SECRET", "PATH"))
        )
        folders.append(Path(body(place)["result"]).parent)
        assert body(word) == {"result": "plain"}
        assert body(secret) == {"result": None}
        assert body(path) == {"result": os.environ["PATH"]}
    assert folders[0] != folders[1]
    assert not any(folder.exists() for folder in folders)


def test_credentials_are_redacted(opened: Callable[..., McpApi]) -> None:
    """In bodies, in the source, and in messages, which may quote them."""
    api = opened([*ODD, "well", "--password=swordfish"])
    assert "[redacted]" in api.source
    assert "swordfish" not in api.source
    (refused,) = ask(api, ("echo", {"a": "swordfish"}))
    assert isinstance(refused, UnansweredError)
    assert refused.kind == "unsendable"
    assert "the argument 'a' is or holds a credential" in str(refused)
    assert "swordfish" not in str(refused)
    with pytest.raises(RecordingError, match=r"\[redacted\]") as caught:
        opened(["sh", "-c", "echo swordfish >&2; exit 1"], credentials={"KEY": "swordfish"})
    assert "swordfish" not in str(caught.value)


# Streamable HTTP


def test_over_http(notes_url: str) -> None:
    api = asyncio.run(open_mcp(url=notes_url))
    written, read, missing = ask(
        api, ("write", {"title": "h", "text": "hello"}), ("read", {"title": "h"}), ("read", {"title": "zzz"})
    )
    assert body(written) == {"result": "written"}
    assert body(read) == {"title": "h", "text": "hello"}
    assert missing.status == 400
    assert api.tools["read"].read_only


def test_too_large_over_http(notes_url: str) -> None:
    api = asyncio.run(open_mcp(url=notes_url, max_response_bytes=10_000))
    parsed, refused, after = ask(
        api, ("large", {"size": 20_000}), ("large", {"size": 1_000_000}), ("large", {"size": 1})
    )
    refusal(parsed, "too large")
    refusal(refused, "too large")
    assert body(after) == {"result": "x"}


class OddHandler(BaseHTTPRequestHandler):
    """Speaks the protocol well until a tool is called, which is named after what it does."""

    seen: list[tuple[str, str | None]]

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append((message["method"], self.headers.get("Authorization")))
        tool = {"name": "any", "inputSchema": {"type": "object"}}
        if message["method"] == "initialize":
            information = {"name": "odd", "version": "1"}
            result: Any = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": information}
        elif message["method"] == "tools/list":
            result = {"tools": [tool]}
        elif message["method"] == "tools/call":
            return self.misbehave(message["params"]["name"], message["id"])
        else:
            return self.answer(202, b"")
        return self.answer(200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}).encode())

    def misbehave(self, name: str, identifier: int) -> None:
        reported = {"jsonrpc": "2.0", "id": identifier, "error": {"code": -32603, "message": "inside"}}
        if name.isdigit():
            self.answer(int(name), b"busy", retry_after="7")
        elif name == "reported":
            self.answer(500, json.dumps(reported).encode())
        elif name == "page":
            self.answer(200, b"<html>", "text/html")
        elif name == "broken":
            self.answer(200, b'{"jsonrpc":')
        elif name == "half":
            self.answer(200, b'{"jsonrpc":', length=1000)
            self.connection.close()
        elif name == "silent_events":
            self.answer(200, b": nothing\n\n", "text/event-stream")
        elif name == "hang":
            self.server.hung.wait(10)  # type: ignore[attr-defined]
        else:
            self.close_connection = True

    def do_GET(self) -> None:
        self.answer(405, b"")

    def do_DELETE(self) -> None:
        self.seen.append(("DELETE", None))
        self.answer(200, b"")

    def answer(
        self, status: int, data: bytes, kind: str = "application/json", length: int = 0, retry_after: str = ""
    ) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length or len(data)))
        self.send_header("Mcp-Session-Id", "one")
        if retry_after:
            self.send_header("Retry-After", retry_after)
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def odd_http() -> Iterator[ThreadingHTTPServer]:
    handler = type("Handler", (OddHandler,), {"seen": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        server.hung = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.hung.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}/mcp"


@pytest.mark.parametrize(
    ("tool", "kind"),
    [
        ("429", "busy"),
        ("500", "server fault"),
        ("503", "server fault"),
        ("401", "unsendable"),
        ("404", "exited"),
        ("page", "not JSON"),
        ("broken", "not JSON"),
        ("half", "unreachable"),
        ("drop", "unreachable"),
        ("silent_events", "server fault"),
    ],
)
def test_http_failures(odd_http: ThreadingHTTPServer, tool: str, kind: str) -> None:
    api = asyncio.run(open_mcp(url=url(odd_http)))
    failed, reported = ask(api, (tool, {}), ("reported", {}))
    refusal(failed, kind)
    if kind == "busy":
        assert failed.retry_after == 7.0
    if kind == "exited":
        refusal(reported, "exited")
    else:  # the session goes on; an error that the server itself reports is an answer, whatever the status
        assert (reported.status, reported.body) == (400, {"error": {"code": -32603, "message": "inside"}})


def test_http_timeout(odd_http: ThreadingHTTPServer) -> None:
    api = asyncio.run(open_mcp(url=url(odd_http), timeout=1.0))
    late, after = ask(api, ("hang", {}), ("reported", {}))
    refusal(late, "timeout")
    refusal(after, "exited")


def test_http_headers_and_end_of_session(odd_http: ThreadingHTTPServer) -> None:
    headers = {"Authorization": "Bearer xyz9"}
    api = asyncio.run(open_mcp(url=url(odd_http) + "?key=secret#f", headers=headers))
    assert "secret" not in api.source
    seen = odd_http.RequestHandlerClass.seen  # type: ignore[attr-defined]
    assert {authorization for method, authorization in seen if method != "DELETE"} == {"Bearer xyz9"}
    assert seen[-1][0] == "DELETE"


@pytest.mark.parametrize("path", ["http://127.0.0.1:9/mcp", "http://no such host/", "ftp://127.0.0.1/"])
def test_nobody_there(path: str) -> None:
    with pytest.raises(RecordingError, match="MCP server"):
        asyncio.run(open_mcp(url=path, timeout=5.0))
