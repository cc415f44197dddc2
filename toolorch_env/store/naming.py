"""Whether two names mean the same: of a parameter, and of a field in a response."""

import re
from functools import lru_cache

Words = tuple[str, ...]

IDENTIFIERS = frozenset(
    {"id", "code", "name", "key", "number", "uuid", "guid", "slug", "identifier", "ref", "reference", "symbol"}
    | {"handle", "login", "username", "iso", "sku"}
)
"""Words for what tells one thing from others of its kind."""

_VAGUE = IDENTIFIERS | {"type", "kind", "status", "state", "title", "label", "value", "text", "url", "link", "time"}
_PAGING = frozenset({"limit", "offset", "page", "size", "count", "total", "sort", "order", "skip", "top"})
_SEARCHES = frozenset({"q", "query", "text", "term", "keyword", "search", "phrase"})
_VERBS = frozenset(
    {"get", "list", "search", "find", "fetch", "show", "read", "query", "lookup", "retrieve", "describe", "view"}
    | {"browse", "all", "the", "a", "an", "detail", "info", "information", "api", "v1", "v2", "v3", "look", "up", "one"}
)
_ENVELOPES = frozenset(
    {"data", "result", "item", "record", "row", "entry", "response", "content", "value", "list", "payload", "body"}
    | {"hit", "object", "element", "collection", "embedded", "match"}
)
_PREPOSITIONS = frozenset({"by", "for", "in", "of", "from", "with", "near", "at", "on", "to"})
_NEW_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_]+")


@lru_cache(maxsize=4096)
def words(name: str) -> Words:
    """The words of a name in camelCase, snake_case or kebab-case, in lower case and in the singular."""
    return tuple(_singular(word.lower()) for word in _WORD.findall(name))


def _singular(word: str) -> str:
    if len(word) > 4 and word.endswith("ies"):
        return word[:-3] + "y"
    if len(word) > 4 and word.endswith(("sses", "xes", "ches", "shes")):
        return word[:-2]
    plural = len(word) > 2 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return word[:-1] if plural else word


@lru_cache(maxsize=4096)
def subject(tool: str) -> Words:
    """The words for what a tool is about: those of its name up to a preposition, without verbs and identifiers."""
    found: list[str] = []
    for word in words(tool):
        if word in _PREPOSITIONS and found:
            break
        if word not in _VERBS | _PREPOSITIONS | IDENTIFIERS:
            found.append(word)
    return tuple(found)


def is_envelope(name: Words) -> bool:
    """Whether a name says nothing about what stands under it, as ``data`` and ``results``."""
    return all(word in _ENVELOPES for word in name)


def is_vague(name: Words) -> bool:
    """Whether a name says nothing without knowing whose it is, as ``id`` and ``name``."""
    return len(name) == 1 and name[0] in _VAGUE


def is_search(name: Words) -> bool:
    """Whether a parameter takes any text that is searched for."""
    return len(name) > 0 and name[-1] in _SEARCHES


@lru_cache(maxsize=1 << 16)
def name_match(parameter: Words, about: Words, field: Words, owner: Words) -> float:
    """How far a parameter and a field are the same thing by their names, from 0 to 1.

    Args:
        parameter: words of the parameter's name.
        about: what the parameter's tool is about.
        field: words of the field's name.
        owner: words for what holds the field.
    """
    if not parameter or not field or parameter[-1] in _PAGING or field[-1] in _PAGING:
        return 0.0
    if is_vague(parameter):
        return _vague_match(parameter, about, field, owner)
    if parameter == field:
        return 1.0
    if is_vague(field):
        return _owner_match(parameter, field, owner)
    return _partial_match(parameter, field)


def _vague_match(parameter: Words, about: Words, field: Words, owner: Words) -> float:
    """For a parameter such as ``id``, of a tool about an owner: ``owner.id``, ``owner_id``."""
    if field == parameter:
        if about and owner and about[-1] == owner[-1]:
            return 0.9
        return 0.65 if set(about) & set(owner) else 0.0
    whose = field[:-1]
    return 0.95 if field[-1:] == parameter and whose and set(whose) <= set(about) else 0.0


def _owner_match(parameter: Words, field: Words, owner: Words) -> float:
    """For a field such as ``owner.id``: the parameters ``owner_id``, ``owner``."""
    if parameter[-1:] == field:
        return 0.95 if parameter[-2] in owner else 0.0
    if field[0] in IDENTIFIERS and parameter[-1] not in IDENTIFIERS:
        return 0.85 if owner and parameter[-1] == owner[-1] else 0.0
    return 0.0


def _partial_match(parameter: Words, field: Words) -> float:
    if field[-len(parameter) :] == parameter:
        return 0.7
    core, field_core = _core(parameter), _core(field)
    rests = {parameter[len(core) :], field[len(field_core) :]} - {()}
    if field_core[-len(core) :] == core and len(rests) < 2:
        return 0.6
    if parameter[-len(field) :] == field:
        return 0.55
    return 0.3 if core == field_core else 0.0


def _core(name: Words) -> Words:
    """A name without the vague words at its end, if anything is left."""
    end = len(name)
    while end > 1 and name[end - 1] in _VAGUE:
        end -= 1
    return name[:end]


def snake_case(name: str) -> str:
    """A name in small words with underscores, as workflows and kinds have it: ``pickUpDate`` is ``pick_up_date``."""
    found = re.sub(r"[^A-Za-z0-9]+", "_", _NEW_WORD.sub("_", name)).strip("_").lower()
    return found if found[:1].isalpha() else f"_{found}"
