"""Language models that answer messages, behind OpenAI-compatible endpoints."""

import asyncio
import os
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
        ConfigurationError: the address is none, or OpenAI itself is to be asked without a key.
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
        if address is None and not os.environ.get("OPENAI_API_KEY"):
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
        key = os.environ.get("OPENAI_API_KEY") or "none"
        async with AsyncOpenAI(
            api_key=key, base_url=self.base_url, timeout=self.timeout, max_retries=self.retries
        ) as client:
            yield partial(self._complete, client)

    async def _complete(
        self, client: Any, messages: Messages, tools: Sequence[Mapping[str, Any]], number: int
    ) -> Completion:
        import httpx
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
                answer = await client.post("/chat/completions", cast_to=httpx.Response, body=body)
            return _completion(answer.json())
        except (openai.APITimeoutError, TimeoutError):
            raise ChatModelError(f"no answer within {self.timeout:g} s", "timeout") from None
        except openai.APIStatusError as error:
            if _says_that_there_is_no_room(error.body):
                raise ChatModelError("the messages are longer than the model's context", NO_ROOM) from None
            kind, hint = f"status {error.status_code}", _HINTS.get(error.status_code, "")
            raise ChatModelError(f"{kind}{hint}{_own_words(error.body)}", kind) from None
        except openai.APIConnectionError:
            where = urlsplit(str(client.base_url)).netloc.rpartition("@")[2]
            raise ChatModelError(f"{where} cannot be reached, or broke off", "unreachable") from None
        except (openai.OpenAIError, *_ODD):
            raise ChatModelError("the answer is no chat completion: check the base URL", "no completion") from None


def _says_that_there_is_no_room(body: Any) -> bool:
    """Whether an error is about the length of the messages: OpenAI and llama.cpp have a code for it, vLLM has words."""
    if not isinstance(body, Mapping):
        return False
    named = {str(body.get("code")), str(body.get("type"))}
    return not named.isdisjoint(_NO_ROOM_CODES) or "maximum context length" in str(body.get("message"))


def _own_words(body: Any) -> str:
    """What an endpoint says of an error, without the key, which it may repeat."""
    message = body.get("message") if isinstance(body, Mapping) else None
    if not isinstance(message, str) or not message.strip():
        return ""
    if key := os.environ.get("OPENAI_API_KEY"):
        message = message.replace(key, "(the key)")
    return f" ({readable(' '.join(message.split()))[:_TOLD_CHARACTERS]})"


def _completion(answer: Any) -> Completion:
    """What an answer says.

    Raises:
        AttributeError, LookupError, TypeError, ValueError: it is no completion, or tells of an error.
    """
    choice = answer["choices"][0]
    told = choice["message"]
    if answer.get("error") or choice.get("error") or choice.get("finish_reason") == "error":
        raise ValueError("an error that came with status 200")
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
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
