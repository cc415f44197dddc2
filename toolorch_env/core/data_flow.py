"""Where the arguments of a trace come from: the query, an earlier response, or neither.

A trace is a sequence of calls with what they were answered. An argument that stands in an earlier response is bound to
it, unless chance explains that better. These rules decide, each for one argument:

1. A value that says nothing is never bound: null, a boolean, an empty text. Nor is one that the schema spells out.
2. A value that the call with this response had itself passed is no find in it: that the response repeats it tells
   nothing, and the value comes from wherever it came from there.
3. A value that the query says comes from the query. Only where the trace declares a dependency that no other argument
   explains does it come from the response of that call.
4. A value that is not specific (see :func:`is_specific`) stands in many responses by chance. It is bound only to a
   field that is named like the parameter, and only to a call that the trace declares as a dependency, where it
   declares any.
5. Among several places: those in calls that the trace declares come first, then places whose field is named like the
   parameter, then exact ones, then those in the earliest call, then the first in the body. (The earliest response is
   where the value became known; of the dependencies published with the paper, this finds the most.)

What a trace declares and no binding explains stays as pure order.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, NamedTuple

from toolorch_env.core.canonical import read_number, scalars, token, tokens
from toolorch_env.core.origins import Bodies, Path, Place, jmespath_of
from toolorch_env.core.tasks import Binding

SMALL_INTEGER = 100
"""Whole numbers nearer to zero than this count things, mostly; they are not specific."""

SHORT_TEXT = 3
"""Texts of at most this many characters are codes such as currencies, mostly; they are not specific."""

_DATE_OR_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d.*)?|\d{1,2}:\d\d(:\d\d)?")
_OPTION = re.compile(r"[a-z_]+|[A-Z_]+")
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")


def is_specific(value: Any) -> bool:
    """Whether a value is unlikely to stand in a response by chance.

    Fractions are specific, and so are whole numbers from 100 on (and below -99) and texts of more than three
    characters, but for dates, times, and words that name an option (``trending``, ``PREMIUM_ECONOMY``). Lists and
    objects are that hold something specific.
    """
    if isinstance(value, bool):
        return False
    if isinstance(value, int):
        return abs(value) >= SMALL_INTEGER
    if isinstance(value, str):
        number = read_number(value)
        return _is_specific_text(value) if number is None else is_specific(number)
    if isinstance(value, (dict, list)):
        return any(map(is_specific, scalars(value)))
    return isinstance(value, float)


def _is_specific_text(text: str) -> bool:
    return len(text) > SHORT_TEXT and not _DATE_OR_TIME.fullmatch(text) and not _OPTION.fullmatch(text)


def named_alike(parameter: str, path: Path) -> bool:
    """Whether the field that a path ends in is named like a parameter.

    All words of the shorter name are among those of the longer one: ``pick_up_latitude`` and ``latitude``, ``fromId``
    and ``id``, ``slug`` and ``productSlug``; not ``departDate`` and ``returnDate``.
    """
    key = next((part for part in reversed(path) if isinstance(part, str)), "")
    words, others = _words(parameter), _words(key)
    return bool(words and others) and (words <= others or others <= words)


def _words(name: str) -> set[str]:
    return {word.lower() for word in _WORD.findall(name)}


class Step(NamedTuple):
    """One call of a trace, as far as the flow of data goes.

    Attributes:
        arguments: its arguments, best as read through the tool's schema.
        body: what it was answered, parsed; anything that is no JSON container where that is not known.
        depends_on: indices of the earlier calls that the trace says it needs, ``None`` where it says nothing.
        choices: names of parameters whose values the schema spells out.
        turn: calls of one turn were made together, so none saw what the others were answered; ``None`` where the trace
            says nothing of turns.
    """

    arguments: Mapping[str, Any]
    body: Any = None
    depends_on: Collection[int] | None = None
    choices: Collection[str] = ()
    turn: int | None = None


class Explanation(StrEnum):
    """Where an argument comes from."""

    EXACT = "exact"
    """From a response that holds this very value."""
    ROUNDED = "rounded"
    """From a response that holds it with other decimals after the fourth."""
    QUERY = "query"
    """From the query; a list or an object, if the query says all scalars in it."""
    PARTS = "parts"
    """A list or an object whose scalars come from responses and from the query; it is bound to none."""
    NEITHER = "neither"
    """It stands nowhere: a default, a guess, or computed."""


@dataclass(frozen=True, slots=True)
class StepFlow:
    """Where the arguments of one call come from.

    Attributes:
        bindings: arguments that come from responses; all others are literals.
        after: declared dependencies that no binding explains, ascending.
        explanations: for each argument where it comes from.
        declared: number of declared dependencies.
        undeclared: number of calls that arguments are bound to though the trace, which declares dependencies, does
            not declare these.
    """

    bindings: tuple[Binding, ...]
    after: tuple[int, ...]
    explanations: Mapping[str, Explanation]
    declared: int = 0
    undeclared: int = 0


def find_flow(steps: Sequence[Step], in_query: Callable[[Any], bool]) -> tuple[StepFlow, ...]:
    """For each call of a trace, which of its arguments are bound to which response (rules at the top).

    Args:
        steps: the calls, in order.
        in_query: whether the query says a value.
    """
    bodies = Bodies([step.body for step in steps])
    return tuple(_CallSearch(steps, index, bodies, in_query).flow() for index in range(len(steps)))


class _CallSearch:
    """Looks for the sources of one call's arguments."""

    def __init__(self, steps: Sequence[Step], index: int, bodies: Bodies, in_query: Callable[[Any], bool]) -> None:
        self._steps, self._bodies = steps, bodies
        self._in_query = in_query
        self._call = steps[index]
        self._declared = frozenset(self._call.depends_on or ())
        turn = self._call.turn
        self._seen = index if turn is None else next(i for i, step in enumerate(steps) if step.turn == turn)

    def flow(self) -> StepFlow:
        arguments = self._call.arguments
        places = {name: self._best_place(name, value) for name, value in arguments.items()}
        said = {name for name, value in arguments.items() if self._says(value)}
        bound = {name: place for name, place in places.items() if place is not None and name not in said}
        for name, place in places.items():
            if name in said and place is not None and place.step in self._declared - _steps_of(bound):
                bound[name] = place
        return StepFlow(
            bindings=tuple([Binding(name, place.step, jmespath_of(place.path)) for name, place in bound.items()]),
            after=tuple(sorted(self._declared - _steps_of(bound))),
            explanations={
                name: self._explain(value, bound.get(name), name in said) for name, value in arguments.items()
            },
            declared=len(self._declared),
            undeclared=len(_steps_of(bound) - self._declared) if self._call.depends_on is not None else 0,
        )

    def _says(self, value: Any) -> bool:
        """Whether the query says a value, of a list or an object every scalar."""
        if isinstance(value, (dict, list)):
            parts = [item for item in scalars(value) if token(item) is not None]
            return bool(parts) and all(map(self._in_query, parts))
        return token(value) is not None and self._in_query(value)

    def _explain(self, value: Any, place: Place | None, said: bool) -> Explanation:
        if place is not None:
            return Explanation.EXACT if place.exact else Explanation.ROUNDED
        if said:
            return Explanation.QUERY
        if isinstance(value, (dict, list)) and value and self._known(value):
            return Explanation.PARTS
        return Explanation.NEITHER

    def _known(self, value: Any) -> bool:
        """Whether every scalar of a list or an object stands in the query or in an earlier response."""
        return all(
            token(item) is None or self._says(item) or any(True for _ in self._bodies.places(item, self._seen))
            for item in scalars(value)
        )

    def _best_place(self, name: str, value: Any) -> Place | None:
        if name in self._call.choices:
            return None
        specific = is_specific(value)
        places = [p for p in self._bodies.places(value, self._seen) if specific or self._is_meant(name, p)]
        echoes = {step for step in {p.step for p in places} if _passes(self._steps[step].arguments, value)}
        told = (place for place in places if place.step not in echoes)
        return min(told, key=lambda place: self._rank(name, place), default=None)

    def _is_meant(self, name: str, place: Place) -> bool:
        return named_alike(name, place.path) and (self._call.depends_on is None or place.step in self._declared)

    def _rank(self, name: str, place: Place) -> tuple[Any, ...]:
        undeclared = place.step not in self._declared
        return undeclared, not named_alike(name, place.path), not place.exact, place.step


def _steps_of(bound: Mapping[str, Place]) -> set[int]:
    return {place.step for place in bound.values()}


def _passes(arguments: Mapping[str, Any], value: Any) -> bool:
    """Whether a call passes ``value`` itself, alone or within a list or an object."""
    text = token(value)
    return any(value == given if text is None else text in tokens(given) for given in arguments.values())
