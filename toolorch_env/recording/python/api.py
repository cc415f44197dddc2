"""Recording Python: the functions of a module, or the methods of an object."""

import copy
import importlib
import inspect
import operator
import time
from collections.abc import AsyncIterator, Callable, Container, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from types import ModuleType, SimpleNamespace
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import from_json, to_json

from toolorch_env.core.calls import Call, ToolSet
from toolorch_env.core.errors import RecordingError, UnansweredError
from toolorch_env.recording.api import Answer
from toolorch_env.recording.python.functions import (
    Function,
    PublicFunction,
    function_tool,
    is_function,
    public_functions,
)
from toolorch_env.recording.python.thread import SessionThread
from toolorch_env.recording.redaction import Redactor

F = TypeVar("F", bound=Callable[..., Any])

_MARK = "__toolorch_read_only__"


def read_only(function: F) -> F:
    """Marks a method as one that leaves the state of its object as it is."""
    setattr(function, _MARK, True)
    return function


@dataclass(frozen=True, slots=True)
class Target:
    """What is recorded.

    Attributes:
        source: what it is, in words.
        functions: its functions, by name.
        make: makes the object that has them, for one session.
    """

    source: str
    functions: dict[str, Function]
    make: Callable[[], Any]


class PythonSession:
    """One object and the thread that its functions are called in."""

    def __init__(self, api: "PythonApi", thread: SessionThread) -> None:
        self._api = api
        self._thread = thread
        self._world: Any = None

    def begin(self) -> RecordingError | None:
        """Makes the object; runs in the session's thread. Returns why it cannot be made."""
        try:
            self._world = self._api.target.make()
        except Exception as error:
            return RecordingError(f"{self._api.source}: no session can begin: {type(error).__name__}: {error}")
        return None

    def end(self) -> None:
        """Lets the object go, in the thread that it was made in."""
        self._world = None

    async def ask(self, call: Call) -> Answer:
        """What a function returns, status 200, or its exception: 404 for a lookup error, 400 for any other.

        Arguments that do not fit are answered with status 422.

        Raises:
            UnansweredError: there is no such function, it did not return in time, what it returned is not JSON or too
                large, or it tried to end the program. After that, and after a timeout, the session is lost.
        """
        function = self._api.target.functions.get(call.tool)
        if function is None:
            raise UnansweredError("unsendable", f"{self._api.source} has no function {call.tool!r}")
        objection = self._api.redactor.objection(call.arguments)
        if objection is not None:
            raise UnansweredError("unsendable", f"{call.tool}: {objection}")
        begin = time.perf_counter()
        outcome = await self._thread.run(partial(self._outcome, function, call), self._api.timeout, call.tool)
        latency = time.perf_counter() - begin
        if isinstance(outcome, UnansweredError):
            raise outcome
        status, body = outcome
        return Answer(status, self._api.redactor.body(body), latency)

    def _outcome(self, function: Function, call: Call) -> tuple[int, Any] | UnansweredError:
        """Status and body; runs in the session's thread."""
        try:
            positional, named = function.read(call.arguments)
        except ValidationError as error:
            return 422, {"detail": from_json(error.json(include_url=False))}
        except ValueError as error:
            return UnansweredError("unsendable", f"{call.tool}: {error}")
        try:
            value = getattr(self._world, call.tool)(*positional, **named)
            if inspect.isawaitable(value):
                value = self._thread.wait_for(value)
        except Exception as error:
            status = 404 if isinstance(error, LookupError) else 400
            return status, {"error": {"type": type(error).__name__, "message": str(error)}}
        return self._written(call.tool, value)

    def _written(self, tool: str, value: Any) -> tuple[int, Any] | UnansweredError:
        try:
            written = to_json(value)
            if len(written) > self._api.max_response_bytes:
                limit = self._api.max_response_bytes
                return UnansweredError("too large", f"{tool}: the body has more than {limit} bytes")
            return 200, from_json(written, allow_inf_nan=False)
        except (ValueError, TypeError, RecursionError) as error:
            return UnansweredError("not JSON", f"{tool} returned a {type(value).__name__}: {error}")


class PythonApi:
    """A Python module, function or object. Made by :func:`open_python`."""

    def __init__(self, target: Target, timeout: float, max_response_bytes: int, redactor: Redactor) -> None:
        self.target = target
        self.timeout = timeout
        self.max_response_bytes = max_response_bytes
        self.redactor = redactor
        self._tools = ToolSet(redactor.tool(function.tool) for function in target.functions.values())

    @property
    def source(self) -> str:
        """What is recorded, as ``Python module:object``."""
        return self.target.source

    @property
    def tools(self) -> ToolSet:
        """A tool for each function."""
        return self._tools

    @asynccontextmanager
    async def session(self) -> AsyncIterator[PythonSession]:
        """A fresh object. The state of modules is shared by all sessions.

        Raises:
            RecordingError: the object cannot be made.
        """
        thread = SessionThread()
        session = PythonSession(self, thread)
        try:
            failure = await thread.run(session.begin, self.timeout, f"{self.source}: the beginning of a session")
            if failure is not None:
                raise failure
            yield session
        finally:
            await thread.end(session.end)


def open_python(
    target: str | object,
    *,
    read_only: Container[str] = (),
    state_changing: Container[str] = (),
    timeout: float = 30.0,
    max_response_bytes: int = 4 * 2**20,
    credential_names: Iterable[str] = (),
) -> PythonApi:
    """Makes tools of the functions of a module, of one function, or of the methods of an object.

    Functions are taken to leave the state as it is, and methods to change it, unless ``read_only``, ``state_changing``
    or the decorator :func:`read_only` say otherwise. A function whose parameters cannot become a JSON Schema is left
    out, with a warning in the log. What the functions print goes where it always goes.

    Args:
        target: ``module``, ``module:object`` or ``module:factory()``, or the object itself. Each session has an object
            of its own: a class is called without arguments, a factory likewise, and any other object is copied. Modules
            and functions are shared by all sessions.
        read_only: names of functions that leave the state as it is.
        state_changing: names of functions that change it.
        timeout: seconds to wait for each answer; functions run in a thread, which a timeout leaves behind.
        max_response_bytes: length of the longest body that is kept, as JSON.
        credential_names: names of parameters and fields that hold credentials besides the usual ones. Such parameters
            are none of the tools.

    Raises:
        RecordingError: there is no such object, it offers no function, or it cannot be made anew for each session.
    """
    found, make, reads = _offer(target)
    functions: dict[str, Function] = {}
    for name, function, of_object in found:
        marked = name in read_only or getattr(function, _MARK, reads)
        described = function_tool(name, function, of_object, marked and name not in state_changing)
        if described is not None:
            functions[name] = described
    source = f"Python {target if isinstance(target, str) else _name(target)}"
    if not functions:
        raise RecordingError(f"{source} offers no public function that can be called with JSON arguments")
    return PythonApi(Target(source, functions, make), timeout, max_response_bytes, Redactor(credential_names))


def _offer(target: str | object) -> tuple[list[PublicFunction], Callable[[], Any], bool]:
    """The functions of a target, what makes the object that has them, and whether they only read by default."""
    value: Any = _resolved(target) if isinstance(target, str) else target
    if isinstance(target, str) and target.endswith("()"):
        return public_functions(type(_called(value, target))), value, False
    if isinstance(value, ModuleType):
        return public_functions(value), lambda: value, True
    if inspect.isclass(value):
        _check_constructor(value)
        return public_functions(value), value, False
    if is_function(value):
        name = str(getattr(value, "__name__", "function"))
        return [(name, value, False)], partial(SimpleNamespace, **{name: value}), True
    return public_functions(type(value)), partial(copy.deepcopy, _copied(value)), False


def _resolved(target: str) -> Any:
    name, _, path = target.removesuffix("()").partition(":")
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:
        reason = f"{type(error).__name__}: {error}"
        raise RecordingError(f"{target!r}: the module {name!r} cannot be imported: {reason}") from None
    try:
        return operator.attrgetter(path)(module) if path else module
    except AttributeError as error:
        raise RecordingError(f"{target!r}: there is no such object: {error}") from None


def _called(factory: Any, target: str) -> Any:
    try:
        return factory()
    except Exception as error:
        raise RecordingError(f"{target!r} cannot be called: {type(error).__name__}: {error}") from None


def _check_constructor(value: type) -> None:
    try:
        inspect.signature(value).bind()
    except ValueError:  # a class written in C does not say
        return
    except TypeError as error:
        advice = "give a function that makes one, as 'module:function()'"
        raise RecordingError(
            f"the class {value.__qualname__} cannot be called without arguments ({error}); {advice}"
        ) from None


def _copied(value: Any) -> Any:
    try:
        return copy.deepcopy(value)
    except Exception as error:
        advice = "give its class, or a function that makes one, as 'module:function()'"
        reason = f"{type(error).__name__}: {error}"
        raise RecordingError(f"{_name(value)} cannot be copied for each session ({reason}); {advice}") from None


def _name(value: Any) -> str:
    if isinstance(value, ModuleType):
        return value.__name__
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}:{named.__qualname__}"
