"""Asking a real HTTP server, a small one in this process."""

import asyncio
import base64
import json
import socket
import time
import tracemalloc
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import httpx
import pytest
from echo_server import Server, serve

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, RecordingError, UnansweredError
from toolorch_env.recording.api import Answer, Api
from toolorch_env.recording.http import HttpApi, open_http_api
from toolorch_env.recording.http.openapi import operations_from_openapi


def parameter(name: str, place: str = "query", **more: Any) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": {}, **more}


def one(path: str, *parameters: dict[str, Any], method: str = "get", **more: Any) -> dict[str, Any]:
    return {path: {method: {"operationId": path.split("/")[1].replace("-", "_") or "root",
                            "parameters": list(parameters), **more}}}  # fmt: skip


OBJECT = {"type": "object", "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}
DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        **one("/echo/{rest}", parameter("rest", "path"), parameter("a"), parameter("b")),
        **one("/status/{rest}", parameter("rest", "path"), parameter("Retry-After"), parameter("Location")),
        **{path: node for name in ("raw", "empty", "encoded", "claim")
           for path, node in one(f"/{name}/{{rest}}", parameter("rest", "path")).items()},
        **{path: node for name in ("bomb", "endless", "hang-up", "half", "no-http", "slow", "drip", "loop", "visit")
           for path, node in one(f"/{name}").items()},
        **one("/redirect", parameter("to")),
        "/echo": {"post": {"operationId": "send", "parameters": [parameter("name")], "requestBody": {
            "required": True, "content": {"application/merge-patch+json": {"schema": OBJECT}}}}},
    },
}  # fmt: skip
OPERATIONS = operations_from_openapi(DOCUMENT)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def api(server: Server) -> HttpApi:
    return HttpApi(OPERATIONS, f"{server.url}/api/", timeout=5, max_response_bytes=200_000)


def ask(api: Api, tool: str, **arguments: Any) -> Answer:
    return asyncio.run(ask_all(api, [Call(tool, arguments)]))[0]


async def ask_all(api: Api, calls: list[Call]) -> list[Answer]:
    async with api.session() as session:
        return [await session.ask(call) for call in calls]


def refusal(api: Api, tool: str, **arguments: Any) -> UnansweredError:
    with pytest.raises(UnansweredError) as caught:
        ask(api, tool, **arguments)
    return caught.value


def test_an_answer_has_its_status_body_latency_and_time(api: HttpApi) -> None:
    before = int(time.time())
    answer = ask(api, "echo", rest="x", a="y", b=2)
    assert answer.status == 200
    assert answer.body["query"] == [["a", "y"], ["b", "2"]]
    assert 0 < answer.latency < 5
    assert before <= answer.recorded_at <= time.time()


@pytest.mark.parametrize(
    ("value", "sent"),
    [(True, ["true"]), (1.5, ["1.5"]), ("a&b=c d+ü%2C,#", ["a&b=c d+ü%2C,#"]), (["x", "y"], ["x", "y"]), ("", [""]),
     (None, [])],
)  # fmt: skip
def test_values_arrive_as_they_are(api: HttpApi, value: Any, sent: list[str]) -> None:
    assert ask(api, "echo", rest="x", a=value).body["query"] == [["a", text] for text in sent]


@pytest.mark.parametrize("name", ["x", "a b", "a/b", "a?b", "ü", "%2F", "a;b", "...", "{a}", "../x", "\\"])
def test_values_in_the_path_arrive_as_they_are(api: HttpApi, name: str) -> None:
    assert ask(api, "echo", rest=name).body["rest"] == name


def test_a_body_is_sent_as_json_with_its_media_type(api: HttpApi) -> None:
    answer = ask(api, "send", name="in the query", body_name="ü", size=3)
    assert answer.body["method"] == "POST"
    assert answer.body["query"] == [["name", "in the query"]]
    assert answer.body["body"] == {"name": "ü", "size": 3}
    assert answer.body["type"] == "application/merge-patch+json"
    assert ask(api, "send").body["body"] == {}


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("no_tool", {}), ("echo", {}), ("echo", {"rest": ".."}), ("echo", {"rest": "x", "c": 1}),
     ("echo", {"rest": "x", "a": "\ud800"}), ("send", {"size": 2**70}), ("echo", {"rest": "x" * 70_000})],
)  # fmt: skip
def test_what_cannot_be_sent_is_told(api: HttpApi, server: Server, tool: str, arguments: dict[str, Any]) -> None:
    before = len(server.asked)
    error = refusal(api, tool, **arguments)
    assert error.kind == "unsendable"
    assert not error.retryable
    assert len(server.asked) == before


@pytest.mark.parametrize("status", [200, 201, 400, 401, 404, 410, 422, 499])
def test_errors_of_the_caller_are_answers(api: HttpApi, status: int) -> None:
    answer = ask(api, "status", rest=status)
    assert (answer.status, answer.body) == (status, {"detail": str(status)})


@pytest.mark.parametrize("status", [200, 204, 404])
def test_no_body_is_null(api: HttpApi, status: int) -> None:
    answer = ask(api, "empty", rest=status)
    assert (answer.status, answer.body) == (status, None)


@pytest.mark.parametrize(
    ("status", "kind"),
    [(408, "busy"), (425, "busy"), (429, "busy"), (500, "server fault"), (503, "server fault"), (599, "server fault")],
)
def test_what_may_be_asked_again_is_told(api: HttpApi, status: int, kind: str) -> None:
    error = refusal(api, "status", rest=status)
    assert (error.kind, error.retryable, error.retry_after) == (kind, True, None)
    assert f"GET /status/{{rest}}: status {status}" in str(error)


@pytest.mark.parametrize(
    ("value", "least", "most"),
    [("7", 7, 7), ("0", 0, 0), ("in a while", 4000, 5000), ("1.5", 1.5, 1.5),
     ("Sun, 06 Nov 1994 08:49:37 GMT", 0, 0)],
)  # fmt: skip
@pytest.mark.parametrize("status", [429, 503])
def test_how_long_to_wait_is_told(api: HttpApi, status: int, value: str, least: float, most: float) -> None:
    if value == "in a while":
        value = formatdate(time.time() + 5000, usegmt=True)
    error = refusal(api, "status", rest=status, **{"Retry-After": value})
    assert error.retry_after is not None
    assert least <= error.retry_after <= most


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "1e9", "Sun, 99 Nov 1994 08:49:37 GMT"])
def test_a_wait_in_an_unknown_form_is_none(api: HttpApi, value: str) -> None:
    assert refusal(api, "status", rest=429, **{"Retry-After": value}).retry_after is None


@pytest.mark.parametrize(
    "body",
    [b"<html>hello</html>", b'{"a": ', b"NaN", b'{"a": Infinity}', b'"\xff"', b"[" * 5000, b"[" * 900 + b"]" * 900,
     b'"\\ud800"'],
)  # fmt: skip
def test_what_is_not_json_is_told(api: HttpApi, body: bytes) -> None:
    error = refusal(api, "raw", rest=base64.urlsafe_b64encode(body).decode())
    assert (error.kind, error.retryable) == ("not JSON", False)


def test_the_content_type_is_not_asked(api: HttpApi) -> None:
    assert ask(api, "raw", rest=base64.urlsafe_b64encode(b'{"a": [1, 2.5]}').decode()).body == {"a": [1, 2.5]}


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "members", "bare", "identity"])
def test_compressed_answers_are_read(api: HttpApi, encoding: str) -> None:
    assert ask(api, "encoded", rest=encoding).body == {"packed": True}


@pytest.mark.parametrize("encoding", ["br", "broken", "short"])
def test_encodings_that_cannot_be_read_are_told(api: HttpApi, encoding: str) -> None:
    assert refusal(api, "encoded", rest=encoding).kind == "not JSON"


def test_a_compressed_flood_is_stopped_in_little_memory(api: HttpApi, server: Server) -> None:
    server.blocks = 0
    tracemalloc.start()
    error = refusal(api, "bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.kind == "too large"
    assert peak < 20_000_000
    assert server.blocks < 9_000


def test_an_endless_answer_is_stopped(api: HttpApi, server: Server) -> None:
    server.blocks = 0
    assert refusal(api, "endless").kind == "too large"


def test_what_is_announced_too_large_is_not_waited_for(api: HttpApi) -> None:
    error = refusal(api, "claim", rest=200_001)
    assert error.kind == "too large"
    assert "200,000 bytes" in str(error)


def test_the_limit_itself_is_read(server: Server) -> None:
    body = json.dumps("x" * 98).encode()
    for limit, fits in ((100, True), (99, False)):
        api = HttpApi(OPERATIONS, server.url, max_response_bytes=limit)
        rest = base64.urlsafe_b64encode(body).decode()
        if fits:
            assert ask(api, "raw", rest=rest).body == "x" * 98
        else:
            assert refusal(api, "raw", rest=rest).kind == "too large"


@pytest.mark.parametrize("tool", ["hang_up", "half", "no_http"])
def test_a_server_that_breaks_off_is_told(api: HttpApi, tool: str) -> None:
    error = refusal(api, tool)
    assert (error.kind, error.retryable) == ("unreachable", True)


@pytest.mark.parametrize("tool", ["slow", "drip"])
def test_a_call_has_its_time_as_a_whole(server: Server, tool: str) -> None:
    error = refusal(HttpApi(OPERATIONS, server.url, timeout=0.2), tool)
    assert (error.kind, error.retryable) == ("timeout", True)
    assert "0.2 seconds" in str(error)


def test_a_dead_port_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert refusal(HttpApi(OPERATIONS, f"http://127.0.0.1:{port}"), "echo", rest="x").kind == "unreachable"


def test_a_session_goes_on_after_a_failure(api: HttpApi) -> None:
    async def run() -> list[str]:
        async with api.session() as session:
            said = []
            for tool in ("visit", "hang_up", "visit", "bomb", "visit"):
                try:
                    said.append((await session.ask(Call(tool, {}))).body["n"])
                except UnansweredError as error:
                    said.append(error.kind)
            return said

    assert asyncio.run(run()) == [1, "unreachable", 2, "too large", 3]


def test_redirects_on_the_same_server_are_followed_with_the_body(api: HttpApi) -> None:
    assert ask(api, "redirect").body["rest"] == "there"


def test_redirects_elsewhere_are_not_followed(api: HttpApi) -> None:
    with serve() as other:
        error = refusal(api, "redirect", to=f"{other.url}/echo/x")
        assert other.asked == []
    assert (error.kind, error.retryable) == ("not JSON", False)
    assert "307" in str(error)


def test_redirects_in_a_circle_end(api: HttpApi) -> None:
    assert refusal(api, "loop").kind == "not JSON"


def test_sessions_have_cookies_of_their_own(api: HttpApi) -> None:
    async def run() -> list[int]:
        async with api.session() as first, api.session() as second:
            return [(await session.ask(Call("visit", {}))).body["n"] for session in (first, first, second, first)]

    assert asyncio.run(run()) == [1, 2, 1, 3]


def test_a_session_keeps_its_connection(api: HttpApi, server: Server) -> None:
    async def run() -> None:
        async with api.session() as session:
            connections = set()
            for _ in range(5):
                await session.ask(Call("visit", {}))
                pool = session._client._transport._pool  # type: ignore[attr-defined]  what httpx does not tell
                connections |= set(map(id, pool.connections))
            assert len(connections) == 1

    asyncio.run(run())


def test_the_proxies_of_the_environment_do_not_lead_here(api: HttpApi, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    assert ask(api, "visit").body == {"n": 1}


def test_elsewhere_they_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serve() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        api = HttpApi(OPERATIONS, "http://there.invalid/api")
        refusal(api, "hang_up")
        assert [path for _, path, _ in proxy.asked] == ["http://there.invalid/api/hang-up"]


def test_a_transport_takes_the_place_of_the_network_and_outlives_sessions() -> None:
    class Transport(httpx.AsyncBaseTransport):
        closed = False

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, content=json.dumps(str(request.url)).encode())

        async def aclose(self) -> None:
            self.closed = True

    transport = Transport()
    api = HttpApi(OPERATIONS, "https://there.invalid/v1", transport=transport)
    assert ask(api, "echo", rest="x", a="1,2").body == "https://there.invalid/v1/echo/x?a=1,2"
    assert not transport.closed


@pytest.mark.parametrize(
    "url", ["", "there", "ftp://there", "http://", "http://[", "http://a/?q=1", "http://a/#x", "http://a:b/", 3]
)
def test_a_base_url_that_cannot_be_used_is_told(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="base URL"):
        HttpApi(OPERATIONS, url)


@pytest.mark.parametrize("headers", [{"A B": "x"}, {"": "x"}, {"X": "a\r\nB: c"}, {"X-Key": "schlüssel"}])
def test_headers_that_cannot_be_sent_are_told_without_their_value(headers: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match="header") as caught:
        HttpApi(OPERATIONS, "http://127.0.0.1", headers=headers)
    assert "schlüssel" not in str(caught.value)


def test_the_source_is_the_base_url(api: HttpApi, server: Server) -> None:
    assert api.source == f"{server.url}/api"
    assert list(api.tools) == [operation.tool.name for operation in OPERATIONS]


def test_an_api_is_opened_from_its_document(server: Server) -> None:
    server.document = json.dumps({**DOCUMENT, "servers": [{"url": "../api"}]}).encode()
    api = asyncio.run(open_http_api(f"{server.url}/document/openapi.json", headers={"X-Key": "sesame-open"}))
    assert api.source == f"{server.url}/api"
    assert server.asked[-1][2]["X-Key"] == "sesame-open"
    assert ask(api, "visit").body == {"n": 1}


def test_headers_stay_with_their_server(server: Server) -> None:
    server.document = json.dumps(DOCUMENT).encode()
    headers = {"X-Key": "sesame-open"}
    asyncio.run(open_http_api(f"{server.url}/document", base_url="http://there.invalid", headers=headers))
    assert "X-Key" not in server.asked[-1][2]


def test_a_document_that_is_none_is_told(server: Server) -> None:
    server.document = b'{"openapi": "2.0"}'
    with pytest.raises(RecordingError, match="OpenAPI 3"):
        asyncio.run(open_http_api(f"{server.url}/document"))
