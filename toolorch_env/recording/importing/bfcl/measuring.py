"""Which tools leave the back ends as they were: measured, as nobody says so."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b

from toolorch_env.core.calls import Call
from toolorch_env.recording.importing.bfcl.problems import Problem
from toolorch_env.recording.importing.bfcl.world import World, is_error


class Behaviour:
    """What was seen of the tools.

    Attributes:
        changed: names of the tools of which some call changed something.
        succeeded: names of the tools of which some call succeeded.
    """

    def __init__(self) -> None:
        self.changed: set[str] = set()
        self.succeeded: set[str] = set()

    @property
    def read_only(self) -> frozenset[str]:
        """Names of the tools that succeeded and never changed anything."""
        return frozenset(self.succeeded - self.changed)

    def watch(self, world: World, call: Call) -> bool:
        """Makes a call; returns whether the back ends hold something else after it than before."""
        before = world.state()
        if not is_error(world.answer(call.tool, call.arguments)):
            self.succeeded.add(call.tool)
        has_changed = world.state() != before
        if has_changed:
            self.changed.add(call.tool)
        return has_changed

    def watch_all(self, world: World, looks: Sequence[Call]) -> None:
        """Makes each call in a copy of the world as it is."""
        copy = world.copy()
        for look in looks:
            if world.has(look.tool) and self.watch(copy, look):
                copy = world.copy()


def read_only_tools(world: World, problems: Iterable[Problem], looks: Sequence[Call]) -> frozenset[str]:
    """Names of the tools that leave the back ends as they were, whatever happens in the problems' solutions.

    Every call of the solutions is made, and every look in every state between them. A tool that no call of succeeded
    counts as state-changing: that costs recordings, never a wrong answer.

    Args:
        world: back ends to try it on.
        problems: the problems.
        looks: calls without arguments, made on copies.
    """
    behaviour = Behaviour()
    looked: set[bytes] = set()
    for problem in problems:
        world.load(problem.scenario.name)
        for call in (None, *problem.calls):
            if call is not None:
                behaviour.watch(world, call)
            state = blake2b(world.state()).digest()
            if state not in looked:
                looked.add(state)
                behaviour.watch_all(world, looks)
    return behaviour.read_only
