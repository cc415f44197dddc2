"""A language model that knows the solutions of the tasks that it will be asked, behind a real endpoint."""

import json
from typing import Any

import gymnasium as gym
from chat_server import Messages, calling

from toolorch_env.core.tasks import Task
from toolorch_env.evaluation.runner import Job


class Solver:
    """Answers with the next reference call, in the form that the chat asks for; some tasks it gets wrong.

    Args:
        env: what the tasks are played in.
        jobs: the episodes.
        wrong: of how many tasks one is answered without a call, 0 for none.
    """

    def __init__(self, env: gym.Env[Any, Any], jobs: list[Job], wrong: int = 0) -> None:
        self.tasks: dict[str, Task] = {}
        for job in jobs:
            query, _ = env.reset(seed=job.task_seed, options=job.options)
            self.tasks[query] = env.unwrapped.episode.task  # type: ignore[attr-defined]
        self._given_up = set(list(self.tasks)[::wrong]) if wrong else set()

    def task(self, messages: Messages) -> Task:
        """The task that a chat is about."""
        return self.tasks[messages[1]["content"]]

    def __call__(self, messages: Messages) -> str | dict[str, Any]:
        """The next message."""
        task = self.task(messages)
        made = sum(message["role"] == "assistant" for message in messages)
        if made == len(task.reference) or messages[1]["content"] in self._given_up:
            return "That is all."
        call = task.reference[made]
        if "<tool_call>" in messages[0]["content"]:
            return f"Next:\n<tool_call>{json.dumps({'name': call.tool, 'arguments': call.arguments})}</tool_call>"
        return calling((call.tool, call.arguments))
