"""Caches of responses: read exactly, in bounded memory, with the place of what is wrong."""

import json
from pathlib import Path
from typing import Any

import orjson
import pytest
from fresh_python import run_python
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_objects, json_values, same_json, texts
from published_shapes import CACHE, write_json

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.caches import read_cache
from toolorch_env.recording.importing.statuses import answered
from toolorch_env.recording.importing.traces import UNKNOWN, Answered

SIZE = 200_000_000
MAX_EXTRA_BYTES = 50_000_000


def read(tmp_path: Path, data: str | bytes) -> list[Answered]:
    path = tmp_path / "cache.json"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return list(read_cache(path))


def body(tmp_path: Path, written: str) -> Any:
    """How a response that is written so is read."""
    return read(tmp_path, '{"f": [{"arguments": {}, "response": ' + written + "}]}")[0].body


def test_entries_come_in_order_with_status_and_unknown_bodies(tmp_path: Path) -> None:
    entries = list(read_cache(write_json(tmp_path / "cache.json", CACHE)))
    assert [(entry.call.tool, entry.call.arguments, entry.status) for entry in entries] == [
        ("Find_Author", {"name": "Cy Nib"}, 200),
        ("Find_Author", {"name": ""}, 400),
        ("Get_Book", {"isbn": "0-99"}, 200),
        ("Get_Book", {"isbn": "0-98"}, 200),
        ("Get_Book", {"isbn": "0-97"}, 200),
    ]
    assert [entry.body is UNKNOWN for entry in entries] == [False, False, True, True, False]
    assert entries[4].body == [{"isbn": "0-97"}]


@pytest.mark.parametrize(
    ("written", "success", "status"),
    [
        ({"status": True, "data": []}, True, 200),
        ({"status": False, "message": "no"}, True, 400),
        ({"status": 0}, True, 200),
        ({"status": "false"}, True, 200),
        ({"error": "no such author"}, True, 400),
        ({"error": {"code": 3}}, True, 400),
        ({"error": None, "data": 1}, True, 200),
        ({"data": {"error": "inside"}}, True, 200),
        ({"status": True}, False, 400),
        (["error"], True, 200),
        (None, True, 200),
        ("", False, 200),
    ],
)
def test_status_is_what_the_data_says(written: Any, success: bool, status: int) -> None:
    assert answered("f", {}, written, success).status == status


@given(st.dictionaries(texts, st.lists(st.tuples(json_objects, json_values), max_size=3), max_size=3), st.booleans())
def test_every_cache_is_read_as_orjson_reads_it(
    tmp_path_factory: pytest.TempPathFactory, calls: dict[str, list[tuple[Any, Any]]], ascii_only: bool
) -> None:
    document = {
        name: [{"arguments": arguments, "response": response} for arguments, response in made]
        for name, made in calls.items()
    }
    written = json.dumps(document, ensure_ascii=ascii_only).encode()
    expected = [(name, entry) for name, entries in orjson.loads(written).items() for entry in entries]
    entries = read(tmp_path_factory.getbasetemp(), written)
    assert len(entries) == len(expected)
    for entry, (name, wanted) in zip(entries, expected, strict=True):
        assert entry.call.tool == name
        assert same_json(entry.call.arguments, wanted["arguments"])
        assert entry.body is UNKNOWN if wanted["response"] == "" else same_json(entry.body, wanted["response"])


@pytest.mark.parametrize(
    "written",
    [
        "0", "-0", "0.0", "-0.0", "1e5", "1E+5", "1e-7", "2.5e-8", "47.4436988830566", "0.1", "1.0", "5e-324",
        "1.7976931348623157e308", "1e-400", "9007199254740993", "9223372036854775807", "9223372036854775808",
        "18446744073709551615",
        "18446744073709551616", "-9223372036854775808", "-9223372036854775809", "123456789012345678901234567890",
        r'"\ud83d\ude00 \u00e9 \u0000 \/ \n"', '"\u2028 \U0001f600"', "true", "null", "[]", "{}",
    ],
)  # fmt: skip
def test_numbers_and_texts_are_read_as_orjson_reads_them(written: str, tmp_path: Path) -> None:
    expected = orjson.loads(written)
    value = body(tmp_path, written)
    assert type(value) is type(expected) or written == "-0"  # a zero is a zero
    assert value == expected
    assert written == "-0" or str(value) == str(expected)


def test_half_a_surrogate_pair_is_replaced(tmp_path: Path) -> None:
    assert body(tmp_path, r'"a\ud800b"') == "a?b"


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ("", "at its start: truncated JSON"),
        ("[]", "at its start: expected an object"),
        ("no", "at its start: not JSON"),
        ("7", "at its start: expected an object"),
        ('{"f": {}}', "function 'f': expected a list of entries"),
        ('{"f": 3}', "function 'f': expected a list of entries"),
        ('{"f": [{"arguments": {}, "response": 1}, 7]}', "function 'f', entry 1: expected"),
        ('{"f": [], "g": [{"response": 1}]}', "function 'g', entry 0: expected"),
        ('{"f": [{"arguments": [1]}]}', "function 'f', entry 0: expected"),
        ('{"f": [{"arguments": {} "response": 1}]}', "function 'f', entry 0: not JSON: .*after key and value"),
        ('{"f": [{"arguments": {"a": 1e999}}]}', "function 'f', entry 0: .*(overflow|too large)"),
        ('{"f": [{"arguments": {"a": NaN}}]}', "function 'f', entry 0: not JSON"),
        ('{"f": [{"arguments": {"a": "\xff"}}]}'.encode("latin-1"), "function 'f', entry 0: not JSON: .*UTF8"),
        ('{"f": [{"arguments": {"a": ' + "[" * 300 + "]" * 300 + "}}]}", "function 'f', entry 0: it is nested deeper"),
        ('{"f": [{"arguments": {"a": ' + "9" * 400 + "}}]}", "function 'f', entry 0: .*large"),
        ('{"f": []} {"g": []}', "after function 'f': not JSON: .*trailing"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(data: str | bytes, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=rf"the cache .*cache\.json, {complaint}"):
        read(tmp_path, data)


def test_a_truncated_cache_is_told_wherever_it_ends(tmp_path: Path) -> None:
    whole = json.dumps(CACHE).encode()
    for end in range(len(whole)):
        with pytest.raises(DataSetError, match=r"truncated JSON|not JSON"):
            read(tmp_path, whole[:end])
    with pytest.raises(DataSetError, match="function 'Get_Book', entry 2: truncated JSON"):
        read(tmp_path, whole[:-5])


def test_entries_before_the_damage_are_read(tmp_path: Path) -> None:
    path = tmp_path / "cache.json"
    path.write_text(json.dumps(CACHE)[:-30], encoding="utf-8")
    entries = read_cache(path)
    assert next(entries).call == Call("Find_Author", {"name": "Cy Nib"})
    entries.close()


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"none\.json cannot be read: No such file"):
        list(read_cache(tmp_path / "none.json"))


READING = """
import sys
from pathlib import Path
from toolorch_env.recording.importing.caches import read_cache

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) * 1024

before = peak()
count = sum(1 for entry in read_cache({path!r}))
print(count, peak() - before)
"""


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak of memory is read from /proc")
def test_large_caches_are_read_in_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    written = write_large(path)
    count, peak = map(int, run_python(READING.format(path=str(path))).split())
    path.unlink()
    assert count == written
    assert peak < MAX_EXTRA_BYTES


def write_large(path: Path) -> int:
    """Writes a cache of two functions, most of it in one of them, and says how many entries it has."""
    entry = b'{"arguments": {"name": "author %d"}, "response": %s}'
    response = orjson.dumps(
        {"status": True, "data": [{"id": n, "score": n / 7, "words": "ink " * 40} for n in range(40)]}
    )
    count = SIZE // len(response)
    with path.open("wb") as file:
        file.write(b'{"Find_Author": [' + entry % (0, b'""') + b'], "Search": [')
        file.writelines(entry % (number, response) + b", " for number in range(count))
        file.write(entry % (count, b"{}") + b"]}")
    return count + 2
