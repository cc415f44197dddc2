"""What the numeric environment shows. Nothing here may depend on a task's reference solution."""

import re
from functools import lru_cache
from zlib import crc32

import numpy as np
from gymnasium import spaces

from toolorch_env.core.responses import Source
from toolorch_env.core.scoring import Step
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
        words, places = _masked_words(task)
        self._mentions = _mention_features(words, places)
        self._query = np.zeros(QUERY_BUCKETS, np.float32)
        self._query[[bucket(word, QUERY_BUCKETS) for word in words]] = 1.0
        self._links = np.zeros(len(vocabulary.link_mask_positions), np.float32)
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

    def set_links(self, places: np.ndarray, resolved: np.ndarray) -> None:
        """Notes which links resolve on the latest response of a tool.

        Args:
            places: where the latest-response choices of the tool's links stand among all link choices.
            resolved: for each of them whether it selects a value, bool.
        """
        self._links[places + 1] = self._links[places]  # the latest response becomes the second-latest
        self._links[places] = resolved

    def observe(self, progress: float) -> Observation:
        """A fresh observation.

        Args:
            progress: share of the call limit that is used, in [0, 1].
        """
        return {
            "calls": self._calls.copy(),
            "links": self._links.copy(),
            "mentions": self._mentions.copy(),
            "progress": np.array([progress], np.float32),
            "query": self._query.copy(),
            "tools": self._tools.copy(),
        }


def words_of(text: str) -> list[str]:
    """The words that the query's features are made of, in lower case."""
    return _WORD.findall(text.lower())


def _masked_words(task: Task) -> tuple[list[str], list[int]]:
    """Lower-case words of the query with each mention replaced by its kind, and where the mentions stand among them."""
    words: list[str] = []
    places: list[int] = []
    position = 0
    for mention in task.mentions:
        words += words_of(task.query[position : mention.start])
        places.append(len(words))
        words.append(f"<{mention.kind}>")
        position = mention.end
    words += words_of(task.query[position:])
    return words, places


def _mention_features(words: list[str], places: list[int]) -> np.ndarray:
    features = np.zeros((MAX_MENTIONS, _MENTION_WIDTH), np.float32)
    for index, place in enumerate(places[:MAX_MENTIONS]):
        before = tuple(words[max(0, place - CONTEXT_WORDS) : place])
        after = tuple(words[place + 1 : place + 1 + CONTEXT_WORDS])
        features[index] = _features_of(words[place], before, after)
    return features.reshape(-1)


@lru_cache(8192)
def _features_of(kind: str, before: tuple[str, ...], after: tuple[str, ...]) -> np.ndarray:
    """Features of one mention. The nearer a word, the larger its entry: 1, 1/2, 1/3, 1/4."""
    features = np.zeros(_MENTION_WIDTH, np.float32)
    features[bucket(kind, KIND_BUCKETS)] = 1.0
    for side, nearest_first in (("<", before[::-1]), (">", after)):
        for distance, word in enumerate(nearest_first, 1):
            place = KIND_BUCKETS + bucket(side + word, CONTEXT_BUCKETS)
            features[place] = max(features[place], 1.0 / distance)
    return features
