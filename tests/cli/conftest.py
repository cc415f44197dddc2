"""Running the command in this process, and servers to be recorded."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import Command, Outcome

sys.path.append(str(Path(__file__).parents[1] / "recording"))  # the servers that are recorded there

from mcp_servers import notes_url, repository  # noqa: F401
from shop_server import Shop

from toolorch_env import cli


@pytest.fixture
def toolorch(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command in this process, the real entry point: ``toolorch("play", "--seed", "1", typed="...")``."""

    def run(*arguments: str, typed: str = "") -> Outcome:
        monkeypatch.setattr("sys.argv", ["toolorch", *arguments])
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert "Traceback" not in out + err
        return Outcome(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture
def shop() -> Shop:
    """A shop that was asked nothing yet."""
    return Shop()


@pytest.fixture
def shop_url(shop: Shop) -> Iterator[str]:
    """Where the shop is served."""
    with shop.serve() as url:
        yield url


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that the command is run in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
