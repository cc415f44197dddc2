"""What keeps another version of a phrasing from standing for it."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Sequence

from toolorch_env.generation.phrasing import Sentence, Template, compose, value_text
from toolorch_env.store.grammar import template_slots

_WORD = re.compile(r"\w+(?:[.,:-]\d\w*)*")
_ARTICLE = re.compile(r"(?:^|(?<=[.!?:;(\"“]))\s*A(?=\s)")
_QUOTED = re.compile(r"\"[^\"]*\"|“[^”]*”|`[^`]*`|(?<!\w)'[^']*'(?!\w)")
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "last")
_CARDINALS = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve", "hundred")
_NUMBERS = frozenset([*_ORDINALS, *_CARDINALS, "thousand", "half", "twice"])
_OPENINGS = frozenset({"first", "second", "third", "last"})
"""Numbers that may come in with the order of sentences: "first, ..."."""

_PUNCTUATION = frozenset(" .,;:!?'\"()/-–—’‘“”…{}")  # noqa: RUF001
_CHAT = re.compile(
    r"^\W*(?:here(?: is|'s| are)|sure|certainly|of course|okay|ok|absolutely|as requested)\b|"
    r"^\W*(?:(?:new |reworded )?request|answer|output|template|version)\s*:|"
    r"\b(?:rewritten|rewording|reworded|rephras\w+|paraphras\w+|placeholders?|slots?|language model|as an ai|"
    r"hope this helps|i apologi[sz]e|i(?:'m| am) (?:sorry|unable|not able)|i (?:cannot|can't|will not|won't))\b",
    re.IGNORECASE,
)
_MARK = "\x00"
_GLUED_BEFORE = re.compile(r"[\w\x00]$|(?:^|[\s(])[-.]$")
_GLUED_AFTER = re.compile(r"[\w\x00]|[.,]\d")
_SHORTEST, _LONGEST = 0.3, 3.0
_AWKWARD = ("O'Hare", "{origin}", "}", '"', "\\", "%s", "São Paulo", 0, -1.5, True, None, "", "a b", "2013-03-04")


def problems(phrasing: str, rewritten: str, others: Sequence[str] = ()) -> Iterator[str]:
    """What keeps another version from standing for a phrasing, in words; nothing for a good one.

    Args:
        phrasing: the original template.
        rewritten: the version.
        others: versions that there are already.
    """
    if not rewritten.isprintable() or rewritten != rewritten.strip() or not rewritten:
        yield "not one line of text"
        return
    try:
        template_slots(rewritten)
    except ValueError:
        yield "braces that are no slots"
        return
    original, version = Template.parse(phrasing), Template.parse(rewritten)
    yield from _slot_problems(original, version)
    yield from _text_problems(_plain(original, " "), _plain(version, " "))
    if _quotations(original) != _quotations(version):
        yield "a quoted text is lost or new"
    if not _SHORTEST * len(phrasing) <= len(rewritten) <= _LONGEST * len(phrasing):
        yield "too short or too long"
    if _chat(rewritten) - _chat(phrasing):
        yield "chat about the request, or a refusal"
    if _key(rewritten) in {_key(phrasing), *map(_key, others)}:
        yield "nothing new"


def _chat(text: str) -> set[str]:
    """Words of a model that speaks of its work, not of the user's matter."""
    return {match.group().lower() for match in _CHAT.finditer(text.replace("’", "'"))}  # noqa: RUF001


def _slot_problems(original: Template, version: Template) -> Iterator[str]:
    slots, kept = Counter(original.slots), Counter(version.slots)
    if slots - kept:
        yield "a slot is missing"
    if kept - slots:
        yield "a slot that is not in the original, or not as often"
    if _glued(version) - _glued(original) or not _is_readable(version):
        yield "a value would run into what stands beside it"


def _text_problems(original: str, version: str) -> Iterator[str]:
    """What is wrong with the text beside the slots."""
    if [c for c in original if c in "{}"] != [c for c in version if c in "{}"]:
        yield "braces that are no slots"
    facts, kept = _facts(original), _facts(version)
    if facts - kept:
        yield "a number or code is lost"
    if kept - facts - _OPENINGS:
        yield "a number or code is new"
    symbols = {c for c in version if not c.isalnum() and c not in _PUNCTUATION}
    if symbols - set(original) or _scripts(version) - _scripts(original):
        yield "symbols or letters of another kind"


def _plain(template: Template, slot_text: str) -> str:
    """The text of a template with something in place of its slots."""
    return "".join(plain + slot_text * bool(slot) for plain, slot in template.parts)


def _facts(text: str) -> set[str]:
    """Numbers and words that look like codes: what no other words can stand for."""
    words = _WORD.findall(_ARTICLE.sub(" ", text))
    codes = {word for word in words if not word.isalpha() or any(map(str.isupper, word[1:]))}
    letters = {word for word in words if len(word) == 1 and word.isupper() and word != "I"}
    return codes | letters | {word for word in map(str.lower, words) if word in _NUMBERS}


def _scripts(text: str) -> set[str]:
    """The scripts of letters: LATIN, CYRILLIC, CJK ..."""
    return {unicodedata.name(c, "?").split()[0] for c in text if c.isalpha()}


def _quotations(template: Template) -> Counter[str]:
    """What stands between quotation marks; values alone do not count."""
    quoted = (match.group()[1:-1] for match in _QUOTED.finditer(_plain(template, "{}")))
    return Counter(text for text in quoted if text != "{}")


def _glued(template: Template) -> set[str]:
    """Slots whose value cannot be told from the text beside it."""
    text = _plain(template, _MARK)
    places = [match.start() for match in re.finditer(_MARK, text)]
    return {
        slot
        for slot, place in zip(template.slots, places, strict=False)
        if _GLUED_BEFORE.search(text[:place]) or _GLUED_AFTER.match(text[place + 1 :])
    }


def _is_readable(template: Template) -> bool:
    """Whether each value stands in the query where its mention says, however odd it is."""
    slots = tuple(dict.fromkeys(template.slots))
    for first in range(len(_AWKWARD)):
        values = {slot: _AWKWARD[(first + index) % len(_AWKWARD)] for index, slot in enumerate(slots)}
        query, mentions = compose([Sentence(template, values, dict.fromkeys(slots, "any"))])
        said = [query[mention.start : mention.end] for mention in mentions]
        if said != [value_text(values[slot]) for slot in template.slots]:
            return False
    return True


def _key(text: str) -> str:
    """What is left of a text when case, spaces and punctuation do not count."""
    return " ".join(re.findall(r"\w+|[{}]", text.casefold()))
