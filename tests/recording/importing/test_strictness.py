"""Which spellings of a call are the same call, and which are not: on a fixture, and on every published argument."""

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import booking_data
import orjson
import pytest
from booking_data import needs_booking
from harbour import answered, data_set, port, ships, trace
from hypothesis import given
from hypothesis import strategies as st

from toolorch_env.core.calls import Call
from toolorch_env.core.canonical import read_number
from toolorch_env.core.episode import Episode
from toolorch_env.core.tasks import Task
from toolorch_env.recording.importing.pipeline import import_data_set
from toolorch_env.recording.importing.traces import DataSet
from toolorch_env.rewards import GraduatedReward
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot


def played(task: Task, replay: SnapshotReplay, index: int, arguments: Mapping[str, Any]) -> Episode:
    """The solution of a task with other arguments in one of its calls, finished."""
    episode = Episode(task, replay, GraduatedReward(), max_calls=len(task.reference) + 1)
    for number, made in enumerate(task.reference):
        episode.send([Call(made.tool, arguments if number == index else made.arguments)])
    episode.finish()
    return episode


def is_solved(episode: Episode) -> bool:
    """Whether it is a success that returns exactly 1.0; if not, it has to return less."""
    assert (episode.total == 1.0) == episode.success
    assert episode.total <= 1.0
    return episode.success


# ---------------------------------------------------------------------------------------------------- other spellings


def kind_of(schema: Any) -> str:
    """What a schema says of a value: ``number``, ``string``, or something else."""
    kind = schema.get("type")
    return "number" if kind in ("number", "integer") else str(kind)


def same_spellings(kind: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Other ways to write the same argument."""
    number = read_number(value) if isinstance(value, str) else value
    if kind != "number" or isinstance(number, bool) or not isinstance(number, (int, float)):
        return
    yield "number as text", str(value)
    yield "number", number
    if isinstance(number, int):
        yield "whole number with a decimal point", float(number)
        yield "whole number as text with a decimal point", f"{number}.0"
    elif round(number, 4) != int(number):
        yield "fraction beyond the fourth decimal", round(number, 4) + 2e-5
        yield "fraction beyond the fourth decimal, as text", f"{round(number, 4) + 2e-5:.7f}"


def other_values(kind: str, value: Any) -> Iterator[tuple[str, Any]]:
    """What looks alike and is not the same."""
    if isinstance(value, (bool, list, dict)) or value is None:
        return
    text = str(value)
    number = read_number(text)
    if kind == "string":
        yield "trailing space", f"{text} "
        yield "leading space", f" {text}"
        if text.swapcase() != text:
            yield "other letter case", text.swapcase()
        if number is not None:
            yield "leading zeros", f"00{text}"
            yield "number for a text of digits", number
    if number is not None and number < 0:
        yield "dropped minus sign", text[1:] if isinstance(value, str) else -value
    elif number:
        yield "minus sign", f"-{text}" if isinstance(value, str) else -value
    if isinstance(number, float):
        yield "moved decimal point", f"{number * 10:.10g}" if isinstance(value, str) else round(number * 10, 8)
        yield "decimal point moved the other way", f"{number / 10:.10g}" if isinstance(value, str) else number / 10
        yield "fourth decimal", f"{number + 2e-4:.10g}" if isinstance(value, str) else number + 2e-4
    elif isinstance(number, int) and kind == "number":
        yield "next number", number + 1
        yield "ten times", number * 10 + 1
        yield "leading zeros where it says number", f"00{number}"


# ---------------------------------------------------------------------------------------------------------- a fixture


@pytest.fixture(scope="module")
def harbour(tmp_path_factory: pytest.TempPathFactory) -> tuple[Task, SnapshotReplay]:
    """A task with an argument of each kind."""
    one = trace(
        "one",
        answered("find_port", port(7301), name="Vigo"),
        answered("ports_near", {"data": [{"name": "Marin"}]}, latitude=-42.2406, longitude=8.72),
        answered("list_ships", ships("007", "X-1"), port_id=7301),
        answered("get_ship", {"data": {"name": "Ondine"}}, code="007"),
        answered("get_ship", {"data": {"name": "Undine"}}, code="X-1"),
    )
    path = tmp_path_factory.mktemp("harbour") / "harbour.sqlite"
    import_data_set(data_set(one), path)
    snapshot = Snapshot(path)
    return snapshot.tasks[0], SnapshotReplay(snapshot)


SAME = [
    (1, "latitude", "-42.2406"),
    (1, "latitude", -42.2405988),
    (1, "latitude", "-42.24062"),
    (1, "longitude", "8.72"),
    (1, "longitude", 8.72004),
    (2, "port_id", "7301"),
    (2, "port_id", 7301.0),
    (2, "port_id", "7301.0"),
]
DIFFERENT = [
    (0, "name", "vigo"),
    (0, "name", "VIGO"),
    (0, "name", "Vigo "),
    (0, "name", " Vigo"),
    (1, "latitude", 42.2406),
    (1, "latitude", "42.2406"),
    (1, "latitude", -422.406),
    (1, "latitude", -4.22406),
    (1, "latitude", -42.2407),
    (1, "longitude", 8.7201),
    (1, "longitude", "8,72"),
    (2, "port_id", 7302),
    (2, "port_id", -7301),
    (2, "port_id", "007301"),
    (2, "port_id", " 7301"),
    (2, "port_id", 730.1),
    (3, "code", 7),
    (3, "code", "7"),
    (3, "code", "07"),
    (3, "code", "0007"),
    (3, "code", "007 "),
    (4, "code", "x-1"),
    (4, "code", "X1"),
]


@pytest.mark.parametrize(("index", "parameter", "value"), SAME)
def test_the_same_call_in_another_spelling(
    harbour: tuple[Task, SnapshotReplay], index: int, parameter: str, value: Any
) -> None:
    task, replay = harbour
    assert is_solved(played(task, replay, index, {**task.reference[index].arguments, parameter: value}))


@pytest.mark.parametrize(("index", "parameter", "value"), DIFFERENT)
def test_what_looks_alike_is_another_call(
    harbour: tuple[Task, SnapshotReplay], index: int, parameter: str, value: Any
) -> None:
    task, replay = harbour
    episode = played(task, replay, index, {**task.reference[index].arguments, parameter: value})
    assert not is_solved(episode)
    assert not episode.progress.complete[index]
    assert sum(episode.progress.complete) == len(task.reference) - 1


@given(st.text(min_size=1, max_size=8))
def test_a_text_is_that_text_only(harbour: tuple[Task, SnapshotReplay], text: str) -> None:
    task, replay = harbour
    for index in (0, 3, 4):
        (parameter, value), *_ = task.reference[index].arguments.items()
        episode = played(task, replay, index, {parameter: text})
        assert is_solved(episode) == (text == value)


@given(st.floats(-180, 180), st.booleans())
def test_fractions_are_the_same_up_to_the_fourth_decimal(
    harbour: tuple[Task, SnapshotReplay], latitude: float, as_text: bool
) -> None:
    task, replay = harbour
    for value in (latitude, -42.2406 + latitude * 1e-6):
        written = repr(value) if as_text else value
        episode = played(task, replay, 1, {"latitude": written, "longitude": 8.72})
        assert is_solved(episode) == (round(value, 4) == -42.2406)


def test_another_recorded_call_with_the_same_answer_is_equivalent(tmp_path: Path) -> None:
    """Response equivalence: another way to ask for the same thing is no error, though its arguments differ."""
    body = {"data": {"port_id": 7301}}
    cached = [
        answered("find_port", body, name="VIGO"),
        answered("find_port", {"data": {"port_id": 7302}}, name="vigo"),
        answered("find_port", {"error": "no such port"}, 400, name="Vigo "),
    ]
    wanted = answered("find_port", body, name="Vigo")
    import_data_set(data_set(trace("one", wanted), cached=cached), tmp_path / "s.sqlite")
    snapshot = Snapshot(tmp_path / "s.sqlite")
    (task,), replay = snapshot.tasks, SnapshotReplay(snapshot)
    names = ("Vigo", "VIGO", "vigo", "Vigo ", "VIGO ")
    assert [is_solved(played(task, replay, 0, {"name": name})) for name in names] == [True, True, False, False, False]


# ------------------------------------------------------------------------------------------ every published argument


@pytest.fixture(scope="module")
def published() -> tuple[DataSet, Snapshot]:
    data_set, _, snapshot = booking_data.published()
    return data_set, snapshot


def every_argument(snapshot: Snapshot) -> Iterator[tuple[Task, int, str, str, Any]]:
    """Task, call, parameter, what its schema says, and the value."""
    for task in snapshot.tasks:
        for index, made in enumerate(task.reference):
            properties = snapshot.tools[made.tool].properties
            for name, value in made.arguments.items():
                yield task, index, name, kind_of(properties.get(name, {})), value


@needs_booking
def test_published_arguments_in_other_spellings_are_the_same(published: tuple[DataSet, Snapshot]) -> None:
    snapshot = published[1]
    replay = SnapshotReplay(snapshot)
    tried: Counter[str] = Counter()
    for task, index, name, kind, value in every_argument(snapshot):
        for how, spelling in same_spellings(kind, value):
            tried[how] += 1
            episode = played(task, replay, index, {**task.reference[index].arguments, name: spelling})
            assert is_solved(episode), (task.id, index, name, value, how)
    assert all(tried[how] >= 20 for how in ("number as text", "number", "fraction beyond the fourth decimal")), tried


@needs_booking
def test_published_arguments_that_look_alike_are_other_calls(published: tuple[DataSet, Snapshot]) -> None:
    """All but those that are recorded with the very same answer, which are checked to be just that."""
    snapshot = published[1]
    replay = SnapshotReplay(snapshot)
    tried: Counter[str] = Counter()
    equivalent: list[tuple[str, int, str, str]] = []
    for task, index, name, kind, value in every_argument(snapshot):
        for how, other in other_values(kind, value):
            tried[how] += 1
            arguments = {**task.reference[index].arguments, name: other}
            if is_solved(played(task, replay, index, arguments)):
                assert_answered_alike(replay, task, index, arguments)
                equivalent.append((task.id, index, name, how))
    needed = ("trailing space", "other letter case", "leading zeros", "number for a text of digits")
    needed += ("dropped minus sign", "moved decimal point", "fourth decimal", "next number")
    assert all(tried[how] >= 5 for how in needed), tried
    assert len(equivalent) <= 0.002 * tried.total(), equivalent


@needs_booking
def test_published_calls_that_were_answered_alike_complete_each_other(published: tuple[DataSet, Snapshot]) -> None:
    snapshot = published[1]
    replay = SnapshotReplay(snapshot)
    alike: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for record in snapshot.records():
        alike.setdefault((record.tool, record.response.digest), []).append(orjson.loads(record.arguments))
    tried = 0
    for task in snapshot.tasks:
        for index, made in enumerate(task.reference):
            call = replay.tools.canonical(Call(made.tool, made.arguments))
            response = replay.answer(call)
            for arguments in alike[made.tool, response.digest] if response.digest else ():
                if not replay.tools.canonical(Call(made.tool, arguments)).same_as(call):
                    tried += 1
                    assert_answered_alike(replay, task, index, arguments)
                    assert played(task, replay, index, arguments).success, (task.id, index, arguments)
    assert tried > 0


def assert_answered_alike(replay: SnapshotReplay, task: Task, index: int, arguments: Mapping[str, Any]) -> None:
    """That a call is recorded, as another one than the reference, with its very answer."""
    reference = task.reference[index]
    wanted = replay.tools.canonical(Call(reference.tool, reference.arguments))
    other = replay.tools.canonical(Call(reference.tool, arguments))
    assert not wanted.same_as(other), (task.id, index, arguments)
    recorded, published = replay.look_up(other), replay.look_up(wanted)
    assert recorded is not None
    assert published is not None
    assert published.success
    assert recorded.raw == published.raw
