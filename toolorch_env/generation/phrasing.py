"""Queries in words: a workflow's phrasing with its values, among sentences that mention values nobody needs."""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from toolorch_env.core.tasks import Mention


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


def compose(
    sentences: Sequence[tuple[Template, Mapping[str, Any], Mapping[str, str]]],
) -> tuple[str, tuple[Mention, ...]]:
    """Joins sentences into a query.

    Args:
        sentences: for each its template, the value of each slot, and the kind of each slot.

    Returns:
        The query and its mentions, in order.
    """
    text: list[str] = []
    mentions: list[Mention] = []
    length = 0
    for number, (template, values, kinds) in enumerate(sentences):
        if number:
            text.append(" ")
            length += 1
        for plain, slot in template.parts:
            text.append(plain)
            length += len(plain)
            if slot:
                said = value_text(values[slot])
                mentions.append(Mention(values[slot], kinds[slot], length, length + len(said)))
                text.append(said)
                length += len(said)
    return "".join(text), tuple(mentions)
