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

QUERY_BUCKETS = 512
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
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._width = _call_width(vocabulary)
        self._places: dict[str, slice] = {}
        size = 0
        for name, space in observation_space(vocabulary).spaces.items():
            assert space.shape is not None
            self._places[name] = slice(size, size + space.shape[0])
            size += space.shape[0]
        self._nothing = np.zeros(size, np.float32)

    def begin(self, task: Task) -> None:
        """Begins an episode. Only the task's query, mentions and tools are read."""
        self._shown = self._nothing.copy()  # all parts in one array, which is copied at once
        words, places = _masked_words(task)
        self._part("mentions")[:] = _mention_features(words, places)
        self._part("query")[[bucket(word, QUERY_BUCKETS) for word in words]] = 1.0
        self._part("tools")[[self._vocabulary.tool_index[name] for name in task.tools]] = 1.0

    def _part(self, name: str) -> np.ndarray:
        return self._shown[self._places[name]]

    def use_mention(self, index: int) -> None:
        """Notes that a mention was passed in a call."""
        self._part("mentions")[(index + 1) * _MENTION_WIDTH - 1] = 1.0

    def add_call(self, tool: int, step: Step) -> None:
        """Notes a call and its outcome."""
        width, calls = self._width, self._part("calls")
        calls[width:] = calls[:-width]
        calls[:width] = 0.0
        calls[tool] = 1.0
        first = len(self._vocabulary.tools)
        response = step.response
        if response.success:
            outcome = 0 if response.digest else 1
        else:
            outcome = 3 if response.source in (Source.INVALID, Source.UNKNOWN_TOOL, Source.MALFORMED) else 2
        calls[first + outcome] = 1.0
        if step.match.repeated:
            calls[first + 4] = 1.0

    def set_links(self, places: np.ndarray, resolved: np.ndarray) -> None:
        """Notes which links resolve on the latest response of a tool.

        Args:
            places: where the latest-response choices of the tool's links stand among all link choices.
            resolved: for each of them whether it selects a value, bool.
        """
        links = self._part("links")
        links[places + 1] = links[places]  # the latest response becomes the second-latest
        links[places] = resolved

    def observe(self, progress: float) -> Observation:
        """A fresh observation.

        Args:
            progress: share of the call limit that is used, in [0, 1].
        """
        shown = self._shown.copy()
        shown[self._places["progress"]] = progress
        return {name: shown[place] for name, place in self._places.items()}


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
