"""From the files of a data set to a snapshot whose tasks are played."""

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import orjson
import pytest
from fresh_python import run_python
from harbour import QUERY, answered, data_set, imported, port, recorded_body, ships, trace
from published_shapes import (
    CACHE,
    LIBRARY_TEMPLATE,
    TOOLS,
    book_body,
    books_body,
    library_task,
    library_tasks,
    sample,
    step,
    task,
    templates,
    write_json,
    write_lines,
    write_pickle,
)

import toolorch_env  # noqa: F401  registers the environments
from toolorch_env.core.calls import Call
from toolorch_env.core.errors import DataSetError, SnapshotWriteError
from toolorch_env.core.responses import Source
from toolorch_env.core.tasks import Binding, ReferenceCall, Task
from toolorch_env.evaluation.runner import evaluate
from toolorch_env.evaluation.solutions import check_solutions, solves
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.recording.importing.booking import read_booking
from toolorch_env.recording.importing.complexfuncbench import read_complexfuncbench
from toolorch_env.recording.importing.pipeline import ImportSummary, import_data_set
from toolorch_env.recording.importing.traces import Trace
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot
from toolorch_env.store.writer import SnapshotWriter


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    """The library, as it would be published."""
    folder = tmp_path / "published"
    folder.mkdir()
    return {
        "tasks": write_pickle(folder / "tasks.pkl", library_tasks()),
        "evaluation": write_pickle(folder / "evaluation.pkl", [library_task(0, evaluation=True)]),
        "tools": write_lines(folder / "tools.jsonl", TOOLS),
        "templates": write_json(folder / "templates.json", templates(LIBRARY_TEMPLATE)),
        "cache": write_json(folder / "cache.json", CACHE),
    }


def import_files(target: Path, *files: Path) -> tuple[ImportSummary, Snapshot]:
    summary = import_data_set(read_booking(files), target)
    return summary, Snapshot(target)


def played(path: Path, *messages: Call | None) -> tuple[list[float], list[dict[str, Any]]]:
    """Rewards and what was told when calls are made one by one in words; ``None`` finishes."""
    env = gym.make("ToolOrchText-v0", snapshot=path)
    env.reset()
    action_for = env.unwrapped.action_for  # type: ignore[attr-defined]
    rewards, told = [], []
    for message in messages:
        _, reward, _, _, info = env.step(action_for(message))
        rewards.append(float(reward))
        told.append(info)
    return rewards, told


# ------------------------------------------------------------------------------------------------ what is in there


def test_a_published_file_becomes_tasks_that_the_oracle_solves(files: dict[str, Path], tmp_path: Path) -> None:
    summary, snapshot = import_files(tmp_path / "s.sqlite", *files.values())
    assert verify_snapshot(snapshot.path).ok
    assert (summary.tasks, summary.calls, summary.conflicts) == (3, 9, ())
    assert summary.responses == len(snapshot)
    assert snapshot.workflows is not None
    assert not check_solutions(snapshot).unsolved
    for env_id in ("ToolOrch-v0", "ToolOrchText-v0"):
        env = gym.make(env_id, snapshot=snapshot.path)
        metrics = evaluate(env, OraclePolicy(env_id), tasks=12)
        assert (metrics.mean_return, metrics.clean_success_rate) == (1.0, 1.0)


def test_where_the_arguments_come_from(files: dict[str, Path], tmp_path: Path) -> None:
    summary, snapshot = import_files(tmp_path / "s.sqlite", files["tasks"], files["tools"])
    first = snapshot.tasks[0]
    assert first.query == "How long is the second book by Ada Winter rated 3.5 or better?"
    assert first.reference == (
        ReferenceCall("Find_Author", {"name": "Ada Winter"}),
        ReferenceCall("List_Books", {"author_id": 40, "minRating": 3.5}, (Binding("author_id", 0, "data[0].id"),)),
        ReferenceCall("Get_Book", {"isbn": "0-01"}, (Binding("isbn", 1, "books[1].isbn"),)),
    )
    arguments = summary.arguments
    assert (arguments.total, arguments.exact, arguments.query, arguments.neither) == (8, 4, 4, 0)
    assert (arguments.declared, arguments.pure_order, arguments.undeclared) == (4, 0, 0)
    assert {mention.value for mention in first.mentions} >= {"Ada Winter", "3.5"}


def test_dependencies_are_found_in_the_evaluation_shape(files: dict[str, Path], tmp_path: Path) -> None:
    summary, snapshot = import_files(tmp_path / "s.sqlite", files["evaluation"], files["tools"])
    (only,) = snapshot.tasks
    assert only.split == "test"
    assert only.reference[1].bindings == (Binding("author_id", 0, "data[0].id"),)
    assert only.reference[2].bindings == ()  # the body that holds it is not known
    assert (summary.without_body, summary.responses) == (2, 3)
    assert not check_solutions(snapshot).unsolved


def test_a_call_without_a_body_is_a_success_and_marked(files: dict[str, Path], tmp_path: Path) -> None:
    _, snapshot = import_files(tmp_path / "s.sqlite", files["evaluation"], files["tools"])
    reference = snapshot.tasks[0].reference
    rewards, told = played(snapshot.path, *(Call(made.tool, made.arguments) for made in reference), None)
    assert sum(rewards) == 1.0
    assert [info["calls"] for info in told[:3]] == [
        [{"source": "recorded", "status": 200}],
        [{"source": "without_body", "status": 200}],
        [{"source": "without_body", "status": 200}],
    ]
    assert [message["content"] for info in told[1:3] for message in info["messages"]] == ["null", "null"]
    assert told[-1]["is_clean_success"]


def test_unknown_bodies_come_from_a_cache_given_together(files: dict[str, Path], tmp_path: Path) -> None:
    cache = {
        "List_Books": [{"arguments": {"author_id": "40", "minRating": 3.5}, "response": books_body(0)}],
        "Get_Book": [{"arguments": {"isbn": "0-01"}, "response": book_body("0-01")}],
    }
    cached = write_json(tmp_path / "all.json", cache)
    summary, snapshot = import_files(tmp_path / "s.sqlite", files["evaluation"], files["tools"], cached)
    assert (summary.without_body, summary.conflicts) == (0, ())
    assert recorded_body(snapshot, Call("List_Books", {"author_id": 40, "minRating": 3.5})) == books_body(0)
    assert snapshot.tasks[0].reference[2].bindings == (Binding("isbn", 1, "books[1].isbn"),)
    assert not check_solutions(snapshot).unsolved


def test_bodies_come_from_other_tasks(files: dict[str, Path], tmp_path: Path) -> None:
    summary, snapshot = import_files(tmp_path / "s.sqlite", files["evaluation"], files["tasks"], files["tools"])
    assert summary.without_body == 0
    assert snapshot.tasks[0].reference[2].bindings == (Binding("isbn", 1, "books[1].isbn"),)


def test_a_whole_evaluation_file_without_any_body(tmp_path: Path) -> None:
    bare = task("q", [step(index, "Get_Book", {"isbn": str(index)}, "") for index in range(3)])
    summary, snapshot = import_files(tmp_path / "s.sqlite", write_pickle(tmp_path / "bare", [bare]))
    assert (summary.responses, summary.without_body) == (3, 3)
    assert {record.response.source for record in snapshot.records()} == {Source.WITHOUT_BODY}
    assert not check_solutions(snapshot).unsolved


def test_optional_look_ups_may_be_left_out(tmp_path: Path) -> None:
    """Turns, and calls that a solution may do without, of conversations."""
    functions = [
        {"name": name, "parameters": {"type": "object", "properties": {key: {"type": kind}}}}
        for name, key, kind in (("Search_Car_Location", "query", "string"), ("Rent", "place", "integer"))
    ]
    turns = [
        [("Search_Car_Location", {"query": "the port"}, {"data": [{"place": 7301}]})],
        [("Rent", {"place": 7301}, {"status": True, "data": "rented"})],
    ]
    lines = write_lines(tmp_path / "lines", [sample("Cars-1", turns, functions)])
    import_data_set(read_complexfuncbench([lines]), tmp_path / "s.sqlite")
    snapshot = Snapshot(tmp_path / "s.sqlite")
    (only,) = snapshot.tasks
    assert [(made.turn, made.optional) for made in only.reference] == [(0, True), (1, False)]
    look_up, rent = (Call(made.tool, made.arguments) for made in only.reference)
    assert sum(played(snapshot.path, rent, None)[0]) == 1.0
    assert sum(played(snapshot.path, look_up, rent, None)[0]) == 1.0
    assert not check_solutions(snapshot).unsolved


def test_what_stands_in_no_task_is_recorded_too(files: dict[str, Path], tmp_path: Path) -> None:
    _, snapshot = import_files(tmp_path / "s.sqlite", files["cache"], files["tools"])
    assert snapshot.tasks == ()
    assert recorded_body(snapshot, Call("Find_Author", {"name": "Cy Nib"})) == {"status": True, "data": [{"id": 42}]}
    sources = {record.arguments: record.response.source for record in snapshot.records()}
    assert sources[b'{"isbn":"0-99"}'] is sources[b'{"isbn":"0-98"}'] is Source.WITHOUT_BODY
    failed = SnapshotReplay(snapshot).answer(snapshot.tools.canonical(Call("Find_Author", {"name": ""})))
    assert (failed.status, failed.source) == (400, Source.RECORDED)


def test_bodies_come_back_with_their_types(tmp_path: Path) -> None:
    body = {"a": 1, "b": 1.0, "c": -0.0, "d": 1e300, "e": True, "f": None, "g": "ü\u2028\x00", "h": [2**63, 0.1 + 0.2]}
    _, snapshot = imported(tmp_path, trace("a", answered("get_ship", body, code="X")))
    (record,) = snapshot.records()
    assert json.dumps(orjson.loads(record.response.raw)) == json.dumps(body)


# -------------------------------------------------------------------------------------------- whole, or not at all


def test_nothing_is_written_where_traces_do_not_fit(tmp_path: Path) -> None:
    one = trace("a", answered("find_port", port(), name="Vigo"))
    with pytest.raises(DataSetError, match="'a'"):
        import_data_set(data_set(one, one), tmp_path / "s.sqlite")
    stranger = Trace("b", QUERY, one.calls, tools=("get_ship",))
    with pytest.raises(DataSetError, match="'find_port', which is not among its tools on offer"):
        import_data_set(data_set(stranger), tmp_path / "s.sqlite")
    with pytest.raises(DataSetError, match="'c'"):
        import_data_set(data_set(Trace("c", QUERY, ())), tmp_path / "s.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_an_older_file_stays_unless_it_is_to_be_replaced(tmp_path: Path) -> None:
    target = tmp_path / "s.sqlite"
    target.write_bytes(b"older")
    good = data_set(trace("a", answered("find_port", port(), name="Vigo")))
    with pytest.raises(SnapshotWriteError, match="already"):
        import_data_set(good, target)
    with pytest.raises(DataSetError):
        import_data_set(data_set(Trace("c", QUERY, ())), target, overwrite=True)
    assert target.read_bytes() == b"older"
    import_data_set(good, target, overwrite=True)
    assert len(Snapshot(target)) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["s.sqlite"]


# ------------------------------------------------------------------------------------------------ known solutions


def test_a_solution_that_does_not_solve_is_found(tmp_path: Path) -> None:
    """One that takes a value from a response that does not hold it."""
    calls = [Call("find_port", {"name": "Vigo"}), Call("list_ships", {"port_id": 7302})]
    bound = (Binding("port_id", 0, "data.port_id"),)
    good, bad = (
        Task(name, QUERY, ("find_port", "list_ships"), (ReferenceCall("find_port", {"name": "Vigo"}), second))
        for name, second in (
            ("good", ReferenceCall("list_ships", {"port_id": 7302})),
            ("bad", ReferenceCall("list_ships", {"port_id": 7302}, bound)),
        )
    )
    harbour = data_set()
    with SnapshotWriter(tmp_path / "s.sqlite", harbour.tools, name="harbour", tasks=[good, bad]) as writer:
        writer.add(calls[0], 200, port(7301))
        writer.add(calls[1], 200, ships("X-1"))
    snapshot = Snapshot(tmp_path / "s.sqlite")
    counted: list[None] = []
    checked = check_solutions(snapshot, advance=lambda: counted.append(None))
    assert (checked.tasks, checked.unsolved, len(counted)) == (2, ("bad",), 2)
    assert checked.words_only.keys() == {"good", "bad"}
    assert [solves(one, SnapshotReplay(snapshot)) for one in snapshot.tasks] == [True, False]


# ---------------------------------------------------------------------------------------------- the same every time


def test_the_same_files_in_any_order_give_the_same_snapshot(files: dict[str, Path], tmp_path: Path) -> None:
    chosen = [files[name] for name in ("tasks", "tools", "templates", "cache")]
    hashes, summaries = set(), set()
    for index, order in enumerate(itertools.permutations(chosen)):
        summary, snapshot = import_files(tmp_path / f"{index}.sqlite", *order)
        hashes.add(snapshot.meta["content_hash"])
        summaries.add((summary.tasks, summary.responses, summary.conflicts, summary.arguments, summary.notes))
    assert len(hashes) == len(summaries) == 1


def test_task_files_in_another_order_give_the_same_answers_and_problems(files: dict[str, Path], tmp_path: Path) -> None:
    """Only the numbers of the tasks follow the order of the files."""
    one, other = (
        import_files(tmp_path / f"{index}.sqlite", files["tools"], *order)[1]
        for index, order in enumerate(itertools.permutations([files["tasks"], files["evaluation"]]))
    )
    assert [record.key for record in one.records()] == [record.key for record in other.records()]
    assert [record.response.raw for record in one.records()] == [record.response.raw for record in other.records()]
    problems = [sorted((task.query, str(task.reference)) for task in snapshot.tasks) for snapshot in (one, other)]
    assert problems[0] == problems[1]
    assert one.meta["content_hash"] != other.meta["content_hash"]


# ------------------------------------------------------------------------------------------------- bounded memory

MEASURED = """
import resource, sys
import toolorch_env.cli, toolorch_env.evaluation.solutions, toolorch_env.recording.importing.booking
import toolorch_env.recording.importing.pipeline, toolorch_env.store.content as content
content.SAMPLE_BYTES = 2**20  # training takes most of the time, and hardly any memory
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
sys.argv = ["toolorch", "import", "booking", *{files!r}, "--out", {out!r}]
try:
    toolorch_env.cli.main()
except SystemExit as ended:
    assert ended.code == 0, ended.code
print("\\n", (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)
"""


def write_large_cache(path: Path, megabytes: int) -> int:
    """Writes a cache of about this size with bodies of about 45 KB; returns the number of its entries."""
    with path.open("wb") as file:
        file.write(b'{"get_ship": [')
        count = 0
        while file.tell() < megabytes * 1_000_000:
            rows = [{"id": count * row, "log": f"ship {count * row % 9973} " * 40} for row in range(100)]
            entry = {"arguments": {"code": f"X-{count}"}, "response": {"status": True, "data": rows}}
            file.write((b", " if count else b"") + orjson.dumps(entry))
            count += 1
        file.write(b"]}")
    return count


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="the peak is counted in kilobytes on Linux")
def test_memory_does_not_grow_with_the_cache(tmp_path: Path) -> None:
    """The peak beyond what the imports take, in MB: of 200 MB as of 40 MB, but for a quarter of the difference."""
    schema = {
        "name": "get_ship",
        "description": "",
        "parameters": {"type": "dict", "properties": {"code": {"type": "string"}}},
    }
    tools = write_lines(tmp_path / "tools", [schema])
    peaks = []
    for megabytes in (40, 200):
        entries = write_large_cache(tmp_path / "cache", megabytes)
        out = tmp_path / f"{megabytes}.sqlite"
        told = run_python(MEASURED.format(files=[str(tmp_path / "cache"), str(tools)], out=str(out)))
        peaks.append(float(told.split()[-1]))
        assert len(Snapshot(out)) == entries
    assert peaks[1] < 240
    assert peaks[1] < peaks[0] + 40
