"""Reading messages: every form of call is read, and nothing that a model may write is an exception or takes long."""

import time
from typing import Any

import orjson
import pytest
from envs.driving import TEXT, make, message
from hypothesis import assume, given
from hypothesis import strategies as st
from json_values import json_objects, texts

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.envs.messages import calls_of_tools, read_message

BOOK = Call("get_book", {"book_id": 105})
HOURS = Call("opening_hours", {"weekday": "Monday"})
CALL = '{"name": "get_book", "arguments": {"book_id": 105}}'


def calls_of(text: str) -> list[Call | Malformed]:
    """What a message asks for."""
    return [request.call for request in read_message(text)]


def openai(*calls: dict[str, Any], content: str | None = None) -> str:
    """An assistant message in OpenAI form."""
    return orjson.dumps({"role": "assistant", "content": content, "tool_calls": list(calls)}).decode()


def function(call: Call, identifier: str = "call_1", as_text: bool = True) -> dict[str, Any]:
    """One tool call in OpenAI form."""
    arguments: Any = orjson.dumps(call.arguments).decode() if as_text else call.arguments
    return {"id": identifier, "type": "function", "function": {"name": call.tool, "arguments": arguments}}


@pytest.mark.parametrize("as_text", [True, False])
def test_openai_messages_are_read_with_their_identifiers(as_text: bool) -> None:
    text = openai(function(BOOK, "a", as_text), function(HOURS, "b", as_text))
    assert [(request.id, request.call) for request in read_message(text)] == [("a", BOOK), ("b", HOURS)]


@pytest.mark.parametrize(
    "text",
    [
        message(BOOK),
        f"<tool_call>\n{CALL}\n</tool_call>",
        f"Let me look.\n<tool_call>{CALL}</tool_call> One moment.",
        f"<tool_call>[{CALL}]</tool_call>",
        f"<tool_call>{CALL}",
        CALL,
        f"  {CALL}\n",
        f"[{CALL}]",
        f"```json\n{CALL}\n```",
        f"```\n{CALL}\n```",
        f"```json\n[{CALL}]\n```\n",
        '{"name": "get_book", "arguments": "{\\"book_id\\": 105}"}',
        '{"function": {"name": "get_book", "arguments": {"book_id": 105}}}',
        f"<think>I need the book.</think>{CALL}",
        f"<think>I need the book.</think>\n<tool_call>{CALL}</tool_call>",
        openai(function(BOOK)),
        openai(function(BOOK), content="Let me look."),
        "```json\n" + openai(function(BOOK)) + "\n```",
    ],
)
def test_every_form_of_one_call_is_read(text: str) -> None:
    assert calls_of(text) == [BOOK]


@pytest.mark.parametrize(
    "text",
    [
        message(BOOK, HOURS),
        f"<tool_call>{CALL}</tool_call>\n\nand\n{message(HOURS)}",
        f'[{CALL}, {{"name": "opening_hours", "arguments": {{"weekday": "Monday"}}}}]',
        f'<tool_call>[{CALL}, {{"name": "opening_hours", "arguments": {{"weekday": "Monday"}}}}]</tool_call>',
        openai(function(BOOK), function(HOURS)),
    ],
)
def test_several_calls_are_read_in_their_order(text: str) -> None:
    assert calls_of(text) == [BOOK, HOURS]


@pytest.mark.parametrize("arguments", ["", '"arguments": null', '"arguments": {}', '"arguments": ""'])
def test_calls_without_arguments_are_read(arguments: str) -> None:
    text = '{"name": "get_book"' + (f", {arguments}" if arguments else "") + "}"
    assert calls_of(text) == [Call("get_book", {})]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   \n",
        "All is done.",
        "The book has 90 pages {roughly}.",
        "[1] is my source.",
        "[see below] for more",
        "{x} stands for the author",
        "{}",
        "[]",
        "[1, 2, 3]",
        "[" * 100_000,
        '{"answer": 42}',
        '{"answer": 42',
        '{"currency": SEK}',
        '[{"answer": 42}]',
        "null",
        "true",
        '"get_book"',
        "```python\nget_book(105)\n```",
        openai(),
        '{"role": "assistant", "content": "done", "tool_calls": null}',
        f"<think>{CALL}</think>",
        f"<think><tool_call>{CALL}</tool_call></think> No, that is all.",
        f"<think><tool_call>{CALL}</tool_call>",
        f"<tool_response>\n<tool_call>{CALL}</tool_call>\n</tool_response>",
        f"<tool_response>{CALL}</tool_response>",
        f"<tool_response><tool_call>{CALL}</tool_call>",
    ],
)
def test_a_message_without_a_call_makes_none(text: str) -> None:
    assert calls_of(text) == []


BAD = {
    "not JSON": '<tool_call>get_book("105")</tool_call>',
    "half of a JSON": '<tool_call>{"name": "get_book", "arg',
    "bare half of a JSON": '{"name": "get_book", "arg',
    "single quotes": "<tool_call>{'name': 'get_book'}</tool_call>",
    "empty block": "<tool_call></tool_call>",
    "block without end": "<tool_call>",
    "null block": "<tool_call>null</tool_call>",
    "text block": '<tool_call>"get_book"</tool_call>',
    "number block": "<tool_call>7</tool_call>",
    "list in a list": f"<tool_call>[[{CALL}]]</tool_call>",
    "nested brackets in a block": "<tool_call>" + "[" * 100_000 + "</tool_call>",
    "nested arguments": '{"name": "get_book", "arguments": ' + '{"a":' * 100_000 + "}",
    "NaN": '{"name": "get_book", "arguments": {"book_id": NaN}}',
    "infinity": '{"name": "get_book", "arguments": {"book_id": -Infinity}}',
    "5,000 digits": '{"name": "get_book", "arguments": {"book_id": ' + "9" * 5000 + "}}",
    "list as a name": '{"name": ["get_book"], "arguments": {}}',
    "number as a name": '{"name": 7, "arguments": {}}',
    "null as a name": '{"name": null, "arguments": {}}',
    "empty name": '{"name": "", "arguments": {}}',
    "missing name": '{"arguments": {"book_id": 105}}',
    "missing name in a block": "<tool_call>{}</tool_call>",
    "arguments in a list": '{"name": "get_book", "arguments": [105]}',
    "arguments are a number": '{"name": "get_book", "arguments": 105}',
    "arguments are true": '{"name": "get_book", "arguments": true}',
    "arguments are broken text": '{"name": "get_book", "arguments": "{book_id: 105}"}',
    "arguments are a list as text": '{"name": "get_book", "arguments": "[105]"}',
    "function is a text": '{"tool_calls": [{"function": "get_book"}]}',
    "call is null": '{"tool_calls": [null]}',
    "call is a text": '{"tool_calls": ["get_book"]}',
    "tool_calls is an object": '{"tool_calls": {"name": "get_book"}}',
    "lone surrogate": '{"name": "get_book", "arguments": {"book_id": "\ud800"}}',
    "lone surrogate in a block": '<tool_call>{"name": "\udfff", "arguments": {}}</tool_call>',
    "escaped lone surrogate": '{"name": "get_book", "arguments": {"book_id": "\\ud800"}}',
    "lone surrogate in arguments as text": '{"name": "get_book", "arguments": "{\\"a\\": \\"\\\\ud800\\"}"}',
    "NUL": '{"name": "get_book\0"}',
    "control characters": '{"name": "get_book", "arguments": {"book_id": "\x01"}}',
    "huge": '{"name": "get_book", "arguments": {"book_id": "' + "x" * 900_000,
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_what_was_meant_as_a_call_but_is_none_is_malformed_with_a_short_reason(text: str) -> None:
    (call,) = calls_of(text)
    assert isinstance(call, Malformed)
    assert call.problem
    assert len(call.problem) <= 200
    assert len(call.text) <= 200


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_a_malformed_call_is_answered_with_an_error_and_scored(text: str) -> None:
    env = make(TEXT)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(text)
    assert reward == -env.reward.penalty
    assert (terminated, truncated) == (False, False)
    assert info["calls"] == [{"source": "malformed", "status": 400}]
    assert info["reward"][0]["matched"] == -1
    assert env.observation_space.contains(observation)
    assert "detail" in orjson.loads(info["messages"][0]["content"])


ODD = {
    "unknown tool": Call("rent_car", {}),
    "unknown tool with a long name": Call("x" * 100_000, {"y" * 1000: "z"}),
    "unknown tool in another script": Call("借书🛫", {"\u202e": "\0"}),
    "unknown parameter": Call("get_book", {"book_id": 105, "colour": "red"}),
    "missing parameter": Call("get_book", {}),
    "ill-typed parameter": Call("get_book", {"book_id": "the first one"}),
    "null": Call("get_book", {"book_id": None}),
    "list": Call("get_book", {"book_id": [[[]]]}),
    "object": Call("get_author", {"author_id": {"a": {"b": []}}}),
    "largest integer": Call("get_book", {"book_id": 2**64 - 1}),
    "integer as a long text": Call("get_book", {"book_id": "9" * 5000}),
    "integer as a text of 60 digits": Call("get_book", {"book_id": "9" * 60}),
    "number beyond all integers": Call("get_book", {"book_id": 1e308}),
    "tiny number": Call("towns_near", {"latitude": 5e-324, "longitude": -0.0}),
    "long text": Call("get_town", {"town_id": "T" * 100_000}),
    "wrong enumeration value": Call("convert_price", {"price": 5.25, "currency": "XXX"}),
}


@pytest.mark.parametrize("call", ODD.values(), ids=ODD)
def test_odd_calls_are_answered_with_an_error_and_scored(call: Call) -> None:
    env = make(TEXT)
    env.reset(seed=0)
    observation, reward, terminated, truncated, info = env.step(message(call))
    assert info["calls"][0]["status"] >= 400
    assert reward <= 0.0 or call.tool in {step.tool for step in env.episode.task.reference}
    assert (terminated, truncated) == (False, False)
    assert env.observation_space.contains(observation)


@pytest.mark.parametrize("depth", [10, 100, 250, 400, 700, 900, 1000, 1020, 1023, 1024, 2000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
@pytest.mark.parametrize("tool", ["get_author", "get_book", "no_such_tool"])
def test_arguments_nested_to_any_depth_are_no_exception(tool: str, opening: str, closing: str, depth: int) -> None:
    env = make(TEXT)
    env.reset(seed=0)
    value = opening * depth + "1" + closing * depth
    info = env.step('{"name": "' + tool + '", "arguments": {"author_id": ' + value + "}}")[4]
    assert info["calls"][0]["status"] >= 400


def test_markup_inside_an_argument_is_part_of_the_argument() -> None:
    for value in ("what does <think> mean", "a <tool_response>b</tool_response> c", "<think>d</think>"):
        call = Call("get_town", {"town_id": value})
        assert calls_of(message(call)) == [call]
        assert calls_of(openai(function(call))) == [call]


SLOW = {
    "fence of blank lines": ("```json", "\n", "x"),
    "fence of blank lines and spaces": ("```json", "\n \t", "x"),
    "fence of spaces": ("```", " ", ""),
    "many fences": ("```\n", " \n```", "x"),
    "open responses": ("", "<tool_response>", ""),
    "open thoughts": ("", "<think>", ""),
    "open calls": ("", "<tool_call>", ""),
    "closed responses": ("", "<tool_response></tool_response>", ""),
    "closing tags": ("<tool_call>", "</tool_cal", ""),
    "spaces": ("{", " ", ""),
    "quotes": ("", '{"', ""),
    "backslashes": ('{"', "\\", ""),
    "brackets": ("<tool_call>", "[{", ""),
}


@pytest.mark.parametrize("parts", SLOW.values(), ids=SLOW)
def test_long_hostile_messages_are_read_quickly(parts: tuple[str, str, str]) -> None:
    start, repeated, end = parts
    for length in (500, 1000, 2000, 4000, 8000, 16_000, 100_000):  # so that it fails before it takes for ever
        begin = time.perf_counter()
        read_message(start + repeated * (length // len(repeated)) + end)
        assert time.perf_counter() - begin < 1.0


PIECES = ["<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>", "```", "json"]
PIECES += ["\n", " ", "{", "}", "[", "]", '"', ":", ",", "\\", "name", "arguments", "function", "tool_calls", "1"]
PIECES += [CALL, '{"name":', "null", "\ud800", "🛫"]
any_text = st.text(st.characters(), max_size=200) | st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@given(text=any_text)
def test_no_text_raises_or_takes_long(text: str) -> None:
    begin = time.perf_counter()
    for request in read_message(text):
        assert isinstance(request.id, str)
        assert isinstance(request.call, (Call, Malformed))
        if isinstance(request.call, Call):
            assert request.call.tool
            assert isinstance(request.call.arguments, dict)
    assert time.perf_counter() - begin < 0.5


@given(messages=st.lists(any_text, min_size=1, max_size=4))
def test_no_text_breaks_an_episode(messages: list[str]) -> None:
    env = ENV[0] if ENV else make(TEXT)
    ENV[:] = [env]
    env.reset(seed=0)
    for text in messages:
        observation, reward, terminated, truncated, _ = env.step(text)
        assert env.observation_space.contains(observation)
        assert -1.0 <= reward <= 1.0
        if terminated or truncated:
            return


ENV: list[Any] = []


@given(tool=texts.filter(bool), arguments=json_objects)
def test_any_call_is_read_back_as_it_was_written(tool: str, arguments: dict[str, Any]) -> None:
    call = Call(tool, arguments)
    assume(b"<" not in orjson.dumps(call))  # markup in arguments has a test of its own
    for as_text in (True, False):
        (found,) = calls_of(openai(function(call, as_text=as_text)))
        assert orjson.dumps(found) == orjson.dumps(call)
    (found,) = calls_of(message(call))
    assert orjson.dumps(found) == orjson.dumps(call)


def test_thoughts_that_the_prompt_began_end_at_their_closing_tag() -> None:
    message = 'I might <tool_call>{"name":"a"}</tool_call> </think> <tool_call>{"name":"b"}</tool_call>'
    assert calls_of(message) == [Call("b", {})]


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ('{"name": "get_book", "parameters": {"book_id": 7}}', [Call("get_book", {"book_id": 7})]),
        ('{"name": "get_book"}', [Call("get_book", {})]),
        ('{"name": "Book 7", "pages": 90}', []),  # an answer in JSON is no call
    ],
)
def test_bare_json_is_a_call_when_it_has_the_form_of_one(message: str, calls: list[Call]) -> None:
    assert calls_of(message) == calls


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ('{"name": "get_book"}', [Call("get_book", {})]),
        ('[{"name": "get_book"}, {"name": "get_pages"}]', [Call("get_book", {}), Call("get_pages", {})]),
        ('{"name": "Sweden"}', []),
        ('[{"id": "SE", "name": "Sweden"}, {"name": "Norway"}]', []),
        ('It is this:\n```json\n{"name": "Sweden"}\n```', []),
        ('<tool_call>{"name": "get_pages"}</tool_call>', [Call("get_pages", {})]),
        ('{"name": "get_pages", "arguments": {}}', [Call("get_pages", {})]),
    ],
)
def test_a_name_alone_is_a_call_where_a_tool_is_called_so_else_an_answer(message: str, calls: list[Call]) -> None:
    assert [request.call for request in calls_of_tools(message, {"get_book"})] == calls


@pytest.mark.parametrize(
    ("message", "calls"),
    [
        ('First this.\n```json\n{"name": "a", "arguments": {"x": 1}}\n```\nThen words.', [Call("a", {"x": 1})]),
        ('```tool_call\n{"name": "a", "arguments": {}}\n```', [Call("a", {})]),
        ('{"role": "assistant", "function_call": {"name": "a", "arguments": "{}"}}', [Call("a", {})]),
        ('{"name": "a", "arguments": {"q": "x</think>y"}}', [Call("a", {"q": "x</think>y"})]),
        ("[[1]] The answer is 5.", []),
        ("Code:\n```python\nprint(1)\n```", []),
    ],
)
def test_calls_among_words_are_found_and_words_stay_words(message: str, calls: list[Call]) -> None:
    assert calls_of(message) == calls


@pytest.mark.parametrize("tag", ["</think>", "<think>", "</tool_call>", "<tool_response>", "```", "<think></think>"])
def test_ten_thousand_tags_are_words(tag: str) -> None:
    assert calls_of(tag * 10_000) == []
