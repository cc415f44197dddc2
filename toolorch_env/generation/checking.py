"""Is a task well posed? What a generator promises, checked from the outside."""

from collections.abc import Iterator
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Replay
from toolorch_env.core.errors import TaskError
from toolorch_env.core.progress import Reference
from toolorch_env.core.states import state_after, state_order
from toolorch_env.core.tasks import Task
from toolorch_env.generation.phrasing import value_text
from toolorch_env.rewards.credit import same_value
from toolorch_env.store.selection import Selector


def unreadable_literals(task: Task) -> Iterator[str]:
    """Arguments of the reference that neither the query nor an earlier response gives, in words."""
    said = [mention.value for mention in task.mentions]
    for index, call in enumerate(task.reference):
        bound = {binding.parameter for binding in call.bindings}
        for name, value in call.arguments.items():
            if name in bound or _is_said(value, said):
                continue
            yield f"call {index} ({call.tool}): the query does not say {name} = {value!r}"


def _is_said(value: Any, said: list[Any]) -> bool:
    for other in said:
        if other == value and type(other) is type(value):  # the usual case, decided fast
            return True
    return any(same_value(value, other) for other in said)


def task_problems(task: Task, replay: Replay) -> Iterator[str]:
    """Everything that keeps a task from being well posed, in words; nothing for a good one.

    Every literal stands in the query, as it is or in words whose resolution the task tells; replaying the reference
    calls, with their bound arguments selected anew from the responses, gives every response, all of them successes; the
    arguments are those of the reference; every order that respects the dependencies makes each call in the same state.
    """
    yield from unreadable_literals(task)
    yield from _open_orders(task, replay)
    for mention in task.mentions:
        said, wanted = task.query[mention.start : mention.end], value_text(mention.value)
        if said != wanted and not (said.strip() and mention.resolution.endswith(f"= {wanted}")):
            yield f"the query does not say {mention.value!r} where it should"
    bodies: list[Any] = []
    try:
        state = Reference(task, replay.tools, replay.look_up).initial_state
    except TaskError as error:
        yield str(error)
        return
    for index, reference in enumerate(task.reference):
        arguments = dict(reference.arguments)
        for binding in reference.bindings:
            selected = Selector(binding.select)(bodies[binding.step])
            read = replay.tools.signature(reference.tool).parameters[binding.parameter].read(selected)
            if not same_value(read, arguments.get(binding.parameter)):
                yield f"call {index} ({reference.tool}): {binding.select!r} gives {selected!r} for {binding.parameter}"
            arguments[binding.parameter] = selected
        call = replay.tools.canonical(Call(reference.tool, arguments)).within(state)
        response = replay.answer(call)
        if not response.success:
            yield f"call {index} ({reference.tool}) is not answered with a recorded success"
            return
        state = state_after(call, response, reference.tool not in replay.tools.state_changing)
        bodies.append(response.body)


def _open_orders(task: Task, replay: Replay) -> Iterator[str]:
    """Calls that nothing keeps from being made in another state than the reference makes them in, in words."""
    before: list[frozenset[int]] = []
    needed = state_order([call.tool not in replay.tools.state_changing for call in task.reference])
    for index, call in enumerate(task.reference):
        made = [other for other in call.depends_on if not task.reference[other].optional]  # others may be left out
        before.append(call.depends_on.union(*(before[other] for other in made)))
        for other in sorted(set(needed[index]) - before[index]):
            yield (
                f"call {index} ({call.tool}) must come after call {other} ({task.reference[other].tool}), for both to "
                "find the state that they were recorded in"
            )
