"""A snapshot's tools as an MCP server: real clients, standard input and output, HTTP, many sessions at once."""

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gymnasium as gym
import httpx
import pytest
from fresh_command import ROOT, run_command
from worlds import snapshot_path

pytest.importorskip("mcp", reason="the extra 'serve' is not installed")
import uvicorn
from mcp import Client, StdioServerParameters
from starlette.applications import Starlette

from toolorch_env.cli.serve import loopback_names
from toolorch_env.core.errors import ConfigurationError, RunError, SessionError
from toolorch_env.evaluation.run_files import read_run
from toolorch_env.evaluation.runs import PlayedEpisode
from toolorch_env.generation.curriculum import Curriculum
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.integrations.mcp_http import make_app
from toolorch_env.integrations.sessions import SessionStore

LIBRARY = snapshot_path("library")
MODES = ("auto", "legacy")


def text_env(**options: Any) -> Any:
    return gym.make("ToolOrchText-v0", snapshot=LIBRARY, **options).unwrapped


@contextmanager
def served(app: Starlette) -> Iterator[str]:
    """Serves on a free port of the loopback interface; gives the address."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def solve(client: Client, seed: int, calls: int | None = None) -> list[str]:
    """Makes the reference calls of a seed's task; returns what was answered."""
    env = text_env()
    query, _ = env.reset(seed=seed)
    prompt = await client.get_prompt("task")
    assert prompt.messages[0].content.text == query  # type: ignore[union-attr]
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert set(listed) == set(env.episode.task.tools)
    answers = []
    for call in env.episode.task.reference[:calls]:
        assert listed[call.tool].input_schema == env.snapshot.tools[call.tool].parameters
        observation, *_ = env.step(env.action_for(call))
        result = await client.call_tool(call.tool, call.arguments)
        assert not result.is_error
        answers.append(result.content[0].text)  # type: ignore[union-attr]
        assert answers[-1] in observation
    return answers


# ------------------------------------------------------------------------------------------- standard input and output


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_plays_over_stdin_and_stdout(mode: Any, tmp_path: Path) -> None:
    async def play() -> None:
        arguments = ["-m", "toolorch_env.cli", "serve", "mcp", "--snapshot", str(LIBRARY), "--seed", "3"]
        arguments += ["--split", "train", "--out", str(tmp_path / "run.jsonl")]
        environment = dict(os.environ, PYTHONPATH=str(ROOT))
        server = StdioServerParameters(command=sys.executable, args=arguments, env=environment)
        async with Client(server, mode=mode) as client:
            await solve(client, 3)

    asyncio.run(play())
    end = time.monotonic() + 20
    while len(lines := (tmp_path / "run.jsonl").read_bytes().splitlines()) < 2 and time.monotonic() < end:
        time.sleep(0.05)  # the client does not wait for the server's last words
    assert len(lines) == 2
    (played,) = read_run(tmp_path / "run.jsonl").episodes
    assert (played.result.clean_success, played.result.total) == (True, 1.0)


@contextmanager
def raw_server(out: Path) -> Iterator[tuple[Any, Callable[..., None]]]:
    """A server on standard input and output; gives the process, and what sends a message and reads the answer."""
    command = [sys.executable, "-m", "toolorch_env.cli", "serve", "mcp", "--snapshot", str(LIBRARY)]
    command += ["--seed", "3", "--split", "train", "--out", str(out)]
    pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes, text=True, env=dict(os.environ, PYTHONPATH=str(ROOT))) as server:

        def send(method: str, params: dict[str, Any], *, read: bool = True) -> None:
            message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
            server.stdin.write(json.dumps(message) + "\n")  # type: ignore[union-attr]
            server.stdin.flush()  # type: ignore[union-attr]
            assert not read or "result" in json.loads(server.stdout.readline())  # type: ignore[union-attr]

        client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}}
        send("initialize", client)
        yield server, send


def reference_calls() -> list[dict[str, Any]]:
    """The solution of the task that is served, as parameters of the protocol's calls."""
    env = text_env(constraints={"split": "train"})
    env.reset(seed=3)
    return [{"name": call.tool, "arguments": call.arguments} for call in env.episode.task.reference]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_ended_by_a_signal_writes_what_was_played(number: int, tmp_path: Path) -> None:
    """Some clients end their servers so, while standard input is still open."""
    with raw_server(tmp_path / "run.jsonl") as (server, send):
        send("tools/call", reference_calls()[0])
        server.send_signal(number)
        assert server.wait(20) == 128 + number
    (played,) = read_run(tmp_path / "run.jsonl").episodes
    assert (played.result.complete_calls, played.result.calls) == (1, 1)


def test_a_server_that_cannot_write_ends_all_the_same_and_says_so(tmp_path: Path) -> None:
    with raw_server(tmp_path / "run.jsonl") as (server, send):
        send("tools/call", reference_calls()[0])
        resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (10, 10))
        server.send_signal(signal.SIGTERM)
        assert server.wait(20) == 128 + signal.SIGTERM
        assert "cannot be written" in server.stderr.read()
    assert read_run(tmp_path / "run.jsonl").episodes == []


def test_an_agent_that_leaves_without_waiting_for_an_answer_is_scored(tmp_path: Path) -> None:
    with raw_server(tmp_path / "run.jsonl") as (server, send):
        first, second, *_ = reference_calls()
        send("tools/call", first)
        server.stdout.close()
        send("tools/call", second, read=False)
        server.stdin.close()
        assert server.wait(20) == 0
        assert "Traceback" not in server.stderr.read()
    (played,) = read_run(tmp_path / "run.jsonl").episodes
    assert played.result.complete_calls == played.result.calls >= 1


# ---------------------------------------------------------------------------------------------------------------- HTTP


@pytest.mark.parametrize("mode", MODES)
def test_an_agent_plays_over_http_and_is_scored(mode: Any) -> None:
    ended: list[PlayedEpisode] = []
    with served(make_app(SessionStore(text_env(), on_end=ended.append))) as url:

        async def play() -> None:
            begun = httpx.post(f"{url}/sessions", json={"seed": 5}).json()
            async with Client(url + begun["mcp"], mode=mode) as client:
                answers = await solve(client, 5)
                wrong = await client.call_tool("get_author", {"author_id": "nobody"})
                assert wrong.is_error
                unknown = await client.call_tool("no_such_tool", {})
                assert unknown.is_error
            one = f"{url}/sessions/{begun['id']}"
            so_far = httpx.get(one).json()
            assert (so_far["done"], so_far["calls"]) == (False, len(answers) + 2)
            assert so_far["total"] == pytest.approx(0.9)
            told = httpx.post(f"{one}/finish", json={"answer": "Done."}).json()
            assert (told["result"]["success"], told["result"]["clean_success"]) == (True, False)
            assert told["answer"] == "Done."
            assert httpx.post(f"{one}/finish").json() == told
            assert [played.model_dump(mode="json") for played in ended] == [told]
            async with Client(url + begun["mcp"], mode=mode) as client:
                late = await client.call_tool("get_author", {"author_id": "A7"})
                assert late.is_error
                assert "has ended" in late.content[0].text  # type: ignore[union-attr]
            assert httpx.delete(one).status_code == 204
            assert httpx.get(one).status_code == 404

        asyncio.run(play())


@pytest.mark.long
def test_200_sessions_at_once_lose_nothing_and_mix_nothing_up() -> None:
    """Each plays its own task, some of them only in part, and each is scored for what it did."""
    count = 200
    with served(make_app(SessionStore(text_env(), most=count))) as url:

        async def play(http: httpx.AsyncClient, seed: int) -> tuple[int, int]:
            begun = (await http.post(f"{url}/sessions", json={"seed": seed})).json()
            async with Client(url + begun["mcp"]) as client:
                made = await solve(client, seed, calls=None if seed % 3 else 1)
            told = (await http.post(f"{url}/sessions/{begun['id']}/finish")).json()
            assert told["task"]["query"] == begun["query"]
            assert told["result"]["complete_calls"] == told["result"]["calls"] == len(made)
            assert told["result"]["success"] == (len(made) == told["result"]["reference_calls"])
            return told["index"], len(made)

        async def all_at_once() -> list[tuple[int, int]]:
            limits = httpx.Limits(max_connections=count)
            async with httpx.AsyncClient(timeout=60, limits=limits) as http:
                return await asyncio.gather(*(play(http, seed) for seed in range(count)))

        results = asyncio.run(all_at_once())
        assert len({index for index, _ in results}) == count
        for _ in range(count):  # there is room, as those are finished
            assert httpx.post(f"{url}/sessions", json={}).status_code == 201
        refused = httpx.post(f"{url}/sessions", json={})
        assert (refused.status_code, "200 sessions" in refused.json()["error"]) == (503, True)


def test_an_agent_cannot_tell_by_its_address_where_its_scores_are() -> None:
    with served(make_app(SessionStore(text_env()))) as url:
        begun = httpx.post(f"{url}/sessions", json={"seed": 5}).json()
        _, _, key, last = begun["mcp"].split("/")
        assert (last, begun["id"] in begun["mcp"]) == ("mcp", False)
        assert httpx.get(f"{url}/sessions/{key}").status_code == 404
        assert httpx.post(f"{url}/sessions/{key}/finish").status_code == 404
        assert httpx.post(f"{url}/agents/{begun['id']}/mcp").status_code == 404
        assert httpx.delete(f"{url}/sessions/{begun['id']}").status_code == 204
        assert httpx.post(f"{url}/agents/{key}/mcp").status_code == 404


def test_bad_requests_are_told() -> None:
    with served(make_app(SessionStore(text_env()))) as url:
        for body, said in [
            (b"{", "JSON object"),
            (b"[]", "JSON object"),
            (b'{"seed": "x"}', "a seed is"),
            (b'{"seed": -1}', "a seed is"),
            (b'{"seed": true}', "a seed is"),
            (b'{"sede": 1}', "there is no 'sede'"),
            (b'{"options": []}', "mapping"),
            (b'{"options": {"color": 1}}', "color"),
            (b'{"options": {"task_id": "nothing"}}', "nothing"),
            (b'{"options": 5}', "mapping"),
            (b'"' + b"x" * 1_100_000 + b'"', "too long"),
        ]:
            answer = httpx.post(f"{url}/sessions", content=body)
            assert answer.status_code == 400, body[:50]
            assert said in answer.json()["error"]
        assert httpx.get(f"{url}/sessions/nobody").status_code == 404
        assert httpx.post(f"{url}/agents/nobody/mcp").status_code == 404
        assert httpx.get(f"{url}/agents/nobody/mcp").status_code == 405  # nothing is streamed
        begun = httpx.post(f"{url}/sessions").json()
        answer = httpx.post(f"{url}/sessions/{begun['id']}/finish", json={"answer": 5})
        assert (answer.status_code, "is a text" in answer.json()["error"]) == (400, True)


def test_who_has_no_token_begins_no_session_and_sees_no_score() -> None:
    known = {"Authorization": "Bearer open sesame"}
    with served(make_app(SessionStore(text_env()), token="open sesame")) as url:
        begun = httpx.post(f"{url}/sessions", headers=known)
        assert begun.status_code == 201
        one = f"{url}/sessions/{begun.json()['id']}"
        for headers in ({}, {"Authorization": "Bearer open"}, {"Authorization": "open sesame"}):
            for method, address in [
                ("POST", f"{url}/sessions"),
                ("GET", one),
                ("POST", f"{one}/finish"),
                ("DELETE", one),
            ]:
                assert httpx.request(method, address, headers=headers).status_code == 401
        assert httpx.post(f"{url}/agents/x/mcp").status_code == 404
        assert httpx.get(one, headers=known).status_code == 200


def test_an_agent_needs_no_token_beside_its_address() -> None:
    known = {"Authorization": "Bearer open sesame"}
    with served(make_app(SessionStore(text_env()), token="open sesame")) as url:
        begun = httpx.post(f"{url}/sessions", json={"seed": 4}, headers=known).json()

        async def play() -> None:
            async with Client(url + begun["mcp"]) as client:
                await solve(client, 4)

        asyncio.run(play())
        assert httpx.get(f"{url}/sessions/{begun['id']}", headers=known).json()["total"] == pytest.approx(1.0)


def test_the_loopback_interface_goes_by_all_its_names() -> None:
    with served(make_app(SessionStore(text_env()), hosts=loopback_names("::1"))) as url:
        for name in ("[::1]:8000", "localhost:8000", "127.0.0.1"):
            assert httpx.post(f"{url}/sessions", headers={"Host": name}).status_code == 201
        assert httpx.post(f"{url}/sessions", headers={"Host": "evil.example"}).status_code == 400
    assert loopback_names("0.0.0.0") is None


def test_pages_of_other_hosts_may_not_ask() -> None:
    """A browser lets any page send such a request to the loopback interface, and says whose page it is."""
    with served(make_app(SessionStore(text_env(), most=2), hosts=loopback_names("127.0.0.1"))) as url:
        for origin in ("https://evil.example", "null", "http://127.0.0.1.evil.example", "http://[bad", ""):
            answer = httpx.post(f"{url}/sessions", content=b"{}", headers={"Origin": origin})
            assert (answer.status_code, "other hosts" in answer.json()["error"]) == (403, True)
        for origin in (url, "http://localhost:3000", "http://[::1]"):
            assert httpx.post(f"{url}/sessions", headers={"Origin": origin}).status_code in (201, 503)


def test_names_that_were_rebound_are_refused() -> None:
    with served(make_app(SessionStore(text_env()), hosts=["127.0.0.1"])) as url:
        assert httpx.post(f"{url}/sessions", headers={"Host": "evil.example"}).status_code == 400
        assert httpx.post(f"{url}/sessions").status_code == 201


# ------------------------------------------------------------------------------------------------------------- sessions


def test_idle_sessions_are_dropped_and_others_are_not() -> None:
    now = [0.0]
    store = SessionStore(text_env(), most=2, idle_seconds=10, clock=lambda: now[0])
    one, other = store.begin(seed=1), store.begin(seed=2)
    with pytest.raises(SessionError, match="2 sessions already"):
        store.begin()
    now[0] = 8
    assert store.get(other.id) is other
    now[0] = 12
    with pytest.raises(SessionError, match="idle"):
        store.get(one.id)
    store.begin(seed=3)  # there is room again
    assert store.ids >= {other.id}
    assert one.id not in store.ids
    now[0] = 100
    assert store.drop_idle() == 2
    assert len(store) == 0


def test_finished_sessions_make_room_for_others() -> None:
    now, ended = [0.0], list[PlayedEpisode]()
    store = SessionStore(text_env(), most=3, on_end=ended.append, clock=lambda: now[0])
    first, second, open_ = (store.begin(seed=seed) for seed in range(3))
    for session in (second, first):
        now[0] += 1
        store.finish(session.id)
    for seed, dropped in ((3, second), (4, first)):  # the one that was used least lately
        begun = store.begin(seed=seed)
        assert {begun.id, open_.id} <= store.ids
        assert dropped.id not in store.ids
    with pytest.raises(SessionError, match="3 sessions already"):
        store.begin()
    assert [played.index for played in ended] == [second.index, first.index]


def test_what_was_played_is_handed_over_once_however_a_session_ends() -> None:
    now, ended = [0.0], list[PlayedEpisode]()
    store = SessionStore(text_env(), idle_seconds=10, on_end=ended.append, clock=lambda: now[0])
    finished, forgotten, idle, unused, open_ = (store.begin(seed=seed) for seed in range(5))
    for session in (finished, forgotten, idle, open_):
        first = session.episode.task.reference[0]
        session.call(first.tool, first.arguments)
    store.finish(finished.id, "Done.")
    store.finish(finished.id)
    store.end(forgotten.id)
    now[0] = 8
    store.get(open_.id)
    now[0] = 15
    assert store.drop_idle() == 3
    assert [played.index for played in ended] == [finished.index, idle.index]
    assert store.close() == 1
    assert [played.index for played in ended] == [finished.index, idle.index, open_.index]
    assert all(played.result.complete_calls == 1 for played in ended)
    assert unused.index not in [played.index for played in ended]


def test_what_cannot_be_kept_now_is_kept_later() -> None:
    """A disk may be full for a while."""
    now, ended = [0.0], list[PlayedEpisode]()

    def keep(played: PlayedEpisode) -> None:
        if now[0] < 100:
            raise RunError("no space left on device")
        ended.append(played)

    store = SessionStore(text_env(), idle_seconds=10, on_end=keep, clock=lambda: now[0])
    with served(make_app(store)) as url:
        begun = httpx.post(f"{url}/sessions", json={"seed": 1}).json()
        one = f"{url}/sessions/{begun['id']}/finish"
        assert httpx.post(one).status_code == 500
        assert httpx.post(one).json() == {"error": "no space left on device"}
        left = store.begin(seed=2)
        left.call("nothing", {})
        now[0] = 50
        assert (store.drop_idle(), len(store)) == (0, 2)
        now[0] = 200
        assert (store.drop_idle(), len(store)) == (2, 0)
    assert [played.index for played in ended] == [0, left.index]


def test_a_generator_that_learns_is_told_how_sessions_end() -> None:
    curriculum = Curriculum(WorkflowGenerator(LIBRARY), [{}, {}], window=4, up=0.5)
    store = SessionStore(text_env(generator=curriculum))
    for seed in range(4):
        session = store.begin(seed=seed)
        for call in session.episode.task.reference:
            session.call(call.tool, call.arguments)
        store.finish(session.id)
        store.finish(session.id)
    assert curriculum.state.level == 1


def test_the_same_seed_is_the_same_task_for_all_of_a_group() -> None:
    store = SessionStore(text_env())
    group = [store.begin(seed=7) for _ in range(8)]
    assert len({session.episode.task.id for session in group}) == 1
    assert len({session.id for session in group}) == 8
    first = group[0].episode.task.reference[0]
    group[0].call(first.tool, first.arguments)
    assert [len(session.episode.steps) for session in group] == [1] + [0] * 7


def test_stores_of_nothing_are_refused() -> None:
    for options in ({"most": 0}, {"idle_seconds": 0}):
        with pytest.raises(ConfigurationError):
            SessionStore(text_env(), **options)  # type: ignore[arg-type]


def test_others_may_not_come_without_a_token() -> None:
    done = run_command("serve", "mcp", "--http", "--host", "0.0.0.0", "--snapshot", str(LIBRARY))
    assert done.returncode == 2
    assert "TOOLORCH_TOKEN" in done.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [(("--host", "0.0.0.0"), "--http"), (("--port", "1"), "--http"), (("--http", "--task-id", "a/1"), "--task-id")],
)
def test_options_of_the_other_kind_of_server_are_refused(options: tuple[str, ...], told: str) -> None:
    done = run_command("serve", "mcp", *options, "--snapshot", str(LIBRARY))
    assert done.returncode == 2
    assert told in done.stderr
