"""BFCL's multi-turn problems: their text is never run, they are answered as by BFCL, and their solutions solve them."""

import importlib.util
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import gymnasium as gym
import orjson
import pytest
from fresh_python import run_python
from hypothesis import given
from hypothesis import strategies as st

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import ConfigurationError, DataSetError
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.recording.importing.bfcl import CATEGORIES, package, read_bfcl
from toolorch_env.recording.importing.bfcl.problems import Problem, Scenario, parse_call, read_problems
from toolorch_env.recording.importing.bfcl.world import LOAD_SCENARIO, World, as_json
from toolorch_env.recording.importing.pipeline import ImportSummary, import_data_set
from toolorch_env.recording.importing.traces import DataSet
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

needs_bfcl = pytest.mark.skipif(
    importlib.util.find_spec("bfcl_eval") is None, reason=f"the package bfcl-eval is not installed: {package.INSTALL}"
)

SAMPLE = tuple(
    f"{category}_{number}"
    for offset, category in enumerate(CATEGORIES)
    for number in (0, 32, 57, 96, 103, 120, 150, 173, 193 + offset)
)
"""Problems with every back end, results that are no JSON, arguments that do not fit, and texts in 5 MB of others."""

PARAMETERS = {"cd": ("folder",), "mv": ("source", "destination"), "tag": ("names", "options")}


@dataclass(frozen=True)
class Imported:
    """The sample, as it was read and as a snapshot."""

    data_set: DataSet
    summary: ImportSummary
    snapshot: Snapshot


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Imported:
    path = tmp_path_factory.mktemp("bfcl") / "bfcl.sqlite"
    data_set = read_bfcl(problems=SAMPLE)
    return Imported(data_set, import_data_set(data_set, path), Snapshot(path))


@pytest.fixture(scope="module")
def problems() -> dict[str, Problem]:
    """All problems, by their identifiers."""
    installed = package.open_package()
    found = [problem for category in CATEGORIES for problem in read_problems(installed, category)]
    return {problem.id: problem for problem in found if isinstance(problem, Problem)}


def solved(snapshot: Snapshot) -> Iterator[tuple[str, float, bool]]:
    """For each task what its own solution returns, and whether that is a success."""
    longest = max(len(task.reference) for task in snapshot.tasks)
    env: Any = ToolOrchTextEnv(snapshot, max_calls=longest + 1)
    for task in snapshot.tasks:
        env.reset(options={"task_id": task.id})
        actions = [env.action_for(Call(call.tool, call.arguments)) for call in task.reference]
        returned = sum(env.step(action)[1] for action in [*actions, env.action_for(None)])
        yield task.id, returned, env.episode.success


# Calls as text


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("cd(folder='document')", {"folder": "document"}),
        ("cd('document')", {"folder": "document"}),
        (" mv('a', destination='b') ", {"source": "a", "destination": "b"}),
        ("tag(options={'x': [1, -2.5, True, None]}, names=['a, b', \"it's (1)\"])",
         {"options": {"x": [1, -2.5, True, None]}, "names": ["a, b", "it's (1)"]}),
    ],
)  # fmt: skip
def test_a_call_is_read_from_its_text(text: str, arguments: dict[str, Any]) -> None:
    call = parse_call(text, PARAMETERS)
    assert (call.tool, call.arguments) == (text.strip().partition("(")[0], arguments)


@given(folder=st.text() | st.integers() | st.lists(st.booleans() | st.none()))
def test_any_literal_is_read_as_it_was_written(folder: Any) -> None:
    assert parse_call(f"cd(folder={folder!r})", PARAMETERS).arguments == {"folder": folder}
    assert parse_call(f"cd({folder!r})", PARAMETERS).arguments == {"folder": folder}


@pytest.mark.parametrize(
    "text",
    [
        *(
            "cd(folder=open('written', 'w'))",
            "cd(folder=__import__('os').getcwd())",
            "os.system('ls')",
            "(lambda: 1)()",
        ),
        *("rm('a')", "cd('a', 'b')", "cd(**{'folder': 'a'})", "cd(*['a'])", "cd", "cd(", "", "cd('a'); cd('b')"),
    ],
)
def test_what_is_no_call_with_literals_is_refused_and_never_run(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataSetError, match="cannot be read"):
        parse_call(text, PARAMETERS)
    assert not list(tmp_path.iterdir())


# Without the package


def test_without_the_package_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "PACKAGE", "no_such_package")
    with pytest.raises(ConfigurationError, match="pip install --no-deps bfcl-eval"):
        read_bfcl()


def test_the_importer_itself_loads_nothing_of_the_package() -> None:
    code = (
        "import sys, toolorch_env.recording.importing.bfcl; print(any(n.startswith('bfcl_eval') for n in sys.modules))"
    )
    assert run_python(code) == "False\n"


def test_a_category_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="multi_turn_base, "):
        read_bfcl(["multi_turn_bas"])


@needs_bfcl
def test_a_problem_that_is_none_is_refused() -> None:
    with pytest.raises(DataSetError, match="no problem 'multi_turn_base_200'"):
        read_bfcl(["multi_turn_base"], ["multi_turn_base_0", "multi_turn_base_200"])


# Scenarios


def test_equal_scenarios_have_one_name_and_others_another() -> None:
    one = Scenario(("A", "B"), {"A": {"x": 1, "y": [1, 2]}}, long_context=False)
    same = Scenario(("A", "B"), {"A": {"y": [1, 2], "x": 1}}, long_context=False)
    others = [
        Scenario(("A",), one.config, long_context=False),
        Scenario(one.classes, {"A": {"x": 1, "y": [2, 1]}}, long_context=False),
        Scenario(one.classes, one.config, long_context=True),
    ]
    assert one.name == same.name
    assert len({one.name, *(other.name for other in others)}) == 4


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ({"a": (1, 2.5)}, {"a": [1, 2.5]}),
        ({1: None}, {"1": None}),
        (None, None),
        ([True], [True]),
        ({"a": ...}, "{'a': Ellipsis}"),
        (float("inf"), "inf"),
    ],
)
def test_what_is_no_json_is_written_as_python_writes_it(value: Any, written: Any) -> None:
    assert as_json(value) == written


@needs_bfcl
def test_worlds_share_nothing_and_keep_nothing_that_they_are_given() -> None:
    """BFCL's own ``mention`` adds to the list that ``post_tweet`` was given, be it its default."""
    scenario = Scenario(("TwitterAPI",), {"TwitterAPI": {"username": "ann", "password": "secret"}}, long_context=False)
    given = {"content": "Hello", "tags": [], "mentions": ["@ben"]}
    for _ in range(2):
        world = World(package.open_package(), {scenario.name: scenario})
        world.load(scenario.name)
        world.answer("authenticate_twitter", {"username": "ann", "password": "secret"})
        first = world.answer("post_tweet", {"content": "Hello"})
        assert first["mentions"] == []
        second = world.answer("post_tweet", given)
        for tweet in (first, second):
            world.answer("mention", {"tweet_id": tweet["id"], "mentioned_usernames": ["@cleo"]})
        assert world.answer("get_tweet", {"tweet_id": second["id"]})["mentions"] == ["@ben", "@cleo"]
    assert given["mentions"] == ["@ben"]


@needs_bfcl
def test_a_world_tells_of_every_change_and_of_no_look() -> None:
    scenario = Scenario(("GorillaFileSystem", "VehicleControlAPI"), {}, long_context=False)
    world = World(package.open_package(), {scenario.name: scenario})
    world.load(scenario.name)
    copy, before = world.copy(), world.state()
    assert world.answer("ls", {}) == {"current_directory_content": []}
    assert world.state() == before
    for change in (Call("touch", {"file_name": "a"}), Call("get_current_speed", {})):
        earlier = world.state()
        world.answer(change.tool, change.arguments)
        assert world.state() != earlier
    assert copy.answer("ls", {}) == {"current_directory_content": []}
    assert world.answer("ls", {}) == {"current_directory_content": ["a"]}
    assert "error" in world.answer("touch", {"file_name": "a"})
    assert "unexpected keyword" in world.answer("ls", {"b": 1})["error"]


# The data set


@needs_bfcl
def test_every_task_of_the_sample_is_solved_by_its_solution_with_return_one(sample: Imported) -> None:
    results = list(solved(sample.snapshot))
    assert [result for result in results if result[1:] != (1.0, True)] == []
    assert [name for name, *_ in results] == [trace.id for trace in sample.data_set.traces]
    assert {name for name, *_ in results} == set(SAMPLE)


@needs_bfcl
def test_the_snapshot_is_sound_and_nothing_was_answered_twice(sample: Imported) -> None:
    assert verify_snapshot(sample.snapshot.path).ok
    assert sample.summary.conflicts == ()
    assert sample.summary.without_body == 0


@needs_bfcl
def test_two_imports_have_the_same_content_whatever_the_order_of_sets(sample: Imported, tmp_path: Path) -> None:
    path = tmp_path / "again.sqlite"
    code = (
        "from toolorch_env.recording.importing.bfcl import read_bfcl\n"
        "from toolorch_env.recording.importing.pipeline import import_data_set\n"
        f"import_data_set(read_bfcl(problems={SAMPLE}), {str(path)!r})"
    )
    run_python(code, hash_seed=1)
    assert Snapshot(path).meta["content_hash"] == sample.snapshot.meta["content_hash"]


@needs_bfcl
def test_a_task_says_what_bfcl_says(sample: Imported) -> None:
    tasks = {task.id: task for task in sample.snapshot.tasks}
    task = tasks["multi_turn_base_0"]
    assert [line.partition(". ")[0] for line in task.query.splitlines()] == ["1", "2", "3", "4"]
    assert task.turns == (0, 0, 0, 1, 1, 2, 3, 3, 3, 3)
    assert (task.workflow, task.split) == ("multi_turn_base", "test")
    assert [call.tool for call in task.setup] == [LOAD_SCENARIO]
    assert LOAD_SCENARIO not in task.tools
    assert {"cd", "cp", "post_tweet"} <= set(task.tools)
    assert not {"add", "book_flight"} & set(task.tools)
    held_back = tasks["multi_turn_miss_func_0"]
    assert (held_back.query, held_back.tools, held_back.setup) == (task.query, task.tools, task.setup)
    assert held_back.turns == (0, 0, 0, 1, 1, 3, 4, 4, 4, 4)


@needs_bfcl
def test_tools_are_marked_by_what_they_do(sample: Imported) -> None:
    tools = sample.snapshot.tools
    assert all(tools[name].read_only for name in ("ls", "pwd", "cat", "sort", "find", "get_stock_info", "mean"))
    # cd moves, logging in is remembered, and the temperature outside is drawn from a generator that moves on
    changing = {"cd", "mv", "echo", "ticket_login", "logout", "get_outside_temperature_from_google", LOAD_SCENARIO}
    assert changing <= tools.state_changing


@needs_bfcl
def test_invented_credentials_stay(sample: Imported) -> None:
    logins = [record for record in sample.snapshot.records() if record.tool == "authenticate_travel"]
    assert logins
    assert all(str(record.response.body["access_token"]).isdigit() for record in logins)
    assert "access_token" in sample.snapshot.tools["book_flight"].required


@needs_bfcl
def test_one_can_look_around_in_every_state_of_a_solution(sample: Imported) -> None:
    env: Any = ToolOrchTextEnv(sample.snapshot, max_calls=100)
    for task in sample.snapshot.tasks:
        env.reset(options={"task_id": task.id})
        looks = [
            Call(name, {})
            for name in task.tools
            if sample.snapshot.tools[name].read_only and not sample.snapshot.tools[name].required
        ]
        for call in (None, *task.reference):
            if call is not None:
                env.step(env.action_for(Call(call.tool, call.arguments)))
            for look in looks:
                response = env.episode.fork().send([look])[0].response
                assert response.source == "recorded", (task.id, look)


@needs_bfcl
def test_after_a_change_that_bfcl_does_not_make_nothing_is_made_up(sample: Imported) -> None:
    env: Any = gym.make("ToolOrchText-v0", snapshot=sample.snapshot)
    env.reset(options={"task_id": "multi_turn_base_0"})
    env.step(env.unwrapped.action_for(Call("cd", {"folder": "document"})))
    observation, *_, info = env.step(env.unwrapped.action_for(Call("ls", {})))
    assert "final_report.pdf" in observation
    *_, info = env.step(env.unwrapped.action_for(Call("cd", {"folder": ".."})))
    assert info["calls"][0]["source"] == "unrecorded_state"
    env.close()


# Parity with BFCL's own executor


def run_by_bfcl(entry: dict[str, Any], texts: list[str]) -> tuple[list[str], dict[str, Any]]:
    """What BFCL's executor answers to the calls of a problem, and the back ends after them."""
    from bfcl_eval.eval_checker.multi_turn_eval.func_source_code.posting_api import TwitterAPI
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call

    TwitterAPI.post_tweet.__defaults__ = ([], [])  # else what other problems have put into these lists shows here
    results: tuple[list[str], dict[str, Any]] = execute_multi_turn_func_call(
        texts,
        entry["initial_config"],
        entry["involved_classes"],
        model_name=f"run_{uuid4().hex}",  # the executor keeps its back ends by this name
        test_entry_id=entry["id"],
        long_context="long_context" in entry["id"],
    )
    return results


def as_executor_says(body: Any) -> str:
    """A recorded body as BFCL's executor writes it for a model."""
    if isinstance(body, str):
        return body
    return json.dumps(body) if isinstance(body, dict) else str(body)


def entries_of(category: str) -> Iterator[tuple[dict[str, Any], list[str]]]:
    """The problems of a category as BFCL's files have them, with the calls of their solutions."""
    data = package.open_package().data
    file = f"BFCL_v4_{category}.json"
    answers = (data / "possible_answer" / file).read_text(encoding="utf-8").splitlines()
    for line, answer in zip((data / file).read_text(encoding="utf-8").splitlines(), answers, strict=True):
        yield orjson.loads(line), [text for turn in orjson.loads(answer)["ground_truth"] for text in turn]


def check_parity(data_set: DataSet, problems: dict[str, Problem]) -> None:
    """Every recorded answer is BFCL's, and the recorded calls lead to where BFCL's executor ends."""
    from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_checker import state_checker

    installed, tools = package.open_package(), ToolSet(data_set.tools)
    traces = {trace.id: trace for trace in data_set.traces}
    for entry, texts in (found for category in CATEGORIES for found in entries_of(category)):
        if entry["id"] not in traces:
            continue
        problem, trace = problems[entry["id"]], traces[entry["id"]]
        said, ends = run_by_bfcl(entry, texts)
        assert [as_executor_says(call.answered.body) for call in trace.calls] == said, problem.id
        world = World(installed, {problem.scenario.name: problem.scenario})
        world.load(trace.setup[0].call.arguments["scenario"])
        for call in trace.calls:
            canonical = tools.canonical(call.answered.call)
            world.answer(canonical.tool, canonical.arguments)
        assert state_checker(world.back_ends, ends)["valid"], problem.id


@needs_bfcl
def test_answers_and_final_states_are_those_of_bfcl(sample: Imported, problems: dict[str, Problem]) -> None:
    check_parity(sample.data_set, problems)


@needs_bfcl
@pytest.mark.long
def test_all_problems_are_imported_answered_as_by_bfcl_and_solved(problems: dict[str, Problem], tmp_path: Path) -> None:
    data_set = read_bfcl()
    assert not [note for note in data_set.notes if note.startswith("left out")]
    assert len(data_set.traces) == 800
    check_parity(data_set, problems)
    import_data_set(data_set, tmp_path / "all.sqlite")
    assert [result for result in solved(Snapshot(tmp_path / "all.sqlite")) if result[1:] != (1.0, True)] == []
