"""Reading a language model's message: which calls does it make?

Understood are OpenAI assistant messages (as JSON), ``<tool_call>`` blocks in text, and bare JSON calls, alone or in a
list. Whatever cannot be read as a call, though it was meant as one, is :class:`Malformed`; reading never fails.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from toolorch_env.core.calls import Call, Malformed

_NOT_SPOKEN = re.compile(r"<tool_response>.*?(?:</tool_response>|$)|<think>.*?(?:</think>|$)", re.DOTALL)
"""Responses exist only when the environment gave them, and thoughts are no calls: both are passed over."""

_TOOL_CALL = re.compile(r"<tool_call>(.*?)(?:</tool_call>|$)", re.DOTALL)
_FENCE = re.compile(r"^```(?:json)?\s*\n(.*)\n\s*```$", re.DOTALL)
_JSON_START = re.compile(r"\{\s*[\"}]|\[\s*[\[{\]]")
_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class RequestedCall:
    """A call that a message makes.

    Attributes:
        id: the identifier that an OpenAI message gave it, else empty.
        call: the call, or what is no call.
    """

    id: str
    call: Call | Malformed


def read_message(message: str) -> list[RequestedCall]:
    """The calls that a message makes, in order; none for a message that makes none."""
    text = message.strip()
    if "<tool_response>" in text or "<think>" in text:
        text = _NOT_SPOKEN.sub(" ", text).strip()
    if "<tool_call>" in text:
        return [call for block in _TOOL_CALL.findall(text) for call in _read_block(block)]
    fenced = _FENCE.match(text)
    if fenced:
        text = fenced.group(1).strip()
    if not _JSON_START.match(text):
        return []
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        return [_malformed(text, f"this is not valid JSON: {error}")]
    return list(_read_document(document, text))


def _read_block(block: str) -> list[RequestedCall]:
    try:
        document = orjson.loads(block)
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        return [_malformed(block, f"the tool call is not valid JSON: {error}")]
    if isinstance(document, list):
        return [_read_call(item, block) for item in document]
    return [_read_call(document, block)]


def _read_document(document: Any, text: str) -> Iterator[RequestedCall]:
    if isinstance(document, dict) and "tool_calls" in document:
        calls = document["tool_calls"]
        if calls is None:
            return
        if not isinstance(calls, list):
            yield _malformed(text, "`tool_calls` must be a list")
            return
        for item in calls:
            yield _read_call(item, text)
    elif isinstance(document, dict) and _looks_like_call(document):
        yield _read_call(document, text)
    elif isinstance(document, list) and any(_looks_like_call(item) for item in document):
        for item in document:
            yield _read_call(item, text)


def _looks_like_call(item: Any) -> bool:
    return isinstance(item, dict) and ("name" in item or "function" in item or "arguments" in item)


def _read_call(item: Any, text: str) -> RequestedCall:
    if not isinstance(item, dict):
        return _malformed(text, "a call must be an object with `name` and `arguments`")
    identifier = item.get("id")
    function = item.get("function", item)
    if not isinstance(function, dict):
        return _malformed(text, "`function` must be an object with `name` and `arguments`")
    name, arguments = function.get("name"), function.get("arguments")
    if not isinstance(name, str) or not name:
        return _malformed(text, "the tool's `name` must be a text")
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments) if arguments.strip() else {}
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            return _malformed(text, f"`arguments` are not valid JSON: {error}")
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return _malformed(text, "`arguments` must be an object")
    return RequestedCall(identifier if isinstance(identifier, str) else "", Call(name, arguments))


def _malformed(text: str, problem: str) -> RequestedCall:
    return RequestedCall("", Malformed(text.strip()[:_SHOWN_CHARACTERS], problem[:_SHOWN_CHARACTERS]))
