"""Pickles of unknown origin: plain values are read as they are, all else is refused before it can do anything."""

import builtins
import copyreg
import os
import pickle
import struct
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from json_values import json_values, nested, same_json, scalars

from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.pickles import MAX_DEPTH, load_plain

EXTENSION = 240


class Payload:
    """Calls a function with arguments when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self.function, self.arguments


class State:
    """Calls a function with arguments when its state is set, after it was made as a plain object."""

    def __init__(self, payload: Payload) -> None:
        self.payload = payload


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """The file that an exploit creates."""
    return tmp_path / "was_here"


@pytest.fixture
def extension() -> Iterator[None]:
    """``os.system`` under a number for pickles, looked up once: from then on no unpickler is asked for it."""
    module = os.system.__module__
    copyreg.add_extension(module, "system", EXTENSION)
    pickle.loads(b"\x80\x02\x82" + bytes([EXTENSION]) + b".")
    yield
    copyreg.remove_extension(module, "system", EXTENSION)
    copyreg.clear_extension_cache()


def load(tmp_path: Path, data: bytes) -> Any:
    path = tmp_path / "data.pkl"
    path.write_bytes(data)
    return load_plain(path)


def exploits(trace: Path) -> dict[str, Any]:
    touch = f"touch {trace}"
    write = f"open({str(trace)!r}, 'w').close()"
    return {
        "system": Payload(os.system, touch),
        "eval": Payload(builtins.eval, write),
        "exec": Payload(builtins.exec, write),
        "nested": [{"steps": ({"arguments": [1, Payload(os.system, touch)]},)}],
        "as a key": {Payload(os.getpid): Payload(os.system, touch)},
        "in the state of an object": State(Payload(os.system, touch)),
        "through another": Payload(map, Payload(os.system, touch), []),
    }


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("name", list(exploits(Path())))
def test_exploits_are_refused_before_they_run(name: str, protocol: int, tmp_path: Path, trace: Path) -> None:
    data = pickle.dumps(exploits(trace)[name], protocol)
    with pytest.raises(DataSetError, match="asks for"):
        load(tmp_path, data)
    assert not trace.exists()
    try:
        pickle.loads(data)
    except TypeError:
        assert name == "through another"  # what it makes is no iterator, after it has run
    assert trace.exists(), "the payload is none"


def test_an_old_instance_exploit_is_refused(tmp_path: Path, trace: Path) -> None:
    data = f"(S'touch {trace}'\nios\nsystem\n.".encode()
    with pytest.raises(DataSetError, match=r"os\.system"):
        load(tmp_path, data)
    assert not trace.exists()
    pickle.loads(data)
    assert trace.exists()


@pytest.mark.usefixtures("extension")
def test_a_registered_extension_is_refused_though_no_unpickler_is_asked_for_it(tmp_path: Path, trace: Path) -> None:
    command = f"touch {trace}".encode()
    data = b"\x80\x02\x82" + bytes([EXTENSION]) + b"U" + bytes([len(command)]) + command + b"\x85R."
    with pytest.raises(DataSetError, match="EXT1 240 at byte 2"):
        load(tmp_path, data)
    assert not trace.exists()
    pickle.loads(data)
    assert trace.exists()


@pytest.mark.parametrize(
    ("value", "asked"),
    [
        (OrderedDict(a=1), "collections.OrderedDict"),
        ([1, complex(1, 2)], "builtins.complex"),
        (Path("a"), "pathlib"),
        (len, "builtins.len"),
        (dict, "builtins.dict"),
        (frozenset([1]), "FROZENSET"),
        (bytearray(b"a"), "BYTEARRAY8"),
    ],
)
def test_what_was_asked_for_is_named(value: Any, asked: str, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=rf"{asked}.*only dict, list"):
        load(tmp_path, pickle.dumps(value, 5))


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"cbuiltins\ndict\n(tR.", r"builtins\.dict"),
        (b"\x80\x04\x8c\x08builtins\x8c\x04dict\x93)R.", r"builtins\.dict"),
        (b"\x80\x02}}b.", "BUILD at byte 4"),
        (b"\x80\x02})R.", "REDUCE at byte 4"),
        (b"\x80\x02})\x81.", "NEWOBJ at byte 4"),
        (b"Pelsewhere\n.", "PERSID 'elsewhere'"),
        (b"\x80\x02K\x01Q.", "BINPERSID"),
        (b"\x80\x05\x97.", "NEXT_BUFFER"),
        (b"\x80\x04}r\xff\xff\xff\xff.", "stores a value under the number 4294967295"),
        (b"}p99999999999\n.", "stores a value under the number 99999999999"),
        (b"\x80\x04}.\x80\x04}.", "4 bytes follow after its end"),
    ],
)
def test_opcodes_that_make_more_than_plain_values_are_refused(data: bytes, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=f"data.pkl is refused: .*{complaint}"):
        load(tmp_path, data)


HUGE = struct.pack("<Q", 2**62)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b".",
        b"a" * 50,
        b'{"name": 1}',
        b"\x00\xff\xfe",
        b"\x80\x09}.",
        b"\x80\x04}",
        b"\x80\x04](K\x01K",
        b"\x80\x04\x8d" + HUGE + b"abc.",
        b"\x80\x04\x8e" + HUGE + b"abc.",
        b"\x80\x04\x95" + HUGE + b"}.",
        b"\x80\x02\x8b\xff\xff\xff\x7fabc.",
        b"\x80\x02\x8b\xff\xff\xff\xffabc.",
        b"\x80\x02X\xff\xff\xff\xffabc.",
        b"\x80\x02]h\x07.",
        b"\x80\x02}(]K\x01u.",
        b"\x80\x02K\x01K\x02a.",
        b"L" + b"9" * 10_000 + b"L\n.",
        b"S'\\xff\\xfe'\n.",
    ],
)
def test_what_is_no_whole_pickle_is_told_as_such(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"data\.pkl is (not a whole pickle|refused): ."):
        load(tmp_path, data)


def test_every_truncation_is_told(tmp_path: Path) -> None:
    data = pickle.dumps([{"a": [1, 2.5, "text", None]}, b"bytes", {3, 4}], 4)
    for end in range(len(data)):
        with pytest.raises(DataSetError):
            load(tmp_path, data[:end])


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match=r"none\.pkl cannot be read: No such file"):
        load_plain(tmp_path / "none.pkl")


def test_structures_that_grow_when_written_out_are_refused(tmp_path: Path) -> None:
    value: list[Any] = ["laugh"]
    for _ in range(30):
        value = [value] * 10
    with pytest.raises(DataSetError, match="written out it has over"):
        load(tmp_path, pickle.dumps(value))


def test_half_a_surrogate_pair_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    for value in ("\ud800", [{"a\udfff": 1}]):
        path = tmp_path / "half.pkl"
        path.write_bytes(pickle.dumps(value))
        with pytest.raises(DataSetError, match="half a surrogate pair"):
            load_plain(path)


def test_structures_that_hold_themselves_are_refused(tmp_path: Path) -> None:
    circle: list[Any] = [1]
    circle.append({"again": circle})
    with pytest.raises(DataSetError, match="holds itself"):
        load(tmp_path, pickle.dumps(circle))


@pytest.mark.parametrize("depth", [MAX_DEPTH + 1, 100_000])
def test_deep_structures_are_refused(depth: int, tmp_path: Path) -> None:
    with pytest.raises(DataSetError, match="nested deeper"):
        load(tmp_path, b"]" * depth + b"a" * (depth - 1) + b".")


def test_depth_counts_through_what_is_shared(tmp_path: Path) -> None:
    shared: Any = "leaf"
    for _ in range(MAX_DEPTH // 2):
        shared = [shared]
    deep: Any = shared
    for _ in range(MAX_DEPTH // 2 + 1):
        deep = [deep]
    with pytest.raises(DataSetError, match="nested deeper"):
        load(tmp_path, pickle.dumps([shared, deep]))


def test_the_deepest_and_shared_structures_are_read(tmp_path: Path) -> None:
    value: Any = "leaf"
    for _ in range(MAX_DEPTH - 1):
        value = [value]
    both = load(tmp_path, pickle.dumps([value]))
    assert both == [value]
    twice = load(tmp_path, pickle.dumps([value[0], value[0]]))
    assert twice[0] is twice[1]


plain_values = nested(
    scalars | st.integers() | st.binary(max_size=5) | st.tuples(scalars, scalars) | st.sets(st.text())
)


def kinds(value: Any) -> Any:
    """The types in a value, in the order of its dicts, lists and tuples."""
    if isinstance(value, dict):
        return [(type(key), kinds(item)) for key, item in value.items()]
    return [type(value), *map(kinds, value)] if isinstance(value, (list, tuple)) else type(value)


@given(plain_values, st.sampled_from([4, 5]))
def test_plain_values_come_back_as_they_are(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int
) -> None:
    read = load(tmp_path_factory.getbasetemp(), pickle.dumps(value, protocol))
    assert read == value
    assert kinds(read) == kinds(value)


@given(json_values, st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_json_values_come_back_in_every_protocol(
    tmp_path_factory: pytest.TempPathFactory, value: Any, protocol: int
) -> None:
    assert same_json(load(tmp_path_factory.getbasetemp(), pickle.dumps(value, protocol)), value)


@given(plain_values, st.data())
def test_damaged_pickles_give_plain_values_or_are_told(
    tmp_path_factory: pytest.TempPathFactory, value: Any, data: st.DataObject
) -> None:
    damaged = bytearray(pickle.dumps(value, 4))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = load(tmp_path_factory.getbasetemp(), bytes(damaged))
    except DataSetError:
        return
    assert type(read) in (dict, list, tuple, set, str, bytes, int, float, bool, type(None))
