"""A server with OpenAI's chat completions on the loopback interface, whose answers a function gives."""

import asyncio
import contextlib
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from toolorch_env.generation.phrasing import Template

Messages = list[dict[str, str]]
Answer = Callable[[Messages], "str | dict[str, Any] | Response"]


class ChatServer:
    """A language model's endpoint.

    Attributes:
        answer: makes the text of an answer of the messages, or another response altogether.
        asked: bodies of all requests, in order.
        keys: what they were authorized with.
        most_at_once: the largest number of requests that were under way together.
    """

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.most_at_once = 0
        self._under_way = 0
        self.app = Starlette(routes=[Route("/v1/chat/completions", self._complete, methods=["POST"])])

    async def _complete(self, request: Request) -> Response:
        body = await request.json()
        self.asked.append(body)
        self.keys.add(request.headers.get("authorization", ""))
        self._under_way += 1
        self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            await asyncio.sleep(0.002)
            answer = self.answer(body["messages"])
        finally:
            self._under_way -= 1
        return answer if isinstance(answer, Response) else completion(answer)

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serves on a free loopback port; gives the base URL."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(self.app, log_level="critical", timeout_graceful_shutdown=1))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            while not server.started:
                time.sleep(0.005)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
            finally:
                server.should_exit = True
                thread.join()


def completion(answer: str | dict[str, Any] | None, **more: Any) -> Response:
    """A chat completion: of a text, or of what an assistant's message holds; ``more`` is told beside it."""
    message = answer if isinstance(answer, dict) else {"content": answer}
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", **message}}
    document = {"id": "1", "object": "chat.completion", "created": 0, "model": "rules", "choices": [choice]}
    return Response(json.dumps({**document, **more}), media_type="application/json")


def calling(*calls: tuple[str, Any], content: str | None = None) -> dict[str, Any]:
    """What an assistant's message holds that calls tools; arguments that are no text are written as JSON."""
    return {
        "content": content,
        "tool_calls": [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for number, (name, given) in enumerate(calls)
        ],
    }


def truncated() -> Response:
    """A chat completion whose JSON ends too early."""
    return Response(bytes(completion("Where is it?").body)[:60], media_type="application/json")


class BrokenOff(Response):
    """A response whose connection is closed in the middle of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Announces more than it sends."""
        headers = [(b"content-type", b"application/json"), (b"content-length", b"1000")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b'{"choices": [', "more_body": False})


class Silence(Response):
    """A response that never comes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Waits until the client has left."""
        while (await receive())["type"] != "http.disconnect":
            pass


_WORDS = {
    "which": "what", "what": "which", "give me": "I would like to have", "please": "if you would be so kind",
    "tell me": "let me know", "where does": "in what place does", "find": "look for", "how much": "at what price",
    "and": "and also", "compare": "hold against each other", "take": "begin with", "when": "at what time",
}  # fmt: skip


def reworded(messages: Messages) -> str:
    """A model that follows rules: another version of the template in the last message, another one each time."""
    template, earlier = messages[-1]["content"], messages[0]["content"].partition("than these:")[2].count("\n- ")
    pattern = re.compile(r"(?<![\w{])(" + "|".join(_WORDS) + r")(?![\w}])", re.IGNORECASE)
    changed = pattern.sub(lambda match: _WORDS[match.group().lower()], template)
    openings = ("This is what I need:", "A question from me:", "My matter today:", "What I would ask of you:")
    return f"{openings[earlier % len(openings)]} {changed}"


def with_slots_swapped(messages: Messages) -> str:
    """A model that mistakes one slot for the other, where there are two."""
    text = reworded(messages)
    first, second = (*dict.fromkeys(Template.parse(text).slots), "", "")[:2]
    other = {f"{{{first}}}": f"{{{second}}}", f"{{{second}}}": f"{{{first}}}"}
    return re.sub(r"\{\w+\}", lambda slot: other.get(slot.group(), slot.group()), text) if second else text


def role_reader(rewrite: Answer) -> Answer:
    """A model that rewrites as another does, and finds the roles of values in what it should have written."""

    def answer(messages: Messages) -> str | Response:
        told = messages[-1]["content"]
        if not told.startswith("Template: "):
            return rewrite(messages)
        template, request = (line.partition(": ")[2] for line in told.splitlines()[:2])
        honest = Template.parse(reworded([{"role": "system", "content": ""}, {"role": "user", "content": template}]))
        pattern = "".join(re.escape(plain) + "(.+)" * bool(slot) for plain, slot in honest.parts)
        values = re.fullmatch(pattern, request)
        return "The roles are: " + json.dumps(dict(zip(honest.slots, values.groups(), strict=True)) if values else {})

    return answer
