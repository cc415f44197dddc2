"""Do the known solutions of stored tasks solve them?"""

from collections.abc import Callable
from dataclasses import dataclass

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.core.tasks import Task
from toolorch_env.envs.playability import why_unplayable
from toolorch_env.envs.vocabulary import Vocabulary
from toolorch_env.rewards import GraduatedReward
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot


@dataclass(frozen=True)
class Solutions:
    """What became of the known solutions of a snapshot's tasks.

    Attributes:
        tasks: number of tasks.
        unsolved: tasks whose reference calls, made one by one, do not return exactly 1.0 with the graduated reward.
        words_only: why a task cannot be played in numbers, by the id of each that cannot.
    """

    tasks: int
    unsolved: tuple[str, ...]
    words_only: dict[str, str]


def check_solutions(snapshot: Snapshot, max_calls: int = 16, advance: Callable[[], None] = lambda: None) -> Solutions:
    """Plays the known solution of every task that is stored in a snapshot.

    Args:
        snapshot: the snapshot.
        max_calls: call limit of the environment in numbers.
        advance: called after each task.
    """
    vocabulary = Vocabulary(snapshot)
    replay = SnapshotReplay(snapshot)
    unsolved, words_only = [], {}
    for task in snapshot.tasks:
        if not solves(task, replay):
            unsolved.append(task.id)
        why = why_unplayable(task, vocabulary, max_calls)
        if why:
            words_only[task.id] = why
        advance()
    return Solutions(len(snapshot.tasks), tuple(unsolved), words_only)


def solves(task: Task, replay: SnapshotReplay) -> bool:
    """Whether the reference calls, made one by one, return exactly 1.0 with the graduated reward."""
    episode = Episode(task, replay, GraduatedReward(), max_calls=len(task.reference) + 1)
    for call in task.reference:
        episode.send([Call(call.tool, call.arguments)])
    episode.finish()
    return episode.success and episode.total == 1.0
