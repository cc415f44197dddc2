"""Styles of composed queries: each a function from the steps to sentences."""

from collections.abc import Callable, Iterator

from toolorch_env.generation.constraints import Style
from toolorch_env.generation.told_steps import ToldSteps

_GREETINGS = (
    "Hello! I hope you can help me with something.",
    "Hi there, I have been putting this off for a while.",
    "Good morning! My head is spinning, so I would rather leave this to you.",
    "Hey, sorry to bother you again.",
)
_BEGINNINGS = ("Could you please {}?", "What I need first: {}.", "Would you {} for me?")
_MIDDLES = ("Once you have that, please {}.", "It would be great if you could also {}.", "After that, {}, please.")
_ENDINGS = ("And the last bit, I promise: {}.", "If you could then {}, that would be lovely.", "And then please {}.")
_THANKS = ("Thanks a lot!", "No hurry, really.", "You are a star.", "Thank you so much in advance.")


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _plain(told: ToldSteps) -> Iterator[str]:
    last = len(told.clauses) - 1
    for index in range(last + 1):
        clause = told.introduced(index)
        if not index:
            opening = told.draws.choose(["", "First, ", "To begin with, "]) if last else ""
        elif index == last:
            opening = told.draws.choose(["Finally, ", "Then, as the last thing, ", "In the end, "])
        else:
            opening = told.draws.choose(["Then ", "After that, ", "Next, "])
        yield f"{_capital(opening + clause)}."


def _numbered(told: ToldSteps) -> Iterator[str]:
    brackets = told.draws.choose(["{}. {}.", "({}) {}.", "Step {}: {}."])
    for index in range(len(told.clauses)):
        yield brackets.format(index + 1, _capital(told.introduced(index)))


def _terse(told: ToldSteps) -> Iterator[str]:
    separator = told.draws.choose(["; ", "; then ", " / ", ", then "])
    said = separator.join(told.introduced(index) for index in range(len(told.clauses)))
    yield f"{_capital(said)}."


def _chatty(told: ToldSteps) -> Iterator[str]:
    yield told.draws.choose(_GREETINGS)
    last = len(told.clauses) - 1
    for index in range(last + 1):
        clause = told.introduced(index)
        if not index:
            sentence = told.draws.choose(_BEGINNINGS)
        else:
            sentence = told.draws.choose(_ENDINGS if index == last else _MIDDLES)
        yield sentence.format(clause)
    yield told.draws.choose(_THANKS)


def _backward(told: ToldSteps) -> Iterator[str]:
    last = len(told.clauses) - 1
    for index in range(last, -1, -1):
        clause = told.introduced(index)
        if index == last:
            opening = told.draws.choose(["What I want in the end: ", "The goal is to ", "Last of all, "])
        elif index:
            opening = told.draws.choose(["Before that, ", "Some time before, ", "Ahead of it, "])
        else:
            opening = told.draws.choose(["Before all of this, ", "What comes first, though: ", "To begin with, "])
        yield f"{_capital(opening + clause)}."


COMPOSED: dict[Style, Callable[[ToldSteps], Iterator[str]]] = {
    "plain": _plain,
    "numbered": _numbered,
    "terse": _terse,
    "chatty": _chatty,
    "backward": _backward,
}
