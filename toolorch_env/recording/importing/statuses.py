"""What became of calls whose data set gives no HTTP status, as those of the Booking.com API."""

from collections.abc import Mapping
from typing import Any

from toolorch_env.core.calls import Call
from toolorch_env.recording.importing.traces import UNKNOWN, Answered

FAILED = 400
"""Status of a call of which a data set says only that it failed."""

MISS_BODY = {"status": False, "message": "Not found"}
"""An error in the shape that the Booking.com API gives errors."""

_OK = 200


def answered(tool: str, arguments: Mapping[str, Any], body: Any, success: bool = True) -> Answered:
    """A call of a data set that gives no HTTP status.

    Args:
        tool: name of the tool.
        arguments: arguments of the call.
        body: the body; ``""`` stands for one that is not known.
        success: whether the data set says that the call succeeded.

    Returns:
        The call with status 400 where the data set says that it failed, or the body is an object with ``status`` false
        or an ``error`` that is not null, false or empty; else 200. A body that is not known is no error, whatever the
        data set says.
    """
    call = Call(tool, arguments)
    if body is UNKNOWN or (isinstance(body, str) and not body):
        return Answered(call, UNKNOWN)
    failed = not success or (isinstance(body, Mapping) and (body.get("status") is False or bool(body.get("error"))))
    return Answered(call, body, FAILED if failed else _OK)
