"""Showing an episode: as text, and as a picture of its call graph."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.scoring import Step
from toolorch_env.envs.shortening import shorten_json

_SHOWN_RESPONSE = 300
_BOX = (220, 44)
_GAP = (30, 40)
_MARGIN = 24
_COLOURS = {"ordered": (46, 125, 50), "complete": (239, 157, 38), "open": (176, 176, 176)}


def call_text(call: Call | Malformed) -> str:
    """A call in one line."""
    if isinstance(call, Malformed):
        return f"(no call: {call.problem})"
    return f"{call.tool}({', '.join(f'{name}={_json(value)}' for name, value in call.arguments.items())})"


def _json(value: Any) -> str:
    try:
        return orjson.dumps(value).decode()
    except TypeError:  # what an agent passed need not be JSON
        return repr(value)


def step_text(number: int, step: Step) -> Iterator[str]:
    """A call, its response and its reward, in lines."""
    score = step.score
    matched = "nothing" if score.matched is None else f"reference call {score.matched + 1}"
    yield f"{number}. {call_text(step.call)}"
    yield f"   -> {step.response.status} ({step.response.source}) {shorten_json(step.response.raw, _SHOWN_RESPONSE)}"
    yield f"   reward {score.reward:+.3f}, potential {score.potential:.3f}, matched to {matched}"


def episode_text(episode: Episode) -> str:
    """The whole episode so far."""
    lines = [f"Query: {episode.task.query}"]
    for number, step in enumerate(episode.steps, 1):
        lines += step_text(number, step)
    if episode.done:
        ended = "finished" if episode.finished else "ended at the call limit"
        lines.append(f"{ended}, {'solved' if episode.success else 'not solved'}, return {episode.total:.3f}")
    return "\n".join(lines)


def draw_episode(episode: Episode) -> np.ndarray:
    """The call graph of the reference solution, coloured by what is complete: uint8, (height, width, 3).

    Green: completed in a valid order; orange: complete, but some value was used before it was seen; grey: open.
    The size of the picture depends on the task.

    Raises:
        ConfigurationError: Pillow is not installed.
    """
    try:
        from PIL import Image, ImageDraw
    except ImportError:
        raise ConfigurationError("drawing needs Pillow: pip install 'toolorch-env[render]'") from None
    places = _places(episode)
    width = max(x for x, _ in places) + _BOX[0] + _MARGIN
    height = max(y for _, y in places) + _BOX[1] + _MARGIN
    image = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(image)
    for index, call in enumerate(episode.task.reference):
        for other in sorted(call.depends_on):
            draw.line((_anchor(places[other], _BOX[1]), _anchor(places[index], 0)), fill=(90, 90, 90), width=2)
    for index, call in enumerate(episode.task.reference):
        x, y = places[index]
        draw.rounded_rectangle((x, y, x + _BOX[0], y + _BOX[1]), 8, fill=_COLOURS[_state(episode, index)])
        draw.text((x + _BOX[0] / 2, y + _BOX[1] / 2), call.tool, fill="white", anchor="mm", font_size=16)
    return np.asarray(image, np.uint8).copy()


def _places(episode: Episode) -> list[tuple[int, int]]:
    """Upper left corner of each call's box: a row for each dependency level."""
    levels = episode.task.levels
    used = [0] * (max(levels) + 1)
    places = []
    for level in levels:
        places.append((_MARGIN + used[level] * (_BOX[0] + _GAP[0]), _MARGIN + level * (_BOX[1] + _GAP[1])))
        used[level] += 1
    return places


def _anchor(place: tuple[int, int], offset: int) -> tuple[int, int]:
    return place[0] + _BOX[0] // 2, place[1] + offset


def _state(episode: Episode, index: int) -> str:
    if episode.progress.ordered[index]:
        return "ordered"
    return "complete" if episode.progress.complete[index] else "open"
