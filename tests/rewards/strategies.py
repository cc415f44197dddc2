"""Generated tasks and call sequences: reference calls, near misses, guesses, distractors, errors, malformed calls."""

from typing import Any

from hypothesis import strategies as st
from worlds import TASK_SEEDS, World

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.scoring import Reward
from toolorch_env.core.tasks import Task
from toolorch_env.rewards import (
    REWARDS,
    AtomicReward,
    BinaryReward,
    GraduatedReward,
    OrchestrationReward,
    PotentialReward,
)
from toolorch_env.rewards.credit import AtomicWeights

POTENTIALS = {name: make for name, make in REWARDS.items() if issubclass(make, PotentialReward)}
"""Rewards that are paid at every call, by name."""

AnyCall = Call | Malformed
Turns = list[list[AnyCall]]

OTHER_VALUES: list[Any] = [
    "A3",
    "A7",
    "T1",
    "",
    "no such thing",
    0,
    1,
    105,
    -3,
    5.25,
    47.12346,
    True,
    None,
    [],
    {"a": 1},
]


def tasks(world: World) -> st.SearchStrategy[Task]:
    """Tasks of all splits."""
    return st.builds(world.task, st.sampled_from(world.splits), st.integers(0, TASK_SEEDS - 1))


def reference_call(task: Task, index: int) -> Call:
    """One call of the known solution."""
    return Call(task.reference[index].tool, dict(task.reference[index].arguments))


def reference_turns(task: Task) -> Turns:
    """The known solution, one call a turn."""
    return [[reference_call(task, index)] for index in range(len(task.reference))]


@st.composite
def reference_calls(draw: st.DrawFn, task: Task) -> Call:
    """A call of the known solution, whether its values were seen or not."""
    return reference_call(task, draw(st.integers(0, len(task.reference) - 1)))


@st.composite
def near_misses(draw: st.DrawFn, task: Task) -> Call:
    """A reference call with an argument changed, left out or added, or passed to another tool."""
    call = draw(reference_calls(task))
    arguments = dict(call.arguments)
    said = [mention.value for mention in task.mentions]
    used = [value for reference in task.reference for value in reference.arguments.values()]
    values = st.sampled_from([*said, *used, *OTHER_VALUES])
    kind = draw(st.sampled_from(["change", "leave out", "add", "other tool"]))
    if kind == "add" or not arguments:
        arguments[draw(st.sampled_from(["limit", "sort", "date", "unheard_of"]))] = draw(values)
    elif kind == "change":
        arguments[draw(st.sampled_from(sorted(arguments)))] = draw(values)
    elif kind == "leave out":
        del arguments[draw(st.sampled_from(sorted(arguments)))]
    else:
        return Call(draw(st.sampled_from(task.tools)), arguments)
    return Call(call.tool, arguments)


@st.composite
def other_ways(draw: st.DrawFn, world: World, task: Task) -> Call:
    """A recorded call with the response of a reference call: the call itself or another way to ask."""
    call = draw(reference_calls(task))
    response = world.replay.look_up(world.snapshot.tools.canonical(call))
    return draw(st.sampled_from(world.by_digest.get(response.digest if response else 0, [call])))


def no_calls() -> st.SearchStrategy[AnyCall]:
    """What is no call, or one that no tool takes."""
    odd = [Call("no_such_tool", {}), Call("no_such_tool", {"a": 1}), Call("get_author", {"author_id": float("nan")})]
    return st.sampled_from([Malformed("{", "this is not valid JSON"), *odd])


def calls(world: World, task: Task) -> st.SearchStrategy[AnyCall]:
    """Anything that an agent might do."""
    return st.one_of(
        reference_calls(task),
        reference_calls(task),
        near_misses(task),
        other_ways(world, task),
        st.sampled_from(world.recorded),
        no_calls(),
    )


@st.composite
def turns(draw: st.DrawFn, world: World, task: Task, min_size: int = 0) -> Turns:
    """Turns of one to three calls; some calls are made again later."""
    found: Turns = draw(
        st.lists(st.lists(calls(world, task), min_size=1, max_size=3), min_size=min_size, max_size=8),
    )
    if found and draw(st.booleans()):
        made = [call for turn in found for call in turn]
        found.append(draw(st.lists(st.sampled_from(made), min_size=1, max_size=3)))
    return found


def states_of(world: World, task: Task, sequence: Turns) -> list[bytes]:
    """The state of the session before each turn, and after the last."""
    episode = Episode(task, world.replay, GraduatedReward(), max_calls=1000)
    states = [episode.state]
    for turn in sequence:
        episode.send(turn)
        states.append(episode.state)
    return states


@st.composite
def valid_orders(draw: st.DrawFn, task: Task) -> list[list[int]]:
    """The reference calls in a random order that respects their dependencies, in random groups."""
    done: set[int] = set()
    order: list[list[int]] = []
    while len(done) < len(task.reference):
        ready = [i for i, call in enumerate(task.reference) if i not in done and call.depends_on <= done]
        picked = draw(st.permutations(ready))[: draw(st.integers(1, len(ready)))]
        order.append(picked)
        done.update(picked)
    return order


def any_reward() -> st.SearchStrategy[PotentialReward]:
    """Every reward, with its default and with other weights."""
    penalties, alphas = st.floats(0, 1), st.floats(0, 1)
    return st.one_of(
        st.sampled_from([make() for make in POTENTIALS.values()]),
        st.builds(GraduatedReward, alpha=alphas, penalty=penalties, weights=atomic_weights()),
        st.builds(AtomicReward, penalty=penalties, weights=atomic_weights()),
        st.builds(OrchestrationReward, penalty=penalties, weights=atomic_weights()),
        st.builds(BinaryReward, penalty=penalties),
    )


@st.composite
def atomic_weights(draw: st.DrawFn) -> AtomicWeights:
    """Weights that add up to 1, up to rounding."""
    parts = draw(st.lists(st.floats(0.01, 1), min_size=4, max_size=4))
    return AtomicWeights(*(part / sum(parts) for part in parts))


def play(world: World, task: Task, sequence: Turns, reward: Reward) -> Episode:
    """Plays turns of calls under a limit that they do not reach, and finishes."""
    episode = Episode(task, world.replay, reward, max_calls=1000)
    for turn in sequence:
        episode.send(turn)
    episode.finish()
    return episode
