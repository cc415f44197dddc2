"""The text environment, for language models."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, InvalidActionError, TaskError
from toolorch_env.core.scoring import Reward, Step
from toolorch_env.envs.base import EpisodeEnv, reward_info, tier_info
from toolorch_env.envs.messages import RequestedCall, calls_of_tools
from toolorch_env.envs.shortening import MIN_CHARACTERS, shorten_json
from toolorch_env.envs.spaces import UnicodeText
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.store.replay import LiveAnswers
from toolorch_env.store.snapshot import Snapshot

SYSTEM_PROMPT = (
    "You answer the user's request by calling tools. Make every call that the request needs, look values up even where "
    "you know them, pass on values from earlier responses exactly as they stand there, and make no call that is not "
    "needed. Leave optional parameters out unless the request asks for them. When all needed calls are made, answer in "
    "words, without a call."
)

MAX_MESSAGE_CHARACTERS = 1_000_000
_QUERY_CHARACTERS = 20_000
_BLOCK = "<tool_response>\n{}\n</tool_response>"


class ToolOrchTextEnv(EpisodeEnv[str, str]):
    """Multi-step tool orchestration over recorded API responses, in words.

    ## Description
    The same episode as `ToolOrch-v0` for language models: the agent writes messages that call tools, and reads the
    API's responses.

    ## Action Space
    `UnicodeText`: the model's message. Calls are made as an OpenAI assistant message in JSON (`tool_calls`), in
    `<tool_call>{"name": ..., "arguments": {...}}</tool_call>` blocks, or as JSON, bare or in a fenced block; several in
    one message are made together: what their responses hold counts as seen from the next message on. A message without
    a call finishes.

    ## Observation Space
    `UnicodeText`: first the user's query, then for each call of the message a `<tool_response>` block with the JSON
    body.

    ## Rewards
    As in `ToolOrch-v0`; a message earns the sum over its calls. What is no valid call, but was meant as one, is
    answered with an error and scored like any call that raises nothing.

    ## Starting State
    As in `ToolOrch-v0`.

    ## Episode End
    Terminated by a message without a call; truncated after `max_calls` calls.

    ## Information
    `reset`: `task_id`, `messages` (system and user, OpenAI form), `tools` (OpenAI form). `step`: `messages` (the tool
    messages that answer, OpenAI form), `calls` (for each its `source` and `status`, and the `tier` of a nearest
    answer), `reward` (for each call the components by name and the matched reference call); at the end `is_success`,
    `is_clean_success`.

    ## Arguments
    As in `ToolOrch-v0` without `auto_finish`, and
    - `max_response_chars`: longer responses are shortened without breaking their JSON; no reward depends on it
    (default 10,000)
    - `system_prompt`: the system message
    - `brief_tools`: off by default; tools are told without descriptions, for models of short contexts

    ## Version History
    - v0: initial version
    """

    def __init__(
        self,
        snapshot: str | Path | Snapshot = "travel",
        *,
        reward: str | Reward = "graduated",
        generator: TaskGenerator | str | None = None,
        constraints: TaskConstraints | Mapping[str, Any] | None = None,
        max_calls: int = 16,
        on_miss: str = "error",
        live: LiveAnswers | None = None,
        max_response_chars: int = 10_000,
        system_prompt: str = SYSTEM_PROMPT,
        brief_tools: bool = False,
        render_mode: str | None = None,
    ) -> None:
        super().__init__(
            snapshot,
            reward=reward,
            generator=generator,
            constraints=constraints,
            max_calls=max_calls,
            on_miss=on_miss,
            live=live,
            render_mode=render_mode,
        )
        if not isinstance(max_response_chars, int) or max_response_chars < MIN_CHARACTERS:
            raise ConfigurationError(
                f"max_response_chars must be at least {MIN_CHARACTERS}, got {max_response_chars!r}"
            )
        self.max_response_chars = max_response_chars
        self.system_prompt = system_prompt
        longest = max(_QUERY_CHARACTERS, max_calls * (max_response_chars + len(_BLOCK)))
        self.observation_space = UnicodeText(longest)
        self.action_space = UnicodeText(MAX_MESSAGE_CHARACTERS)
        self.brief_tools = brief_tools
        self._openai_tools = {name: tool.as_openai(brief=brief_tools) for name, tool in self.snapshot.tools.items()}

    def reset(self, *, seed: int | None = None, options: Mapping[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        """Starts an episode (see the class).

        Raises:
            ConstraintError: no task satisfies the constraints.
            TaskError: the task is unknown or does not fit the snapshot.
            ConfigurationError: an option is unknown.
        """
        task = self._start(seed, options).task
        if len(task.query) > _QUERY_CHARACTERS:
            self._episode = None
            raise TaskError(f"the query of task {task.id!r} has more than {_QUERY_CHARACTERS:,} characters")
        messages = [{"role": "system", "content": self.system_prompt}, {"role": "user", "content": task.query}]
        tools = [self._openai_tools[name] for name in task.tools]
        return task.query, {"task_id": task.id, "messages": messages, "tools": tools}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        """Makes the calls of a message, or finishes.

        Raises:
            InvalidActionError: the action is no text, or longer than a million characters.
            EpisodeError: the episode has ended or was not started.
        """
        if not self.action_space.contains(action):
            raise InvalidActionError(
                f"an action is a text of at most {MAX_MESSAGE_CHARACTERS:,} characters, got "
                + (f"{len(action):,}" if isinstance(action, str) else type(action).__name__)
            )
        episode = self.episode
        requested = calls_of_tools(action, episode.task.tools)
        if not requested:
            episode.finish(action)
            info = {"messages": [], "calls": [], "reward": [], **self._end_info()}
            return "", episode.closing_reward, True, False, info
        steps = episode.send([request.call for request in requested])
        info = self._describe(requested, steps)
        if episode.done:
            info |= self._end_info()
        observation = "\n".join([_BLOCK.format(message["content"]) for message in info["messages"]])
        reward = sum([step.score.reward for step in steps]) + episode.closing_reward
        return observation, reward, episode.finished, episode.truncated, info

    def _describe(self, requested: Sequence[RequestedCall], steps: Sequence[Step]) -> dict[str, Any]:
        """What a step tells about its calls. Calls beyond the limit of the episode were not made."""
        messages, calls, rewards = [], [], []
        for request, step in zip(requested, steps, strict=False):
            response = step.response
            name = step.call.tool if isinstance(step.call, Call) else ""
            content = shorten_json(response.raw, self.max_response_chars)
            messages.append({"role": "tool", "tool_call_id": request.id, "name": name, "content": content})
            calls.append({"source": response.source.value, "status": response.status, **tier_info(step)})
            rewards.append(reward_info(step))
        return {"messages": messages, "calls": calls, "reward": rewards}

    def action_for(self, call: Call | None) -> str:
        """The message that makes a call, or finishes for ``None``."""
        if call is None:
            return "All needed calls are made."
        body = orjson.dumps({"name": call.tool, "arguments": dict(call.arguments)}).decode()
        return f"<tool_call>{body}</tool_call>"
