"""Playing beyond what was recorded: the real API is asked over HTTP, once for each call, and its answers are kept."""

import copy
import logging
import multiprocessing
import pickle
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import gymnasium as gym
import httpx
import numpy as np
import postgres
import pytest
import yaml
from envs.driving import NUMERIC, TEXT, reference_actions
from fresh_python import run_python
from shop_server import ITEMS, SHELVES, WORKFLOWS, Shop

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, SnapshotError, SnapshotWriteError
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.recording.asking import Patience
from toolorch_env.recording.http import HttpApi
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.live import LiveApi
from toolorch_env.recording.plans.plan import parse_plan
from toolorch_env.recording.record import record
from toolorch_env.store.record_store import RecordStore
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.transfer import merge

QUICK = Patience(sessions=4, attempts=2, first_pause=0.01, longest_pause=0.1, give_up_after=3)

FIRST = f"I{6 * ITEMS}"
MAKER = f"M{6 * ITEMS % 7}"
BEYOND = Task(
    "beyond",
    "Who makes the first item on S6?",
    ("list_shelves", "list_items", "get_item", "get_maker", "order_item"),
    (
        ReferenceCall("list_items", {"shelf_id": "S6"}),
        ReferenceCall("get_item", {"item_id": FIRST}, (Binding("item_id", 0, "items[0].item_id"),)),
        ReferenceCall("get_maker", {"maker_id": MAKER}, (Binding("maker_id", 1, "maker_id"),)),
    ),
    (Mention("S6", "shelf", 28, 30),),
)
"""Nothing of this was recorded."""


class LiveShop(Shop):
    """The shop, where items can be ordered and opening hours are told in words."""

    def _build(self) -> Any:
        app = super()._build()

        @app.post("/orders", operation_id="order_item")
        async def order_item(item_id: str) -> dict[str, Any]:
            return {"ordered": item_id}

        @app.get("/hours", operation_id="get_hours")
        async def get_hours(day: str) -> str:
            return f"{day}: 8 to 17"

        return app


@pytest.fixture
def shop() -> LiveShop:
    return LiveShop()


@pytest.fixture
def address(shop: LiveShop) -> Iterator[str]:
    with shop.serve() as address:
        yield address


class PicklableApi(HttpApi):
    """An API that another process can ask, too."""

    def __reduce__(self) -> Any:
        return PicklableApi, (list(self._operations.values()), self.source)


def api_at(address: str) -> PicklableApi:
    document = httpx.get(f"{address}/openapi.json", trust_env=False).json()
    return PicklableApi(operations_from_openapi(document), address, timeout=5)


@pytest.fixture
def snapshot(shop: LiveShop, address: str, tmp_path: Path) -> Path:
    """A snapshot of a part of the shop; the shop has forgotten that it was asked."""
    (tmp_path / "workflows.yaml").write_text(yaml.safe_dump(WORKFLOWS))
    plan = {
        "name": "shop",
        "requests": [{"tool": "list_shelves"}],
        "workflows": {"file": "workflows.yaml", "runs": 2, "literals": {"shelf": {"values": ["S0", "S1"]}}},
    }
    record(api_at(address), tmp_path / "shop.sqlite", parse_plan(plan, folder=tmp_path), patience=QUICK)
    shop.asked.clear()
    return tmp_path / "shop.sqlite"


@pytest.fixture
def live(snapshot: Path, address: str) -> Iterator[LiveApi]:
    with LiveApi(api_at(address), snapshot, patience=QUICK) as live:
        yield live


def ask(live: LiveApi, tool: str, state: bytes = b"", **arguments: Any) -> Response:
    replay = SnapshotReplay(live.snapshot, "live", live)
    return replay.answer(replay.tools.canonical(Call(tool, arguments)).within(state))


def play_beyond(env_id: str, live: LiveApi) -> list[str]:
    """Plays the task of which nothing was recorded; where the answers came from."""
    env: Any = gym.make(env_id, snapshot=live.snapshot, on_miss="live", live=live).unwrapped
    env.reset(options={"task": BEYOND})
    for action in reference_actions(env):
        info = env.step(action)[4]
    assert (info["is_clean_success"], env.episode.total) == (True, 1.0)
    return [step.response.source.value for step in env.episode.steps]


@pytest.mark.parametrize("env_id", [NUMERIC, TEXT])
def test_an_environment_plays_beyond_what_was_recorded(env_id: str, live: LiveApi, shop: LiveShop) -> None:
    """Also in numbers: links resolve on what the API answered."""
    assert play_beyond(env_id, live) == ["live"] * 3
    assert shop.asked == {"/items?shelf_id=S6": 1, f"/items/{FIRST}": 1, f"/makers?maker_id={MAKER}": 1}
    with RecordStore(live.store, create=False) as store:
        assert len(store) == 3


def test_what_was_recorded_is_not_asked(live: LiveApi, shop: LiveShop) -> None:
    assert ask(live, "list_shelves").source is Source.RECORDED
    assert ask(live, "list_items", shelf_id="S1").source is Source.RECORDED
    assert ask(live, "list_items").source is Source.INVALID
    assert not shop.asked
    assert not Path(live.store).exists()


def test_nothing_is_asked_twice_be_it_by_another_environment_or_process(
    live: LiveApi, shop: LiveShop, address: str
) -> None:
    first = play_beyond(TEXT, live)
    assert play_beyond(TEXT, live) == play_beyond(NUMERIC, live) == first
    live.close()
    with LiveApi(api_at(address), live.snapshot) as later:
        assert play_beyond(TEXT, later) == first
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(in_process, (pickle.dumps(live),)) == first
    assert set(shop.asked.values()) == {1}
    assert len(shop.asked) == 3


def in_process(pickled: bytes) -> list[str]:
    """Plays the task with a pickled live API, in another process."""
    with pickle.loads(pickled) as live:
        return play_beyond(TEXT, live)


def test_an_answer_is_like_a_recorded_one(live: LiveApi) -> None:
    response = ask(live, "list_items", shelf_id="S5")
    assert (response.status, response.source, response.success, response.row) == (200, Source.LIVE, True, None)
    assert response.body["items"][0] == {"item_id": f"I{5 * ITEMS}"}
    assert 0 < response.latency < 5
    again = ask(live, "list_items", shelf_id="S5")
    assert (again.raw, again.digest, again.recorded_at) == (response.raw, response.digest, response.recorded_at)
    other_way = ask(live, "list_items", shelf_id="S5", limit=ITEMS + 5)
    assert other_way.digest == response.digest != 0


def test_another_way_to_the_same_live_answer_completes_a_reference_call(live: LiveApi) -> None:
    ask(live, "list_items", shelf_id="S6")
    env: Any = gym.make(TEXT, snapshot=live.snapshot, on_miss="live", live=live).unwrapped
    env.reset(options={"task": BEYOND})
    env.step(env.action_for(Call("list_items", {"shelf_id": "S6", "limit": ITEMS + 5})))
    assert env.episode.progress.complete == [True, False, False]


def test_a_refusal_is_an_answer_and_is_kept(live: LiveApi, shop: LiveShop) -> None:
    for _ in range(2):
        response = ask(live, "get_maker", maker_id="M99")
        assert (response.status, response.source, response.success) == (404, Source.LIVE, False)
    assert shop.asked["/makers?maker_id=M99"] == 1


def test_faults_are_a_miss_are_told_once_and_never_kept(
    live: LiveApi, shop: LiveShop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.broken = {f"/items/I{number}" for number in range(20, 30)}
    shop.texts = {"/items/I30"}
    with caplog.at_level(logging.WARNING):
        missed = [ask(live, "get_item", item_id=f"I{number}") for number in range(20, 31)]
    assert {(response.source, response.status) for response in missed} == {(Source.MISS, 404)}
    told = [entry.getMessage() for entry in caplog.records if entry.name.startswith("toolorch_env")]
    assert len(told) == 2
    assert "status 500" in told[0]
    assert "not JSON" in told[1]
    shop.broken.clear()
    assert ask(live, "get_item", item_id="I20").source is Source.LIVE
    with RecordStore(live.store, create=False) as store:
        assert [record.response.status for record in store.records()] == [200]


def test_a_passing_fault_is_asked_again(live: LiveApi, shop: LiveShop) -> None:
    shop.faults = {"/items/I20": [(503, {})]}
    assert ask(live, "get_item", item_id="I20").source is Source.LIVE


def test_an_api_that_is_gone_is_a_miss(snapshot: Path, address: str, caplog: pytest.LogCaptureFixture) -> None:
    api = api_at(address)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        dead = HttpApi(list(api._operations.values()), f"http://127.0.0.1:{unused.getsockname()[1]}")
    with LiveApi(dead, snapshot, patience=QUICK) as live, caplog.at_level(logging.WARNING):
        for number in range(8):
            assert ask(live, "get_item", item_id=f"I{50 + number}").source is Source.MISS
    told = [entry.getMessage() for entry in caplog.records if entry.name.startswith("toolorch_env")]
    assert [("127.0.0.1" in message, "told once" in message) for message in told] == [(True, True)] * len(told)
    assert 1 <= len(told) <= 2


def test_state_changing_tools_and_other_states_are_never_asked(live: LiveApi, shop: LiveShop) -> None:
    assert ask(live, "order_item", item_id="I3").source is Source.MISS
    assert ask(live, "get_item", b"s" * 16, item_id="I40").source is Source.UNRECORDED_STATE
    replay = SnapshotReplay(live.snapshot, "live", live)
    ordered = replay.tools.canonical(Call("order_item", {"item_id": "I3"}))
    assert live.answer(ordered) is None
    assert live.answer(replay.tools.canonical(Call("get_item", {"item_id": "I40"})).within(b"s" * 16)) is None
    assert not shop.asked


def test_many_threads_share_one_and_ask_each_call_once(live: LiveApi, shop: LiveShop) -> None:
    calls = [f"I{number}" for number in range(20, 50)]
    start = threading.Barrier(8)

    def play(seed: int) -> dict[str, Any]:
        start.wait()
        order = np.random.default_rng(seed).permutation(calls).tolist()
        return {item: ask(live, "get_item", item_id=item).body for item in order}

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(play, range(8)))
    assert all(bodies == found[0] for bodies in found)
    assert {item: found[0][item]["item_id"] for item in calls} == {item: item for item in calls}
    assert shop.asked == {f"/items/{item}": 1 for item in calls}


def test_a_second_process_is_told_to_use_a_database(live: LiveApi, snapshot: Path, address: str) -> None:
    ask(live, "get_item", item_id="I60")
    with LiveApi(api_at(address), snapshot) as other, pytest.raises(SnapshotWriteError, match=r"share one LiveApi"):
        ask(other, "get_item", item_id="I61")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        told = pool.apply(error_in_process, (pickle.dumps(live),))
    assert "is being written by process" in told
    assert "postgresql://" in told
    assert ask(live, "get_item", item_id="I61").source is Source.LIVE


def error_in_process(pickled: bytes) -> str:
    """What a live API says in another process that it cannot work in."""
    with pickle.loads(pickled) as live:
        return error_of(live)


def error_of(live: LiveApi) -> str:
    """What a live API says where it cannot work."""
    try:
        return str(ask(live, "get_item", item_id="I62").source)
    except SnapshotError as error:
        return str(error)


def test_a_fork_opens_its_own(live: LiveApi, shop: LiveShop) -> None:
    """A fork has neither the thread nor the right to write that its parent has."""
    ask(live, "get_item", item_id="I63")
    assert "postgresql://" in forked(live)
    live.close()
    assert forked(live) == "live"
    assert ask(live, "get_item", item_id="I62").source is Source.LIVE
    assert shop.asked == {"/items/I63": 1, "/items/I62": 1}


def forked(live: LiveApi) -> str:
    """What a live API says in a fork of this process."""
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=lambda: results.put(error_of(live)))
    process.start()
    told: str = results.get()
    process.join()
    results.close()
    assert process.exitcode == 0
    return told


def test_a_program_that_forgets_to_close_ends_in_peace_and_loses_nothing(
    snapshot: Path, address: str, shop: LiveShop
) -> None:
    printed = run_python(f"""
import sys; sys.path.insert(0, "tests/recording")
import warnings; warnings.simplefilter("error")
from pathlib import Path
from recording.test_live import LiveApi, api_at, ask
live = LiveApi(api_at({address!r}), Path({str(snapshot)!r}))
print(ask(live, "get_item", item_id="I70").source)
""")
    assert printed == "live\n"
    with LiveApi(api_at(address), snapshot) as live:
        assert ask(live, "get_item", item_id="I70").source is Source.LIVE
    assert shop.asked == {"/items/I70": 1}


def test_closed_it_opens_again_and_closing_twice_does_nothing(live: LiveApi, shop: LiveShop) -> None:
    live.close()
    for item in ("I71", "I72", "I71"):
        assert ask(live, "get_item", item_id=item).source is Source.LIVE
        live.close()
        live.close()
    assert shop.asked == {"/items/I71": 1, "/items/I72": 1}


def test_only_as_many_sessions_are_opened_as_are_used_at_once(
    live: LiveApi, shop: LiveShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[int] = []
    session = HttpApi.session
    monkeypatch.setattr(HttpApi, "session", lambda self: (opened.append(1), session(self))[1])
    for number in range(6):
        ask(live, "get_item", item_id=f"I{number + 30}")
    assert len(opened) == 1


def test_what_environments_are_made_with_is_copied_but_this_is_shared(live: LiveApi) -> None:
    env = gym.make(TEXT, snapshot=live.snapshot, on_miss="live", live=live)
    assert env.spec is not None
    assert env.spec.kwargs["live"] is live
    assert copy.deepcopy(live) is live


def test_merged_into_the_snapshot_they_are_recorded_answers(live: LiveApi, tmp_path: Path, shop: LiveShop) -> None:
    play_beyond(TEXT, live)
    ask(live, "get_item", item_id="I90")
    live.close()
    merged = merge([live.snapshot, live.store], tmp_path / "more.sqlite")
    assert merged == len(live.snapshot) + 4
    env: Any = gym.make(NUMERIC, snapshot=tmp_path / "more.sqlite").unwrapped
    env.reset(options={"task": BEYOND})
    for action in reference_actions(env):
        env.step(action)
    assert (env.episode.total, {step.response.source for step in env.episode.steps}) == (1.0, {Source.RECORDED})
    assert set(shop.asked.values()) == {1}


@pytest.mark.long
def test_several_processes_keep_their_answers_in_a_database(snapshot: Path, address: str, shop: LiveShop) -> None:
    reason = postgres.why_not()
    if reason is not None:
        pytest.skip(reason)
    with postgres.running_server() as server, LiveApi(api_at(address), snapshot, server.new_database()) as live:
        play_beyond(TEXT, live)
        with multiprocessing.get_context("spawn").Pool(2) as pool:
            assert pool.map(in_process, [pickle.dumps(live)] * 4, chunksize=1) == [["live"] * 3] * 4
        with RecordStore(live.store, create=False) as store:
            assert len(store) == 3
    assert list(shop.asked.values()) == [1, 1, 1]


def test_values_are_extracted_from_texts_as_in_the_recording(live: LiveApi, snapshot: Path, address: str) -> None:
    assert ask(live, "get_hours", day="Monday").body == "Monday: 8 to 17"
    live.close()
    plan = parse_plan({"extract": {"get_hours": r"(?P<opens>\d+) to (?P<closes>\d+)"}})
    with LiveApi(api_at(address), snapshot, plan=plan) as reading:
        body = ask(reading, "get_hours", day="Tuesday").body
    assert body == {"text": "Tuesday: 8 to 17", "matches": [{"opens": "8", "closes": "17"}]}


def test_the_answers_are_kept_where_the_user_says(snapshot: Path, address: str, tmp_path: Path) -> None:
    with LiveApi(api_at(address), snapshot, tmp_path / "elsewhere.recording") as live:
        ask(live, "get_item", item_id="I80")
    assert not Path(f"{snapshot}.live.recording").exists()
    with RecordStore(tmp_path / "elsewhere.recording", create=False) as store:
        assert [record.arguments for record in store.records()] == [b'{"item_id":"I80"}']
        assert store.meta["name"] == "shop"
        assert store.tools == Snapshot(snapshot).tools


def test_a_store_that_cannot_be_written_is_told(snapshot: Path, address: str, tmp_path: Path) -> None:
    for store, told in ((tmp_path / "none" / "s.recording", "there is no folder"), (snapshot, "finished snapshot")):
        with LiveApi(api_at(address), snapshot, store) as live, pytest.raises(SnapshotError, match=told):
            ask(live, "get_item", item_id="I80")


def test_an_api_that_does_not_fit_is_refused_naming_the_first_tool(
    shop: LiveShop, address: str, snapshot: Path
) -> None:
    document = httpx.get(f"{address}/openapi.json", trust_env=False).json()
    fewer = {**document, "paths": {path: item for path, item in document["paths"].items() if path != "/makers"}}
    with pytest.raises(ConfigurationError, match="lacks the snapshot's tool 'get_maker'"):
        LiveApi(HttpApi(operations_from_openapi(fewer), address), snapshot)
    document["paths"]["/items/{item_id}"]["get"]["parameters"][0]["schema"]["type"] = "integer"
    with pytest.raises(ConfigurationError, match="takes other parameters for the snapshot's tool 'get_item'"):
        LiveApi(HttpApi(operations_from_openapi(document), address), snapshot)


@pytest.mark.parametrize("env_id", [NUMERIC, TEXT])
def test_options_that_do_not_go_together_are_refused(live: LiveApi, library: Path, env_id: str) -> None:
    for options, told in (
        ({"snapshot": live.snapshot, "on_miss": "live"}, r"pass live=LiveApi"),
        ({"snapshot": live.snapshot, "live": live}, "on_miss is 'error'"),
        ({"snapshot": library, "on_miss": "live", "live": live}, "is played"),
    ):
        with pytest.raises(ConfigurationError, match=told):
            gym.make(env_id, **options)


def test_there_are_shelves_that_were_not_recorded(live: LiveApi) -> None:
    """The other tests would prove nothing else."""
    tools = live.snapshot.tools
    items = [tools.canonical(Call("list_items", {"shelf_id": f"S{number}"})) for number in range(SHELVES)]
    assert [call for call in items if live.snapshot.look_up(call) is None] == items[2:]
