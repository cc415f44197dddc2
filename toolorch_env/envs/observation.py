"""What the numeric environment shows. Nothing here may depend on a task's reference solution."""

import re
from functools import lru_cache
from zlib import crc32

import numpy as np
from gymnasium import spaces

from toolorch_env.core.episode import Step
from toolorch_env.core.responses import Source
from toolorch_env.core.tasks import Task
from toolorch_env.envs.vocabulary import MAX_MENTIONS, Vocabulary

QUERY_BUCKETS = 256
CONTEXT_BUCKETS = 32
CONTEXT_WORDS = 4
"""Words on each side of a mention that make its context."""

KIND_BUCKETS = 16
RECENT_CALLS = 6

OUTCOMES = ("success", "empty", "error", "refused", "repeated")
_MENTION_WIDTH = KIND_BUCKETS + CONTEXT_BUCKETS + 1
_WORD = re.compile(r"\w+")

Observation = dict[str, np.ndarray]


@lru_cache(65_536)
def bucket(word: str, buckets: int) -> int:
    """Stable hash of a word."""
    return crc32(word.encode("utf-8", "replace")) % buckets


def observation_space(vocabulary: Vocabulary) -> spaces.Dict:
    """The space of :class:`Observer`'s observations."""

    def unit(size: int) -> spaces.Box:
        return spaces.Box(0.0, 1.0, (size,), np.float32)

    return spaces.Dict(
        {
            "calls": unit(RECENT_CALLS * _call_width(vocabulary)),
            "links": unit(len(vocabulary.link_mask_positions)),
            "mentions": unit(MAX_MENTIONS * _MENTION_WIDTH),
            "progress": unit(1),
            "query": unit(QUERY_BUCKETS),
            "tools": unit(len(vocabulary.tools)),
        }
    )


def _call_width(vocabulary: Vocabulary) -> int:
    return len(vocabulary.tools) + len(OUTCOMES)


class Observer:
    """Builds the observations of one episode.

    - ``calls``: the last 6 calls, newest first: tool (one-hot) and outcome (:data:`OUTCOMES`).
    - ``links``: which links resolve now, for latest and second-latest responses.
    - ``mentions``: for each mention its kind (hashed one-hot), the words around it (hashed), whether it was used.
    - ``progress``: share of the call limit that is used.
    - ``query``: hashed words of the query, values replaced by their kinds.
    - ``tools``: tools on offer.

    Args:
        vocabulary: the snapshot's vocabulary.
        task: the task; only its query, mentions and tools are read.
    """

    def __init__(self, vocabulary: Vocabulary, task: Task) -> None:
        self._vocabulary = vocabulary
        self._width = _call_width(vocabulary)
        self._calls = np.zeros(RECENT_CALLS * self._width, np.float32)
        words = _masked_words(task)
        self._mentions = _mention_features(words)
        self._query = np.zeros(QUERY_BUCKETS, np.float32)
        self._query[[bucket(word, QUERY_BUCKETS) for word, _ in words]] = 1.0
        self._tools = np.zeros(len(vocabulary.tools), np.float32)
        self._tools[[vocabulary.tool_index[name] for name in task.tools]] = 1.0

    def use_mention(self, index: int) -> None:
        """Notes that a mention was passed in a call."""
        self._mentions[(index + 1) * _MENTION_WIDTH - 1] = 1.0

    def add_call(self, tool: int, step: Step) -> None:
        """Notes a call and its outcome."""
        width = self._width
        self._calls[width:] = self._calls[:-width]
        self._calls[:width] = 0.0
        self._calls[tool] = 1.0
        first = len(self._vocabulary.tools)
        response = step.response
        if response.success:
            outcome = 0 if response.digest else 1
        else:
            outcome = 3 if response.source in (Source.INVALID, Source.UNKNOWN_TOOL, Source.MALFORMED) else 2
        self._calls[first + outcome] = 1.0
        if step.match.repeated:
            self._calls[first + 4] = 1.0

    def observe(self, links: np.ndarray, progress: float) -> Observation:
        """A fresh observation.

        Args:
            links: which links resolve, bool.
            progress: share of the call limit that is used, in [0, 1].
        """
        return {
            "calls": self._calls.copy(),
            "links": links.astype(np.float32),
            "mentions": self._mentions.copy(),
            "progress": np.array([progress], np.float32),
            "query": self._query.copy(),
            "tools": self._tools.copy(),
        }


def _masked_words(task: Task) -> list[tuple[str, int]]:
    """Lower-case words of the query with each mention replaced by its kind, and the mention's index or -1."""
    words: list[tuple[str, int]] = []
    position = 0
    for index, mention in enumerate(task.mentions):
        words += [(word, -1) for word in _WORD.findall(task.query[position : mention.start].lower())]
        words.append((f"<{mention.kind}>", index))
        position = mention.end
    words += [(word, -1) for word in _WORD.findall(task.query[position:].lower())]
    return words


def _mention_features(words: list[tuple[str, int]]) -> np.ndarray:
    features = np.zeros(MAX_MENTIONS * _MENTION_WIDTH, np.float32)
    places: list[int] = []
    values: list[float] = []
    for place, (kind, index) in enumerate(words):
        if not 0 <= index < MAX_MENTIONS:
            continue
        first = index * _MENTION_WIDTH
        places.append(first + bucket(kind, KIND_BUCKETS))
        values.append(1.0)
        for distance in range(CONTEXT_WORDS, 0, -1):  # of words in one bucket, the nearest is written last
            for side, neighbour in (("<", place - distance), (">", place + distance)):
                if 0 <= neighbour < len(words):
                    places.append(first + KIND_BUCKETS + bucket(side + words[neighbour][0], CONTEXT_BUCKETS))
                    values.append(1.0 / distance)
    features[places] = values
    return features
