"""Files of tasks: what is written is read back, whatever the format; what cannot be read is told."""

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from worlds import world

from toolorch_env.core.errors import ConfigurationError, TaskError
from toolorch_env.core.tasks import Mention, ReferenceCall, Task
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.mining import mine
from toolorch_env.generation.task_files import FORMATS, read_tasks, task_format


@pytest.fixture(params=sorted(FORMATS))
def suffix(request: pytest.FixtureRequest) -> str:
    """Each format in turn."""
    if request.param == ".parquet":
        pytest.importorskip("pyarrow")
    suffix: str = request.param
    return suffix


def tasks() -> list[Task]:
    strange = Task(
        id="a/b\n",
        query="Zürich\u2028 \U0001f30d 1",
        tools=("t",),
        reference=(ReferenceCall("t", {"n": 1, "x": [1.5, None, {"é": True}]}, turn=2),),
        mentions=(Mention(1, "number", 10, 11),),
        answer=(1, "1", 1.0),
    )
    return [*world("library").tasks(30), *world("bank").tasks(30), strange]


def write(path: Path, chunks: list[list[Task]]) -> None:
    form = task_format(path)
    with path.open("wb") as file:
        form.join(map(form.encode, chunks), file)


def test_what_is_written_is_read_back(suffix: str, tmp_path: Path) -> None:
    path, wanted = tmp_path / f"t{suffix}", tasks()
    write(path, [wanted[:7], wanted[7:8], wanted[8:]])
    found = list(read_tasks(path))
    assert [task.to_json() for task in found] == [task.to_json() for task in wanted]
    assert list(FixedTasks(read_tasks(str(path))).tasks) == wanted
    assert mine(tuple(read_tasks(path))[:30]).frequencies == mine(wanted[:30]).frequencies


def test_reading_can_be_broken_off(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    write(path, [tasks()])
    reading: Iterator[Task] = read_tasks(path)
    next(reading)
    reading.close()  # type: ignore[attr-defined]
    path.unlink()


def test_the_columns_of_parquet(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    wanted = tasks()
    write(tmp_path / "t.parquet", [wanted[:5], wanted[5:]])
    rows = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    for row, task in zip(rows, wanted, strict=True):
        assert Task.from_json(row.pop("task")) == task
        assert row == {
            "id": task.id,
            "query": task.query,
            "workflow": task.workflow,
            "split": task.split,
            "steps": len(task.reference),
            "depth": task.depth,
            "tools": list(task.tools),
        }
    assert parquet.read_metadata(tmp_path / "t.parquet").num_row_groups == 2


def test_blank_lines_are_passed_over(tmp_path: Path) -> None:
    lines = [task.to_json() for task in tasks()]
    (tmp_path / "t.jsonl").write_bytes(b"\n" + b"\n \n".join(lines) + b"\r\n")
    assert list(read_tasks(tmp_path / "t.jsonl")) == tasks()


def test_the_content_decides_the_format_that_is_read(suffix: str, tmp_path: Path) -> None:
    write(tmp_path / f"t{suffix}", [tasks()])
    (tmp_path / f"t{suffix}").rename(tmp_path / "t.data")
    assert list(read_tasks(tmp_path / "t.data")) == tasks()


def test_what_cannot_be_read_is_told(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"t{suffix}"
    with pytest.raises(TaskError, match=r"cannot be read: No such file"):
        list(read_tasks(path))
    with pytest.raises(TaskError, match="cannot be read"):
        list(read_tasks(tmp_path))
    write(path, [tasks()])
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TaskError, match=r"t\."):
        list(read_tasks(path))
    path.write_bytes(whole[: len(whole) // 2] + b"\xff\x00" * 8 + whole[len(whole) // 2 + 16 :])
    with pytest.raises(TaskError, match=r"t\."):
        list(read_tasks(path))


def test_the_line_that_is_wrong_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_bytes(tasks()[0].to_json() + b"\n\n{}\n")
    with pytest.raises(TaskError, match=r"t\.jsonl, line 3: this is not a task"):
        list(read_tasks(tmp_path / "t.jsonl"))


def test_parquet_without_tasks_is_told(tmp_path: Path) -> None:
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"other": [1]}), tmp_path / "t.parquet")
    with pytest.raises(TaskError, match="no column 'task'"):
        list(read_tasks(tmp_path / "t.parquet"))
    parquet.write_table(pyarrow.table({"task": ["{}", None]}), tmp_path / "t.parquet")
    with pytest.raises(TaskError, match="row 1: this is not a task"):
        list(read_tasks(tmp_path / "t.parquet"))


@pytest.mark.parametrize("name", ["t.json", "t", "t.csv", ".jsonl", "t.jsonl.gz"])
def test_another_suffix_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ends in \.jsonl"):
        task_format(Path(name))


def test_chunks_of_one_format_are_the_same_whenever_they_are_packed(suffix: str) -> None:
    form = FORMATS[suffix]
    buffers = [io.BytesIO(), io.BytesIO()]
    for buffer in buffers:
        form.join(map(form.encode, [tasks()[:9], tasks()[9:]]), buffer)
    assert buffers[0].getvalue() == buffers[1].getvalue()
