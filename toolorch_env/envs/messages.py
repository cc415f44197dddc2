"""Reading a language model's message: which calls does it make?

Understood are OpenAI assistant messages (as JSON), ``<tool_call>`` blocks in text, and JSON calls, alone or in a list,
bare or in a fenced block; the arguments are called ``arguments`` or ``parameters``. What begins like such a call and
cannot be read is :class:`Malformed`; all other text is words, JSON of another form included. Reading never fails.
"""

import re
from collections.abc import Container, Iterator
from dataclasses import dataclass, replace
from typing import Any

import orjson

from toolorch_env.core.calls import Call, Malformed

_TAG = re.compile(r"<(tool_call|tool_response|think)>")
_FENCE = "```"
_MAX_CLOSING_TAGS = 4
"""So many closing tags are tried: the first may be part of a text in the arguments."""

_JSON_START = re.compile(r"\{\s*[\"}]|\[\s*(?:[{\]]|\[\s*[\[{])")
_CALL_KEYS = frozenset({"arguments", "function", "parameters"})
_NAMED = re.compile(r'"(?:name|arguments|function|parameters|tool_calls|function_call)"')
"""What begins like a call in JSON has one of these; other JSON, broken or not, is words."""

_SHOWN_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class RequestedCall:
    """A call that a message makes.

    Attributes:
        id: the identifier that an OpenAI message gave it, else empty.
        call: the call, or what is no call.
        is_name_alone: whether it is bare JSON of a name and nothing else, which may well be an answer: it is a call if
            a tool is called so.
    """

    id: str
    call: Call | Malformed
    is_name_alone: bool = False


def calls_of_tools(message: str, tools: Container[str]) -> list[RequestedCall]:
    """The calls that a message makes where these tools are on offer (see :func:`read_message`).

    Names alone are words where none of them is that of a tool.
    """
    found = read_message(message)
    alone = [each.call for each in found if each.is_name_alone]
    if not any(isinstance(call, Call) and call.tool in tools for call in alone):
        found = [each for each in found if not each.is_name_alone]
    return found


def read_message(message: str) -> list[RequestedCall]:
    """The calls that a message makes, in order; none for a message that makes none.

    ``<tool_response>`` blocks in it are passed over, as responses exist only when the environment gave them; so are
    ``<think>`` blocks.
    """
    if message.startswith("<tool_call>") and message.endswith("</tool_call>"):  # the usual case: one block
        try:
            return _read_items(message[len("<tool_call>") : -len("</tool_call>")])
        except (orjson.JSONDecodeError, UnicodeEncodeError):
            pass  # several blocks, or a broken one
    text = _unfenced(message.strip())
    calls, problem = _read_json(text)
    if calls is None and "</think>" in text:
        text = _unfenced(_after_thoughts(text).strip())
        calls, problem = _read_json(text)
    if calls is not None:
        return calls
    if _TAG.search(text) is None:
        return [_malformed(text, problem)] if problem else _read_fences(text)
    found, spoken = _read_tags(text)
    return found or (read_message(spoken) if _TAG.search(spoken) is None else [])


def _read_json(text: str) -> tuple[list[RequestedCall] | None, str]:
    """The calls of a text that is JSON, else ``None``, and what is wrong where it begins like JSON."""
    if not _JSON_START.match(text):
        return None, ""
    try:
        return list(_read_document(orjson.loads(text), text)), ""
    except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
        return None, f"this is not valid JSON: {error}" if _NAMED.search(text) else ""


def _read_fences(text: str) -> list[RequestedCall]:
    """The calls in fenced blocks among words; blocks that hold no calls are words, too."""
    blocks = text.split(_FENCE)[1::2]
    return [call for block in blocks for call in _read_json(_fence_content(block))[0] or ()]


def _after_thoughts(text: str) -> str:
    """What follows thoughts that the prompt had begun: a closing tag with no opening one before it ends them."""
    end = text.find("</think>")
    return text[end + len("</think>") :] if end >= 0 and "<think>" not in text[:end] else text


def _unfenced(text: str) -> str:
    """The content of a text that is one fenced block, any other text as it is."""
    if text.startswith(_FENCE) and text.endswith(_FENCE) and text.count(_FENCE) == 2:
        return _fence_content(text[len(_FENCE) : -len(_FENCE)])
    return text


def _fence_content(block: str) -> str:
    """What stands in a fenced block after the name of its language."""
    language, _, content = block.partition("\n")
    if language.strip().isidentifier() or not language.strip():
        return content.strip()
    return block.removeprefix("json").strip()


def _read_tags(text: str) -> tuple[list[RequestedCall], str]:
    """The calls in ``<tool_call>`` blocks, and what stands outside of all blocks."""
    calls: list[RequestedCall] = []
    spoken: list[str] = []
    position = 0
    while (tag := _TAG.search(text, position)) is not None:
        spoken.append(text[position : tag.start()])
        closing = f"</{tag.group(1)}>"
        if tag.group(1) == "tool_call":
            found, position = _read_block(text, tag.end(), closing)
            calls += found
        else:
            end = text.find(closing, tag.end())
            position = len(text) if end < 0 else end + len(closing)
    spoken.append(text[position:])
    return calls, "".join(spoken).strip()


def _read_block(text: str, start: int, closing: str) -> tuple[list[RequestedCall], int]:
    """The calls of the block that begins at ``start``, and where the text goes on after it."""
    first_end = end = text.find(closing, start)
    if end < 0:
        first_end = end = len(text)
    problem = ""
    for _ in range(_MAX_CLOSING_TAGS):
        try:
            return _read_items(text[start:end]), end + len(closing)
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            problem = problem or str(error)
            end = text.find(closing, end + 1)
            if end < 0:
                break
    block = text[start:first_end]
    return [_malformed(block, f"the tool call is not valid JSON: {problem}")], first_end + len(closing)


def _read_items(block: str) -> list[RequestedCall]:
    """The calls in the JSON of a block, which is one call or a list of calls."""
    document = orjson.loads(block)
    return [_read_call(item, block) for item in (document if isinstance(document, list) else [document])]


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
    elif isinstance(document, dict) and isinstance(document.get("function_call"), dict):
        yield _read_call(document["function_call"], text)
    else:
        items = document if isinstance(document, list) else [document]
        if any(map(_looks_like_call, items)):
            yield from (_read_call(item, text) for item in items)
        elif any(map(_is_name_alone, items)):
            yield from (replace(_read_call(item, text), is_name_alone=True) for item in items)


def _looks_like_call(item: Any) -> bool:
    return isinstance(item, dict) and not _CALL_KEYS.isdisjoint(item)


def _is_name_alone(item: Any) -> bool:
    return isinstance(item, dict) and "name" in item and item.keys() <= {"id", "name", "type"}


def _read_call(item: Any, text: str) -> RequestedCall:
    if not isinstance(item, dict):
        return _malformed(text, "a call must be an object with `name` and `arguments`")
    identifier = item.get("id")
    identifier = identifier if isinstance(identifier, str) else ""
    function = item.get("function", item)
    if not isinstance(function, dict):
        return _malformed(text, "`function` must be an object with `name` and `arguments`", identifier)
    name, arguments = function.get("name"), function.get("arguments", function.get("parameters"))
    if not isinstance(name, str) or not name:
        return _malformed(text, "the tool's `name` must be a text", identifier)
    if isinstance(arguments, str):
        try:
            arguments = orjson.loads(arguments) if arguments.strip() else {}
        except (orjson.JSONDecodeError, UnicodeEncodeError) as error:
            return _malformed(text, f"`arguments` are not valid JSON: {error}", identifier)
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict):
        return _malformed(text, "`arguments` must be an object", identifier)
    return RequestedCall(identifier, Call(name, arguments))


def _malformed(text: str, problem: str, identifier: str = "") -> RequestedCall:
    return RequestedCall(identifier, Malformed(text.strip()[:_SHOWN_CHARACTERS], problem[:_SHOWN_CHARACTERS]))
