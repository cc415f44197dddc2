"""The call graph of a solution as boxes and lines, for pictures of it."""

from dataclasses import dataclass

from toolorch_env.core.episode import Episode
from toolorch_env.core.tasks import Task

BOX = (220, 44)
"""Width and height of a box."""

_GAP = (30, 40)
_MARGIN = 24


@dataclass(frozen=True, slots=True)
class Box:
    """A reference call.

    Attributes:
        tool: its tool.
        state: ``ordered`` (completed in a valid order), ``complete`` (some value was used before it was seen), or
            ``open``.
        x, y: the upper left corner.
    """

    tool: str
    state: str
    x: int
    y: int


@dataclass(frozen=True, slots=True)
class CallGraph:
    """Where the reference calls of an episode stand: a row for each dependency level.

    Attributes:
        boxes: the calls, in the order of the reference.
        lines: from each call to those that depend on it: start and end, x and y each.
        width, height: of all.
    """

    boxes: tuple[Box, ...]
    lines: tuple[tuple[int, int, int, int], ...]
    width: int
    height: int


def call_graph(episode: Episode) -> CallGraph:
    """The call graph of an episode, with what is complete so far."""
    task = episode.task
    places = _places(task)
    boxes = [Box(call.tool, _state(episode, i), *places[i]) for i, call in enumerate(task.reference)]
    lines = [
        (*_anchor(places[other], BOX[1]), *_anchor(places[index], 0))
        for index, call in enumerate(task.reference)
        for other in sorted(call.depends_on)
    ]
    width = max(x for x, _ in places) + BOX[0] + _MARGIN
    height = max(y for _, y in places) + BOX[1] + _MARGIN
    return CallGraph(tuple(boxes), tuple(lines), width, height)


def _places(task: Task) -> list[tuple[int, int]]:
    used = [0] * (max(task.levels) + 1)
    places = []
    for level in task.levels:
        places.append((_MARGIN + used[level] * (BOX[0] + _GAP[0]), _MARGIN + level * (BOX[1] + _GAP[1])))
        used[level] += 1
    return places


def _anchor(place: tuple[int, int], offset: int) -> tuple[int, int]:
    return place[0] + BOX[0] // 2, place[1] + offset


def _state(episode: Episode, index: int) -> str:
    if episode.progress.ordered[index]:
        return "ordered"
    return "complete" if episode.progress.complete[index] else "open"
