"""ToolOrch as an environment factory of TRL's ``GRPOTrainer`` (extra ``trl``).

TRL turns every public method of an environment's class into a tool. So the class is made for a snapshot: a method for
each of its tools, with the type hints and the Google docstring that TRL reads schemas from.
"""

import copy
import inspect
import keyword
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import orjson

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.tasks import Task
from toolorch_env.core.tools import Tool
from toolorch_env.envs.shortening import shorten_json
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.generator import TaskGenerator
from toolorch_env.generation.mixture import Reporting
from toolorch_env.generation.registry import as_generator
from toolorch_env.store.bundled import open_snapshot
from toolorch_env.store.snapshot import Snapshot

_TYPES: dict[str, type] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict,
}  # fmt: skip
_TAKEN = frozenset({"reset", "get_reward"})


class _Episodes:
    """What all these classes share. Names begin with an underscore: others would be tools."""

    _shared: ToolOrchTextEnv

    def __init__(self) -> None:
        self._env = copy.copy(self._shared)
        self._rewards: list[float] = []

    def reset(self, seed: int | None = None, env: Any = None, **row: Any) -> str:
        """Begins the episode of a row's ``seed``, and gives the query, which TRL adds to the prompt."""
        if seed is None:
            raise ConfigurationError("the row has no seed: without one each sample of a group would play another task")
        if env is not None:
            raise ConfigurationError("all rows are played in the environment that environment_factory() was given")
        self._rewards = []
        query, _ = self._env.reset(seed=seed)
        return query

    def get_reward(self) -> float:
        """What the episode has earned; the model has finished when it is asked."""
        episode = self._env.episode
        if not episode.done:
            episode.finish()
        self._env.report()
        return episode.total

    def _call(self, tool: str, arguments: dict[str, Any]) -> str:
        episode = self._env.episode
        if episode.done:
            return '{"detail": "The task has ended."}'
        given = {name: value for name, value in arguments.items() if value is not None}
        step = episode.send((Call(tool, given),))[0]
        self._rewards.append(step.score.reward)
        return shorten_json(step.response.raw, self._env.max_response_chars)


class _EveryTool:
    """Tasks of a generator that offer every tool, as the class shows every tool to the model."""

    def __init__(self, generator: TaskGenerator, tools: Iterable[str]) -> None:
        self._generator = generator
        self._tools = tuple(tools)

    def sample(self, rng: np.random.Generator, constraints: TaskConstraints | None = None) -> Task:
        return replace(self._generator.sample(rng, constraints), tools=self._tools)

    def task(self, task_id: str) -> Task:
        return replace(self._generator.task(task_id), tools=self._tools)

    def report(self, task_id: str, success: bool) -> None:
        if isinstance(self._generator, Reporting):
            self._generator.report(task_id, success)


def environment_factory(
    *, snapshot: str | Path | Snapshot = "travel", generator: TaskGenerator | str | None = None, **env: Any
) -> Callable[[], Any]:
    """What ``GRPOTrainer(environment_factory=...)`` takes. Rows carry a ``seed``: a group of one row plays one episode.

    ``get_reward`` gives the return of the episode; ``_rewards`` of an instance has what each call has earned. An
    episode of this form ends when the model calls no tool. TRL shows a model the same tools in all episodes, so every
    task offers all tools of the snapshot.

    Args:
        snapshot, generator, **env: keyword arguments of ``ToolOrchText-v0``.

    Raises:
        ConfigurationError: a tool or parameter has a name that is no name in Python.
    """
    opened = open_snapshot(snapshot)
    drawing = _EveryTool(as_generator(generator, opened), opened.tools)
    shared: Any = gym.make("ToolOrchText-v0", snapshot=opened, generator=drawing, **env).unwrapped
    methods = {name: _method(tool) for name, tool in shared.snapshot.tools.items()}
    return type("ToolOrchTools", (_Episodes,), {"_shared": shared, **methods})


def _method(tool: Tool) -> Callable[..., str]:
    properties: Mapping[str, Any] = tool.parameters.get("properties", {})
    required = set(tool.parameters.get("required", ()))
    names = sorted(properties, key=lambda name: name not in required)  # those with defaults come last
    for name in (tool.name, *names):
        if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name in _TAKEN:
            raise ConfigurationError(f"TRL calls tools as methods: {name!r} of {tool.name!r} is no name of one")

    def call(self: _Episodes, *args: Any, **arguments: Any) -> str:
        return self._call(tool.name, {**dict(zip(names, args, strict=False)), **arguments})

    hints: dict[str, Any] = {name: _hint(properties[name], name in required) for name in names}
    empty, either = inspect.Parameter.empty, inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [
        inspect.Parameter(name, either, default=empty if name in required else None, annotation=hints[name])
        for name in names
    ]
    call.__name__ = call.__qualname__ = tool.name
    call.__doc__ = _docstring(tool, names)
    call.__annotations__ = {**hints, "return": str}
    first = inspect.Parameter("self", either)
    call.__signature__ = inspect.Signature([first, *parameters], return_annotation=str)  # type: ignore[attr-defined]
    return call


def _hint(schema: Mapping[str, Any], is_required: bool) -> Any:
    kind = schema.get("type", "string")
    kinds = [each for each in (kind if isinstance(kind, list) else [kind]) if each != "null"]
    hint = _TYPES.get(kinds[0] if kinds else "string", str)
    return hint if is_required else hint | None


def _docstring(tool: Tool, names: list[str]) -> str:
    lines = [_line(tool.description) or tool.name]
    if names:
        lines += ["", "Args:"]
    for name in names:
        schema = tool.parameters["properties"][name]
        choices = f" (choices: {orjson.dumps(schema['enum']).decode()})" if "enum" in schema else ""
        lines.append(f"    {name}: {_line(schema.get('description', '')) or name}{choices}")
    return "\n".join([*lines, "", "Returns:", "    The API's answer, JSON."])


def _line(text: str) -> str:
    return " ".join(str(text).split())
