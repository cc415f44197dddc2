"""ToolOrch as a taskset of verifiers, with the harness that plays it in process (extra ``verifiers``).

``vf-eval toolorch_taskset`` finds both; in Python they are :class:`ToolOrchTaskset` and :class:`ToolOrchHarness`. What
each call earned, component by component, stands in the trace's ``info["toolorch"]``.
"""

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import verifiers.v1 as vf

from toolorch_env.integrations.text_chats import TextChat

INFO = "toolorch"


class ToolOrchConfig(vf.TasksetConfig):
    """Which tasks there are.

    Attributes:
        env: keyword arguments of ``ToolOrchText-v0``, such as ``{"constraints": {"max_steps": 3}}``.
        first_seed: of the first task; the next has the next one.
    """

    env: dict[str, Any] = {}  # noqa: RUF012  copied by pydantic
    first_seed: int = 0


class ToolOrchData(vf.TaskData):
    """What an episode is made of: the same data is the same episode."""

    env: dict[str, Any] = {}  # noqa: RUF012
    seed: int = 0


class ToolOrchTask(vf.Task[ToolOrchData, vf.State, vf.TaskConfig]):
    """One task, scored by its episode."""

    @vf.reward
    async def episode_return(self, trace: vf.Trace) -> float:
        """The sum of the rewards of all calls."""
        return float(trace.info[INFO]["metrics"]["return"])

    @vf.metric
    async def episode(self, trace: vf.Trace) -> Mapping[str, float]:
        """Success, shares of calls and turns, number of calls."""
        found: Mapping[str, float] = trace.info[INFO]["metrics"]
        return {name: value for name, value in found.items() if name != "return"}


class ToolOrchTaskset(vf.Taskset[ToolOrchTask, ToolOrchConfig]):
    """A task for each seed, without end."""

    INFINITE = True

    def load(self) -> Iterator[ToolOrchTask]:
        """Yields the tasks."""
        for seed in itertools.count(self.config.first_seed):
            chat = TextChat(self.config.env, seed=seed)
            system, user = chat.prompt
            data = ToolOrchData(
                name=f"seed {seed}",
                prompt=user["content"],
                system_prompt=system["content"],
                env=self.config.env,
                seed=seed,
            )
            yield ToolOrchTask(data, self.config.task)


class ToolOrchHarnessConfig(vf.HarnessConfig):
    """Nothing of its own."""


class ToolOrchHarness(vf.Harness[ToolOrchHarnessConfig]):
    """Plays an episode as a chat, in this process."""

    APPENDS_SYSTEM_PROMPT = True
    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(
        self,
        ctx: vf.ModelContext,
        trace: vf.Trace,
        runtime: vf.Runtime,
        endpoint: str,
        secret: str,
        mcp_urls: dict[str, str],
        data: vf.TaskData,
    ) -> vf.ProgramResult:
        """Asks the model at ``endpoint`` until the episode has ended."""
        from openai import AsyncOpenAI

        system, prompt = self.resolve_text_prompt(data)
        chat = TextChat(data.env, seed=data.seed)
        messages: list[Any] = [{"role": "system", "content": system}, {"role": "user", "content": prompt}]
        turns: list[list[dict[str, Any]]] = []
        async with AsyncOpenAI(base_url=endpoint, api_key=secret, max_retries=0) as client:
            while not chat.done:
                answer = await client.chat.completions.create(model=ctx.model, messages=messages)
                said = answer.choices[0].message.content or ""
                reply = chat.send(said)
                turns.append(reply.rewards)
                messages += [{"role": "assistant", "content": said}, *reply.messages]
                trace.info[INFO] = {"task_id": chat.task_id, "turns": turns, "metrics": chat.metrics()}
        return vf.ProgramResult(exit_code=0, stdout="", stderr="")


__all__ = ["ToolOrchHarness", "ToolOrchTaskset"]
