"""Loading OpenAPI documents."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from echo_server import Server, serve

from toolorch_env.core.errors import RecordingError
from toolorch_env.recording.http.documents import load_document


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


def load(where: Any, **options: Any) -> Any:
    return asyncio.run(load_document(where, **options))


def test_a_file_in_json_or_yaml(tmp_path: Path) -> None:
    document = {"openapi": "3.1.0", "servers": [{"url": "https://there.invalid/v1"}], "paths": {}}
    yaml = "openapi: 3.1.0\nservers: [{url: 'https://there.invalid/v1'}]\npaths: {}"
    for name, text in (("a.json", json.dumps(document)), ("b.txt", yaml)):
        (tmp_path / name).write_text(text, encoding="utf-8")
        found = load(tmp_path / name)
        assert found.content == document
        assert found.base_url == "https://there.invalid/v1"


def test_yaml_is_read_as_json_would_be(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(
        "a: [no, on, NO, 2020-01-01, 12:30:00, 1_000, 0x1f, .inf]\nb: [true, null, ~, 7, -1.5, 1e3]\n"
        "200: &x {y: 1}\nc: *x\n",
        encoding="utf-8",
    )
    assert load(path, base_url="http://a").content == {
        "a": ["no", "on", "NO", "2020-01-01", "12:30:00", "1_000", "0x1f", ".inf"],
        "b": [True, None, None, 7, -1.5, 1000.0],
        "200": {"y": 1},
        "c": {"y": 1},
    }


@pytest.mark.parametrize(
    ("servers", "base"),
    [
        (None, "{url}/"),
        ([], "{url}/"),
        ([{"url": "/v2"}], "{url}/v2"),
        ([{"url": "v2"}], "{url}/document/v2"),
        ([{"url": "../v2"}, {"url": "/v3"}], "{url}/v2"),
        ([{"url": "https://{where}.invalid:{port}/",
           "variables": {"where": {"default": "eu"}, "port": {"default": 84}}}], "https://eu.invalid:84/"),
    ],
)  # fmt: skip
def test_where_the_api_is(server: Server, servers: Any, base: str) -> None:
    server.document = json.dumps({"openapi": "3.1.0", **({} if servers is None else {"servers": servers})}).encode()
    found = load(f"{server.url}/document/openapi.json")
    assert found.base_url == base.format(url=server.url)
    assert load(f"{server.url}/document/x", base_url="http://else.invalid").base_url == "http://else.invalid"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{}", "give a base_url"),
        (b'{"servers": [{"url": "/v1"}]}', "give a base_url"),
        (b'{"servers": [{"url": "ftp://x"}]}', "give a base_url"),
        (b'{"servers": [{"url": "http://["}]}', "give a base_url"),
        (b'{"servers": "x"}', "servers: a list"),
        (b'{"servers": [7]}', "servers/0: an object"),
        (b'{"servers": [{}]}', "servers/0/url: a text"),
        (b'{"servers": [{"url": "http://{a}"}]}', "servers/0/variables/a: an object"),
        (b"[]", "an object is needed, not list"),
        (b"hello", "an object is needed, not str"),
        (b"{", "neither JSON nor YAML"),
        (b"a: &a [*a]", "neither JSON nor YAML"),
        (b"\xff\xfe\xfd", "neither JSON nor YAML"),
        (b"!!python/object/apply:os.getcwd []", "neither JSON nor YAML"),
    ],
)
def test_what_is_wrong_is_told(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(RecordingError, match=message):
        load(tmp_path / "a")


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"nothing\.json: the OpenAPI document cannot be read: No such file"):
        load(tmp_path / "nothing.json")


@pytest.mark.parametrize(
    ("path", "message"),
    [("status/404", "status 404"), ("hang-up", "cannot be fetched"), ("slow", "within 0.3 seconds"),
     ("encoded/br", "content encoding"), ("bomb", "larger than"), ("loop", "cannot be fetched")],
)  # fmt: skip
def test_a_server_that_has_none_is_told(server: Server, path: str, message: str) -> None:
    with pytest.raises(RecordingError, match=message):
        load(f"{server.url}/{path}", timeout=0.3 if path == "slow" else 10)


@pytest.mark.parametrize("url", ["http://", "http://[", "http://a:b/x", "https://user:secret@/x"])
def test_a_url_that_is_none_is_told(url: str) -> None:
    with pytest.raises(RecordingError) as caught:
        load(url)
    assert "secret" not in str(caught.value)
