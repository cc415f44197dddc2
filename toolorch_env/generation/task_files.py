"""Files of tasks: JSON lines, plain or as zstd frames, and Parquet. Written in chunks, read back task by task."""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import zstandard

from toolorch_env.core.errors import ConfigurationError, TaskError
from toolorch_env.core.tasks import Task

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_PARQUET_MAGIC = b"PAR1"
_LEVEL = 3
_ROWS_READ = 1000
_BYTES_READ = 2**16


@dataclass(frozen=True)
class TaskFormat:
    """A format of files of tasks.

    Attributes:
        suffix: what names of such files end in.
        encode: packs the tasks of a chunk; the same tasks give the same bytes.
        join: writes packed chunks, in order, as a whole file.
    """

    suffix: str
    encode: Callable[[Sequence[Task]], bytes]
    join: Callable[[Iterable[bytes], BinaryIO], None]


def task_format(path: Path) -> TaskFormat:
    """The format that the name of a file asks for.

    Raises:
        ConfigurationError: it asks for none, or for one that needs a package that is not installed.
    """
    for suffix, found in FORMATS.items():
        if path.name.endswith(suffix) and path.name != suffix:
            if suffix == ".parquet":
                _import_parquet()
            return found
    raise ConfigurationError(f"{path}: the name of a file of tasks ends in {', '.join(FORMATS)}")


def read_tasks(path: str | Path) -> Iterator[Task]:
    """The tasks in a file, in their order, whatever its format; blank lines are passed over.

    Raises:
        TaskError: the file or a task in it cannot be read.
        ConfigurationError: it is a Parquet file, and the extra ``synthesis`` is not installed.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            start = file.read(4)
            file.seek(0)
            if start == _PARQUET_MAGIC:
                yield from _read_parquet(file, path)
            else:
                yield from _read_lines(_unpacked(file) if start == _ZSTD_MAGIC else file, path)
    except (OSError, zstandard.ZstdError) as error:
        raise TaskError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _unpacked(file: BinaryIO) -> Iterator[bytes]:
    """The lines in zstd frames; a reader of the library would take the beginning of a frame for all of it."""
    unpacker = zstandard.ZstdDecompressor()
    frame, begun, rest = unpacker.decompressobj(), False, b""
    for block in iter(lambda: file.read(_BYTES_READ), b""):
        while block:
            *lines, rest = (rest + frame.decompress(block)).split(b"\n")
            yield from lines
            begun, block = not frame.eof, frame.unused_data
            if frame.eof:
                frame = unpacker.decompressobj()
    if begun:
        raise zstandard.ZstdError("its end is missing")
    yield rest


def _read_lines(lines: Iterable[bytes], path: Path) -> Iterator[Task]:
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _read(line, f"{path}, line {number}")


def _read_parquet(file: BinaryIO, path: Path) -> Iterator[Task]:
    pyarrow, parquet = _import_parquet()
    try:
        with parquet.ParquetFile(file) as opened:
            if "task" not in opened.schema_arrow.names:
                raise TaskError(f"{path} holds no tasks: it has no column 'task'")
            number = 0
            for batch in opened.iter_batches(_ROWS_READ, columns=["task"]):
                for number, text in enumerate(batch.column("task").to_pylist(), number + 1):  # noqa: B020  goes on
                    yield _read(text, f"{path}, row {number}")
    except pyarrow.ArrowException as error:
        raise TaskError(f"{path} cannot be read: {error}") from None


def _read(text: Any, where: str) -> Task:
    try:
        return Task.from_json(text)
    except TaskError as error:
        raise TaskError(f"{where}: {error}") from None


def _pack_lines(tasks: Sequence[Task]) -> bytes:
    lines = b"".join([task.to_json() + b"\n" for task in tasks])
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(lines)


def _join_lines(chunks: Iterable[bytes], file: BinaryIO) -> None:
    unpacker = zstandard.ZstdDecompressor()
    for chunk in chunks:
        file.write(unpacker.decompress(chunk))


def _join_frames(chunks: Iterable[bytes], file: BinaryIO) -> None:
    for chunk in chunks:
        file.write(chunk)


def _pack_parquet(tasks: Sequence[Task]) -> bytes:
    buffer = io.BytesIO()
    _write_parquet([_table(tasks)], buffer)
    return buffer.getvalue()


def _join_parquet(chunks: Iterable[bytes], file: BinaryIO) -> None:
    parquet = _import_parquet()[1]
    _write_parquet((parquet.read_table(io.BytesIO(chunk)) for chunk in chunks), file)


def _write_parquet(tables: Iterable[Any], file: BinaryIO) -> None:
    """One row group a table."""
    parquet = _import_parquet()[1]
    plain = {"compression": "zstd", "compression_level": _LEVEL, "use_dictionary": ["workflow", "split", "tools"]}
    with parquet.ParquetWriter(file, _schema(), **plain) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=table.num_rows)


def _table(tasks: Sequence[Task]) -> Any:
    columns = {
        "id": [task.id for task in tasks],
        "query": [task.query for task in tasks],
        "workflow": [task.workflow for task in tasks],
        "split": [task.split for task in tasks],
        "steps": [len(task.reference) for task in tasks],
        "depth": [task.depth for task in tasks],
        "tools": [list(task.tools) for task in tasks],
        "task": [task.to_json().decode() for task in tasks],
    }
    return _import_parquet()[0].table(columns, schema=_schema())


def _schema() -> Any:
    pyarrow = _import_parquet()[0]
    text, number = pyarrow.string(), pyarrow.int32()
    texts = [(name, text) for name in ("id", "query", "workflow", "split")]
    return pyarrow.schema(
        [*texts, ("steps", number), ("depth", number), ("tools", pyarrow.list_(text)), ("task", text)]
    )


def _import_parquet() -> tuple[Any, Any]:
    """The packages that read and write Parquet: they are large, and not everybody has them."""
    try:
        return import_module("pyarrow"), import_module("pyarrow.parquet")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"Parquet needs the extra 'synthesis' ({error.name} is not installed): "
            "pip install 'toolorch-env[synthesis]'"
        ) from None


FORMATS = {
    found.suffix: found
    for found in (
        TaskFormat(".jsonl", _pack_lines, _join_lines),
        TaskFormat(".jsonl.zst", _pack_lines, _join_frames),
        TaskFormat(".parquet", _pack_parquet, _join_parquet),
    )
}
"""All formats by suffix."""
