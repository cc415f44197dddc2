"""What the evaluation of language models costs besides the model: messages a second, and memory.

    python benchmarks/evaluation_speed.py [--json FILE] [--episodes N] [--concurrency 32] [--many 1000]

A local server in a process of its own answers at once, as an OpenAI-compatible endpoint would: a tool call to each of
the first four messages, words to the fifth. The evaluation asks it through the package ``openai``, plays the calls, and
writes the run to a file. Printed are

- messages a second with ``--concurrency`` episodes at a time; the goal is 300
- the peer, in the same run: the same client asking the same server for as many answers, with nothing around it; its
  ratio is what the evaluation itself costs
- memory over that of the imports with ``--many`` episodes at a time, on an endpoint that takes a second to answer; the
  goal is 300 MB
"""

import asyncio
import json
import multiprocessing
import resource
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import gymnasium as gym
import typer
from rich.console import Console

import toolorch_env
from toolorch_env.evaluation.evaluations import evaluate_chat
from toolorch_env.generation.chat_models import OpenAIChat

console = Console(width=120)

CALLS = 4


async def endpoint(scope: dict[str, Any], receive: Any, send: Any, pause: float = 0.0) -> None:
    """The application of the server."""
    if scope["type"] != "http":
        return
    body, more = b"", True
    while more:
        event = await receive()
        body, more = body + event["body"], event.get("more_body", False)
    asked = json.loads(body)
    if pause:
        await asyncio.sleep(pause)
    message: dict[str, Any] = {"role": "assistant", "content": "That is all."}
    made = sum(each["role"] == "assistant" for each in asked["messages"])
    if made < CALLS and "tools" in asked:
        function = {"name": asked["tools"][made]["function"]["name"], "arguments": "{}"}
        call = {"id": f"call_{made}", "type": "function", "function": function}
        message = {"role": "assistant", "content": None, "tool_calls": [call]}
    answer = {
        "id": "1", "object": "chat.completion", "created": 0, "model": asked["model"],
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
    }  # fmt: skip
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer).encode()})


def serve(listener: socket.socket, pause: float) -> None:
    """Runs the server until it is ended."""
    import uvicorn

    async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await endpoint(scope, receive, send, pause)

    uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off")).run(sockets=[listener])


@contextmanager
def served(pause: float = 0.0) -> Iterator[str]:
    """A server in a process of its own; gives its base URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(2048)
        process = multiprocessing.get_context("fork").Process(target=serve, args=(listener, pause), daemon=True)
        process.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
        finally:
            process.terminate()
            process.join()


def evaluation(url: str, episodes: int, concurrency: int, folder: Path) -> float:
    """Messages a second of an evaluation."""
    env = gym.make("ToolOrchText-v0")
    chat = OpenAIChat("stub", url, retries=0)
    begin = time.perf_counter()
    outcomes = evaluate_chat(
        env, chat, tasks=episodes, path=folder / f"{time.time_ns()}.jsonl", concurrency=concurrency
    )
    assert all(outcome.result is not None and outcome.result.finished for outcome in outcomes)
    return episodes * (CALLS + 1) / (time.perf_counter() - begin)


def plain_client(url: str, messages: int, concurrency: int) -> float:
    """Messages a second of the client with nothing around it."""
    env: Any = gym.make("ToolOrchText-v0")
    _, info = env.reset(seed=0)

    async def ask() -> None:
        left = iter(range(messages))
        async with OpenAIChat("stub", url, retries=0).connect() as complete:

            async def work() -> None:
                for number in left:
                    await complete(info["messages"], info["tools"], number)

            await asyncio.gather(*(work() for _ in range(concurrency)))

    begin = time.perf_counter()
    asyncio.run(ask())
    return messages / (time.perf_counter() - begin)


def memory(url: str, many: int) -> float:
    """MB over the imports that so many episodes at a time take at most."""
    base = _most_memory()
    env = gym.make("ToolOrchText-v0")
    chat = OpenAIChat("stub", url, retries=0)
    evaluate_chat(env, chat, tasks=2 * many, concurrency=many)
    return _most_memory() - base


def _most_memory() -> float:
    """The most that this process has held so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _in_own_process(function: Any, *arguments: Any) -> Any:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def main(
    episodes: Annotated[int, typer.Option(help="Episodes of each round.", min=1)] = 400,
    concurrency: Annotated[int, typer.Option(help="Episodes at a time.", min=1)] = 32,
    many: Annotated[int, typer.Option(help="Episodes at a time where memory is measured.", min=1)] = 1000,
    rounds: Annotated[int, typer.Option(help="Rounds that take turns.", min=1)] = 3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Measures and prints."""
    with TemporaryDirectory() as folder, served() as url:
        plain_client(url, 100, concurrency)
        pairs = [
            (
                evaluation(url, episodes, concurrency, Path(folder)),
                plain_client(url, episodes * (CALLS + 1), concurrency),
            )
            for _ in range(rounds)
        ]
    with served(pause=1.0) as url:
        taken = _in_own_process(memory, url, many)
    rate, peer = (sorted(values)[rounds // 2] for values in zip(*pairs, strict=True))
    ratio = sorted(a / b for a, b in pairs)[rounds // 2]
    console.print(f"evaluation, {concurrency} at a time  {rate:>7,.0f} messages/s   goal: 300")
    console.print(f"client alone               {peer:>7,.0f} messages/s   the evaluation makes {ratio:.2f} of it")
    console.print(f"{many:,} at a time            {taken:>7,.0f} MB over the imports   goal: 300")
    if json_file is not None:
        figures = {"messages_per_second": rate, "client_alone": peer, "ratio": ratio, "many": many, "megabytes": taken}
        document = {"toolorch_env": toolorch_env.__version__, "concurrency": concurrency, **figures}
        json_file.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    typer.run(main)
