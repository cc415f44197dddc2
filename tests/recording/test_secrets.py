"""No credential in anything that a recording leaves behind: files, exports, what it says and what it logs."""

import json
import logging
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import yaml
from echo_server import Server, serve
from mcp_servers import NOTES, notes_url  # noqa: F401
from test_redaction import DOCUMENT, HEADER, KEY, PASSWORD, TOKEN, hidden
from typer.testing import CliRunner

from toolorch_env.cli import app
from toolorch_env.recording.redaction import REDACTED
from toolorch_env.store.content import Unpacker
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.snapshot import Snapshot

# ruff: noqa: F811 - fixtures are imported

PLAN = {
    "requests": [
        {"tool": "mirror", "arguments": {"q": {"values": ["one", "two", KEY]}, "note": "a remark"}},
        {"tool": "echo"},
        {"tool": "hang_up"},
        {"tool": "raw_PGh0bWw"},
    ],
    "read_only": ["mirror"],
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name, value in {"KEY": KEY, "TOKEN": TOKEN, "HEADER": HEADER, "SESAME": "sesame/open"}.items():
        monkeypatch.setenv(name, value)
    return tmp_path


def run(*arguments: str) -> str:
    """Runs ``toolorch``; gives all that it said."""
    done = CliRunner().invoke(app, arguments)
    return f"{done.output}\n{done.exception!r}"


def contents(path: Path) -> str:
    """All that an SQLite file holds: each value of each table, contents decompressed, and the bytes themselves."""
    if path.suffix == ".sqlite":
        records, dictionary = list(Snapshot(path).records()), Snapshot(path).blob("dictionary") or b""
    else:
        with RecordStore(path, create=False) as store:
            records, dictionary = list(store.records()), b""
    assert records
    parts = [text for record in records for text in (record.arguments, record.response.raw)]
    parts += [file.read_bytes() for file in path.parent.glob(f"{path.name}*")]
    connection = sqlite3.connect(path)
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    rows = [row for table in tables for row in connection.execute(f"SELECT * FROM {table}")]
    parts += [value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row]
    packed = connection.execute("SELECT content FROM responses").fetchall()
    parts += [part for (content,) in packed for part in Unpacker(dictionary).unpack(content)]
    connection.close()
    return "\n".join(part.decode("utf-8", "replace") for part in parts)


def nothing_leaks(text: str) -> bool:
    return hidden(text) and "sesame/open" not in text and "hunter" not in text


def record_http(server: Server, out: str, *more: str) -> str:
    server.document = json.dumps(DOCUMENT).encode()
    Path("plan.yaml").write_text(yaml.safe_dump(PLAN))
    where = server.url.replace("//", f"//user:{quote(PASSWORD, safe='')}@")
    return run(
        "record", "openapi", f"{where}/document?api_key={quote(KEY)}", "--base-url", f"{where}/api", "--out", out,
        "--header", "X-Key: Custom $HEADER", "--credential", "key=KEY", "--credential", "token=TOKEN",
        "--credential", "secret=SESAME", "--plan", "plan.yaml", "--attempts", "2", "--timeout", "2", *more,
    )  # fmt: skip


@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_no_credential_of_an_http_api_is_left_anywhere(
    server: Server, folder: Path, caplog: pytest.LogCaptureFixture, more: tuple[str, ...]
) -> None:
    with caplog.at_level(logging.DEBUG):
        said = record_http(server, "echo.sqlite", *more)
    assert nothing_leaks(caplog.text)
    assert nothing_leaks(said)
    if more:
        return
    assert "httpx" in caplog.text
    assert "not answered, unsendable" in said
    assert "not answered, unreachable" in said
    (folder / "plan.yaml").unlink()
    told = contents(folder / "echo.sqlite")
    assert nothing_leaks(told)
    assert "a remark" in told  # it is read rightly
    assert REDACTED in told
    for target in ("lines.jsonl", "copy.sqlite"):
        run("snapshot", "copy", "echo.sqlite", target)
    assert nothing_leaks((folder / "lines.jsonl").read_text())
    assert nothing_leaks(run("snapshot", "info", "echo.sqlite"))
    assert nothing_leaks("\n".join(os.listdir(folder)))


def test_no_credential_is_left_in_an_unfinished_recording(
    server: Server, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("toolorch_env.recording.record.seal", fail)
    said = record_http(server, "echo.sqlite")
    assert "no space left" in said
    (folder / "plan.yaml").unlink()
    told = contents(folder / "echo.sqlite.recording")
    assert nothing_leaks(told + said)
    assert "a remark" in told


def test_a_call_that_holds_a_credential_is_not_sent(server: Server, folder: Path) -> None:
    server.asked.clear()
    said = record_http(server, "echo.sqlite")
    assert "not answered, unsendable" in said
    assert len([path for _, path, _ in server.asked if path.startswith("/api/mirror")]) == 2


def test_no_credential_of_an_mcp_server_is_left_anywhere(
    folder: Path, notes_url: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINE", "hunter22")
    names = ["NOTES_KEY", "DATABASE", "OTHER_API_KEY", "PLAIN"]
    plan = {"requests": [{"tool": "variable", "arguments": {"name": {"values": names}}}], "read_only": ["variable"]}
    (folder / "plan.yaml").write_text(yaml.safe_dump(plan))
    with caplog.at_level(logging.DEBUG):
        said = run(
            "record", "mcp", "--out", "notes.sqlite", "--plan", "plan.yaml", "--sessions", "1",
            "--env", "OTHER_API_KEY=hunter33", "--env", "DATABASE=postgresql://ada:hunter44@host/notes",
            "--env", "PLAIN=a remark", "--credential", "NOTES_KEY=MINE",
            "--", *NOTES, "--api-key", "hunter55", "postgresql://ada:hunter66@host/notes",
        )  # fmt: skip
        told = contents(folder / "notes.sqlite")
        (folder / "plan.yaml").write_text("requests: [{tool: count}]")
        said += run(
            "record", "mcp", "--out", "web.sqlite", "--url", f"{notes_url}?api_key=hunter77", "--plan", "plan.yaml",
            "--header", "Authorization: Bearer hunter88", "--sessions", "1",
        )  # fmt: skip
        told += contents(folder / "web.sqlite")
    assert "responses" in said
    assert "a remark" in told
    assert "ada" in told
    assert nothing_leaks(told)
    assert nothing_leaks(said)
    assert nothing_leaks(caplog.text)
    assert "httpx2" in caplog.text
