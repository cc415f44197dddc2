"""Answering calls from a snapshot, and what is answered where nothing was recorded."""

from enum import StrEnum
from itertools import islice

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.errors import ConfigurationError, MissError
from toolorch_env.core.responses import Response, Source
from toolorch_env.store.snapshot import Snapshot


class OnMiss(StrEnum):
    """What happens when a call has no recorded response."""

    ERROR = "error"
    """Answer with the error that the tool's API gives for unknown input."""
    RAISE = "raise"
    """Raise :class:`toolorch_env.core.errors.MissError`."""


class SnapshotReplay:
    """Answers calls from a snapshot.

    A recorded answer always wins, be it a success or an error. Arguments that do not fit the tool's schema and were not
    recorded are refused with status 422 and the reasons.

    Args:
        snapshot: the recorded API.
        on_miss: what happens when a valid call has no recorded response.

    Raises:
        ConfigurationError: the policy is unknown.
    """

    def __init__(self, snapshot: Snapshot, on_miss: OnMiss | str = OnMiss.ERROR) -> None:
        try:
            self.on_miss = OnMiss(on_miss)
        except ValueError:
            raise ConfigurationError(
                f"there is no miss policy {on_miss!r}; choose one of {', '.join(OnMiss)}"
            ) from None
        self.snapshot = snapshot

    @property
    def tools(self) -> ToolSet:
        """The snapshot's tools."""
        return self.snapshot.tools

    def answer(self, call: CanonicalCall) -> Response:
        """The response to a call of one of the snapshot's tools.

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
        if self.on_miss is OnMiss.RAISE:
            raise MissError(f"no response is recorded for {call.tool} with {call.arguments}")
        tool = self.tools[call.tool]
        return Response.synthetic(tool.miss_status, tool.miss_body, Source.MISS)

    def digest(self, call: CanonicalCall) -> int:
        """Digest of the recorded successful response to a call, 0 if there is none."""
        response = self.snapshot.look_up(call)
        return response.digest if response is not None else 0
