"""The episodes of all copies, as arrays: one row a copy."""

from typing import NamedTuple

import numpy as np

from toolorch_env.envs.observation import observation_space
from toolorch_env.envs.vocabulary import MAX_MENTIONS, RECENT_RESPONSES, Vocabulary
from toolorch_env.store.interned import ABSENT

MAX_STEPS = 62
"""Reference calls of a task at most: sets of them are bit masks in signed 64-bit integers."""


class Copies(NamedTuple):
    """The state of n copies. Values are numbers of values, sets of steps or of a tool's parameters are bit masks.

    Attributes:
        steps: number of reference calls, shape (n,).
        reference_tools, reference_arguments: shapes (n, steps) and (n, steps, widest tool).
        given: parameters that the reference passes, shape (n, steps).
        bound: parameters that come from responses, shape (n, steps).
        after: steps that come first, optional ones left out, shape (n, steps).
        reference_digests: of the recorded responses, shape (n, steps).
        optional: optional steps, shape (n,).
        mention_count, mention_values: shapes (n,) and (n, mentions).
        complete, ordered: steps done so far, shape (n,).
        atomic: best atomic scores, shape (n, steps).
        potential: shape (n,).
        calls: number of calls made, shape (n,).
        made_tools, made_arguments, made_matches, made_records: the calls: shapes (n, calls), (n, calls, widest tool),
            (n, calls): step or ABSENT, (n, calls): number of the recorded call or ABSENT.
        spare: number of calls that completed an optional step, shape (n,).
        recent: rows of the latest responses of each tool, ABSENT for none, shape (n, tools, 2).
        seen: (value, 1 or 0) for values that were asked about at this step, shape (n, answers, 2).
        seen_count: number of them, shape (n,).
        done: whether the episode has ended, shape (n,).
        finished: whether the agent ended it, shape (n,).
        mask: open choices, shape (n, choices).
        features_...: the observation, float32, shape (n, width) each.
    """

    steps: np.ndarray
    reference_tools: np.ndarray
    reference_arguments: np.ndarray
    given: np.ndarray
    bound: np.ndarray
    after: np.ndarray
    reference_digests: np.ndarray
    optional: np.ndarray
    mention_count: np.ndarray
    mention_values: np.ndarray
    complete: np.ndarray
    ordered: np.ndarray
    atomic: np.ndarray
    potential: np.ndarray
    calls: np.ndarray
    made_tools: np.ndarray
    made_arguments: np.ndarray
    made_matches: np.ndarray
    made_records: np.ndarray
    spare: np.ndarray
    recent: np.ndarray
    seen: np.ndarray
    seen_count: np.ndarray
    done: np.ndarray
    finished: np.ndarray
    mask: np.ndarray
    features_calls: np.ndarray
    features_links: np.ndarray
    features_mentions: np.ndarray
    features_progress: np.ndarray
    features_query: np.ndarray
    features_tools: np.ndarray


_FEATURES = "features_"


def make_copies(vocabulary: Vocabulary, count: int, max_calls: int) -> Copies:
    """Room for ``count`` copies that have no episodes yet.

    Args:
        vocabulary: of the snapshot.
        count: number of copies.
        max_calls: call limit of an episode.
    """
    tools = len(vocabulary.tools)
    widest = max([1, *map(len, vocabulary.tool_parameters)])
    steps = MAX_STEPS

    def integers(*shape: int, kind: type = np.int64) -> np.ndarray:
        return np.zeros((count, *shape), kind)

    features = {
        _FEATURES + name: np.zeros((count, *space.shape), np.float32)
        for name, space in observation_space(vocabulary).spaces.items()
        if space.shape is not None
    }
    return Copies(
        steps=integers(),
        reference_tools=integers(steps),
        reference_arguments=integers(steps, widest),
        given=integers(steps),
        bound=integers(steps),
        after=integers(steps),
        reference_digests=integers(steps),
        optional=integers(),
        mention_count=integers(),
        mention_values=integers(MAX_MENTIONS),
        complete=integers(),
        ordered=integers(),
        atomic=np.zeros((count, steps)),
        potential=np.zeros(count),
        calls=integers(),
        made_tools=integers(max_calls),
        made_arguments=integers(max_calls, widest),
        made_matches=integers(max_calls),
        made_records=integers(max_calls),
        spare=integers(),
        recent=np.full((count, tools, RECENT_RESPONSES), ABSENT, np.int64),
        seen=integers(2 * MAX_STEPS, 2),
        seen_count=integers(),
        done=np.ones(count, bool),
        finished=np.zeros(count, bool),
        mask=np.zeros((count, vocabulary.mask_size), bool),
        **features,
    )


def observations(copies: Copies, which: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """What copies show now: fresh arrays, shape (n, width) each, in the order of the observation space.

    Args:
        copies: the copies.
        which: numbers of those that are asked for; by default all.
    """
    return {
        name.removeprefix(_FEATURES): getattr(copies, name).copy() if which is None else getattr(copies, name)[which]
        for name in Copies._fields
        if name.startswith(_FEATURES)
    }
