"""ToolOrch as an agent loop of verl (extra ``verl``), which keeps the reward of each message.

A row of the data set says ``agent_name: toolorch`` and carries ``seed``, and if need be ``env`` (keyword arguments of
``ToolOrchText-v0``): so all samples of a row play one episode. verl finds the loop by a configuration file that names
``toolorch_env.integrations.verl.ToolOrchAgentLoop`` (``actor_rollout_ref.rollout.agent.agent_loop_config_path``), or
when this module is imported.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from verl.experimental.agent_loop.agent_loop import AgentLoopBase, AgentLoopOutput, register
from verl.utils.profiler import simple_timer

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.integrations.text_chats import TextChat, chat_rows, plain_values
from toolorch_env.integrations.token_chats import TokenChat

AGENT = "toolorch"


@register(AGENT)
class ToolOrchAgentLoop(AgentLoopBase):
    """Plays one episode with the server's model.

    The output's ``reward_score`` is the return of the episode. Its ``extra_fields`` have ``turn_scores`` (what each
    message earned), ``turn_ends`` (where each ends among the response's tokens) and ``tool_rewards`` (what each call
    earned); ``reward_extra_info`` has success and the other metrics.
    """

    async def run(self, sampling_params: dict[str, Any], **row: Any) -> AgentLoopOutput:
        """Plays the episode of a row.

        Args:
            sampling_params: of the model.
            **row: the data set's row.

        Raises:
            ConfigurationError: the row has no seed, or its prompt is longer than prompts may be.
        """
        if row.get("seed") is None:
            raise ConfigurationError("the row has no seed: make rows with toolorch_env.integrations.verl.dataset")
        chat = TokenChat(
            TextChat(plain_values(row.get("env")), seed=int(row["seed"])),
            self.tokenizer,
            max_tokens=int(self.rollout_config.response_length),
            template=plain_values(self.apply_chat_template_kwargs),
        )
        longest = int(self.rollout_config.prompt_length)
        if len(chat.prompt_ids) > longest:
            raise ConfigurationError(
                f"the prompt has {len(chat.prompt_ids):,} tokens, and data.max_prompt_length is {longest:,}: allow "
                "for more, or tell less (env: brief_tools, constraints: distractor_tools)"
            )
        metrics: dict[str, Any] = {}
        request = uuid4().hex
        logprobs: list[float] = []
        has_logprobs = False
        while not chat.done:
            with simple_timer("generate_sequences", metrics):
                written = await self.server_manager.generate(
                    request_id=request, prompt_ids=chat.ids, sampling_params=sampling_params
                )
            with simple_timer("tool_calls", metrics):
                chat.take(list(written.token_ids))
            has_logprobs |= written.log_probs is not None
            known = list(written.log_probs or [])[: len(chat.mask) - len(logprobs)]
            logprobs += known + [0.0] * (len(chat.mask) - len(logprobs) - len(known))
        found = chat.metrics()
        return AgentLoopOutput(
            prompt_ids=chat.prompt_ids,
            response_ids=chat.ids[len(chat.prompt_ids) :],
            response_mask=chat.mask,
            response_logprobs=logprobs if has_logprobs else None,
            reward_score=found["return"],
            num_turns=2 * len(chat.rewards),
            metrics=metrics,
            extra_fields={
                "turn_scores": chat.rewards,
                "turn_ends": chat.ends,
                "tool_rewards": chat.call_rewards,
                "reward_extra_info": found,
            },
        )


def dataset(count: int, *, first_seed: int = 0, env: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Rows of a verl data set, one task each.

    Args:
        count: number of rows.
        first_seed: of the first one; the next has the next one.
        env: keyword arguments of the environment.
    """
    told = {"data_source": AGENT, "agent_name": AGENT, "reward_model": {"style": "rule", "ground_truth": ""}}
    return [{**row, **told} for row in chat_rows(count, first_seed=first_seed, env=env)]
