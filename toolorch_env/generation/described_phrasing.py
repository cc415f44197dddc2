"""A workflow said in words that are made of the descriptions of its tools."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from toolorch_env.core.calls import ToolSet
from toolorch_env.core.tools import Tool
from toolorch_env.store.naming import snake_case
from toolorch_env.store.workflows import QueryArgument, ResponseArgument, Workflow, WorkflowStep

_SENTENCE = re.compile(r"(?<=[.!?])\s+(?=[A-Z])|\n\s*\n|;\s+")
_LABEL = re.compile(r"^(tool )?description\s*:\s*", re.IGNORECASE)
_ENVELOPE = re.compile(r"^\((\w+) \|\| @\)\.?")
_EXTREME = re.compile(r"(max|min)_by\(((?:\(\w+ \|\| @\))?[^,()&]*), &([\w.]+)\)\.?")
_PART = re.compile(r'\.?([A-Za-z_]\w*|"(?:[^"\\]|\\.)*")|\[(-?\d+)\]')
_ORDINALS = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth")
_LONGEST = 160


def phrase_workflow(workflow: Workflow, tools: ToolSet) -> tuple[str, ...]:
    """Phrasings of a workflow, made of the descriptions of its tools.

    Each says what every step is to find out, every literal as a ``{slot}``, and of every other argument which field of
    which earlier answer it is: "1. Get an airport by its code (iata: {iata}). 2. Get a country by its code, with the
    country code found in 1."

    Args:
        workflow: the workflow.
        tools: the tools that it calls.
    """
    return phrase_steps(workflow.order, tools)


def phrase_steps(steps: Sequence[WorkflowStep], tools: ToolSet) -> tuple[str, ...]:
    """The phrasings of steps in an order in which they can be made (see :func:`phrase_workflow`)."""
    purposes = [purpose(tools[step.tool], tools) for step in steps]
    places = {step.id: index for index, step in enumerate(steps)}
    return tuple(
        dict.fromkeys(
            (
                _numbered(steps, purposes, places),
                _narrated(steps, purposes, places),
                _asked(steps, purposes, places),
            )
        )
    )


def _numbered(steps: Sequence[WorkflowStep], purposes: Sequence[str], places: dict[str, int]) -> str:
    told = []
    for number, (step, what) in enumerate(zip(steps, purposes, strict=True), 1):
        given = [f"{words_of(name)}: {said}" for name, said in _arguments(step, places, "answer {number}")]
        told.append(f"{number}. {_capital(what)}" + (f" ({'; '.join(given)})." if given else "."))
    return " ".join(told)


def _narrated(steps: Sequence[WorkflowStep], purposes: Sequence[str], places: dict[str, int]) -> str:
    told = []
    for index, (step, what) in enumerate(zip(steps, purposes, strict=True)):
        given = [f"{said} as {words_of(name)}" for name, said in _arguments(step, places, "the {ordinal} answer")]
        opening = "To begin:" if not index else "Finally:" if index == len(steps) - 1 else "Then:"
        told.append(f"{opening} {_small(what)}" + (f", with {_listed(given)}." if given else "."))
    return " ".join(told)


def _asked(steps: Sequence[WorkflowStep], purposes: Sequence[str], places: dict[str, int]) -> str:
    told = []
    for step, what in zip(steps, purposes, strict=True):
        given = [f"{words_of(name)} = {said}" for name, said in _arguments(step, places, "result {number}")]
        told.append(_small(what) + (f" [{', '.join(given)}]" if given else ""))
    return f"I need the results, in this order, of: {'; '.join(told)}."


def _arguments(step: WorkflowStep, places: dict[str, int], answer: str) -> Iterator[tuple[str, str]]:
    """For each argument its parameter, and the value in words: literals first."""
    for name, argument in sorted(step.arguments.items(), key=lambda item: isinstance(item[1], ResponseArgument)):
        if isinstance(argument, QueryArgument):
            yield name, f"{{{argument.query}}}"
        else:
            place = places[argument.step]
            where = answer.format(number=place + 1, ordinal=_ordinal(place))
            yield name, f"{select_words(argument.select)} in {where}"


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
        return f"what `{_escaped(select)}` selects"
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
    return _ORDINALS[index] if index < len(_ORDINALS) else f"{index + 1}th"


def purpose(tool: Tool, tools: ToolSet) -> str:
    """What a tool does, without a full stop: the first sentence of its description that no other tool has.

    Where there is none, the words of its name.
    """
    shared = Counter(sentence for other in tools.values() for sentence in set(_sentences(other.description)))
    for sentence in _sentences(tool.description):
        text = _LABEL.sub("", sentence).rstrip(" .:;!?")
        if shared[sentence] == 1 and len(text.split()) > 1 and not text.lower().startswith("endpoint"):
            return _escaped(text if len(text) <= _LONGEST else f"{text[:_LONGEST].rsplit(' ', 1)[0]} ...")
    return words_of(tool.name)


def _sentences(description: str) -> list[str]:
    return [" ".join(sentence.split()) for sentence in _SENTENCE.split(description) if sentence.strip()]


def words_of(name: str) -> str:
    """A name in small words."""
    return _escaped(snake_case(name).replace("_", " ").strip() or name)


def _listed(items: Sequence[str]) -> str:
    return " and ".join([", ".join(items[:-1]), items[-1]] if len(items) > 1 else items)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _small(text: str) -> str:
    """A sentence as it stands within another: its first letter small, unless the first word is an abbreviation."""
    return text if text[:2].isupper() else text[:1].lower() + text[1:]


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
