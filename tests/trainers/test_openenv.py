"""OpenEnv: a real server, its client, many sessions."""

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fresh_python import ROOT
from trainers.solver import Solver, run_example
from worlds import snapshot_path

pytest.importorskip("openenv", reason="OpenEnv is not installed: nox -s openenv")
import uvicorn

from toolorch_env.integrations.openenv import ToolOrchAction, ToolOrchClient, make_app
from toolorch_env.integrations.text_chats import TextChat

CONFIG = {"snapshot": str(snapshot_path("library"))}


@contextmanager
def served(**options: object) -> Iterator[str]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        config = uvicorn.Config(make_app(**CONFIG, **options), log_level="critical", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


async def play(url: str, seed: int) -> tuple[str, list[float]]:
    """Plays the solution of a seed's task; returns the task and the reward of each message."""
    chat = TextChat(CONFIG, seed=seed)
    rewards = []
    async with ToolOrchClient(base_url=url) as env:
        result = await env.reset(seed=seed)
        assert result.observation.messages[-1]["content"] == chat.prompt[-1]["content"]
        done = False
        while not done:
            message = chat.solution() or "Done."
            reply = chat.send(message)
            result = await env.step(ToolOrchAction(message=message))
            assert result.reward == reply.reward
            assert result.observation.rewards == reply.rewards
            rewards.append(result.reward)
            done = result.done
        state = await env.state()
        assert (state.is_success, state.is_clean_success, state.step_count) == (True, True, len(rewards) - 1)
        return result.observation.task_id, rewards


def test_a_session_is_played() -> None:
    with served() as url:
        task_id, rewards = asyncio.run(play(url, 3))
    assert task_id == TextChat(CONFIG, seed=3).task_id
    assert sum(rewards) == pytest.approx(1.0)


def test_a_group_of_one_seed_plays_the_same_episode() -> None:
    async def group(url: str) -> list[tuple[str, list[float]]]:
        return await asyncio.gather(*(play(url, 5) for _ in range(8)))

    with served() as url:
        played = asyncio.run(group(url))
    assert all(each == played[0] for each in played)


def test_a_token_is_asked_of_everyone() -> None:
    async def reset(url: str, headers: dict[str, str] | None) -> str:
        async with ToolOrchClient(base_url=url, headers=headers) as env:
            return (await env.reset(seed=1)).observation.task_id

    with served(token="open sesame") as url:
        assert asyncio.run(reset(url, {"Authorization": "Bearer open sesame"}))
        for headers in (None, {"Authorization": "Bearer open"}):
            with pytest.raises(ConnectionError):
                asyncio.run(reset(url, headers))
        assert httpx.get(f"{url}/health").status_code == 401


def test_names_that_were_rebound_are_refused() -> None:
    with served(hosts=["127.0.0.1"]) as url:
        assert httpx.get(f"{url}/health", headers={"Host": "evil.example"}).status_code == 400
        assert httpx.get(f"{url}/health").status_code == 200


def test_pages_of_other_hosts_may_not_ask() -> None:
    async def reset(url: str, origin: str) -> str:
        async with ToolOrchClient(base_url=url, headers={"Origin": origin}) as env:
            return (await env.reset(seed=1)).observation.task_id

    with served(hosts=["127.0.0.1"]) as url:
        assert asyncio.run(reset(url, url))
        with pytest.raises(ConnectionError):
            asyncio.run(reset(url, "https://evil.example"))
        assert httpx.get(f"{url}/health", headers={"Origin": "https://evil.example"}).status_code == 403


def test_a_session_that_was_idle_is_dropped_and_not_played_on() -> None:
    async def wait(url: str) -> None:
        async with ToolOrchClient(base_url=url) as one:
            await one.reset(seed=1)
            await asyncio.sleep(8)  # the server looks every 5 seconds
            async with ToolOrchClient(base_url=url) as other:
                assert (await other.reset(seed=2)).observation.task_id
                for play_on in (lambda: one.step(ToolOrchAction(message="Done.")), lambda: one.reset(seed=1)):
                    with pytest.raises(RuntimeError, match="idle for too long"):
                        await play_on()

    with served(sessions=1, idle_seconds=1) as url:
        asyncio.run(wait(url))


def test_what_is_wrong_is_told() -> None:
    with served(constraints={"min_steps": 50}) as url:
        answer = httpx.post(f"{url}/reset", json={})
        assert (answer.status_code, "min_steps" in answer.json()["error"]) == (400, True)


def test_the_command_serves() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "toolorch_env.cli", "serve", "http", "--port", str(port), "--split", "train"]
    environment = dict(os.environ, PYTHONPATH=str(ROOT))
    with subprocess.Popen([*command, "--snapshot", CONFIG["snapshot"]], env=environment) as server:
        try:
            end = time.monotonic() + 60
            while time.monotonic() < end and server.poll() is None:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/health").raise_for_status()
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            task_id, rewards = asyncio.run(play(f"http://127.0.0.1:{port}", 3))
        finally:
            server.terminate()
    assert task_id == TextChat(CONFIG, seed=3).task_id
    assert sum(rewards) == pytest.approx(1.0)


def test_the_example_plays_with_a_model() -> None:
    with served() as url:
        told = run_example("openenv_client.py", "--server", url, model=Solver(CONFIG, range(4), native=True))
    assert sorted(line.partition(":")[0] for line in told) == [f"seed {seed}" for seed in range(4)]
    assert all(line.endswith("success True") for line in told)


@pytest.mark.long
def test_200_sessions_at_once_lose_nothing_and_mix_nothing_up() -> None:
    async def all_at_once(url: str) -> list[tuple[str, list[float]]]:
        return await asyncio.gather(*(play(url, seed) for seed in range(200)))

    with served(sessions=200) as url:
        played = asyncio.run(all_at_once(url))
    assert [task_id for task_id, _ in played] == [TextChat(CONFIG, seed=seed).task_id for seed in range(200)]
    assert all(sum(rewards) == pytest.approx(1.0) for _, rewards in played)
