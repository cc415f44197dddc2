"""Showing an episode: as text, and as a picture of its call graph."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.scoring import Step
from toolorch_env.envs.call_graph import BOX, call_graph
from toolorch_env.envs.shortening import shorten_json

_SHOWN_RESPONSE = 300
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
    graph = call_graph(episode)
    image = Image.new("RGB", (graph.width, graph.height), "white")
    draw = ImageDraw.Draw(image)
    for line in graph.lines:
        draw.line(line, fill=(90, 90, 90), width=2)
    for box in graph.boxes:
        edges = (box.x, box.y, box.x + BOX[0], box.y + BOX[1])
        draw.rounded_rectangle(edges, 8, fill=_COLOURS[box.state])
        draw.text((box.x + BOX[0] / 2, box.y + BOX[1] / 2), box.tool, fill="white", anchor="mm", font_size=16)
    return np.asarray(image, np.uint8).copy()
