"""A real HTTP server in this process that says what it was asked, or misbehaves where its path asks for it."""

import base64
import contextlib
import gzip
import json
import threading
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

BOMB_BYTES = 10 * 10**9


class Handler(BaseHTTPRequestHandler):
    """Answers by the first part of the path; ``/api`` before it is ignored."""

    protocol_version = "HTTP/1.1"
    server: "Server"

    def handle_one_request(self) -> None:
        with contextlib.suppress(ConnectionError):
            super().handle_one_request()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append((self.command, self.path, dict(self.headers)))
        first, _, self.rest = url.path.removeprefix("/api").strip("/").partition("/")
        self.query = parse_qsl(url.query, keep_blank_values=True)
        self.sent = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        getattr(self, f"answer_{first.replace('-', '_')}")()

    do_POST = do_PUT = do_DELETE = do_PATCH = do_GET  # noqa: N815  the names that the base class looks for

    def answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def answer_json(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer(status, json.dumps(body).encode(), headers)

    def answer_echo(self) -> None:
        body = json.loads(self.sent) if self.sent else None
        self.answer_json({"method": self.command, "path": self.path, "rest": unquote(self.rest), "query": self.query,
                          "body": body, "type": self.headers.get("Content-Type")})  # fmt: skip

    def answer_mirror(self) -> None:
        """Everything that was sent, in many disguises."""
        said = json.dumps({"path": self.path, "headers": dict(self.headers), "body": self.sent.decode()})
        self.answer_json({
            "said": said, "twice": json.dumps(said), "url": quote(said, safe=""), "plus": quote(quote(said)),
            "base64": [base64.b64encode(("x" * n + said).encode()).decode() for n in range(3)],
            "safe": base64.urlsafe_b64encode(said.encode()).decode(), "query": dict(self.query), said: [1, None, True],
            "headers": dict(self.headers), "repr": repr(said.encode()),
        })  # fmt: skip

    def answer_status(self) -> None:
        self.answer_json({"detail": self.rest}, int(self.rest), dict(self.query))

    def answer_raw(self) -> None:
        self.answer(200, base64.urlsafe_b64decode(unquote(self.rest)), {"Content-Type": "text/plain"})

    def answer_empty(self) -> None:
        self.answer(int(self.rest), b"")

    def answer_encoded(self) -> None:
        body = b'{"packed": true}'
        bare = zlib.compressobj(wbits=-15)
        encodings = {
            "gzip": gzip.compress(body), "deflate": zlib.compress(body), "members": gzip.compress(body[:5]) +
            gzip.compress(body[5:]), "bare": bare.compress(body) + bare.flush(), "identity": body, "br": body,
            "broken": b"\x1f\x8b broken", "short": gzip.compress(body)[:-9],
        }  # fmt: skip
        name = {"members": "gzip", "bare": "deflate", "broken": "gzip", "short": "gzip"}.get(self.rest, self.rest)
        self.answer(200, encodings[self.rest], {"Content-Encoding": name})

    def answer_bomb(self) -> None:
        """Ten gigabytes of zeros, compressed. They are sent until the client has had enough."""
        packer = zlib.compressobj(9, wbits=31)
        head = packer.compress(b" ") + packer.flush(zlib.Z_FULL_FLUSH)
        block = packer.compress(bytes(10**6)) + packer.flush(zlib.Z_FULL_FLUSH)
        self.send_response(200)
        self.send_header("Content-Encoding", "gzip")
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(head)
        for _ in range(BOMB_BYTES // 10**6):
            self.wfile.write(block)
            self.server.blocks += 1

    def answer_endless(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while True:
            self.wfile.write(b" " * 65536)
            self.server.blocks += 1

    def answer_claim(self) -> None:
        """Claims many bytes and sends none of them."""
        self.answer(200, b"", {"Content-Length": self.rest})
        self.server.released.wait(5)

    def answer_hang_up(self) -> None:
        self.close_connection = True

    def answer_half(self) -> None:
        self.answer(200, b'{"a":', {"Content-Length": "100"})
        self.close_connection = True

    def answer_no_http(self) -> None:
        self.wfile.write(b"hello\r\n\r\n")
        self.close_connection = True

    def answer_slow(self) -> None:
        self.server.released.wait(5)
        self.close_connection = True

    def answer_drip(self) -> None:
        """Never pauses for long, and never ends."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        while not self.server.released.wait(0.02):
            self.wfile.write(b" ")

    def answer_redirect(self) -> None:
        self.answer(307, b"", {"Location": dict(self.query).get("to", "/api/echo/there")})

    def answer_loop(self) -> None:
        self.answer(302, b"", {"Location": self.path})

    def answer_visit(self) -> None:
        """Counts the visits of one session by a cookie."""
        cookie = self.headers.get("Cookie", "n=0")
        n = int(cookie.removeprefix("n=")) + 1
        self.answer_json({"n": n}, headers={"Set-Cookie": f"n={n}; Path=/"})

    def answer_document(self) -> None:
        self.answer(200, self.server.document, {"Content-Type": "text/plain"})

    def log_message(self, *arguments: Any) -> None:
        """Stays silent."""


class Server(ThreadingHTTPServer):
    """Remembers what it was asked."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.document = b""
        self.blocks = 0
        self.released = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stays silent about clients that hang up."""


@contextlib.contextmanager
def serve() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
