"""Making environments and driving them: actions at random, episodes as plain records, comparison of records."""

from collections.abc import Callable, Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import orjson
from hypothesis import strategies as st
from worlds import snapshot_path

from toolorch_env import ENVIRONMENTS
from toolorch_env.core.calls import Call
from toolorch_env.core.tasks import Task
from toolorch_env.envs.base import EpisodeEnv
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.envs.tool_orch_text import ToolOrchTextEnv
from toolorch_env.policies.random import random_action

NUMERIC, TEXT = "ToolOrch-v0", "ToolOrchText-v0"
ENVIRONMENT_IDS = tuple(ENVIRONMENTS)


def make(env_id: str, world_name: str = "library", **options: Any) -> Any:
    """An unwrapped environment on a world."""
    return gym.make(env_id, snapshot=snapshot_path(world_name), **options).unwrapped


def maker(env_id: str, world_name: str = "library", **options: Any) -> Callable[[], gym.Env[Any, Any]]:
    """A function that makes an environment, for vector environments; in a spawned process nothing is registered yet."""
    path = snapshot_path(world_name)
    return lambda: gym.make(f"toolorch_env:{env_id}", snapshot=path, **options)


def message(*calls: Call) -> str:
    """The message that makes these calls."""
    return "\n".join(
        "<tool_call>" + orjson.dumps({"name": call.tool, "arguments": dict(call.arguments)}).decode() + "</tool_call>"
        for call in calls
    )


def random_message(env: ToolOrchTextEnv, rng: np.random.Generator) -> str:
    """A message with one to three calls of tools on offer: mentioned values, reference calls, or nonsense."""
    task = env.episode.task
    calls = []
    for _ in range(rng.integers(1, 4)):
        if rng.random() < 0.4:
            reference = task.reference[rng.integers(len(task.reference))]
            calls.append(Call(reference.tool, reference.arguments))
        else:
            tool = env.snapshot.tools[task.tools[rng.integers(len(task.tools))]]
            values = [mention.value for mention in task.mentions] or ["x"]
            picked = {name: values[rng.integers(len(values))] for name in tool.properties if rng.random() < 0.7}
            calls.append(Call(tool.name, picked))
    return message(*calls) if rng.random() < 0.95 else "<tool_call>{no JSON</tool_call>"


def random_act(env: EpisodeEnv[Any, Any], rng: np.random.Generator, finish: float = 0.05) -> Any:
    """A random action; with probability ``finish`` the one that finishes."""
    done = rng.random() < finish
    if isinstance(env, ToolOrchTextEnv):
        return "That is all." if done else random_message(env, rng)
    assert isinstance(env, ToolOrchEnv)
    action = random_action(env, rng)
    if done:
        action[0] = 0
    elif action[0] == 0:
        action[0] = 1 + env.vocabulary.tool_index[env.episode.task.tools[0]]
    return action


def rollout(env: EpisodeEnv[Any, Any], seed: int, episodes: int = 3) -> Iterator[tuple[Any, ...]]:
    """Everything that an environment returns while it is driven at random, and the actions."""
    rng = np.random.default_rng(seed)
    for episode in range(episodes):
        yield env.reset(seed=seed + episode)
        ended = False
        while not ended:
            action = random_act(env, rng)
            result = env.step(action)
            ended = result[2] or result[3]
            yield (action, *result)


def same(left: Any, right: Any) -> bool:
    """Whether two records are equal in values, types, shapes and dtypes."""
    if type(left) is not type(right):
        return False
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and left.shape == right.shape and bool((left == right).all())
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, (list, tuple)):
        return len(left) == len(right) and all(map(same, left, right))
    return bool(left == right)


def reference_actions(env: EpisodeEnv[Any, Any]) -> Iterator[Any]:
    """The actions that make the reference calls, each when it is its turn, and the one that finishes."""
    for reference in env.episode.task.reference:
        yield env.action_for(Call(reference.tool, reference.arguments))  # type: ignore[attr-defined]
    yield env.action_for(None)  # type: ignore[attr-defined]


def texts_for(task: Task) -> st.SearchStrategy[str]:
    """Messages about a task: calls of its tools with values of its query and its solution, and others."""
    used = [value for reference in task.reference for value in reference.arguments.values()]
    values = st.sampled_from([*used, *(mention.value for mention in task.mentions), "x", 7])
    names = st.sampled_from([name for reference in task.reference for name in reference.arguments] or ["a"])
    some = st.builds(Call, st.sampled_from(task.tools), st.dictionaries(names, values, max_size=3))
    right = st.sampled_from([Call(reference.tool, reference.arguments) for reference in task.reference])
    messages = st.lists(some | right | right, min_size=1, max_size=3).map(lambda calls: message(*calls))
    return messages | st.sampled_from(["<tool_call>{", '{"name": 1, "arguments": {}}', '{"name": "nothing"}'])
