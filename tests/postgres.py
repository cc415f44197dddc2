"""A real PostgreSQL server for tests, in a temporary folder and on a socket of its own."""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

USER = "recorder"


def find_program(name: str) -> str | None:
    """Path of one of PostgreSQL's programs, also where Debian keeps them."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"))
    return shutil.which(name) or (str(installed[-1]) if installed else None)


def why_not() -> str | None:
    """Why no server can be started here, ``None`` if one can."""
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    if find_program("initdb") is None or find_program("postgres") is None:
        return "PostgreSQL is not installed"
    if os.geteuid() == 0 and (shutil.which("setpriv") is None or server_account() is None):
        return "PostgreSQL does not run as root, and there is no other account to run it as"
    return None


def server_account() -> pwd.struct_passwd | None:
    """An account other than root."""
    accounts = {entry.pw_name: entry for entry in pwd.getpwall()}
    return accounts.get("postgres") or accounts.get("nobody")


class Server:
    """A running server.

    Args:
        socket_folder: where its socket is.
    """

    def __init__(self, socket_folder: Path) -> None:
        self._folder = socket_folder

    def url(self, database: str) -> str:
        return f"postgresql://{USER}@/{database}?host={self._folder}"

    def new_database(self) -> str:
        """URL of a fresh, empty database."""
        import psycopg

        name = f"test_{uuid.uuid4().hex}"
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return self.url(name)


@contextlib.contextmanager
def running_server() -> Iterator[Server]:
    """Starts a server, and stops it and removes all of it at the end."""
    with tempfile.TemporaryDirectory(prefix="pg", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        as_account: list[str] = []
        if os.geteuid() == 0:
            account = server_account()
            assert account is not None
            os.chown(folder, account.pw_uid, account.pw_gid)
            as_account = ["setpriv", f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups"]
        data = folder / "data"
        initdb, postgres = find_program("initdb"), find_program("postgres")
        assert initdb is not None
        assert postgres is not None
        options = ["-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
        subprocess.run([*as_account, initdb, *options], check=True, capture_output=True, cwd=folder)
        settings = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=50"]
        with (folder / "log").open("wb") as log:
            command = [*as_account, postgres, "-D", str(data), "-k", str(folder), *settings]
            process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
            try:
                server = Server(folder)
                wait_until_it_answers(server, process, folder / "log")
                yield server
            finally:
                process.send_signal(signal.SIGINT)
                process.wait()


def wait_until_it_answers(server: Server, process: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    while True:
        try:
            psycopg.connect(server.url("postgres")).close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, log.read_text()
            time.sleep(0.05)
