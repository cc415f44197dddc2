"""MCP servers for the tests, as commands: those of third parties as they are published, and our own."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from filelock import FileLock

SERVERS = Path(__file__).parent / "servers"
ODD = [sys.executable, str(SERVERS / "odd_mcp_server.py")]
NOTES = [sys.executable, str(SERVERS / "notes_mcp_server.py")]
TIME = [sys.executable, "-m", "mcp_server_time", "--local-timezone", "Europe/Zurich"]
GIT = [sys.executable, "-m", "mcp_server_git"]

NPM_VERSIONS = {"server-memory": "2026.8.31", "server-filesystem": "2026.8.31"}
MARK = "TOOLORCH_TEST_MARK"


def marked_processes(mark: str) -> list[str]:
    """The command lines of all processes that live with this mark in their environment, orphans among them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="session")
def npm_server(request: pytest.FixtureRequest) -> Callable[[str], list[str]]:
    """Installs a server of the Model Context Protocol project, once for all test runs, and gives its command."""
    folder = request.config.cache.mkdir("npm_servers")

    def command(name: str) -> list[str]:
        npm, node = shutil.which("npm"), shutil.which("node")
        if npm is None or node is None:
            pytest.skip("Node.js is not installed")
        package = f"@modelcontextprotocol/{name}"
        program = folder / name / "node_modules" / package / "dist" / "index.js"
        with FileLock(folder / f"{name}.lock"):
            if not program.exists():
                install = [npm, "install", "--prefix", str(folder / name), f"{package}@{NPM_VERSIONS[name]}"]
                done = subprocess.run(install, capture_output=True, text=True, timeout=120)
                if done.returncode:
                    pytest.skip(f"{package} cannot be installed: {done.stderr[-300:]}")
        return [node, str(program)]

    return command


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A Git repository of two commits, whose hashes are the same everywhere."""
    folder = tmp_path / "repository"
    folder.mkdir()
    person = {"NAME": "Ada", "EMAIL": "ada@example.org", "DATE": "2020-02-02T02:02:02+0000"}
    environment = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in person.items()}
    environment |= {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "PATH": os.environ["PATH"]}

    def git(*arguments: str) -> None:
        subprocess.run(["git", *arguments], cwd=folder, env=environment, check=True, capture_output=True)

    git("init", "--initial-branch=main")
    for number, name in enumerate(("first", "second")):
        (folder / f"{name}.txt").write_text(f"{name}\n")
        git("add", ".")
        git("commit", "--message", f"Add the {name} file", "--date", f"2020-02-0{number + 1}T00:00:00+0000")
    return folder


@pytest.fixture(scope="session")
def notes_url() -> Iterator[str]:
    """Endpoint of the notes over streamable HTTP. All tests share them."""
    server = subprocess.Popen([*NOTES, "http"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    try:
        for line in server.stderr:
            address = re.search(r"http://127\.0\.0\.1:\d+", line)
            if address:
                yield f"{address.group()}/mcp"
                break
        else:
            pytest.fail("the server did not start")
    finally:
        server.terminate()
        server.stderr.read()
        server.stderr.close()
        server.wait(10)
