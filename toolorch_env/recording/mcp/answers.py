"""What a tool of the Model Context Protocol answered, as the status and body of a response."""

import base64
import binascii
from hashlib import blake2b
from typing import Any

import mcp_types
from mcp.shared.exceptions import MCPError
from pydantic_core import from_json

DIGEST_BYTES = 16


def status_and_body(result: mcp_types.CallToolResult | MCPError) -> tuple[int, Any]:
    """Status and body of what a server answered to a call.

    The body is the structured content, where there is any. Else it is the text: parsed, if it is a JSON object or
    array, and otherwise as ``{"text": ...}``; ``{"content": [...]}`` if there are several contents; ``None`` if there
    is none. Images, sounds and binary resources are replaced by their type, length and BLAKE2b digest.

    Args:
        result: the tool's result, or the error that the protocol reports in its place.

    Returns:
        200 and the body, or 400 and the body if the tool or the protocol says that it is an error.
    """
    if isinstance(result, MCPError):
        return 400, {"error": {"code": result.code, "message": result.message}}
    return (400 if result.is_error else 200), _body(result)


def _body(result: mcp_types.CallToolResult) -> Any:
    if result.structured_content is not None:
        return result.structured_content
    contents = [_content(content) for content in result.content]
    if len(contents) > 1:
        return {"content": contents}
    return contents[0] if contents else None


def _content(content: mcp_types.ContentBlock) -> Any:
    if isinstance(content, mcp_types.TextContent):
        return _text(content.text)
    if isinstance(content, mcp_types.ResourceLink):
        return _known(type=content.type, uri=content.uri, name=content.name, mime_type=content.mime_type)
    if not isinstance(content, mcp_types.EmbeddedResource):
        return {"type": content.type, "mime_type": content.mime_type, **_digest(content.data)}
    resource = content.resource
    if isinstance(resource, mcp_types.TextResourceContents):
        return _known(type=content.type, uri=resource.uri, mime_type=resource.mime_type, text=resource.text)
    return _known(type=content.type, uri=resource.uri, mime_type=resource.mime_type, **_digest(resource.blob))


def _text(text: str) -> Any:
    try:
        value = from_json(text, allow_inf_nan=False)
    except ValueError:
        return {"text": text}
    return value if isinstance(value, (dict, list)) else {"text": text}


def _known(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


def _digest(data: str) -> dict[str, Any]:
    """Length and digest of Base64 data; of the text itself if it is not Base64."""
    try:
        decoded = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        decoded = data.encode("utf-8", "replace")
    return {"bytes": len(decoded), "blake2b": blake2b(decoded, digest_size=DIGEST_BYTES).hexdigest()}
