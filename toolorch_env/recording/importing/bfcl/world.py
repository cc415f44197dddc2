"""The back ends of one session, and a class of them that can be recorded."""

import copy
import inspect
import json
import pickle
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Self

from toolorch_env.recording.importing.bfcl.package import Package
from toolorch_env.recording.importing.bfcl.problems import Scenario

LOAD_SCENARIO = "load_scenario"
"""The call that sets a session up. It is made before an episode, and is on offer to nobody."""


class World:
    """The back ends of one session; there are none before :data:`LOAD_SCENARIO`.

    Args:
        package: has the classes of the back ends.
        scenarios: how they may be set up, by name.
    """

    def __init__(self, package: Package, scenarios: Mapping[str, Scenario]) -> None:
        self._package = package
        self._owners = package.owners()
        self._scenarios = scenarios
        self.back_ends: dict[str, Any] = {}

    def load(self, scenario: str) -> None:
        """Sets all back ends up anew, as BFCL does.

        Raises:
            KeyError: there is no such scenario.
        """
        found = self._scenarios[scenario]
        self.back_ends = {name: self._package.classes[name]() for name in found.classes}
        for name, back_end in self.back_ends.items():
            if name not in self._package.stateless:
                back_end._load_scenario(copy.deepcopy(found.config.get(name, {})), long_context=found.long_context)

    def has(self, tool: str) -> bool:
        """Whether a tool belongs to one of the back ends."""
        return self._owners[tool] in self.back_ends

    def answer(self, tool: str, arguments: Mapping[str, Any]) -> Any:
        """What a call returns, as JSON; an exception is told as BFCL's executor tells it, in the field ``error``.

        Raises:
            KeyError: no back end of this scenario has the tool.
        """
        method = getattr(self.back_ends[self._owners[tool]], tool)
        try:
            return as_json(method(**_own_arguments(method, arguments)))
        except Exception as error:
            return {"error": f"Error during execution: {error}"}

    def state(self) -> bytes:
        """All that the back ends hold, states of random generators among it."""
        return pickle.dumps(self.back_ends)

    def copy(self) -> Self:
        """A world that may be changed in the place of this one."""
        other = copy.copy(self)
        other.back_ends = copy.deepcopy(self.back_ends)
        return other


def _own_arguments(method: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of a call, defaults among them, as values that nobody else holds.

    Back ends keep the lists that they are given and add to them, also those that are their defaults.
    """
    bound = inspect.signature(method).bind(**arguments)
    bound.apply_defaults()
    return copy.deepcopy(bound.arguments)


def as_json(value: Any) -> Any:
    """A value as JSON, if it can be written so, else as Python's text of it."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        return str(value)


def is_error(body: Any) -> bool:
    """Whether a call failed: the back ends say so in the field ``error``."""
    return isinstance(body, dict) and "error" in body


def recordable(make_world: Callable[[], World], tools: Iterable[str]) -> type:
    """A class whose methods are the tools and :data:`LOAD_SCENARIO`; each object has a world of its own.

    Args:
        make_world: makes the world of an object.
        tools: names of the tools.
    """

    def begin(self: Any) -> None:
        self._world = make_world()

    def load_scenario(self: Any, scenario: str) -> None:
        """Begins a problem."""
        self._world.load(scenario)

    def method(tool: str) -> Callable[..., Any]:
        def answer(self: Any, **arguments: Any) -> Any:
            return self._world.answer(tool, arguments)

        return answer

    methods: dict[str, Any] = {"__init__": begin, LOAD_SCENARIO: load_scenario}
    return type("BackEnds", (), methods | {tool: method(tool) for tool in tools})
