"""Bodies of one tool that are wrapped at one time and bare at another: both hold the same places.

Some data sets keep ``{"data": {"id": 7}}`` for one call of a tool and ``{"id": 7}`` for another. The value at
``data.id`` of the one is that at ``id`` of the other, and ``(data || @).id`` selects either.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from toolorch_env.core.episode import Replay
from toolorch_env.core.progress import Reference
from toolorch_env.core.tasks import Task
from toolorch_env.store.selection import Selector

_KEY = r'(?:[A-Za-z_][A-Za-z0-9_]*|"(?:[^"\\]|\\.)*")'
_PATH = re.compile(rf"(?:{_KEY}|\[-?[0-9]+\])(?:\.{_KEY}|\[-?[0-9]+\])*")
"""Paths of keys and indices; other expressions cannot be put behind another one."""

_WRAPPED = re.compile(rf"({_KEY})\.?(.+)", re.DOTALL)


def find_envelopes(tasks: Iterable[Task], replay: Replay) -> dict[str, str]:
    """For each tool whose bodies are wrapped at times, the key that they are wrapped under.

    A key is an envelope of a tool if the tasks take a value both from below that key and from the same place without
    it, and if every value that they take from the tool is found as well when the key is left out where it is missing.

    Args:
        tasks: the tasks.
        replay: answers their calls.
    """
    tasks = list(tasks)
    found = {}
    for tool, selects in sorted(_selections(tasks).items()):
        for envelope in sorted(_candidates(selects)):
            if all(_holds(task, tool, envelope, replay) for task in tasks):
                found[tool] = envelope
                break
    return found


def without_envelope(select: str, envelope: str) -> str:
    """``data.id`` and ``id`` as ``(data || @).id``; what is no path of keys and indices stays as it is."""
    if not _PATH.fullmatch(select):
        return select
    wrapped = _WRAPPED.fullmatch(select)
    rest = wrapped[2] if wrapped and wrapped[1] == envelope else select
    return f"({envelope} || @){'' if rest.startswith('[') else '.'}{rest}"


def _selections(tasks: Iterable[Task]) -> dict[str, set[str]]:
    """Everything that is selected from responses of each tool."""
    found: dict[str, set[str]] = {}
    for task in tasks:
        for call in task.reference:
            for binding in call.bindings:
                found.setdefault(task.reference[binding.step].tool, set()).add(binding.select)
    return found


def _candidates(selects: set[str]) -> set[str]:
    """Keys below which a place is seen that is also seen without them."""
    wrapped = [_WRAPPED.fullmatch(select) for select in selects if _PATH.fullmatch(select)]
    return {match[1] for match in wrapped if match and match[2] in selects}


def _holds(task: Task, tool: str, envelope: str, replay: Replay) -> bool:
    """Whether a task finds its values also when the envelope of a tool is left out where it is missing."""
    taken = [binding for call in task.reference for binding in call.bindings]
    taken = [binding for binding in taken if task.reference[binding.step].tool == tool]
    if not taken:
        return True
    bodies = reference_bodies(task, replay)
    return all(
        _is_same(binding.select, without_envelope(binding.select, envelope), bodies[binding.step]) for binding in taken
    )


def _is_same(select: str, other: str, body: Any) -> bool:
    """Whether two expressions select the same from a body, and anything at all."""
    selected = Selector(select)(body)
    return selected is not None and Selector(other)(body) == selected


def reference_bodies(task: Task, replay: Replay) -> Sequence[Any]:
    """What the reference calls are answered, ``None`` where nothing is recorded."""
    responses = [replay.look_up(call) for call in Reference(task, replay.tools, replay.look_up).calls]
    return [None if response is None else response.body for response in responses]
