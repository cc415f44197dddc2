"""Queries in words: a workflow's phrasing with its values, among sentences that mention values nobody needs."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

from toolorch_env.core.tasks import Mention
from toolorch_env.generation.sayings import Saying


@dataclass(frozen=True, slots=True)
class Template:
    """A phrasing taken apart: pairs of plain text and the slot that follows it (empty: none)."""

    parts: tuple[tuple[str, str], ...]

    @classmethod
    def parse(cls, text: str) -> "Template":
        """The template of a text with ``{slots}``."""
        return cls(tuple((plain, name or "") for plain, name, _, _ in string.Formatter().parse(text)))

    @property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in order."""
        return tuple(name for _, name in self.parts if name)


def value_text(value: Any) -> str:
    """A value as a query says it: text as it is, everything else as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()


class Sentence(NamedTuple):
    """A sentence of a query, or several that belong together.

    Attributes:
        template: the words, with slots.
        values: the value of each slot.
        kinds: the kind of each slot.
        sayings: for some slots other words than the value as it is.
    """

    template: Template
    values: Mapping[str, Any]
    kinds: Mapping[str, str]
    sayings: Mapping[str, Saying] = MappingProxyType({})


def compose(sentences: Sequence[Sentence]) -> tuple[str, tuple[Mention, ...]]:
    """Joins sentences into a query.

    Returns:
        The query and its mentions, in order.
    """
    text: list[str] = []
    mentions: list[Mention] = []
    length = 0
    for number, (template, values, kinds, sayings) in enumerate(sentences):
        if number:
            text.append(" ")
            length += 1
        begin = length
        for plain, slot in template.parts:
            text.append(plain)
            length += len(plain)
            if slot:
                saying = sayings.get(slot)
                said = saying.text if saying else value_text(values[slot])
                if saying and length == begin:
                    said = said[:1].upper() + said[1:]
                resolution = saying.resolution if saying else ""
                mentions.append(Mention(values[slot], kinds[slot], length, length + len(said), resolution))
                text.append(said)
                length += len(said)
    return "".join(text), tuple(mentions)
