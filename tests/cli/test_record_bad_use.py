"""What the commands that record tell of wrong use: one line, exit code 2, and nothing is left behind."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Command, files_in, told_in_one_line
from fresh_python import run_python
from shop_server import Shop

SHOP = ("openapi", "{shop}/openapi.json", "--out", "x.sqlite")
BAD_USE = {
    "dead server": (("openapi", "{dead}/openapi.json", "--out", "x.sqlite"), "{dead}"),
    "dead API": ((*SHOP, "--base-url", "{dead}", "--attempts", "1"), "nothing was recorded"),
    "missing document": (("openapi", "no.json", "--out", "x.sqlite"), "no.json"),
    "document that is none": (("openapi", "{shop}/shelves", "--out", "x.sqlite"), "OpenAPI"),
    "missing plan": ((*SHOP, "--plan", "no.yaml"), "no.yaml"),
    "plan that is no YAML": ((*SHOP, "--plan", "broken.yaml"), "broken.yaml"),
    "plan with an unknown key": ((*SHOP, "--plan", "key.yaml"), "request"),
    "plan with an unknown tool": ((*SHOP, "--plan", "tool.yaml"), "get_items"),
    "the same, dry": ((*SHOP, "--plan", "tool.yaml", "--dry-run"), "get_items"),
    "folder that does not exist": (("openapi", "{shop}/openapi.json", "--out", "no/x.sqlite"), "no/x.sqlite"),
    "target that is a folder": (("openapi", "{shop}/openapi.json", "--out", "."), "folder"),
    "target that is no snapshot": (("openapi", "{shop}/openapi.json", "--out", "broken.yaml"), "not a snapshot"),
    "target that is JSON lines": (("openapi", "{shop}/openapi.json", "--out", "x.jsonl"), "snapshot export"),
    "another kind of database": (("openapi", "{shop}/openapi.json", "--out", "mysql://u:secret@h/d"), "not supported"),
    "dead database": (("python", "json", "--out", "postgresql://u:secret@127.0.0.1:1/d"), "127.0.0.1"),
    "plan to save in a missing folder": ((*SHOP, "--save-plan", "no/p.yaml"), "no/p.yaml"),
    "header without a colon": ((*SHOP, "--header", "Token secret"), "Name: value"),
    "header with a variable that is not set": ((*SHOP, "--header", "X-Key: $NOT_SET"), "NOT_SET is not set"),
    "header with a dollar": ((*SHOP, "--header", "X-Key: 5$ bill"), "$$"),
    "header that cannot be sent": ((*SHOP, "--header", "X Key: long enough"), "X Key"),
    "credential that is no variable": ((*SHOP, "--credential", "api_key"), "NAME=VARIABLE"),
    "credential that is not set": ((*SHOP, "--credential", "api_key=NOT_SET"), "NOT_SET is not set"),
    "credential that nothing takes": ((*SHOP, "--credential", "api_key=PATH"), "api_key"),
    "rate of nothing": ((*SHOP, "--rate", "0"), "rate"),
    "neither command nor URL": (("mcp", "--out", "x.sqlite"), "command"),
    "command that is not there": (("mcp", "--out", "x.sqlite", "--", "no-such-server"), "no-such-server"),
    "command that is no server": (("mcp", "--out", "x.sqlite", "--timeout", "5", "--", "true"), "true"),
    "dead MCP server": (("mcp", "--out", "x.sqlite", "--url", "{dead}/mcp"), "{dead}"),
    "variable without a value": (("mcp", "--out", "x.sqlite", "--env", "NAME", "--", "true"), "NAME=VALUE"),
    "module that is not there": (("python", "no_such_module", "--out", "x.sqlite"), "no_such_module"),
    "object that is not there": (("python", "json:no_such", "--out", "x.sqlite"), "no_such"),
}  # fmt: skip


@pytest.fixture(scope="module")
def other_shop_url() -> Iterator[str]:
    """Where a shop is served to all tests of bad use."""
    with Shop().serve() as url:
        yield url


@pytest.mark.parametrize("what", BAD_USE)
def test_bad_use_is_told_in_one_line_and_leaves_nothing(
    toolorch: Command, other_shop_url: str, folder: Path, what: str
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{unused.getsockname()[1]}"
        (folder / "broken.yaml").write_text("requests: [unclosed\n" + "#" * 100)
        (folder / "key.yaml").write_text("requests: [{tool: get_item, argument: {item_id: I1}}]\n")
        (folder / "tool.yaml").write_text("requests: [{tool: get_items}]\n")
        before = {path: path.read_bytes() for path in folder.iterdir()}
        arguments, word = BAD_USE[what]
        done = toolorch("record", *(text.format(shop=other_shop_url, dead=dead) for text in arguments))
    assert done.code == 2
    assert told_in_one_line(done.err), done.err
    assert word.format(shop=other_shop_url, dead=dead) in done.err
    assert "secret" not in done.err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


BAD_OPTIONS = {
    "no target": (("openapi", "x.json"), "--out"),
    "no document": (("openapi", "--out", "x.sqlite"), "DOCUMENT"),
    "no sessions": (("openapi", "x.json", "--out", "x.sqlite", "--sessions", "0"), "--sessions"),
    "no time": (("openapi", "x.json", "--out", "x.sqlite", "--timeout", "0"), "--timeout"),
    "unknown option": (("python", "json", "--out", "x.sqlite", "--header", "A: b"), "--header"),
}


@pytest.mark.parametrize("what", BAD_OPTIONS)
def test_bad_options_are_told_with_the_usage(toolorch: Command, folder: Path, what: str) -> None:
    arguments, word = BAD_OPTIONS[what]
    done = toolorch("record", *arguments)
    assert done.code == 2
    assert "Usage: " in done.err
    assert word in done.err
    assert files_in(folder) == []


def test_a_snapshot_of_another_api_stays_as_it_was(
    toolorch: Command, shop_url: str, library: Path, folder: Path
) -> None:
    before = library.read_bytes()
    done = toolorch("record", "openapi", f"{shop_url}/openapi.json", "--out", str(library))
    assert done.code == 2
    assert told_in_one_line(done.err)
    assert "other tools" in done.err
    assert library.read_bytes() == before
    assert [name for name in files_in(library.parent) if "recording" in name or "lock" in name] == []


@pytest.mark.parametrize(
    ("missing", "arguments", "extra"),
    [
        ("aiolimiter", ["openapi", "no.json"], "record"),
        ("tenacity", ["python", "json"], "record"),
        ("httpx", ["mcp", "--url", "http://127.0.0.1:1"], "mcp"),
        ("mcp", ["mcp", "--url", "http://127.0.0.1:1"], "mcp"),
    ],
)
def test_a_missing_extra_is_told(missing: str, arguments: list[str], extra: str) -> None:
    """As where only the package itself is installed."""
    code = f"""
import contextlib, io, sys
sys.modules[{missing!r}] = None
sys.argv = ["toolorch", "record", *{arguments!r}, "--out", "x.sqlite"]
from toolorch_env.cli import main
with contextlib.redirect_stderr(sys.stdout), contextlib.suppress(SystemExit):
    main()
"""
    told = " ".join(run_python(code).split())
    assert told.startswith(f"error: this needs the extra '{extra}' ({missing} is not installed): pip install")
