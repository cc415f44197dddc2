"""The state of a session: what was changed so far decides how the same call is answered next."""

from collections.abc import Sequence
from typing import Protocol

from toolorch_env.core.responses import Response


class MadeCall(Protocol):
    """A call in the state that it was made in: a canonical call, or a recorded one."""

    @property
    def key(self) -> bytes:
        """Key of the call in its state."""
        ...

    @property
    def state(self) -> bytes:
        """What was changed before it (see :attr:`toolorch_env.core.calls.CanonicalCall.state`)."""
        ...


def state_after(call: MadeCall, response: Response, read_only: bool) -> bytes:
    """The state of a session after a call.

    Only a state-changing call that the API answered with success moves a session on, to a state that is named by the
    key of the recorded call.

    Args:
        call: the call, in the state of the session (see :meth:`toolorch_env.core.calls.CanonicalCall.within`).
        response: the answer to it.
        read_only: whether calls of its tool leave the state as it was.
    """
    if read_only or not response.success:
        return call.state
    return response.recorded_key or call.key


def state_order(read_only: Sequence[bool]) -> list[tuple[int, ...]]:
    """For each call of a session the earlier ones that must come first, for every call to find the state it found.

    A read-only call follows the latest state-changing one; a state-changing call follows that one and all calls since.

    Args:
        read_only: for each call, in order, whether its tool leaves the state as it was.
    """
    orders: list[tuple[int, ...]] = []
    block = 0  # where the latest state-changing call stands, or the session begins
    for index, reads in enumerate(read_only):
        since = range(block, index)
        orders.append(tuple(since if not reads else [call for call in since[:1] if not read_only[call]]))
        if not reads:
            block = index
    return orders
