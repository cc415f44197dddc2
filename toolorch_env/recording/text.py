"""Values out of texts: responses that are not JSON, read with regular expressions.

JMESPath cannot reach into a text. A recording plan may therefore give a regular expression with named groups for a
tool; what the groups matched stands beside the text in the body that is recorded, where bindings can reach it. An
expression is applied as it is: one that backtracks without end on some text takes that long.
"""

import re
from collections.abc import Mapping
from typing import Any

from toolorch_env.core.errors import PlanError


def compile_extractions(patterns: Mapping[str, str]) -> dict[str, re.Pattern[str]]:
    """The compiled expression of each tool, ``^`` and ``$`` matching at every line.

    Args:
        patterns: regular expressions with named groups, by tool name.

    Raises:
        PlanError: an expression is not valid, or has no named group.
    """
    return {tool: _compiled(tool, pattern) for tool, pattern in patterns.items()}


def extract(pattern: re.Pattern[str], body: Any) -> Any:
    """The body with what ``pattern`` matched in its text; a body that is no text comes back as it is.

    Args:
        pattern: expression with named groups.
        body: a text, or ``{"text": ...}`` and nothing else, to be read; any other JSON value.

    Returns:
        ``{"text": ..., "matches": [{group: text, ...}, ...]}``, one entry a match, from the beginning of the text to
        its end. Groups that took no part in a match are left out of its entry. Numbers stay texts.
    """
    text = body["text"] if isinstance(body, Mapping) and body.keys() == {"text"} else body
    if not isinstance(text, str):
        return body
    return {"text": text, "matches": [_groups(match) for match in pattern.finditer(text)]}


def _compiled(tool: str, pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern, re.MULTILINE)
    except (re.error, TypeError, OverflowError, RecursionError) as error:
        raise PlanError(f"tool {tool!r}: {pattern!r} is no regular expression: {error}") from None
    if not compiled.groupindex:
        raise PlanError(f"tool {tool!r}: {pattern!r} names no group; write (?P<name>...) around what is to be read")
    return compiled


def _groups(match: re.Match[str]) -> dict[str, str]:
    return {name: value for name, value in match.groupdict().items() if value is not None}
