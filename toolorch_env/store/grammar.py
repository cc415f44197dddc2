"""What queries are made of besides written phrasings: words for tools, and other ways to say values."""

import string
from collections.abc import Mapping
from math import isfinite
from operator import not_
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Discriminator, Field, Tag, model_validator

from toolorch_env.core.errors import WorkflowError
from toolorch_env.store.selection import Selector, named_literals, with_literals

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]


class Model(BaseModel):
    """Base of what stands in workflow documents: nothing changes, nothing unknown is taken."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ToolGrammar(Model):
    """How a step that calls a tool is said; from this, queries are composed for any graph of calls.

    Attributes:
        result: what the answer is called afterwards, without an article: ``list of flights``.
        asks: what is to be done, without a full stop, in slots the parameters: ``list the flights from {origin} to
            {destination} on {date}``. In a slot stand a value, or words like "the city of the airport record". A step
            is said with one of those asks that have no other slots than what it passes.
        terse: the same in a few words; by default the first of the asks.
        options: a clause for each parameter that an ask leaves out: ``{carrier: "of the airline {carrier} only"}``.
            One that has none is said by its name.
        selections: words for what later steps take from the answer, by the JMESPath expression, with the slot
            ``{result}``: ``the flight that leaves first in {result}``. Others are worked out from the expression.
    """

    result: str = Field(default="answer", min_length=1, pattern=r"^[^{}]+$")
    asks: tuple[str, ...] = Field(min_length=1)
    terse: str = ""
    options: dict[str, str] = {}
    selections: dict[str, str] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for ask in (*self.asks, self.terse):
            template_slots(ask)
        if not all(ask.strip() for ask in self.asks):
            raise ValueError("an ask says nothing")
        for parameter, clause in self.options.items():
            if template_slots(clause) != {parameter}:
                raise ValueError(f"the clause {clause!r} has to have the slot {{{parameter}}} and no other")
        for select, words in self.selections.items():
            _check_expression(with_literals(select, dict.fromkeys(named_literals(select), "")))
            if template_slots(words) != {"result", *named_literals(select)}:
                raise ValueError(
                    f"the words {words!r} for {select!r} need the slot {{result}} and no other but literals"
                )
        return self

    def unknown_parameters(self, parameters: set[str]) -> set[str]:
        """Parameters that are named here, but are none of these."""
        named = set(self.options).union(*(template_slots(ask) for ask in (*self.asks, self.terse)))
        return named - parameters


class RecordedParaphrase(Model):
    """Ways to say a value that recorded responses tell: a city is the capital of a country.

    Attributes:
        phrases: what is said, with words as ``{slots}``: ``the capital of {country}``.
        tool: whose successful responses are looked into.
        each: JMESPath expression that lists entries of a response; by default the response is the one entry.
        value: of an entry, the value that is said.
        words: of an entry, by slot.
        shared: words that the response itself gives, by slot.
    """

    phrases: tuple[str, ...] = Field(min_length=1)
    tool: str
    each: str = "[@]"
    value: str
    words: dict[Name, str] = {}
    shared: dict[Name, str] = {}

    @model_validator(mode="after")
    def _check(self) -> Self:
        for expression in (self.each, self.value, *self.words.values(), *self.shared.values()):
            _check_expression(expression)
        known = self.words.keys() | self.shared.keys()
        for phrase in self.phrases:
            if unknown := template_slots(phrase) - known:
                raise ValueError(f"the phrase {phrase!r} has slots without words: {', '.join(sorted(unknown))}")
        return self


def _said_value(value: Any) -> Any:
    """A value that words can stand for."""
    if isinstance(value, bool) or not isinstance(value, str | int | float) or value == "":
        raise ValueError(f"{value!r} is no text or number that words can stand for")
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise ValueError(f"{value} is beyond the whole numbers of 64 bits")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{value} is no value")
    return value


class ListedParaphrase(Model):
    """Ways to say values, listed one by one: ``listed: {January: 1, February: 2}``. Values are texts and numbers.

    Attributes:
        listed: values, by the words for them.
        tool: the tool whose responses tell what the words tell, as the one that gives the name of an airline by its
            code does; empty if none does.
    """

    listed: dict[str, Annotated[str | int | float, BeforeValidator(_said_value)]] = Field(min_length=1)
    tool: str = Field(default="", exclude_if=not_)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for words in self.listed:
            if not words.strip() or not words.isprintable():
                raise ValueError(f"{words!r} cannot stand in a query")
        return self


def _paraphrase_kind(value: Any) -> str:
    given = value if isinstance(value, Mapping) else getattr(value, "__dict__", {})
    return "listed" if "listed" in given else "recorded"


Paraphrase = Annotated[
    Annotated[RecordedParaphrase, Tag("recorded")] | Annotated[ListedParaphrase, Tag("listed")],
    Discriminator(_paraphrase_kind),
]


def template_slots(template: str) -> set[str]:
    """Names of the ``{slots}`` of a phrasing.

    Raises:
        ValueError: a brace is not closed, or a slot is more than a name.
    """
    slots = set()
    for _, name, spec, conversion in string.Formatter().parse(template):
        if name is None:
            continue
        if not name.isidentifier() or spec or conversion:
            raise ValueError(f"{template!r}: {{{name}}} is not a plain slot")
        slots.add(name)
    return slots


def fill(template: str, words: Mapping[str, str]) -> str:
    """A template with templates written into its slots: what is left is a template again, escaped braces included."""
    parts = string.Formatter().parse(template)
    return "".join(escaped(plain) + (words[name] if name else "") for plain, name, _, _ in parts)


def escaped(text: str) -> str:
    """A text as it stands in a template."""
    return text.replace("{", "{{").replace("}", "}}")


def _check_expression(expression: str) -> None:
    try:
        Selector(expression)
    except WorkflowError as error:
        raise ValueError(str(error)) from None
