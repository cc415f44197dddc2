"""Language models that answer messages, behind OpenAI-compatible endpoints."""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson

from toolorch_env.core.errors import ChatModelError, ConfigurationError
from toolorch_env.core.text import readable

Messages = Sequence[Mapping[str, Any]]
"""A chat so far, in OpenAI's form: objects with ``role`` and ``content``."""

Ask = Callable[[Messages, int], Awaitable[str]]
"""Gives a model's answer to messages; the number tells apart requests of the same messages. Raises ChatModelError."""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a model answered.

    Attributes:
        message: the assistant's message in OpenAI's form, with ``content`` and, if it calls tools, ``tool_calls``.
        finish_reason: why it ended: ``stop``, ``tool_calls``, ``length`` (it was cut off), ...
        prompt_tokens, completion_tokens: what the endpoint counted, 0 where it does not say.
    """

    message: dict[str, Any]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int

    @property
    def text(self) -> str:
        """What it says in words."""
        return self.message["content"] or ""


Complete = Callable[[Messages, Sequence[Mapping[str, Any]], int], Awaitable[Completion]]
"""Gives a model's completion of messages, with these tools on offer; the number tells apart equal requests. Raises
ChatModelError."""

_LONGEST_PAUSE = 60.0
"""Seconds that are left for each pause between retries: the package ``openai`` waits no longer where it is told to."""

_TOLD_CHARACTERS = 300
"""So much is told of an endpoint's own words about an error."""

NO_ROOM = "no room"
"""Kind of the failure of messages that are longer than the model's context."""

_ODD = (AttributeError, LookupError, OverflowError, RecursionError, TypeError, ValueError)
"""What reading an answer may raise that is no completion."""

_SAID = frozenset({"content", "refusal", "tool_calls"})

_NO_ROOM_CODES = ("context_length_exceeded", "exceed_context_size_error")
_NO_ROOM_STATUSES = (400, 413)
_NO_ROOM_WORDS = re.compile(r"maximum context length|model's context length|maximum model length|context size", re.I)
"""How servers say that there is no room: OpenAI and llama.cpp have a code for it, vLLM and SGLang have words."""

_HINTS = {
    401: ": check the key in OPENAI_API_KEY",
    403: ": check the key in OPENAI_API_KEY",
    404: ": check the name of the model and the base URL",
    429: ": ask for less at a time",
}


class ChatModel(Protocol):
    """A language model that answers messages."""

    def open(self) -> AbstractAsyncContextManager[Ask]:
        """While open, it can be asked, many times at once."""
        ...


@dataclass(frozen=True)
class OpenAIChat:
    """A model behind an OpenAI-compatible endpoint, asked through the package ``openai`` (extra ``llm``).

    The key is that of the environment variable ``OPENAI_API_KEY``; a server of one's own may need none.

    Attributes:
        model: name of the model, as the endpoint knows it.
        base_url: address of the endpoint, which ends in ``/v1`` for most; by default that of the environment variable
            ``OPENAI_BASE_URL``, else OpenAI's own.
        temperature: how much answers vary, from 0; by default what the endpoint finds right.
        seed: for answers that repeat, where the endpoint can do that.
        max_tokens: what an answer is cut off at, at least 1; by default what the endpoint finds right.
        timeout: seconds after which an answer is given up, above 0.
        retries: how often a request is made again after an error that may pass, with growing pauses.

    Raises:
        ConfigurationError: the address is none, the key cannot be sent, or OpenAI itself is to be asked without one.
    """

    model: str
    base_url: str | None = None
    temperature: float | None = None
    seed: int | None = None
    timeout: float = 120
    retries: int = 2
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        address = self.base_url or os.environ.get("OPENAI_BASE_URL")
        key = _key()
        if address is None and not key:
            raise ConfigurationError(
                "there is no key in OPENAI_API_KEY: set it, or give the base URL of another server"
            )
        if address is not None and not _is_address(address):
            raise ConfigurationError(f"{address!r} is no base URL: it looks like http://localhost:8000/v1")
        if not self.timeout > 0:
            raise ConfigurationError(f"the timeout is a number of seconds above 0, not {self.timeout}")
        if self.retries < 0 or (self.max_tokens is not None and self.max_tokens < 1):
            raise ConfigurationError("retries are at least 0 and tokens at least 1")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ask]:
        """While open, the model can be asked.

        Raises:
            ConfigurationError: the package ``openai`` is not installed.
        """
        async with self.connect() as complete:

            async def ask(messages: Messages, number: int) -> str:
                return (await complete(messages, (), number)).text

            yield ask

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Complete]:
        """While open, the model can be asked for whole completions, with the tokens that they took.

        Raises:
            ConfigurationError: the package ``openai`` is not installed.
        """
        try:
            from openai import AsyncOpenAI
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"this needs the extra 'llm' ({error.name} is not installed): pip install 'toolorch-env[llm]'"
            ) from None
        async with AsyncOpenAI(
            api_key=_key() or "none", base_url=self.base_url, timeout=self.timeout, max_retries=self.retries
        ) as client:
            yield partial(self._complete, client)

    async def _complete(
        self, client: Any, messages: Messages, tools: Sequence[Mapping[str, Any]], number: int
    ) -> Completion:
        import openai

        # OpenAI's newer models refuse the name that all other servers understand
        most = "max_completion_tokens" if client.base_url.host.endswith("openai.com") else "max_tokens"
        options = {
            "temperature": self.temperature,
            most: self.max_tokens,
            "seed": None if self.seed is None else self.seed + number,
            "tools": list(tools) or None,
        }
        given = {name: value for name, value in options.items() if value is not None}
        try:
            async with asyncio.timeout((self.timeout + _LONGEST_PAUSE) * (self.retries + 1)):  # against slow trickles
                # not by client.chat.completions.create(): its models of requests and answers take most of the time,
                # and check nothing
                body = {"model": self.model, "messages": list(messages), **given}
                answer = await client.post("/chat/completions", cast_to=str, body=body)
            return _completion(json.loads(answer))
        except (openai.APITimeoutError, TimeoutError):
            raise ChatModelError(f"no answer within {self.timeout:g} s", "timeout") from None
        except openai.APIStatusError as error:
            if _says_that_there_is_no_room(error.status_code, error.body):
                raise ChatModelError("the messages are longer than the model's context", NO_ROOM) from None
            kind, hint = f"status {error.status_code}", _HINTS.get(error.status_code, "")
            raise ChatModelError(f"{kind}{hint}{_told(error.body)}", kind) from None
        except openai.APIConnectionError:
            where = urlsplit(str(client.base_url)).netloc.rpartition("@")[2]
            raise ChatModelError(f"{where} cannot be reached, or broke off", "unreachable") from None
        except (openai.OpenAIError, *_ODD):
            raise ChatModelError("the answer is no chat completion: check the base URL", "no completion") from None


def _key() -> str:
    """The key, empty where there is none.

    Raises:
        ConfigurationError: it cannot be sent.
    """
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise ConfigurationError("the key in OPENAI_API_KEY has characters that no key has: set it anew")
    return key


def _says_that_there_is_no_room(status: int, body: Any) -> bool:
    """Whether an error is about the length of the messages."""
    if status not in _NO_ROOM_STATUSES:
        return False
    named = {str(body.get("code")), str(body.get("type"))} if isinstance(body, Mapping) else set()
    return not named.isdisjoint(_NO_ROOM_CODES) or _NO_ROOM_WORDS.search(_own_words(body)) is not None


def _told(body: Any) -> str:
    """What an endpoint says of an error, in brackets and without the key, which it may repeat."""
    words = _own_words(body)
    if key := _key():
        words = words.replace(key, "(the key)")
    return f" ({readable(words)[:_TOLD_CHARACTERS]})" if words else ""


def _own_words(body: Any) -> str:
    """What an endpoint says of an error, in whichever of the usual forms; empty for none, and for a page of HTML."""
    if isinstance(body, Mapping):
        return next(filter(None, (_own_words(body.get(name)) for name in ("message", "error", "detail", "msg"))), "")
    if isinstance(body, list):
        return next(filter(None, map(_own_words, body[:1])), "")
    return "" if not isinstance(body, str) or body.lstrip().startswith("<") else " ".join(body.split())


def _completion(answer: Any) -> Completion:
    """What an answer says.

    Raises:
        ChatModelError: it tells of an error.
        AttributeError, LookupError, TypeError, ValueError: it is no completion.
    """
    if answer.get("error"):
        raise _error_inside(answer["error"])
    choice = answer["choices"][0]
    if choice.get("error") or choice.get("finish_reason") == "error":
        raise _error_inside(choice.get("error"))
    told = choice["message"]
    if _SAID.isdisjoint(told):
        raise LookupError("a message that says nothing")
    content = told.get("content")
    message: dict[str, Any] = {
        "role": "assistant",
        "content": _text(told.get("refusal") if content is None else content),
    }
    calls = [_tool_call(call, number) for number, call in enumerate(told.get("tool_calls") or ())]
    if calls:
        message["tool_calls"] = calls
    usage = answer.get("usage") or {}
    return Completion(
        message,
        str(choice.get("finish_reason")),
        int(usage.get("prompt_tokens") or 0),
        int(usage.get("completion_tokens") or 0),
    )


def _error_inside(body: Any) -> ChatModelError:
    return ChatModelError(f"the answer is an error, with status 200{_told(body)}", "no completion")


def _tool_call(call: Any, number: int) -> dict[str, Any]:
    arguments = call["function"].get("arguments")
    if isinstance(arguments, dict):  # some servers give the object itself
        arguments = orjson.dumps(arguments).decode()
    function = {"name": _text(call["function"]["name"]) or "", "arguments": _text(arguments) or ""}
    return {"id": _text(call.get("id")) or f"call_{number}", "type": "function", "function": function}


def _text(text: Any) -> str | None:
    if not isinstance(text, str | None):
        raise TypeError
    return text and readable(text)


def _is_address(text: str) -> bool:
    if not (text.isascii() and text.isprintable() and " " not in text):
        return False
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
