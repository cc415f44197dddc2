"""From an API's answer to the record of it."""

import re
from collections.abc import Mapping

from toolorch_env.core.calls import CanonicalCall, ToolSet
from toolorch_env.core.errors import RecordingError, UnansweredError
from toolorch_env.recording.api import Answer
from toolorch_env.recording.text import extract
from toolorch_env.store.records import Record, make_record


def record_of(
    tools: ToolSet, call: CanonicalCall, answer: Answer, extractions: Mapping[str, re.Pattern[str]]
) -> Record:
    """The record of an answer, with what a plan extracts from its text.

    Args:
        tools: the tools, as they are recorded.
        call: the call, in its state.
        answer: what the API answered to it.
        extractions: regular expressions by tool (see :func:`toolorch_env.recording.text.compile_extractions`).

    Raises:
        UnansweredError: it is no JSON that can be kept, such as a number of more than 64 bits.
    """
    extraction = extractions.get(call.tool)
    body = answer.body if extraction is None else extract(extraction, answer.body)
    try:
        return make_record(tools, call, answer.status, body, latency=answer.latency, recorded_at=answer.recorded_at)
    except RecordingError as error:
        raise UnansweredError("not JSON", str(error)) from None
