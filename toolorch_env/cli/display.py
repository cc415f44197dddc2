"""What the commands share in what they show and write: consoles, progress bars, tables, JSON files."""

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from toolorch_env.core.errors import ConfigurationError

console = Console(emoji=False)
"""For what was asked for."""

error_console = Console(stderr=True, emoji=False)
"""For progress, warnings and errors."""


class _WarningHandler(logging.Handler):
    """Shows what the library warns of in one line each."""

    def emit(self, record: logging.LogRecord) -> None:
        error_console.print(f"[yellow]warning:[/] {escape(record.getMessage())}", soft_wrap=True, highlight=False)


@contextmanager
def showing_warnings() -> Iterator[None]:
    """While open, the library's warnings are shown on standard error."""
    logger, handler = logging.getLogger("toolorch_env"), _WarningHandler(logging.WARNING)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def progress_bar(name: str, total: int) -> Iterator[Callable[[], None]]:
    """A progress bar over a known number of things; gives a function that counts one."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task(name, total=total)
        yield lambda: progress.advance(bar)
        progress.update(bar, completed=total)


def facts_table() -> Table:
    """An empty table of names and values."""
    return Table("what", "value", show_header=False)


def counted(count: int, noun: str) -> str:
    """A number of things in words."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def megabytes(path: Path) -> str:
    """The size of a file."""
    return f"{path.stat().st_size / 1e6:.2f} MB"


def place_name(where: str) -> str:
    """What to call a file or a database: without a password."""
    from toolorch_env.store.databases import as_url, describe, is_url

    return describe(as_url(where)) if is_url(where) else where


def check_writable(path: Path) -> None:
    """Checks that a file can be written, before what is to be in it is worked for.

    Raises:
        ConfigurationError: it cannot.
    """
    if path.is_dir() or not path.resolve().parent.is_dir():
        raise ConfigurationError(f"{path} cannot be written: it is a folder, or its folder does not exist")


def write_text(path: Path, text: str) -> None:
    """Writes a file, whole or not at all.

    Raises:
        ConfigurationError: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror}") from None
    finally:
        partial.unlink(missing_ok=True)


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Writes a JSON document, whole or not at all.

    Raises:
        ConfigurationError: it cannot be written.
    """
    write_text(path, json.dumps(document, indent=2) + "\n")
