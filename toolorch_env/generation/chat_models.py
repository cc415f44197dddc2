"""Language models that answer messages, behind OpenAI-compatible endpoints."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol
from urllib.parse import urlsplit

from toolorch_env.core.errors import ChatModelError, ConfigurationError

Messages = Sequence[Mapping[str, str]]
"""A chat so far: objects with ``role`` and ``content``."""

Ask = Callable[[Messages, int], Awaitable[str]]
"""Gives a model's answer to messages; the number tells apart requests of the same messages. Raises ChatModelError."""

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

    @asynccontextmanager
    async def open(self) -> AsyncIterator[Ask]:
        """While open, the model can be asked.

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
            yield partial(self._ask, client)

    async def _ask(self, client: Any, messages: Messages, number: int) -> str:
        import openai

        options = {"temperature": self.temperature, "seed": None if self.seed is None else self.seed + number}
        given = {name: value for name, value in options.items() if value is not None}
        try:
            answer = await client.chat.completions.create(model=self.model, messages=list(messages), **given)
            return str(answer.choices[0].message.content or "")
        except openai.APITimeoutError:
            raise ChatModelError(f"no answer within {self.timeout:g} s") from None
        except openai.APIStatusError as error:  # its text is left out: it may repeat the key
            raise ChatModelError(f"status {error.status_code}{_HINTS.get(error.status_code, '')}") from None
        except openai.APIConnectionError:
            where = urlsplit(str(client.base_url)).netloc.rpartition("@")[2]
            raise ChatModelError(f"{where} cannot be reached, or broke off") from None
        except (openai.OpenAIError, AttributeError, LookupError, TypeError, ValueError):
            raise ChatModelError("the answer is no chat completion: check the base URL") from None


def _is_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
