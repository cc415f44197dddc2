"""The problems of BFCL's multi-turn categories, as its files tell them."""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.errors import DataSetError
from toolorch_env.recording.importing.bfcl.package import Package, read_objects

CATEGORIES = ("multi_turn_base", "multi_turn_miss_func", "multi_turn_miss_param", "multi_turn_long_context")
"""BFCL's multi-turn categories of problems, 200 each."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """How the back ends of a problem are set up.

    Attributes:
        classes: names of the back ends.
        config: what each is set up with, by name.
        long_context: whether the back ends are filled with much that nobody asks for.
    """

    classes: tuple[str, ...]
    config: Mapping[str, Any]
    long_context: bool

    @property
    def name(self) -> str:
        """A short hash of all that it is: equal scenarios have one name, on every machine."""
        described = canonical_json([self.classes, self.config, self.long_context])
        return blake2b(described, digest_size=8).hexdigest()


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with its solution.

    Attributes:
        id: BFCL's.
        category: one of :data:`CATEGORIES`.
        query: what the user asks for, all turns.
        scenario: where it begins.
        calls: the calls of the solution, in order.
        turns: for each call the number of its turn, from 0.
    """

    id: str
    category: str
    query: str
    scenario: Scenario
    calls: tuple[Call, ...]
    turns: tuple[int, ...]


def read_problems(package: Package, category: str) -> Iterator[Problem | DataSetError]:
    """The problems of a category; for one that cannot be understood, why.

    Raises:
        DataSetError: the category's files are missing or damaged.
    """
    parameters = package.parameters()
    file = f"BFCL_v4_{category}.json"
    solutions = {entry["id"]: entry["ground_truth"] for entry in read_objects(package.data / "possible_answer" / file)}
    for entry in read_objects(package.data / file):
        try:
            yield _problem(entry, category, solutions[entry["id"]], parameters)
        except DataSetError as error:
            yield DataSetError(f"{entry['id']}: {error}")
        except (KeyError, TypeError, AttributeError) as error:
            yield DataSetError(f"{entry.get('id')}: it is not told as expected: {type(error).__name__}: {error}")


def _problem(
    entry: Mapping[str, Any], category: str, solution: Sequence[Sequence[str]], parameters: Mapping[str, Sequence[str]]
) -> Problem:
    calls = [(turn, parse_call(text, parameters)) for turn, texts in enumerate(solution) for text in texts]
    if not calls:
        raise DataSetError("its solution makes no calls")
    classes = tuple(sorted(entry["involved_classes"]))
    config = {name: entry["initial_config"][name] for name in classes if name in entry["initial_config"]}
    return Problem(
        id=entry["id"],
        category=category,
        query=_query(entry["question"]),
        scenario=Scenario(classes, config, long_context="long_context" in category),
        calls=tuple(call for _, call in calls),
        turns=tuple(turn for turn, _ in calls),
    )


def _query(turns: Sequence[Sequence[Mapping[str, str]]]) -> str:
    """What the user says in all turns, numbered where there are several; turns without words are left out."""
    said = [message["content"].strip() for turn in turns for message in turn if message["role"] == "user"]
    said = [text for text in said if text]
    return said[0] if len(said) == 1 else "\n".join(f"{number}. {text}" for number, text in enumerate(said, 1))


def parse_call(text: str, parameters: Mapping[str, Sequence[str]]) -> Call:
    """A call that is written as Python, such as ``cd(folder='document')``; nothing of it is executed.

    Args:
        text: the call.
        parameters: for each tool the names of its parameters, in their order.

    Raises:
        DataSetError: it is no call of one of the tools with literal arguments.
    """
    try:
        node = ast.parse(text.strip(), mode="eval").body
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            raise ValueError("it is not a call of a function")
        tool = node.func.id
        if tool not in parameters:
            raise ValueError(f"there is no tool {tool}")
        if len(node.args) > len(parameters[tool]) or not all(keyword.arg for keyword in node.keywords):
            raise ValueError("its arguments are too many, or unpacked")
        arguments = {name: ast.literal_eval(value) for name, value in zip(parameters[tool], node.args, strict=False)}
        arguments |= {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
    except (ValueError, SyntaxError, RecursionError, MemoryError) as error:
        raise DataSetError(f"the call {text!r} cannot be read: {error}") from None
    return Call(tool, arguments)
