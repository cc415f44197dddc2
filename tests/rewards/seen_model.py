"""What an agent has seen, worked out anew in the plainest way: the independent side of parity tests."""

import json
import re
from collections.abc import Iterable
from typing import Any

from toolorch_env.core.episode import Episode
from toolorch_env.core.responses import RECORDED_SOURCES
from toolorch_env.core.scoring import Step
from toolorch_env.core.tasks import Task


def leaves(value: Any) -> set[str]:
    """Every text and number in a JSON value, as text; numbers with four decimals at most."""
    if isinstance(value, dict):
        return {leaf for key, item in value.items() for leaf in {key} | leaves(item)}
    if isinstance(value, list):
        return {leaf for item in value for leaf in leaves(item)}
    if isinstance(value, bool) or value is None:
        return set()
    if isinstance(value, str):
        return {value} | ({number_text(float(value))} if re.fullmatch(r"-?(0|[1-9]\d*)(\.\d+)?", value) else set())
    return {number_text(value)}


def number_text(number: float) -> str:
    """A number as text."""
    number = round(number, 4)
    return str(int(number)) if number == int(number) else repr(number)


def stands_in_query(task: Task, leaf: str) -> bool:
    """Whether a value is mentioned in the query or stands there as a word, not as a part of a longer number or date."""
    if any(leaf in leaves(mention.value) for mention in task.mentions):
        return True
    before = r"(?<!\w)" + (r"(?<!-)(?<!\d[.,:/-])" if leaf[:1].isdigit() else "")
    after = r"(?!\w)" + (r"(?![.,:/-]\d)" if leaf[-1:].isdigit() else "")
    return bool(leaf) and re.search(before + re.escape(leaf) + after, task.query) is not None


def heard_before(episode: Episode, turn: int) -> set[str]:
    """What recorded responses of earlier turns told, each without what its own call had put into it."""
    heard: set[str] = set()
    for step in episode.steps:
        if step.turn < turn and step.response.source in RECORDED_SOURCES and step.canonical is not None:
            heard |= leaves(json.loads(step.response.raw)) - leaves(step.canonical.arguments)
    return heard


def bound_values(episode: Episode, index: int, step: Step) -> Iterable[Any]:
    """The values of a call that the reference takes from responses."""
    assert step.canonical is not None
    names = {binding.parameter for binding in episode.task.reference[index].bindings}
    return [value for name, value in step.canonical.arguments.items() if name in names]


def was_allowed(episode: Episode, index: int, step: Step) -> bool:
    """Whether a call could know all it passes for reference call ``index``, and came after what it must come after."""
    heard = heard_before(episode, step.turn)
    values = [leaf for value in bound_values(episode, index, step) for leaf in leaves(value)]
    completed = {s.match.step for s in episode.steps if s.match.completes and s.turn < step.turn}
    return completed.issuperset(episode.task.reference[index].after) and all(
        leaf in heard or stands_in_query(episode.task, leaf) for leaf in values
    )
