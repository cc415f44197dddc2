"""Answering calls from a snapshot, and what is answered where nothing was recorded."""

from enum import StrEnum
from itertools import islice
from typing import Protocol

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.errors import ConfigurationError, MissError
from toolorch_env.core.responses import Response, Source
from toolorch_env.store.nearest import NearestCalls
from toolorch_env.store.snapshot import Snapshot


class OnMiss(StrEnum):
    """What happens when a call has no recorded response."""

    ERROR = "error"
    """Answer with the error that the tool's API gives for unknown input."""
    RAISE = "raise"
    """Raise :class:`toolorch_env.core.errors.MissError`."""
    NEAREST = "nearest"
    """Answer what was recorded for the nearest call, if one is near enough (:mod:`toolorch_env.store.nearest`)."""
    LIVE = "live"
    """Ask the real API and keep what it answers."""


class LiveAnswers(Protocol):
    """Asks the real API what is not in a snapshot (:class:`toolorch_env.recording.live.LiveApi`)."""

    @property
    def snapshot(self) -> Snapshot:
        """The snapshot of the API."""
        ...

    def answer(self, call: CanonicalCall) -> Response | None:
        """The API's answer to a call of a read-only tool in a fresh session, ``None`` to others or if it gives none."""
        ...

    def look_up(self, call: CanonicalCall) -> Response | None:
        """What the API answered earlier, ``None`` where it was not asked; it is not asked now."""
        ...


class SnapshotReplay:
    """Answers calls from a snapshot, each in the state that it is made in.

    A recorded answer always wins, be it a success or an error. Arguments that do not fit the tool's schema and were not
    recorded are refused with status 422 and the reasons.

    Calls of state-changing tools that were not recorded are a miss under all policies: what the nearest one did was not
    done here, and the real API would be changed for all episodes to come. So are, live, all calls in another state than
    that of a fresh session: the real API does not stand there.

    Args:
        snapshot: the recorded API.
        on_miss: what happens when a valid call has no recorded response.
        live: the real API, where it is to be asked.

    Raises:
        ConfigurationError: the policy is unknown, or lacks what it needs.
    """

    def __init__(
        self, snapshot: Snapshot, on_miss: OnMiss | str = OnMiss.ERROR, live: LiveAnswers | None = None
    ) -> None:
        try:
            self.on_miss = OnMiss(on_miss)
        except ValueError:
            raise ConfigurationError(
                f"there is no miss policy {on_miss!r}; choose one of {', '.join(OnMiss)}"
            ) from None
        self.snapshot = snapshot
        self.live = _checked(live, self.on_miss, snapshot)
        self._nearest = NearestCalls(snapshot) if self.on_miss is OnMiss.NEAREST else None

    @property
    def tools(self) -> ToolSet:
        """The snapshot's tools."""
        return self.snapshot.tools

    def answer(self, call: CanonicalCall) -> Response:
        """The response to a call of one of the snapshot's tools, in its state.

        Raises:
            MissError: nothing was recorded for a valid call and the miss policy is ``raise``.
        """
        response = self.snapshot.look_up(call)
        if response is not None:
            return response
        problems = list(islice(self.tools.signature(call.tool).problems(call.arguments), 5))
        if problems:
            details = [{"type": problem.kind, "message": problem.message} for problem in problems]
            return Response.synthetic(422, {"detail": details}, Source.INVALID)
        return self._answer_unrecorded(call) or self._miss(call)

    def look_up(self, call: CanonicalCall) -> Response | None:
        """The recorded response to a call in its state, ``None`` if there is none."""
        response = self.snapshot.look_up(call)
        if response is None and self.live is not None:
            return self.live.look_up(call)
        return response

    def _answer_unrecorded(self, call: CanonicalCall) -> Response | None:
        """What the miss policy has to say to a valid call, ``None`` where it is a miss."""
        if call.tool in self.tools.state_changing:
            return None
        if self.live is not None:
            return self.live.answer(call)
        found = self._nearest.find(call) if self._nearest is not None else None
        if found is None:
            return None
        nearest, tier = found
        recorded = self.snapshot.look_up(nearest)
        return None if recorded is None else Response.nearest(recorded, nearest.arguments, tier.value)

    def _miss(self, call: CanonicalCall) -> Response:
        if self.on_miss is OnMiss.RAISE:
            raise MissError(_miss_message(call))
        tool = self.tools[call.tool]
        source = Source.UNRECORDED_STATE if call.state else Source.MISS
        return Response.synthetic(tool.miss_status, tool.miss_body, source)


def _checked(live: LiveAnswers | None, on_miss: OnMiss, snapshot: Snapshot) -> LiveAnswers | None:
    if live is None and on_miss is OnMiss.LIVE:
        raise ConfigurationError(
            "on_miss='live' needs the real API: pass live=LiveApi(api, snapshot) of toolorch_env.recording.live, with "
            "an api as for recording"
        )
    if live is not None and on_miss is not OnMiss.LIVE:
        raise ConfigurationError(f"live was given, but on_miss is {on_miss.value!r}: pass on_miss='live', too")
    if live is not None and live.snapshot.path != snapshot.path:
        raise ConfigurationError(f"live answers are for {live.snapshot.path}, but {snapshot.path} is played")
    return live


def _miss_message(call: CanonicalCall) -> str:
    told = f"no response is recorded for {call.tool} with {call.arguments}"
    if not call.state:
        return told
    return (
        f"{told} in the state {call.state.hex()}, to which the state-changing calls before it have led: record a "
        "session that makes it after these calls"
    )
