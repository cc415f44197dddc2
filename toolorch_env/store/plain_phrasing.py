"""A workflow said in plain words, for where nobody has phrased it."""

import re
from collections.abc import Iterator, Sequence

from toolorch_env.store.workflows import Argument, QueryArgument, WorkflowStep

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+|[^\W\d_a-zA-Z]+")
"""Runs of capitals, capitalised or small words, numbers, and letters of other alphabets."""


def plain_phrasing(steps: Sequence[WorkflowStep]) -> str:
    """A phrasing that names every step with its arguments, made from the names of tools and parameters.

    It says each literal as a ``{slot}``, and each selection as the expression on the answer that it is taken from:
    "Search car location with query {query}; then search car rentals with pick up date {pick_up_date} and latitude from
    `data[0].latitude` of answer 1."

    Args:
        steps: the steps of a workflow, in an order in which they can be made; at least one.

    Returns:
        A phrasing with exactly the literals of the steps as slots; other braces are escaped.
    """
    answers = {step.id: number for number, step in enumerate(steps, 1)}
    said = "; then ".join(_step(step, answers) for step in steps)
    return f"{said[:1].upper()}{said[1:]}."


def _step(step: WorkflowStep, answers: dict[str, int]) -> str:
    arguments = list(_arguments(step, answers))
    tool = _words(step.tool)
    if not arguments:
        return tool
    listed = ", ".join(arguments[:-1])
    return f"{tool} with {listed} and {arguments[-1]}" if listed else f"{tool} with {arguments[-1]}"


def _arguments(step: WorkflowStep, answers: dict[str, int]) -> Iterator[str]:
    """The arguments of a step in words, literals first."""
    for name, argument in sorted(step.arguments.items(), key=lambda item: not isinstance(item[1], QueryArgument)):
        yield f"{_words(name)} {_value(argument, answers)}"


def _value(argument: Argument, answers: dict[str, int]) -> str:
    if isinstance(argument, QueryArgument):
        return f"{{{argument.query}}}"
    return f"from `{_escaped(argument.select)}` of answer {answers[argument.step]}"


def _words(name: str) -> str:
    """A name in small words: ``Search_Car_Location`` and ``searchCarLocation`` are ``search car location``."""
    return " ".join(_WORDS.findall(name)).lower() or _escaped(name)


def _escaped(text: str) -> str:
    return text.replace("{", "{{").replace("}", "}}")
