"""The SQL databases that recorded calls are kept in: naming, opening and preparing them."""

import os
import sqlite3
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, StaticPool, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from toolorch_env.core.errors import SnapshotError, SnapshotFormatError
from toolorch_env.store import schema
from toolorch_env.store.format import APPLICATION_ID, FORMAT_VERSION, RECORDING_APPLICATION_ID

Where = str | os.PathLike[str] | URL
"""A file, or the URL of a database."""

_WAIT_SECONDS = 30


def is_url(where: object) -> bool:
    """Whether a place is named by a URL, not by a path."""
    return isinstance(where, URL) or (isinstance(where, str) and "://" in where)


def as_url(where: Where) -> URL:
    """The URL of a database; a path is an SQLite file, and ``postgresql://`` is read with psycopg 3.

    Raises:
        SnapshotError: it is no URL, or that of a kind of database which is not supported.
    """
    if not is_url(where):
        return URL.create("sqlite", database=os.fspath(where))  # type: ignore[arg-type]
    try:
        url = make_url(where)  # type: ignore[arg-type]
    except (ArgumentError, ValueError):
        raise SnapshotError("the URL of the database cannot be read: write postgresql://user@host/database") from None
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername="postgresql+psycopg")
    if url.get_backend_name() not in ("postgresql", "sqlite"):
        raise SnapshotError(
            f"{describe(url)}: this kind of database is not supported; give a path or a postgresql:// URL"
        )
    if url.get_backend_name() == "sqlite" and (not url.database or url.database.startswith((":memory:", "file:"))):
        raise SnapshotError("an SQLite URL needs the path of a file: sqlite:///recorded.sqlite")
    return url


def describe(url: URL) -> str:
    """What to call a database in messages: the path of a file, or a URL without anything secret in it."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string(hide_password=True)


def reason(error: Exception) -> str:
    """What a database said, without the statement and its values."""
    return str(getattr(error, "orig", None) or error).strip()


def open_database(url: URL) -> Engine:
    """An engine for a database. Nothing is opened before it is first used.

    Raises:
        SnapshotError: the driver is not installed, or the URL does not fit it.
    """
    try:
        engine = create_engine(url)
    except ModuleNotFoundError as error:
        raise SnapshotError(
            f"{describe(url)} needs the package {error.name}: pip install 'toolorch-env[postgres]'"
        ) from None
    except SQLAlchemyError as error:
        raise SnapshotError(f"{describe(url)} cannot be opened: {reason(error)}") from None
    if url.get_backend_name() == "sqlite":
        event.listen(engine, "connect", _set_up_sqlite)
    return engine


def open_temporary_database() -> Engine:
    """An engine for an SQLite database that goes away with it, kept in memory until it becomes too large for that."""
    # an empty name, not ":memory:", is what SQLite moves to a temporary file of its own
    return create_engine(
        "sqlite://", creator=lambda: sqlite3.connect("", check_same_thread=False), poolclass=StaticPool
    )


def _set_up_sqlite(connection: sqlite3.Connection, _: object) -> None:
    connection.execute("PRAGMA synchronous = NORMAL")  # in a write-ahead log nothing that was committed dies with us
    connection.execute(f"PRAGMA busy_timeout = {_WAIT_SECONDS * 1000}")


def check_recording(connection: Connection, name: str) -> bool:
    """Whether a database holds recorded calls already; ``False`` if it is new and empty.

    Raises:
        SnapshotFormatError: it holds something else, or what another version of ToolOrch wrote.
    """
    if connection.dialect.name != "sqlite":
        return inspect(connection).has_table(schema.responses.name)
    application = connection.execute(text("PRAGMA application_id")).scalar_one()
    version = connection.execute(text("PRAGMA user_version")).scalar_one()
    tables = inspect(connection).get_table_names()
    if application == APPLICATION_ID:
        raise SnapshotFormatError(
            f"{name} is a finished snapshot, nothing can be added to it: record into another file, then merge the two"
        )
    if application != RECORDING_APPLICATION_ID and (tables or application):
        raise SnapshotFormatError(f"{name} is an SQLite file, but not one of ToolOrch: record into another file")
    if tables and version != FORMAT_VERSION:
        raise SnapshotFormatError(f"{name} has format {version}, but only {FORMAT_VERSION} is known: record it anew")
    return bool(tables)


def create_tables(connection: Connection) -> None:
    """Makes an empty database one of recorded calls."""
    if connection.dialect.name == "sqlite":
        # the header first, and before the log, for a half-made file to be known by it
        connection.execute(text(f"PRAGMA application_id = {RECORDING_APPLICATION_ID}"))
        connection.execute(text(f"PRAGMA user_version = {FORMAT_VERSION}"))
        connection.execute(text("PRAGMA journal_mode = WAL"))
    schema.metadata.create_all(connection)


def take_turn(connection: Connection) -> None:
    """Waits until no other process changes tables or tools, for the rest of this transaction."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SELECT pg_advisory_xact_lock({RECORDING_APPLICATION_ID})"))


def recording_path(url: URL) -> Path | None:
    """The file of a database, ``None`` if it is kept by a server."""
    return Path(str(url.database)).absolute() if url.get_backend_name() == "sqlite" else None
