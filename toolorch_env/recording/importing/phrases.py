"""Parts of an English text that have the form of a value: quotations, numbers, codes, names, options.

Each function finds one form and knows nothing of the others, so what they find may overlap.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import TypeVar

from toolorch_env.core.canonical import read_number
from toolorch_env.core.tasks import Mention

Item = TypeVar("Item")

MAX_COMMA_PARTS = 4
"""A name has at most this many parts with commas between them."""

_QUOTED = re.compile(
    r"\"([^\"\n]{1,80})\"|“([^”\n]{1,80})”|«([^»\n]{1,80})»|`([^`\n]{1,80})`|\*\*([^*\n]{1,80})\*\*"
    r"|(?<![\w\u2019'])[\u2018']([^\u2018\u2019'\n]{2,80})[\u2019'](?!\w)"
)
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
_CODE = re.compile(r"(?<![\w@.:/+=-])[^\W_]\w*(?:[.:/+=-]+\w+)*=*")
_DIGITS_WITH_WORD = re.compile(r"[0-9.]+-?(?:[a-z]{1,2}|[a-z-]{3,})")
_NUMBER = re.compile(
    r"(?<![\w.,:/])[-\u2212]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]+)?(?=(?:km|mi|m|kg|h)?(?!\w))(?![:/]|,[0-9]{3}|\.[0-9])"
)
_LIST_MARK = re.compile(r"^[^\S\n]*[0-9]+[.)]\s|\([0-9]+\)\s", re.MULTILINE)
_UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_TENS_AND_UNITS = rf"(?P<tens>{'|'.join(_TENS)})(?:[ -](?P<rest>{'|'.join(_UNITS[1:10])}))?"
_NUMBER_WORDS = re.compile(rf"\b(?:{_TENS_AND_UNITS}|(?P<units>{'|'.join(_UNITS[2:])}))\b", re.IGNORECASE)
_WORD = re.compile(r"(?:[^\W\d_]\.){1,9}(?=[ ,)])|(?:St|Mt|Dr)\.(?= )|[^\W\d_](?:[\w\u2019'&-]*\w)?")
_CONNECTION = re.compile(r" (?:(?:of|the|de|del|della|di|da|do|du|la|le|van|von|y|&) ){0,2}")
_SENTENCE_START = re.compile(r"(?:^|[.!?:;\n*]|\n\s*-)[\s\"”\u2019)“\u2018(*]*(?:[0-9]+[.)]\s*)?$")
_FULL_STOP = re.compile(r"(?:^|[.!?]\s|\n)[\s\"”\u2019)(*]*$")
_AND_GOES_ON = re.compile(r" [a-zß-ÿ(0-9]")
_ONE_MORE = re.compile(r",? (?:and|or|&) (?:the )?(?=[^\W\d_])(?P<letter>.)")
_POSSESSIVE = re.compile(r"[\u2019']s$")
_OPTIONS = re.compile(r"`?\w+`?(?:, `?\w+`?)*,? or `?\w+`?")
_CHOICE = re.compile(r"[A-Z][A-Z_]{2,}|[a-z]+(?:_[a-z]+)+")

_STARTERS = """
    a about additionally after again all also an and another any are as at based be before book both but by can
    check compare confirm could display do does don during each finally find first for from get give go hello help
    here hi how i identify if in instead is it last lastly leg let list look looking make my need next no now of on
    once one our plan please price provide pull recommend retrieve return search second see separately show since so
    some sort specifically start step tell thank thanks that the their them then there these they third this those
    three to today tomorrow tonight two use using via was we were what when where which while who with would you
    your
"""
STARTERS = frozenset(re.findall(r"\w+", _STARTERS))
"""Words that begin sentences, and are capitalised there without being names."""


def find_quoted(text: str) -> Iterator[Mention]:
    """What stands in quotation marks or is set off, without the marks and punctuation at its end."""
    for match in _QUOTED.finditer(text):
        start, end = match.span(match.lastindex or 0)
        said = text[start:end].rstrip(" ,;:!?")
        said = said[:-1] if said.endswith(".") and not re.search(r"\b\w\.$", said) else said
        start += len(said) - len(said.lstrip())
        if said.strip():
            yield mention_of(said.strip(), start)


def mention_of(text: str, start: int) -> Mention:
    """The mention of a text as it stands, of the kind that its form tells."""
    if read_number(text) is not None:
        kind = "number"
    elif _EMAIL.fullmatch(text):
        kind = "email"
    elif _CODE.fullmatch(text) and _is_code(text):
        kind = "code"
    else:
        kind = "name" if text[:1].isupper() else "text"
    return Mention(text, kind, start, start + len(text))


def find_emails(text: str) -> Iterator[Mention]:
    """E-mail addresses."""
    return (Mention(match[0], "email", *match.span()) for match in _EMAIL.finditer(text))


def find_codes(text: str) -> Iterator[Mention]:
    """Words that mix letters with digits, underscores or inner punctuation, or are all capitals."""
    return (Mention(match[0], "code", *match.span()) for match in _CODE.finditer(text) if _is_code(match[0]))


def _is_code(text: str) -> bool:
    letters = [letter for letter in text if letter.isalpha()]
    if not letters or _DIGITS_WITH_WORD.fullmatch(text):  # 4-year-old, 10km, 1st
        return False
    capitals = len(letters) > 1 and all(letter.isupper() for letter in letters)
    return capitals or "_" in text or any(letter.isdigit() for letter in text)


def find_numbers(text: str) -> Iterator[Mention]:
    """Numbers in digits, as texts in JSON notation: ``1,200`` is ``1200``. Marks of numbered lists are none."""
    marks = [match.span() for match in _LIST_MARK.finditer(text)]
    for match in _NUMBER.finditer(text):
        if not any(start <= match.start() < end for start, end in marks):
            said = match[0].replace(",", "").replace("\u2212", "-")
            yield Mention(said, "number" if read_number(said) is not None else "code", *match.span())


def find_number_words(text: str) -> Iterator[Mention]:
    """Numbers in words from two to ninety-nine. ``one`` is an article more often than a number."""
    for match in _NUMBER_WORDS.finditer(text):
        if match["units"]:
            number = _UNITS.index(match["units"].lower())
        else:
            number = 20 + 10 * _TENS.index(match["tens"].lower()) + _UNITS.index((match["rest"] or "zero").lower())
        yield Mention(str(number), "number", *match.span())


def find_names(text: str) -> Iterator[Mention]:
    """Runs of capitalised words, with small words such as ``of`` between them.

    Names with commas between them are one (``Banff National Park, Alberta``), unless they are enumerated: when ``and``
    or ``or`` leads to one more name, when there are more than four, or when the first is a code (``JFK, LGA``).
    """
    for chain in _grouped(_runs(text), lambda one, other: text[one.end : other.start] == ", "):
        one_more = _ONE_MORE.match(text, chain[-1].end)
        enumerated = chain[0].kind == "code" or (one_more and one_more["letter"].isupper())
        if len(chain) == 1 or len(chain) > MAX_COMMA_PARTS or enumerated:
            yield from chain
        else:
            start, end = chain[0].start, chain[-1].end
            yield mention_of(text[start:end], start)


def _runs(text: str) -> Iterator[Mention]:
    words = [word for word in _WORD.finditer(text) if _is_capitalised(word, text)]
    for run in _grouped(words, lambda one, other: _CONNECTION.fullmatch(text, one.end(), other.start()) is not None):
        start, end = run[0].start(), run[-1].end()
        yield mention_of(_POSSESSIVE.sub("", text[start:end]), start)


def _grouped(items: Iterable[Item], linked: Callable[[Item, Item], bool]) -> Iterator[list[Item]]:
    """Items in groups in which each is linked with the next."""
    group: list[Item] = []
    for item in items:
        if group and not linked(group[-1], item):
            yield group
            group = []
        group.append(item)
    if group:
        yield group


def _is_capitalised(word: re.Match[str], text: str) -> bool:
    first = re.split("[\u2019']", word[0])[0]
    if not word[0][0].isupper() or first == "I":
        return False
    verb = _AND_GOES_ON.match(text, word.end()) and _FULL_STOP.search(text, max(0, word.start() - 40), word.start())
    begins = first.lower() in STARTERS and begins_sentence(text, word.start())
    part_of_word = text[word.start() - 1 : word.start()] in ("_", "-", ".", "@")
    return not (begins or verb or part_of_word)


def begins_sentence(text: str, start: int) -> bool:
    """Whether a sentence, or an item of a list, begins at a character of a text."""
    return _SENTENCE_START.search(text, max(0, start - 40), start) is not None


def find_options(text: str, options: Collection[str]) -> Iterator[Mention]:
    """Words that say one of the options: ``economy`` and ``Premium-Economy`` for ``ECONOMY`` and ``PREMIUM_ECONOMY``.

    A word that begins a sentence says none (``First, ...``).
    """
    by_words = {_words_of(option): option for option in sorted(options) if _words_of(option)}
    if not by_words:
        return
    alternatives = "|".join(
        r"[\s_\u2011-]+".join(map(re.escape, words.split())) for words in sorted(by_words, key=len, reverse=True)
    )
    for match in re.finditer(rf"(?<!\w)(?:{alternatives})(?!\w)", text, re.IGNORECASE):
        if match[0].isupper() or match[0][0].islower() or not begins_sentence(text, match.start()):
            said = match[0] if match[0] in options else by_words[_words_of(match[0])]
            yield Mention(said, "option", *match.span())


def _words_of(option: str) -> str:
    return " ".join(re.split(r"[\s_\u2011-]+", option)).lower().strip()


def spelled_options(descriptions: Iterable[str]) -> frozenset[str]:
    """Options that descriptions of parameters spell out in a row (``either ECONOMY, BUSINESS or FIRST``)."""
    found: set[str] = set()
    for description in descriptions:
        for match in _OPTIONS.finditer(description):
            words = re.findall(r"\w+", match[0].replace(" or ", " , "))
            if any(_CHOICE.fullmatch(word) for word in words):
                found.update(words)
    return frozenset(found)
