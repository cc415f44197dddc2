"""Whether a task can be played in numbers: every value of its solution must be one that an action can pass."""

from collections.abc import Callable
from typing import Any, NamedTuple

from toolorch_env.core.calls import CanonicalCall
from toolorch_env.core.errors import TaskError
from toolorch_env.core.progress import Reference
from toolorch_env.core.tasks import Task
from toolorch_env.envs.link_values import LinkValues
from toolorch_env.envs.vocabulary import MAX_MENTIONS, RECENT_RESPONSES, Vocabulary
from toolorch_env.rewards.credit import same_value
from toolorch_env.store.compiled import Link
from toolorch_env.store.interned import ABSENT


def why_unplayable(task: Task, vocabulary: Vocabulary, max_calls: int) -> str:
    """Why the reference calls of a task cannot be made in ``ToolOrch-v0`` in their order, in words; empty if they can.

    They are followed through what is recorded: a value is passed as it stands in the query, or as a link selects it
    from the latest or second-latest response of a tool.

    Args:
        task: the task.
        vocabulary: of the snapshot that it is played on.
        max_calls: call limit of an episode.
    """
    missing = sorted(set(task.tools) - vocabulary.toolset.keys())
    if missing:
        return f"it offers a tool {missing[0]!r}, which is not in the snapshot"
    if len(task.mentions) > MAX_MENTIONS:
        return f"its query mentions {len(task.mentions)} values, more than {MAX_MENTIONS}"
    if len(task.reference) >= max_calls:
        return f"its solution has {len(task.reference)} calls, and an episode at most {max_calls} with the finish"
    try:
        calls = Reference(task, vocabulary.toolset, vocabulary.snapshot.look_up).calls
        return _why_not_made(task, calls, _Recent(vocabulary))
    except TaskError as error:
        return str(error).removeprefix(f"task {task.id!r}: ")
    except ValueError as error:  # a value that is not JSON
        return str(error)


def _why_not_made(task: Task, calls: tuple[CanonicalCall, ...], recent: "_Recent") -> str:
    vocabulary = recent.vocabulary
    for index, call in enumerate(calls):
        positions = dict(vocabulary.tool_parameters[vocabulary.tool_index[call.tool]])
        for name, value in call.arguments.items():
            if name not in positions:
                return f"call {index} ({call.tool}): there is no parameter {name!r}"
            read = vocabulary.toolset.signature(call.tool).parameters[name].read
            wanted = _Wanted(positions[name], read, value)
            if not (_is_mentioned(task, wanted, vocabulary) or recent.hold(wanted)):
                return f"call {index} ({call.tool}): {_why_not_passed(task, index, name, value, vocabulary)}"
        recent.make(call)
    return ""


class _Wanted(NamedTuple):
    """A value that an action has to pass: for which parameter, how the tool reads it, and what it is then."""

    position: int
    read: Callable[[Any], Any]
    value: Any

    def is_read_from(self, other: Any) -> bool:
        return same_value(self.read(other), self.value)


def _is_mentioned(task: Task, wanted: _Wanted, vocabulary: Vocabulary) -> bool:
    return any(
        wanted.is_read_from(mention.value) and vocabulary.accepts(wanted.position, mention.value)
        for mention in task.mentions
    )


def _why_not_passed(task: Task, index: int, name: str, value: Any, vocabulary: Vocabulary) -> str:
    said = f"{name} = {_short(value)}"
    found = [binding for binding in task.reference[index].bindings if binding.parameter == name]
    if not found:
        return f"neither the query nor a recent response says {said}"
    source, select = task.reference[found[0].step].tool, found[0].select
    if Link(name, source, select) not in vocabulary.link_list:
        return f"the snapshot is not compiled for {name} from {source}: {select}"
    return f"{said} is not what {select} gives on one of the latest {RECENT_RESPONSES} responses of {source}"


class _Recent:
    """What links select from the latest responses while the known solution is followed."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self._values = LinkValues(vocabulary.snapshot)
        self._outputs: dict[str, list[list[int]]] = {}

    def make(self, call: CanonicalCall) -> None:
        """Makes a call, as far as it is recorded."""
        response = self.vocabulary.snapshot.look_up(call)
        if response is None or not response.informs:
            return
        outputs = self._values.outputs(call.tool, response).tolist()
        self._outputs[call.tool] = [outputs, *self._outputs.get(call.tool, [])][:RECENT_RESPONSES]

    def hold(self, wanted: _Wanted) -> bool:
        """Whether a link selects a value now."""
        for source, column in self.vocabulary.links[wanted.position]:
            for outputs in self._outputs.get(source, ()):
                if outputs[column] != ABSENT and wanted.is_read_from(self._values[outputs[column]]):
                    return True
        return False


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
