"""Phrasings of a mined workflow: the queries of its tasks, with slots in place of the values."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from toolorch_env.core.canonical import canonical_json, plain, read_number, rounded, token
from toolorch_env.core.tasks import Mention, Task

MAX_PHRASINGS = 10
_WORD = re.compile(r"\w+")


class _Span(NamedTuple):
    """Characters of a query that say a literal."""

    start: int
    end: int
    literal: str


def is_telling(value: Any) -> bool:
    """Whether two such values are hardly equal by coincidence: whole numbers, booleans and empty texts often are."""
    if isinstance(value, str):
        return bool(value) and not isinstance(read_number(value), int)
    return isinstance(plain(value), (float, list, dict))


def said_key(value: Any) -> bytes:
    """The same for values that are said with the same words: fractions count as rounded, a text may be a number."""
    number = read_number(value) if isinstance(value, str) else None
    return canonical_json(rounded(value if number is None else number))


def mined_phrasings(solved: Iterable[tuple[Task, Mapping[str, Any]]]) -> tuple[str, ...]:
    """The phrasings that the queries of tasks give, at most :data:`MAX_PHRASINGS`.

    A query gives one where it says its values as they are and mentions each literal, and where it is clear which words
    say which: no two literals are equal, numbers and common words are said once only, and no part of a name is left.
    What else it says stays as it is. Therefore only those count that mention the fewest other values; of these the most
    frequent come first, and of equally frequent ones the shortest.

    Args:
        solved: tasks of one workflow, each with the values of the workflow's literals.
    """
    found = Counter(phrasing for task, literals in solved if (phrasing := _phrasing(task, literals)) is not None)
    fewest = min((others for others, _ in found), default=0)
    ranked = sorted((-count, len(text), text) for (others, text), count in found.items() if others == fewest)
    return tuple(text for _, _, text in ranked[:MAX_PHRASINGS])


def _phrasing(task: Task, literals: Mapping[str, Any]) -> tuple[int, str] | None:
    """How many other values a query mentions, and the query with slots; ``None`` if it gives no phrasing."""
    if any(mention.resolution for mention in task.mentions):  # words for one value, which others may not fit
        return None
    spans = _literal_spans(task, literals)
    text = None if spans is None or not task.query.strip() else _with_slots(task.query, spans)
    if spans is None or text is None or _capitalised(task.query, spans) & set(_WORD.findall(text)):
        return None
    needed = set(map(said_key, literals.values()))
    return sum(said_key(mention.value) not in needed for mention in task.mentions), text


def _literal_spans(task: Task, literals: Mapping[str, Any]) -> list[_Span] | None:
    """Where a query says the literals, in its order; ``None`` if one is not mentioned, or it is not clear where."""
    mentions: dict[bytes, list[Mention]] = defaultdict(list)
    for mention in task.mentions:
        mentions[said_key(mention.value)].append(mention)
    keys = {name: said_key(value) for name, value in literals.items()}
    if len(set(keys.values())) < len(keys):
        return None
    found: list[_Span] = []
    for name, key in keys.items():
        said = list(_spans(task, name, mentions[key], literals[name]))
        if not mentions[key] or (len(said) > 1 and not _may_be_repeated(task.query, said, literals[name])):
            return None
        found += said
    return sorted(found)


def _spans(task: Task, literal: str, mentions: Sequence[Mention], value: Any) -> Iterator[_Span]:
    """Where a query mentions a literal, and where the same words, or the value itself, stand besides."""
    words = {task.query[mention.start : mention.end] for mention in mentions} | {token(value) or ""}
    pattern = "|".join(re.escape(text) for text in sorted(words, key=len, reverse=True) if text)
    yield from (_Span(mention.start, mention.end, literal) for mention in mentions)
    for match in re.finditer(rf"(?<!\w)(?:{pattern})(?!\w)", task.query) if pattern else ():
        if all(match.end() <= other.start or other.end <= match.start() for other in task.mentions):
            yield _Span(*match.span(), literal)


def _may_be_repeated(query: str, spans: Sequence[_Span], value: Any) -> bool:
    """Whether words that stand in a query several times mean the same each time, as names do."""
    return is_telling(value) and all(_is_name(query[span.start : span.end]) for span in spans)


def _capitalised(query: str, spans: Iterable[_Span]) -> set[str]:
    """The words in spans that begin with a capital letter."""
    words = (word for span in spans for word in _WORD.findall(query[span.start : span.end]))
    return {word for word in words if word[:1].isupper()}


def _is_name(words: str) -> bool:
    return any(letter.isupper() or letter.isdigit() for letter in words)


def _with_slots(query: str, spans: Iterable[_Span]) -> str | None:
    """The query with slots in place of the spans; ``None`` if they overlap."""
    text, end = [], 0
    for span in spans:
        if span.start < end:
            return None
        text += [_escaped(query[end : span.start]), f"{{{span.literal}}}"]
        end = span.end
    return "".join([*text, _escaped(query[end:])])


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
