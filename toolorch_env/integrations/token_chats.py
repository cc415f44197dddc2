"""Chats in tokens: for trainers that keep the tokens of whole episodes."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from toolorch_env.integrations.text_chats import TextChat

_MARK = "-=message=-"


class TokenChat:
    """An episode as a model reads and writes it: turn by turn exactly the tokens that the chat's template makes of it.

    Args:
        chat: the episode.
        tokenizer: of transformers, with a chat template.
        max_tokens: tokens of all messages and answers at most. A message is cut off there; where an answer has no room
            any more it is left out, and the episode ends as it stands.
        template: what the chat template is told beside the messages, such as ``enable_thinking``.

    Attributes:
        prompt_ids: tokens that the model is to go on from.
        ids: all tokens so far, those of the prompt first.
        mask: for each token after the prompt 1 where the model wrote it, else 0.
        rewards: what each message earned.
        call_rewards: what each call earned.
        ends: where each message, and what it was answered with, ends among the tokens after the prompt.
    """

    def __init__(
        self, chat: TextChat, tokenizer: Any, *, max_tokens: int = 4096, template: Mapping[str, Any] | None = None
    ) -> None:
        self.chat = chat
        self._tokenizer = tokenizer
        self._max_tokens = max_tokens
        self._template = dict(template or {})
        self._ends = end_tokens(tokenizer)
        self.prompt_ids: list[int] = self._encode(self._text(chat.prompt, go_on=True))
        self.ids = list(self.prompt_ids)
        self.mask: list[int] = []
        self.rewards: list[float] = []
        self.call_rewards: list[float] = []
        self.ends: list[int] = []

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self.chat.done

    def metrics(self) -> dict[str, float]:
        """See :meth:`toolorch_env.integrations.text_chats.TextChat.metrics`."""
        return self.chat.metrics()

    def take(self, ids: list[int]) -> None:
        """Takes a message of the model, and the tokens of what it is answered with."""
        ids = ids[: self._max_tokens - len(self.mask)]
        self.ids += ids
        self.mask += [1] * len(ids)
        reply = self.chat.send(self._tokenizer.decode(ids, skip_special_tokens=True))
        self.rewards.append(reply.reward)
        self.call_rewards += [each["total"] for each in reply.rewards]
        if not reply.done:
            between = self._encode(self._answer(reply.messages, ids[-1:]))
            if len(self.mask) + len(between) >= self._max_tokens:
                self.stop()
            else:
                self.ids += between
                self.mask += [0] * len(between)
        self.ends.append(len(self.mask))

    def stop(self) -> None:
        """Ends the episode as it stands, after a message; what that earns is earned by the last one."""
        self.rewards[-1] += self.chat.stop()

    def _answer(self, messages: Sequence[Mapping[str, Any]], last: list[int]) -> str:
        """What the chat's template writes after a message of the model, up to the beginning of its next one.

        Args:
            messages: what the model is answered with.
            last: the last token of its message, which may have ended it already.
        """
        said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
        text = self._text([*said, *messages], go_on=True)
        after = text[text.index(_MARK) + len(_MARK) :]
        has_ended = not self._ends.isdisjoint(last)
        return after.removeprefix(self._tokenizer.decode(last)) if has_ended else after

    def _text(self, messages: Sequence[Mapping[str, Any]], *, go_on: bool) -> str:
        return _rendered(self._tokenizer, messages, go_on=go_on, **self._template)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False)["input_ids"]
        return ids


def end_tokens(tokenizer: Any) -> set[int]:
    """The tokens that end a message: the tokenizer's own, and the one that its chat template writes after a message."""
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": _MARK}]
    after = _rendered(tokenizer, said, go_on=False).partition(_MARK)[2]
    ids: list[int] = tokenizer(after, add_special_tokens=False)["input_ids"]
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return {tokenizer.eos_token_id, *special.intersection(ids[:1])}


def _rendered(tokenizer: Any, messages: Sequence[Mapping[str, Any]], *, go_on: bool, **template: Any) -> str:
    text: str = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=go_on, **template)
    return text


def play_all(
    chats: Sequence[TokenChat],
    write: Callable[[list[list[int]]], list[list[int]]],
    max_turns: int = 16,
) -> None:
    """Plays chats a message at a time, all of them together.

    Args:
        chats: the chats.
        write: gives the next message for each context, in tokens.
        max_turns: messages of an episode at most, at least 1; then it ends as it stands.
    """
    for _ in range(max_turns):
        going = [chat for chat in chats if not chat.done]
        if not going:
            return
        for chat, ids in zip(going, write([chat.ids for chat in going]), strict=True):
            chat.take(ids)
    for chat in chats:
        if not chat.done:
            chat.stop()
