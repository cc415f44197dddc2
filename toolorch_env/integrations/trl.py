"""ToolOrch for TRL's ``GRPOTrainer`` with the reward of each message (extra ``trl``).

:class:`Rollouts` plays episodes turn by turn, with the trainer's own model, and :class:`TurnGRPOTrainer` gives the
tokens of each message the advantage of what was earned from that message on.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import torch
from accelerate.utils import gather_object
from trl import GRPOTrainer

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.integrations.text_chats import TextChat
from toolorch_env.integrations.token_chats import TokenChat, end_tokens, play_all

Messages = Sequence[Mapping[str, Any]]


_OWN = frozenset({"max_new_tokens", "pad_token_id", "eos_token_id"})
"""What generation is told of that is not the trainer's to say."""


class Rollouts:
    """A ``rollout_func``: plays an episode for each prompt, all of them a turn at a time.

    What it gives besides TRL's own fields: ``env_mask`` (1 for tokens of the model), ``turn_rewards`` (what each
    message earned), ``turn_ends`` (where each message ends among the completion's tokens), ``metrics``.

    Args:
        rows: the data set's rows (see :func:`toolorch_env.integrations.text_chats.chat_rows`); a prompt that is none of
            theirs cannot be played.
        max_turns: messages of an episode at most.
        max_turn_tokens: tokens of a message at most.
        max_completion_tokens: tokens of all messages and answers at most; then the episode ends as it stands. By
            default ``max_completion_length`` of the trainer's settings.

    Raises:
        ConfigurationError: two rows have the same prompt and other environments.
    """

    def __init__(
        self,
        rows: Sequence[Mapping[str, Any]],
        *,
        max_turns: int = 16,
        max_turn_tokens: int = 256,
        max_completion_tokens: int | None = None,
    ) -> None:
        self._rows: dict[bytes, Mapping[str, Any]] = {}
        for row in rows:
            known = self._rows.setdefault(_key(row["prompt"]), row)
            if known.get("env") != row.get("env"):
                raise ConfigurationError(
                    "two rows have the same prompt and other environments: which one is to be played?"
                )
        self._max_turns = max_turns
        self._max_turn_tokens = max_turn_tokens
        self._max_tokens = max_completion_tokens

    def __call__(self, prompts: Sequence[Messages], trainer: Any) -> dict[str, list[Any] | None]:
        """Plays one episode for each prompt.

        Raises:
            ConfigurationError: a prompt is that of no row, or the trainer generates with vLLM.
        """
        if trainer.use_vllm:
            raise ConfigurationError("Rollouts generates with the trainer's own model: set use_vllm=False")
        tokenizer = trainer.processing_class
        most = self._max_tokens or trainer.max_completion_length
        options: dict[str, Any] = {"max_tokens": most, "template": trainer.chat_template_kwargs}
        played = [TokenChat(self._chat(prompt), tokenizer, **options) for prompt in prompts]
        play_all(played, lambda contexts: self._generate(trainer, contexts), self._max_turns)
        return {
            "prompt_ids": [each.prompt_ids for each in played],
            "completion_ids": [each.ids[len(each.prompt_ids) :] for each in played],
            "logprobs": None,
            "env_mask": [each.mask for each in played],
            "turn_rewards": [each.rewards for each in played],
            "turn_ends": [each.ends for each in played],
            "metrics": [each.metrics() for each in played],
        }

    def _chat(self, prompt: Messages) -> TextChat:
        row = self._rows.get(_key(prompt))
        if row is None:
            raise ConfigurationError("the prompt is that of no row: give Rollouts the rows of the data set")
        return TextChat(row.get("env"), seed=row["seed"])

    def _generate(self, trainer: Any, contexts: list[list[int]]) -> list[list[int]]:
        """The model's next message after each context."""
        model = trainer.accelerator.unwrap_model(trainer.model)
        # all that TRL itself would sample with: else what the model's own configuration says would count
        sampling = {name: value for name, value in trainer.generation_kwargs.items() if name not in _OWN}
        return write_on(model, trainer.processing_class, contexts, self._max_turn_tokens, **sampling)


def write_on(
    model: Any, tokenizer: Any, contexts: Sequence[Sequence[int]], max_new_tokens: int, **sampling: Any
) -> list[list[int]]:
    """What a model of transformers writes after each context, up to the end of its message.

    Args:
        model, tokenizer: of transformers.
        contexts: tokens.
        max_new_tokens: tokens of a message at most.
        **sampling: of the model's ``generate``.
    """
    width, pad, ends = max(map(len, contexts)), tokenizer.pad_token_id, end_tokens(tokenizer)
    ids = torch.tensor([[pad] * (width - len(each)) + list(each) for each in contexts], device=model.device)
    mask = torch.tensor([[0] * (width - len(each)) + [1] * len(each) for each in contexts], device=model.device)
    was_training = model.training
    model.eval()
    with torch.no_grad():
        out = model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=max_new_tokens,
            pad_token_id=pad,
            eos_token_id=sorted(ends),
            **sampling,
        )
    model.train(was_training)
    return [_until_end(row, ends) for row in out[:, width:].tolist()]


class TurnGRPOTrainer(GRPOTrainer):
    """GRPO whose advantages are those of messages, not of whole episodes.

    The tokens of message t have the advantage of what was earned from t on, less the mean of the group's episodes that
    have a message t, scaled as ``scale_rewards`` of the trainer's settings says. For a ``rollout_func`` that gives
    ``turn_rewards`` and ``turn_ends``, and the one reward function :func:`total_reward`, which is for the log.

    Raises:
        ConfigurationError: there are other reward functions, which would train nothing.
    """

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        if self.reward_funcs != [total_reward]:
            raise ConfigurationError(
                "messages are trained on what their calls earn: reward_funcs=total_reward; choose the reward by the "
                "rows' env, as in chat_rows(..., env={'reward': 'atomic'})"
            )

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        output: dict[str, Any] = super()._generate_and_score_completions(inputs)
        group = self.num_generations if self.model.training else self.num_generations_eval
        width = output["completion_ids"].shape[1]
        first = self.accelerator.process_index * len(inputs)  # a group may be spread over processes
        rewards, ends = (gather_object([row[name] for row in inputs]) for name in ("turn_rewards", "turn_ends"))
        found = turn_advantages(rewards, ends, group, width, self.scale_rewards)
        output["advantages"] = found[first : first + len(inputs)].to(output["completion_ids"].device)
        return output


def turn_advantages(
    rewards: Sequence[Sequence[float]], ends: Sequence[Sequence[int]], group: int, width: int, scale: str = "group"
) -> torch.Tensor:
    """Advantages of tokens, shape (episodes, ``width``).

    Args:
        rewards: of each message, for each episode; episodes of a group stand side by side.
        ends: where each message ends among the tokens of its episode; what lies beyond ``width`` is left out.
        group: number of episodes in a group.
        width: number of tokens.
        scale: what differences to the mean are divided by, as TRL's ``scale_rewards`` names it: ``group``, the standard
            deviation of what is compared; ``batch``, that of all messages of all groups, so that small differences stay
            small; ``none``, nothing.
    """
    found = torch.zeros(len(rewards), width)
    to_go = [_sums_to_go(each) for each in rewards]
    of_all = _spread(torch.tensor([value for each in to_go for value in each]))
    for first in range(0, len(rewards), group):
        own = range(first, first + group)
        for turn in range(max(len(rewards[episode]) for episode in own)):
            there = [episode for episode in own if len(rewards[episode]) > turn]
            values = torch.tensor([to_go[episode][turn] for episode in there])
            spread = {"group": _spread(values), "batch": of_all, "none": 1.0}[scale]
            for episode, value in zip(there, ((values - values.mean()) / spread).tolist(), strict=True):
                begin = ends[episode][turn - 1] if turn else 0
                found[episode, begin : ends[episode][turn]] = value
    return found


def total_reward(turn_rewards: Sequence[Sequence[float]], **_: Any) -> list[float]:
    """A ``reward_func``: what each episode has earned."""
    return [sum(rewards) for rewards in turn_rewards]


def _spread(values: torch.Tensor) -> float:
    """The standard deviation, made a little larger, as TRL does, so that it divides where all are the same."""
    return (values.std().item() if len(values) > 1 else 0.0) + 1e-4


def _sums_to_go(rewards: Sequence[float]) -> list[float]:
    sums = [0.0]
    for reward in reversed(rewards):
        sums.append(sums[-1] + reward)
    return sums[:0:-1]


def _until_end(ids: list[int], ends: set[int]) -> list[int]:
    """A message up to its end, whatever was padded after it."""
    length = next((place + 1 for place, token in enumerate(ids) if token in ends), len(ids))
    return ids[:length]


def _key(prompt: Messages) -> bytes:
    return orjson.dumps([[message["role"], message["content"]] for message in prompt])
