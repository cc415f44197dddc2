"""Values that a query says, with their places: the mentions of a task that comes from a data set.

Everything in the query that has the form of a value is a mention, whether the solution needs it or not: dates, times,
numbers in digits and words, quotations, codes, e-mail addresses, capitalised names, and words for the options that the
tools on offer spell out. The solution is not looked at, so nothing of it leaks into what an agent observes.
"""

from collections.abc import Collection, Iterable, Iterator
from typing import Any

from toolorch_env.core.tasks import Mention
from toolorch_env.recording.importing import phrases
from toolorch_env.recording.importing.dates import find_dates, find_times


def find_mentions(query: str, options: Collection[str] = ()) -> tuple[Mention, ...]:
    """The values that a query says, in its order; none overlaps another, and each value has its first place only.

    Numbers are texts in JSON notation: they are numbers where a schema says number, and texts where it says string.

    Args:
        query: what the user asks for.
        options: values that the tools on offer spell out (see :func:`options_of`).
    """
    return _first_places(_without_overlaps(_candidates(query, options), len(query)))


def options_of(schemas: Iterable[Any]) -> frozenset[str]:
    """Options that schemas of parameters spell out: texts of enumerations, and lists of words in descriptions."""
    found: set[str] = set()
    for schema in schemas:
        if isinstance(schema, dict):
            found.update(value for value in schema.get("enum") or () if isinstance(value, str))
            found.update(phrases.spelled_options([str(schema.get("description") or "")]))
    return frozenset(found)


def _candidates(query: str, options: Collection[str]) -> Iterator[Mention]:
    """Everything that could be a mention, the surest forms first."""
    said = [Mention(each.value, each.kind, each.start, each.end) for each in [*find_dates(query), *find_times(query)]]
    quoted = [*phrases.find_quoted(query)]
    # a quoted date is a date, but a date within a longer quotation is a part of that
    yield from (each for each in said if any(each.start <= q.start and q.end <= each.end for q in quoted))
    yield from quoted
    yield from said
    yield from phrases.find_emails(query)
    yield from phrases.find_options(query, options)
    names = [*phrases.find_names(query)]
    yield from (name for name in names if " " in name.value or "." in name.value)
    yield from phrases.find_codes(query)
    yield from phrases.find_numbers(query)
    yield from names
    yield from phrases.find_number_words(query)


def _without_overlaps(candidates: Iterable[Mention], characters: int) -> Iterator[Mention]:
    taken = bytearray(characters)
    for candidate in candidates:
        if not any(taken[candidate.start : candidate.end]):
            taken[candidate.start : candidate.end] = b"\1" * (candidate.end - candidate.start)
            yield candidate


def _first_places(mentions: Iterable[Mention]) -> tuple[Mention, ...]:
    first: dict[Any, Mention] = {}
    for mention in sorted(mentions, key=lambda mention: mention.start):
        first.setdefault(mention.value, mention)
    return tuple(first.values())
