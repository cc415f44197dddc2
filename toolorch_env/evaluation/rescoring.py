"""Scoring a run anew, with any reward."""

from collections.abc import Iterator

from toolorch_env.core.errors import RunError
from toolorch_env.core.scoring import Reward
from toolorch_env.evaluation.run_files import Run
from toolorch_env.evaluation.runs import PlayedEpisode, play_again, played_episode, replay_of, reward_of
from toolorch_env.rewards import make_reward
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot


def rescored(run: Run, snapshot: Snapshot, reward: str | None = None) -> Iterator[PlayedEpisode]:
    """The episodes of a run as they are scored by a reward: the calls are made once more, and answered alike.

    Args:
        run: the run.
        snapshot: the one that it was played on.
        reward: name of a reward; by default the run's own, which gives the same numbers again.

    Raises:
        RunError: the snapshot is another one, or the API itself answered calls.
        ConfigurationError: there is no such reward.
    """
    if snapshot.content_hash != run.header.content_hash:
        raise RunError(
            f"the run was played on another snapshot than {snapshot.name!r}: its content hash is "
            f"{run.header.content_hash}, not {snapshot.content_hash}"
        )
    replay = replay_of(run.header, snapshot)
    scorer = reward_of(run.header) if reward is None else make_reward(reward)
    return (_again(played, replay, scorer, run.header.max_calls) for played in run.episodes)


def _again(played: PlayedEpisode, replay: SnapshotReplay, reward: Reward, max_calls: int) -> PlayedEpisode:
    episode = play_again(played, replay, reward, max_calls)
    return played_episode(played.index, played.attempt, episode, **{name: getattr(played, name) for name in _KEPT})


_KEPT = ("messages", "prompt_tokens", "completion_tokens", "cut_off", "seconds")
