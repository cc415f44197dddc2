"""Words for tools and selections, made of what tools say of themselves."""

import re
from collections import Counter

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.tools import Tool
from toolorch_env.store.grammar import escaped
from toolorch_env.store.naming import snake_case

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n|;\s+")
_LABEL = re.compile(r"^(tool )?description\s*:\s*", re.IGNORECASE)
_ENVELOPE = re.compile(r"^\((\w+) \|\| @\)\.?")
_EXTREME = re.compile(r"(max|min)_by\(((?:\(\w+ \|\| @\))?[^,()&]*), &([\w.]+)\)\.?")
_PART = re.compile(r'\.?([A-Za-z_]\w*|"(?:[^"\\]|\\.)*")|\[(-?\d+)\]')
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_LONGEST = 160


def select_words(select: str) -> str:
    """A selection in words.

    ``max_by(routes, &distance).code`` is "the code of the one with the largest distance among the routes". What is more
    than a path, or an extreme element and a path, is quoted as it is.
    """
    rest, within = _ENVELOPE.sub("", select), ""
    if extreme := _EXTREME.match(rest):
        among = path_words(_ENVELOPE.sub("", extreme[2])) or "the list"
        how = "largest" if extreme[1] == "max" else "smallest"
        within = f"the one with the {how} {words_of(extreme[3].replace('.', '_'))} among {among}"
        rest = rest[extreme.end() :]
    said = path_words(rest)
    if rest and not said:
        return f"what `{escaped(select)}` selects"
    return f"{said} of {within}" if said and within else said or within


def path_words(path: str) -> str:
    """A path of keys and indices in words, empty where it is none.

    ``flights[0].id`` is "the id of the first of the flights".
    """
    said, end = "", 0
    for part in _PART.finditer(path):
        if part.start() != end:
            return ""
        end = part.end()
        if part[1]:
            name = words_of(part[1].strip('"'))
            said = f"the {name} of {said}" if said else f"the {name}"
        else:
            said = f"{_nth(int(part[2]))} of {said or 'the list'}"
    return said if end == len(path) else ""


def _nth(index: int) -> str:
    if index == -1:
        return "the last"
    return f"number {-index} from the end" if index < 0 else f"the {_ordinal(index)}"


def _ordinal(index: int) -> str:
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}{ordinal_ending(index + 1)}"


def ordinal_ending(number: int) -> str:
    """What follows a number that counts a place: ``st`` after 21."""
    return "th" if 11 <= number % 100 <= 13 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")


def purpose(tool: Tool, tools: ToolSet) -> str:
    """What a tool does, without a full stop: the first sentence of its description that no other tool has.

    Where there is none, the words of its name.
    """
    shared = Counter(sentence for other in tools.values() for sentence in set(_sentences(other.description)))
    for sentence in _sentences(tool.description):
        text = _LABEL.sub("", sentence).rstrip(" .:;!?")
        if shared[sentence] == 1 and len(text.split()) > 1 and not text.lower().startswith("endpoint"):
            return escaped(text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} ...")
    return words_of(tool.name)


def _sentences(description: str) -> list[str]:
    return [" ".join(sentence.split()) for sentence in _SENTENCE.split(description) if sentence.strip()]


def words_of(name: str) -> str:
    """A name in small words."""
    return escaped(snake_case(name).replace("_", " ").strip() or name)


def small(text: str) -> str:
    """A sentence as it stands within another: its first letter small, unless the first word is an abbreviation."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]
