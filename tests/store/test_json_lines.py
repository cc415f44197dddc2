"""JSON lines: everything comes back, and what is wrong with a line is told with its number."""

import io
import tracemalloc
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from json_values import json_objects
from recordings import TOOLS, contents, random_records, record, records

from toolorch_env.core.errors import SnapshotCorruptError, SnapshotError, SnapshotFormatError
from toolorch_env.store.compiled import Link
from toolorch_env.store.json_lines import read_json_lines, write_json_lines
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.records import Record, in_batches

LINKS = (Link("value", "any", "a.b"), Link("value", "other", "c"))


def written(found: list[Record], *, compress: bool = False, **options: Any) -> bytes:
    """Records as JSON lines."""
    with RecordStore(None) as store:
        store.declare(TOOLS.values(), name="test", description="d", source="s", licence="l", links=LINKS, **options)
        store.add(found)
        file = io.BytesIO()
        assert write_json_lines(store, file, compress=compress) == len(store)
    return file.getvalue()


@settings(max_examples=30)
@given(random_records(), st.booleans(), st.none() | json_objects)
def test_everything_comes_back(found: list[Record], compress: bool, workflows: Any) -> None:
    data = written(found, compress=compress, workflows=workflows)
    with read_json_lines(io.BytesIO(data), "f") as store:
        first: dict[bytes, Record] = {}
        for one in found:
            first.setdefault(one.key, one)
        wanted = sorted(first.values(), key=lambda r: r.response.row or 0)
        assert contents(list(store.records())) == contents(wanted)
        assert dict(store.tools) == dict(TOOLS)
        assert store.meta == {"name": "test", "description": "d", "source": "s", "licence": "l"}
        assert store.links == LINKS
        assert store.workflows == (None if workflows is None else orjson.dumps(workflows))
        again = io.BytesIO()
        write_json_lines(store, again, compress=compress)
    assert again.getvalue() == data


def test_every_line_is_a_call_and_says_no_more_than_it_has_to() -> None:
    head, *lines = [
        orjson.loads(line) for line in written([record(1, {"b": 1.5}), record(2, state=b"s" * 16)]).split(b"\n")[:-1]
    ]
    assert head["toolorch"] == 2
    assert head["responses"] == 2
    one, two = sorted(lines, key=lambda line: line["arguments"]["value"])
    assert one == {"tool": "any", "arguments": {"value": 1}, "status": 200, "body": {"b": 1.5}, "latency": 0.001,
                   "recorded_at": 0}  # fmt: skip
    assert two["state"] == (b"s" * 16).hex()


def changed_line(number: int, change: Callable[[dict[str, Any]], Any]) -> bytes:
    """Ten records as JSON lines, one of the lines changed."""
    lines = written(records(0, 10)).split(b"\n")
    value = orjson.loads(lines[number - 1])
    changed = change(value)
    lines[number - 1] = changed if isinstance(changed, bytes) else orjson.dumps(value)
    return b"\n".join(lines)


@pytest.mark.parametrize(
    ("number", "change", "word"),
    [
        (3, lambda line: b"{", "line 3"),
        (3, lambda line: b"[]", "line 3"),
        (4, lambda line: line.update(tool="stranger"), "line 4: .*stranger"),
        (5, lambda line: line.pop("tool"), "line 5: tool"),
        (5, lambda line: line.pop("body"), "line 5: .*without_body"),
        (5, lambda line: line.update(status="200"), "line 5: status"),
        (5, lambda line: line.update(status=100_000), "line 5: .*status"),
        (5, lambda line: line.update(state="xyz"), "line 5: state"),
        (5, lambda line: line.update(state="00" * 15), "line 5: state"),
        (5, lambda line: line.update(latency=-1), "line 5: .*latency"),
        (5, lambda line: line.update(recorded_at=2**63), "line 5: .*time"),
        (5, lambda line: line.update(arguments=[]), "line 5: arguments"),
        (5, lambda line: line.update(surprise=1), "line 5: surprise"),
        (6, lambda line: b"", "holds 9 of 10 calls"),
    ],
)
def test_a_bad_line_is_told_with_its_number(number: int, change: Callable[[dict[str, Any]], Any], word: str) -> None:
    with pytest.raises(SnapshotCorruptError, match=f"lines of mine.*{word}"):
        read_json_lines(io.BytesIO(changed_line(number, change)), "lines of mine")


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda line: b"no JSON", "not JSON"),
        (lambda line: b"[]", "toolorch"),
        (lambda line: line.pop("toolorch"), "toolorch"),
        (lambda line: line.update(toolorch=99), "format 99"),
        (lambda line: line.pop("tools"), "line 1: tools"),
        (lambda line: line["tools"][0].pop("name"), r"line 1: tools\.0\.name"),
        (lambda line: line["tools"][0].update(name=""), "line 1.*name"),
        (lambda line: line["tools"].append(line["tools"][0]), "two tools"),
        (lambda line: line["tools"][0].update(parameters={"properties": {"a": {"type": "x"}}}), "line 1"),
        (lambda line: line.update(links=[["a"]]), "line 1"),
    ],
)
def test_a_bad_first_line_is_told(change: Callable[[dict[str, Any]], Any], word: str) -> None:
    with pytest.raises(SnapshotFormatError, match=f"lines of mine.*{word}"):
        read_json_lines(io.BytesIO(changed_line(1, change)), "lines of mine")


@pytest.mark.parametrize("data", [b"", b"\n\n", b"\x00" * 100, zstandard.compress(b"")])
def test_what_holds_no_lines_is_told(data: bytes) -> None:
    with pytest.raises(SnapshotFormatError, match="lines of mine"):
        read_json_lines(io.BytesIO(data), "lines of mine")


def test_a_call_that_is_there_twice_is_told() -> None:
    lines = written(records(0, 10)).split(b"\n")
    with pytest.raises(SnapshotCorruptError, match=r"lines 2 to 12: a call is there twice"):
        read_json_lines(io.BytesIO(b"\n".join([*lines[:-1], lines[4], b""])), "lines of mine")


@pytest.mark.parametrize("compress", [False, True])
def test_every_cut_is_told(compress: bool) -> None:
    data = written(records(0, 10), compress=compress)
    for end in range(0, len(data) - 1, len(data) // 40):
        with pytest.raises(SnapshotError):
            read_json_lines(io.BytesIO(data[:end]), "lines of mine")


def test_lines_without_a_number_of_responses_may_be_taken_out() -> None:
    lines = changed_line(1, lambda line: line.pop("responses")).split(b"\n")
    with read_json_lines(io.BytesIO(b"\n".join([*lines[:3], *lines[5:]])), "lines of mine") as store:
        assert len(store) == 8


def test_large_bodies_are_taken_a_few_at_a_time() -> None:
    large = [record(number, "x" * 9_000_000) for number in range(5)]
    assert [len(batch) for batch in in_batches(large)] == [2, 2, 1]
    assert [len(batch) for batch in in_batches(records(0, 4001))] == [2000, 2000, 1]
    with read_json_lines(io.BytesIO(written(large, compress=True)), "f") as store:
        assert [len(one.response.raw) for one in store.records()] == [9_000_002] * 5


def test_a_line_of_any_length_is_refused_in_little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("toolorch_env.store.json_lines.MAX_LINE_BYTES", 2**16)
    head = written([]).split(b"\n")[0]
    endless = zstandard.compress(head + b"\n" + bytes(2**28))
    tracemalloc.start()
    with pytest.raises(SnapshotCorruptError, match="lines of mine, line 2 has more than 65,536 bytes"):
        read_json_lines(io.BytesIO(endless), "lines of mine")
    assert tracemalloc.get_traced_memory()[1] < 2**24
    tracemalloc.stop()


def test_workflows_given_as_bytes_come_back_as_well() -> None:
    data = written([], workflows=b'{ "b": [1.0, 2],\n "a": null }')
    with read_json_lines(io.BytesIO(data), "f") as store:
        assert store.workflows == b'{"b":[1.0,2],"a":null}'
        again = io.BytesIO()
        write_json_lines(store, again)
    assert again.getvalue() == data
