"""Other ways to say values: by what recorded responses tell, by lists, and by the calendar."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any

from toolorch_env.core.canonical import canonical_json, plain
from toolorch_env.core.draws import Draws
from toolorch_env.core.progress import stands_alone
from toolorch_env.generation.calendar_sayings import is_date, say_date
from toolorch_env.generation.phrasing import Template, value_text
from toolorch_env.generation.sayings import Saying
from toolorch_env.store.grammar import Paraphrase, RecordedParaphrase
from toolorch_env.store.selection import Selector
from toolorch_env.store.snapshot import Snapshot

_CALENDAR = 3
"""A date is said by the calendar so many times as often as in any one other way."""


class Paraphrases:
    """The ways in which the values of each kind can be said.

    Words that stand for two values, or that hold the value itself, are left out. The responses of the tools that
    paraphrases name are read when the first value is asked for.

    Args:
        paraphrases: by kind.
        snapshot: the recorded responses.
    """

    def __init__(self, paraphrases: Mapping[str, Sequence[Paraphrase]], snapshot: Snapshot) -> None:
        self._paraphrases = paraphrases
        self._snapshot = snapshot

    def say(
        self,
        kind: str,
        value: Any,
        draws: Draws,
        today: str = "",
        avoid: Collection[str] = (),
        called: Collection[str] = (),
    ) -> Saying | None:
        """Other words for a value, ``None`` where there are none.

        Args:
            kind: the kind of the value.
            value: the value.
            draws: decides on one of several ways.
            today: the date that the query gives as that of today, empty if it gives none so far.
            avoid: values that the words must not name.
            called: tools whose responses must not be told: the solution is to find out what they say.
        """
        known = [
            saying
            for saying in self._sayings.get(kind, {}).get(canonical_json(value), ())
            if saying.tool not in called
            and not any(other in saying.text and stands_alone(other, saying.text) for other in avoid if other)
        ]
        if is_date(value):
            choice = draws.below(len(known) + _CALENDAR)
            return known[choice] if choice < len(known) else say_date(value, draws, today, avoid)
        return draws.choose(known) if known else None

    @cached_property
    def _sayings(self) -> dict[str, dict[bytes, tuple[Saying, ...]]]:
        """By kind, and by value as JSON."""
        bodies = self._bodies()
        return {
            kind: _unambiguous(pair for paraphrase in paraphrases for pair in _said(paraphrase, bodies))
            for kind, paraphrases in self._paraphrases.items()
        }

    def _bodies(self) -> dict[str, list[Any]]:
        """The successful bodies of the tools that paraphrases name."""
        every = (paraphrase for paraphrases in self._paraphrases.values() for paraphrase in paraphrases)
        tools = {paraphrase.tool for paraphrase in every if isinstance(paraphrase, RecordedParaphrase)}
        bodies: dict[str, list[Any]] = {tool: [] for tool in tools}
        for record in self._snapshot.records(tools):
            if record.response.success:
                bodies[record.tool].append(record.response.body)
        return bodies


def _said(paraphrase: Paraphrase, bodies: Mapping[str, list[Any]]) -> Iterator[tuple[Any, Saying]]:
    """Values with words for them."""
    if isinstance(paraphrase, RecordedParaphrase):
        yield from _told_by(paraphrase, bodies[paraphrase.tool])
    else:
        for text, value in paraphrase.listed.items():
            yield value, Saying(text, f"{text} = {value_text(plain(value))}", tool=paraphrase.tool)


def _told_by(paraphrase: RecordedParaphrase, bodies: Iterable[Any]) -> Iterator[tuple[Any, Saying]]:
    each, select = Selector(paraphrase.each), Selector(paraphrase.value)
    words = {name: Selector(expression) for name, expression in paraphrase.words.items()}
    shared = {name: Selector(expression) for name, expression in paraphrase.shared.items()}
    phrases = [Template.parse(phrase) for phrase in paraphrase.phrases]
    for body in bodies:
        common = {name: expression(body) for name, expression in shared.items()}
        entries = each(body)
        for entry in entries if isinstance(entries, list) else ():
            value = select(entry)
            slots = {**common, **{name: expression(entry) for name, expression in words.items()}}
            if not _is_word(value) or not all(map(_is_word, slots.values())):
                continue
            for phrase in phrases:
                text = "".join(plain + (value_text(slots[slot]) if slot else "") for plain, slot in phrase.parts)
                yield value, Saying(text, f"{text}, by {paraphrase.tool} = {value_text(value)}", tool=paraphrase.tool)


def _is_word(value: Any) -> bool:
    """Whether people would say it as it is: a whole number, or a text without space around it."""
    if isinstance(value, str):
        return bool(value) and value == value.strip() and value.isprintable()
    return isinstance(value, int) and not isinstance(value, bool)


def _unambiguous(said: Iterable[tuple[Any, Saying]]) -> dict[bytes, tuple[Saying, ...]]:
    """By value, those words that stand for it alone and do not hold it."""
    values: defaultdict[str, set[bytes]] = defaultdict(set)
    sayings: defaultdict[bytes, dict[str, Saying]] = defaultdict(dict)
    for value, saying in said:
        form = canonical_json(value)
        values[saying.text.casefold()].add(form)
        values[value_text(value).casefold()].add(form)  # which is what others must not be called
        if not stands_alone(value_text(value).casefold(), saying.text.casefold()):
            sayings[form].setdefault(saying.text, saying)
    return {
        form: tuple(saying for text, saying in sorted(found.items()) if len(values[text.casefold()]) == 1)
        for form, found in sayings.items()
    }
