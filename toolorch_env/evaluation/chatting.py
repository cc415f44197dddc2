"""Language models that play: many chats at once, each an episode of the text environment."""

import asyncio
import copy
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import orjson

from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ChatModelError, ConfigurationError, ToolOrchError
from toolorch_env.envs.tool_orch_text import MAX_MESSAGE_CHARACTERS, ToolOrchTextEnv
from toolorch_env.evaluation.runner import Job
from toolorch_env.generation.chat_models import NO_ROOM, Complete, Completion, OpenAIChat

ToolCalls = Literal["native", "text"]
"""Whether a model is given tools in the request and calls them in its answer, or both in the text of messages."""

TOOLS_PROMPT = """
These are the tools, each with the JSON Schema of its parameters:

<tools>
{tools}
</tools>

To call a tool, write

<tool_call>
{{"name": <its name>, "arguments": <an object>}}
</tool_call>

Several such blocks in one message are several calls. What the tools answer comes in the next message.
""".strip()

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]")
_LONGEST_NAME = 64
"""OpenAI refuses chats with names of tools that have other characters, or more."""


@dataclass(frozen=True, slots=True)
class Chat:
    """How a chat went.

    Attributes:
        job: which episode it was.
        episode: what was played.
        failure: where the model gave no answer, what was wrong; then the episode has not ended.
        messages: all messages in OpenAI's form.
        prompt_tokens, completion_tokens: what the endpoint counted.
        cut_off: number of answers that were cut off at their greatest length, or had no room in the model's context.
        seconds: wall time.
    """

    job: Job
    episode: Episode
    failure: ChatModelError | None
    messages: list[dict[str, Any]]
    prompt_tokens: int
    completion_tokens: int
    cut_off: int
    seconds: float


class Transcript:
    """The messages of a chat, in the form that the model is used to.

    Args:
        info: of the environment's reset.
        tool_calls: see :data:`ToolCalls`.

    Attributes:
        messages: all so far, as they went.
        sent: the same as they are sent. Arguments that are no JSON object stand in one there, and names have no other
            characters than those of tools: some servers read both, and would refuse the whole chat.
        tools: what is offered in each request.
    """

    def __init__(self, info: Mapping[str, Any], tool_calls: ToolCalls) -> None:
        self._is_native = tool_calls == "native"
        self.messages: list[dict[str, Any]] = [dict(message) for message in info["messages"]]
        self.tools: list[dict[str, Any]] = info["tools"] if self._is_native else []
        if not self._is_native:
            tools = "\n".join(orjson.dumps(tool["function"]).decode() for tool in info["tools"])
            self.messages[0]["content"] += "\n\n" + TOOLS_PROMPT.format(tools=tools)
        self.sent = self.messages.copy()

    def take(self, message: Mapping[str, Any]) -> str:
        """Takes the model's message; returns it as an action."""
        self.messages.append(dict(message))
        if "tool_calls" not in message:
            self.sent.append(self.messages[-1])
            return message["content"] or ""
        self.sent.append({**message, "tool_calls": [_legible(call) for call in message["tool_calls"]]})
        # words beside calls are no part of the action, and may be long
        return orjson.dumps({"tool_calls": message["tool_calls"]}).decode()

    def tell(self, observation: str, info: Mapping[str, Any]) -> None:
        """Takes what the environment answered."""
        calls, answers = self.messages[-1].get("tool_calls", ()), info["messages"]
        if calls:
            if len(answers) < len(calls):  # too long a message is one call that cannot be read
                answers = answers[:1] * len(calls)
            pairs = zip(calls, answers, strict=True)
            told = [{**message, "tool_call_id": call["id"]} for call, message in pairs]
        else:  # calls in words are answered in words
            told = [{"role": "user", "content": observation}]
        self.messages += told
        self.sent += told


def _legible(call: Mapping[str, Any]) -> Mapping[str, Any]:
    """A tool call as every server can read it."""
    name, arguments = call["function"]["name"], call["function"]["arguments"]
    legible = {"name": _NO_NAME.sub("_", name)[:_LONGEST_NAME] or "unnamed", "arguments": _as_object(arguments)}
    return {**call, "function": legible}


def _as_object(arguments: str) -> str:
    try:
        if isinstance(orjson.loads(arguments), dict):
            return arguments
    except orjson.JSONDecodeError:
        pass
    return orjson.dumps({"unreadable": arguments} if arguments else {}).decode()


async def play_chats(
    env: ToolOrchTextEnv,
    chat: OpenAIChat,
    jobs: Iterable[Job],
    on_end: Callable[[Chat], None],
    *,
    concurrency: int = 16,
    tool_calls: ToolCalls = "native",
) -> None:
    """Plays episodes with a language model, many at a time.

    Where the model gives no answer that is one, retries included, the episode comes to nothing and is told as a
    failure: nothing is scored that the model did not say. Where the chat has become longer than its context, the
    episode is scored as it stands, without having been finished.

    Args:
        env: the environment; each chat plays in a copy of it.
        chat: the model.
        jobs: the episodes.
        on_end: called when an episode has ended, in the order in which they end.
        concurrency: episodes at a time, at least 1.
        tool_calls: see :data:`ToolCalls`.

    Raises:
        ConfigurationError: the concurrency is too small, or the package ``openai`` is not installed.
    """
    if concurrency < 1:
        raise ConfigurationError(f"at least 1 episode is played at a time, not {concurrency}")
    left = iter(jobs)
    async with chat.connect() as complete:
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(_play_on(copy.copy(env), complete, left, on_end, tool_calls))
        except* ToolOrchError as errors:
            raise errors.exceptions[0] from None


async def _play_on(
    env: ToolOrchTextEnv, complete: Complete, jobs: Iterator[Job], on_end: Callable[[Chat], None], calls: ToolCalls
) -> None:
    for job in jobs:
        on_end(await _play_one(env, complete, job, calls))


async def _play_one(env: ToolOrchTextEnv, complete: Complete, job: Job, tool_calls: ToolCalls) -> Chat:
    begin = time.perf_counter()
    _, info = env.reset(seed=job.task_seed, options=job.options)
    transcript = Transcript(info, tool_calls)
    answers: list[Completion] = []
    failure: ChatModelError | None = None
    has_room = True
    while not env.episode.done and has_room and failure is None:
        try:
            answers.append(await complete(transcript.sent, transcript.tools, job.policy_seed % 2**31))
        except ChatModelError as error:
            # the model's own limit: the episode stands as it is, and is scored, unless nothing ever had room
            has_room = error.kind != NO_ROOM or not answers
            failure = error if has_room else None
        else:
            observation, _, _, _, info = env.step(transcript.take(answers[-1].message)[:MAX_MESSAGE_CHARACTERS])
            if not env.episode.done:
                transcript.tell(observation, info)
    if not has_room:
        env.episode.stop()
    return Chat(
        job,
        env.episode,
        failure,
        transcript.messages,
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.completion_tokens for answer in answers),
        sum(answer.finish_reason == "length" for answer in answers) + (not has_room),
        time.perf_counter() - begin,
    )
