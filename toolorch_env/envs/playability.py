"""Whether a task can be played in numbers: every value of its solution must be one that an action can pass."""

from typing import Any

from toolorch_env.core.tasks import Task
from toolorch_env.envs.vocabulary import MAX_MENTIONS, RECENT_RESPONSES, Vocabulary
from toolorch_env.rewards.credit import same_value
from toolorch_env.store.compiled import Link


def why_unplayable(task: Task, vocabulary: Vocabulary, max_calls: int) -> str:
    """Why the reference calls of a task cannot be made in ``ToolOrch-v0`` in their order, in words; empty if they can.

    Args:
        task: the task.
        vocabulary: of the snapshot that it is played on.
        max_calls: call limit of an episode.
    """
    if len(task.mentions) > MAX_MENTIONS:
        return f"its query mentions {len(task.mentions)} values, more than {MAX_MENTIONS}"
    if len(task.reference) >= max_calls:
        return f"its solution has {len(task.reference)} calls, and an episode at most {max_calls} with the finish"
    for index in range(len(task.reference)):
        why = _why_not_made(task, index, vocabulary)
        if why:
            return f"call {index} ({task.reference[index].tool}): {why}"
    return ""


def _why_not_made(task: Task, index: int, vocabulary: Vocabulary) -> str:
    call = task.reference[index]
    bindings = {binding.parameter: binding for binding in call.bindings}
    signature = vocabulary.toolset.signature(call.tool)
    for name, value in signature.read(call.arguments).items():
        if name not in signature.parameters:
            return f"there is no parameter {name!r}"
        if any(same_value(signature.parameters[name].read(mention.value), value) for mention in task.mentions):
            continue
        if name not in bindings:
            return f"the query does not say {name} = {_short(value)}"
        source = task.reference[bindings[name].step].tool
        if Link(name, source, bindings[name].select) not in vocabulary.link_list:
            return f"the snapshot is not compiled for {name} from {source}: {bindings[name].select}"
        later = [other.tool for other in task.reference[bindings[name].step + 1 : index]]
        if later.count(source) >= RECENT_RESPONSES:
            return f"{name} comes from a response before the latest {RECENT_RESPONSES} of {source}"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
