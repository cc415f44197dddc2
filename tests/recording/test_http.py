"""Asking a real HTTP server, a small one in this process."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import httpx
import pytest

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import RecordingError
from toolorch_env.core.tools import Tool
from toolorch_env.recording.http import Answer, HttpApi, with_miss_answers
from toolorch_env.recording.openapi import operations_from_openapi

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/echo": {"get": {"operationId": "echo", "parameters": [
            {"name": name, "in": "query", "schema": {}} for name in ("a", "b", "c")]}},
        "/things/{name}": {"get": {"operationId": "thing", "parameters": [
            {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}]}},
        "/status/{code}": {"get": {"operationId": "status", "parameters": [
            {"name": "code", "in": "path", "required": True, "schema": {"type": "integer"}}]}},
        "/text": {"get": {"operationId": "text"}},
        "/broken": {"get": {"operationId": "broken"}},
        "/empty": {"get": {"operationId": "empty"}},
        "/hang-up": {"get": {"operationId": "hang_up"}},
        "/slow": {"get": {"operationId": "slow"}},
    },
}  # fmt: skip


class Handler(BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        first, _, rest = url.path.strip("/").partition("/")
        if first == "echo":
            self.answer(200, json.dumps(parse_qs(url.query, keep_blank_values=True)))
        elif first == "things":
            self.answer(200, json.dumps({"name": unquote(rest), "path": self.path}))
        elif first == "status":
            self.answer(int(rest), json.dumps({"detail": f"status {rest}"}))
        elif first == "hang-up":
            self.connection.close()
        elif first == "slow":
            time.sleep(1)
        else:
            self.answer(200, {"text": "<html>hello</html>", "broken": '{"a": ', "empty": ""}.get(first, '"other"'))

    def answer(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text.encode())))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *arguments: Any) -> None:
        """Stays silent."""


class Server(ThreadingHTTPServer):
    """Forgets clients that hang up."""

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stays silent."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def api(address: str) -> Iterator[HttpApi]:
    with httpx.Client(base_url=address, timeout=0.3, trust_env=False) as client:
        yield HttpApi(client, operations_from_openapi(DOCUMENT))


def test_an_answer_has_its_status_body_latency_and_time(api: HttpApi) -> None:
    before = int(time.time())
    answer = api.ask(Call("echo", {"a": "x", "b": 2}))
    assert (answer.status, answer.body) == (200, {"a": ["x"], "b": ["2"]})
    assert 0 < answer.latency < 1
    assert before <= answer.recorded_at <= time.time()


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (True, ["true"]),
        (False, ["false"]),
        (1.5, ["1.5"]),
        ("a&b=c d+ü", ["a&b=c d+ü"]),
        (["x", "y"], ["x", "y"]),
        ("", [""]),
    ],
)
def test_values_arrive_as_they_are(api: HttpApi, value: Any, sent: list[str]) -> None:
    assert api.ask(Call("echo", {"a": value})).body == {"a": sent}


@pytest.mark.parametrize("name", ["x", "a b", "a/b", "a?b", "ü", "%2F", "a;b", "..."])
def test_values_in_the_path_arrive_as_they_are(api: HttpApi, name: str) -> None:
    assert api.ask(Call("thing", {"name": name})).body["name"] == name


@pytest.mark.parametrize("name", ["..", "."])
def test_dots_do_not_leave_the_path(api: HttpApi, name: str) -> None:
    try:
        body = api.ask(Call("thing", {"name": name})).body
    except RecordingError:
        return
    assert body["name"] == name


@pytest.mark.parametrize("status", [400, 401, 404, 410, 422, 429])
def test_errors_of_the_caller_are_answers(api: HttpApi, status: int) -> None:
    answer = api.ask(Call("status", {"code": status}))
    assert (answer.status, answer.body) == (status, {"detail": f"status {status}"})


@pytest.mark.parametrize("status", [500, 502, 503, 599])
def test_errors_of_the_server_are_not_recorded(api: HttpApi, status: int) -> None:
    with pytest.raises(RecordingError, match=f"GET /status/{status} failed with status {status}"):
        api.ask(Call("status", {"code": status}))


@pytest.mark.parametrize("tool", ["text", "broken", "empty"])
def test_what_is_not_json_is_not_recorded(api: HttpApi, tool: str) -> None:
    with pytest.raises(RecordingError, match=rf"GET /{tool} was not answered with JSON \(status 200\)"):
        api.ask(Call(tool, {}))


@pytest.mark.parametrize("tool", ["hang_up", "slow"])
def test_a_server_that_does_not_answer_is_told(api: HttpApi, tool: str) -> None:
    with pytest.raises(RecordingError, match="was not answered"):
        api.ask(Call(tool, {}))


def test_a_dead_port_is_told() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        api = HttpApi(client, operations_from_openapi(DOCUMENT))
        with pytest.raises(RecordingError, match=r"GET /echo was not answered: ConnectError"):
            api.ask(Call("echo", {}))


def test_an_unknown_operation_is_told(api: HttpApi) -> None:
    with pytest.raises(RecordingError, match="'no_tool'"):
        api.ask(Call("no_tool", {}))


def test_a_missing_value_for_the_path_is_told(api: HttpApi) -> None:
    with pytest.raises(RecordingError, match="'name'"):
        api.ask(Call("thing", {}))


def test_a_value_too_long_for_a_url_is_told(api: HttpApi) -> None:
    with pytest.raises(RecordingError):
        api.ask(Call("echo", {"a": "x" * 70_000}))


def test_tools_learn_the_error_that_they_give_most_often() -> None:
    tools = [Tool(name, "", {}) for name in ("often", "never", "silent")]

    def answer(status: int, body: Any) -> Answer:
        return Answer(status, body, 0.1, 1)

    answers = [
        (Call("often", {"a": 1}), answer(404, {"detail": "rare"})),
        (Call("often", {"a": 2}), answer(404, {"detail": "usual"})),
        (Call("often", {"a": 3}), answer(404, {"detail": "usual"})),
        (Call("often", {"a": 4}), answer(400, {"detail": "bad"})),
        (Call("never", {}), answer(200, {"found": True})),
    ]
    learned = with_miss_answers(tools, answers)
    assert [tool.name for tool in learned] == ["often", "never", "silent"]
    assert learned[0].miss_body == {"detail": "usual"}
    assert learned[0].miss_status == 404
    assert learned[1:] == tools[1:]
