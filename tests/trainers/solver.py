"""A language model that knows the solutions of some episodes, and examples that are played with it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from chat_server import ChatServer, Messages, calling, completion
from fresh_python import ROOT
from starlette.responses import Response

from toolorch_env.integrations.text_chats import text_env


class Solver:
    """Answers with the next reference call; what it is asked about it finds by the query.

    Args:
        env: keyword arguments of ``ToolOrchText-v0``.
        seeds: of the episodes.
        native: whether tools are called natively, rather than in text.
    """

    def __init__(self, env: Mapping[str, Any], seeds: Iterable[int], native: bool = False) -> None:
        self._native = native
        self._references = {}
        played = text_env(env)
        for seed in seeds:
            query, _ = played.reset(seed=seed)
            self._references[query] = played.episode.task.reference

    def __call__(self, messages: Messages) -> Response:
        """The next message."""
        asked = next(message["content"] for message in messages if message["role"] == "user")
        text = asked if isinstance(asked, str) else asked[0]["text"]
        (reference,) = {query: steps for query, steps in self._references.items() if query in text}.values()
        made = sum(message["role"] == "assistant" for message in messages)
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        if made == len(reference):
            return completion("That is all.", usage=usage)
        call = reference[made]
        if self._native:
            return completion(calling((call.tool, call.arguments)), usage=usage)
        body = json.dumps({"name": call.tool, "arguments": call.arguments})
        return completion(f"<tool_call>{body}</tool_call>", usage=usage)


def run_example(name: str, *arguments: str, model: Solver) -> list[str]:
    """What an example prints, line by line, that asks a model behind an endpoint."""
    with ChatServer(model).serve() as url:
        command = [sys.executable, str(ROOT / "examples" / name), "--base-url", url, "--model", "rules", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=_environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()


def run_script(path: Path, *arguments: str, cwd: Path) -> None:
    """Runs a script that prints nothing that matters."""
    command = [sys.executable, str(path), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, env=_environment())
    assert done.returncode == 0, done.stderr[-3000:]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
