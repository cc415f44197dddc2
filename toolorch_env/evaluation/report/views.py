"""What the report shows of an episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.scoring import Step
from toolorch_env.core.tasks import Task
from toolorch_env.envs.call_graph import CallGraph, call_graph
from toolorch_env.envs.shortening import shorten_json
from toolorch_env.evaluation.metrics import EpisodeResult, error_kind
from toolorch_env.evaluation.runs import FailedEpisode, PlayedEpisode

_SHOWN_RESPONSE = 4000


@dataclass(frozen=True, slots=True)
class CallView:
    """A call and what came of it.

    Attributes:
        tool, arguments: the call; for what was no call, its text.
        state: ``ordered``, ``complete``, ``error`` or ``neutral``.
        told: the state in words.
        status, source, response: of the answer, its body as indented JSON.
        reward: what it earned.
        components: name and value of each part of the reward.
        says: what the model wrote beside the calls of this turn, with the first of them only.
    """

    tool: str
    arguments: str
    state: str
    told: str
    status: int
    source: str
    response: str
    reward: float
    components: tuple[tuple[str, float], ...]
    says: str


@dataclass(frozen=True, slots=True)
class TranscriptView:
    """An episode.

    Attributes:
        number: of the transcript in the report.
        run: number of the run.
        index, attempt: which task, and which time.
        result: what became of it.
        outcome: ``clean``, ``success`` or ``failure``.
        query: parts of the query, and whether each is a mentioned value.
        graph: the call graph.
        calls: all calls.
        answer: the agent's last words, ``None`` where the call limit, or the model's context, ended the
            episode.
    """

    number: int
    run: int
    index: int
    attempt: int
    result: EpisodeResult
    outcome: str
    query: tuple[tuple[str, bool], ...]
    graph: CallGraph
    calls: tuple[CallView, ...]
    answer: str | None


@dataclass(frozen=True, slots=True)
class FailureView:
    """An episode that came to nothing: which, and what was wrong with the model's answer."""

    run: int
    line: FailedEpisode


def transcript_view(number: int, run: int, played: PlayedEpisode, episode: Episode) -> TranscriptView:
    """What is shown of an episode.

    Args:
        number, run: of the transcript and the run.
        played: the line.
        episode: the same, made again.
    """
    result = played.result
    spoken = _spoken(played.messages)
    seen_turns: set[int] = set()
    calls = []
    for step in episode.steps:
        says = "" if step.turn in seen_turns or step.turn >= len(spoken) else spoken[step.turn]
        seen_turns.add(step.turn)
        calls.append(_call_view(episode, step, says))
    outcome = "clean" if result.clean_success else "success" if result.success else "failure"
    return TranscriptView(
        number,
        run,
        played.index,
        played.attempt,
        result,
        outcome,
        tuple(_query_parts(played.task)),
        call_graph(episode),
        tuple(calls),
        played.answer,
    )


def _spoken(messages: Sequence[dict[str, Any]]) -> list[str]:
    """What the model wrote in each message that is not a call in the form of the protocol."""
    own = [message for message in messages if message["role"] == "assistant"]
    return [message["content"] or "" for message in own]


def _call_view(episode: Episode, step: Step, says: str) -> CallView:
    score, response = step.score, step.response
    kind = error_kind(episode, step)
    if step.match.completes:
        state = "ordered" if step.match.ordered else "complete"
        told = f"completes call {score.matched + 1}" if score.matched is not None else "completes a call"
        told += "" if step.match.ordered else ", before its values were seen"
    else:
        state = "error" if kind else "neutral"
        told = (kind or "").replace("_", " ")
    if isinstance(step.call, Malformed):
        tool, arguments = "no call", f"{step.call.problem}\n{step.call.text}"
    else:
        tool, arguments = step.call.tool, _arguments(step.call)
    components = tuple((name, float(value)) for name, value in score.components.items())
    return CallView(
        tool,
        arguments,
        state,
        told,
        response.status,
        response.source.value,
        _indented(shorten_json(response.raw, _SHOWN_RESPONSE)),
        score.reward,
        components,
        says,
    )


def _arguments(call: Call) -> str:
    return ", ".join(f"{name}={orjson.dumps(value).decode()}" for name, value in call.arguments.items())


def _indented(text: str) -> str:
    return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()


def _query_parts(task: Task) -> list[tuple[str, bool]]:
    parts: list[tuple[str, bool]] = []
    place = 0
    for mention in sorted(task.mentions, key=lambda mention: mention.start):
        if mention.start < place:
            continue
        parts += [(task.query[place : mention.start], False), (task.query[mention.start : mention.end], True)]
        place = mention.end
    parts.append((task.query[place:], False))
    return [part for part in parts if part[0]]
