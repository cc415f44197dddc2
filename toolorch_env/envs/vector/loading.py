"""Tasks into the arrays of copies, and episodes back out of them."""

from toolorch_env.core.calls import Call, CanonicalCall
from toolorch_env.core.episode import Episode, Replay
from toolorch_env.core.errors import TaskError
from toolorch_env.core.progress import Reference
from toolorch_env.core.scoring import Reward
from toolorch_env.core.tasks import Task
from toolorch_env.envs.observation import Observer
from toolorch_env.envs.vector.copies import MAX_STEPS, Copies
from toolorch_env.envs.vector.values import Values
from toolorch_env.envs.vocabulary import MAX_MENTIONS, Vocabulary
from toolorch_env.store.interned import ABSENT


class TaskLoader:
    """Puts tasks into copies.

    Args:
        vocabulary: of the snapshot.
        values: numbers the values of tasks.
        replay: answers calls.
        reward: of episodes that are made again.
        max_calls: call limit.
    """

    def __init__(self, vocabulary: Vocabulary, values: Values, replay: Replay, reward: Reward, max_calls: int) -> None:
        self._vocabulary = vocabulary
        self._observer = Observer(vocabulary)
        self._values = values
        self._replay = replay
        self._reward = reward
        self._max_calls = max_calls
        self._names = [[name for name, _ in pairs] for pairs in vocabulary.tool_parameters]

    def load(self, copies: Copies, copy: int, task: Task) -> None:
        """Begins the episode of a task in a copy.

        Raises:
            TaskError: it cannot be played here.
        """
        try:
            reference = Reference(task, self._replay.tools, self._replay.look_up)
        except ValueError as error:
            raise TaskError(f"task {task.id!r} cannot be played: {error}") from None
        self._check(task)
        clear(copies, copy)
        copies.steps[copy] = len(reference.calls)
        copies.optional[copy] = _as_set([call.optional for call in task.reference])
        for step, call in enumerate(reference.calls):
            self._load_step(copies, copy, step, task, call)
            copies.reference_digests[copy, step] = reference.digests[step]
        copies.mention_count[copy] = len(task.mentions)
        copies.mention_values[copy, : len(task.mentions)] = [self._values.number(m.value) for m in task.mentions]
        self._observer.begin(task)
        for name, features in self._observer.observe(0.0).items():
            getattr(copies, f"features_{name}")[copy] = features
        copies.mask[copy] = self._vocabulary.initial_mask(task)

    def _load_step(self, copies: Copies, copy: int, step: int, task: Task, call: CanonicalCall) -> None:
        written = task.reference[step]
        tool = self._vocabulary.tool_index[call.tool]
        names = self._names[tool]
        odd = sorted(call.arguments.keys() - set(names))
        if odd:
            raise TaskError(f"task {task.id!r}: {call.tool} has no parameter {odd[0]!r}")
        bound = {b.parameter for b in written.bindings if not task.reference[b.step].optional}
        counting = [index for index in written.after if not task.reference[index].optional]
        copies.reference_tools[copy, step] = tool
        copies.reference_arguments[copy, step] = ABSENT
        for place, name in enumerate(names):
            if name in call.arguments:
                copies.reference_arguments[copy, step, place] = self._values.number(call.arguments[name])
        copies.given[copy, step] = _as_set([name in written.arguments for name in names])
        copies.bound[copy, step] = _as_set([name in bound for name in names])
        copies.after[copy, step] = sum(1 << index for index in counting)

    def _check(self, task: Task) -> None:
        if len(task.mentions) > MAX_MENTIONS:
            raise TaskError(
                f"task {task.id!r} mentions {len(task.mentions)} values; ToolOrch-v0 can refer to {MAX_MENTIONS} only"
            )
        if len(task.reference) > MAX_STEPS:
            raise TaskError(
                f"task {task.id!r} has {len(task.reference)} reference calls, more than the {MAX_STEPS} that "
                "copies have room for: use vectorization_mode='sync'"
            )

    def episode(self, copies: Copies, copy: int, task: Task) -> Episode:
        """The episode of a copy, made again from its calls."""
        episode = Episode(task, self._replay, self._reward, self._max_calls)
        for made in range(int(copies.calls[copy])):
            tool = int(copies.made_tools[copy, made])
            given = zip(self._names[tool], copies.made_arguments[copy, made].tolist(), strict=False)
            arguments = {name: self._values[value] for name, value in given if value != ABSENT}
            episode.send((Call(self._vocabulary.tools[tool], arguments),))
        if copies.finished[copy] and not episode.done:
            episode.finish()
        return episode


def clear(copies: Copies, copy: int) -> None:
    """Forgets what was done in a copy."""
    for array in (copies.complete, copies.ordered, copies.atomic, copies.potential, copies.calls, copies.spare,
                  copies.seen_count, copies.done, copies.finished):  # fmt: skip
        array[copy] = 0
    copies.recent[copy] = ABSENT


def _as_set(members: list[bool]) -> int:
    return int(sum(1 << index for index, is_member in enumerate(members) if is_member))
