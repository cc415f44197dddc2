"""Loading OpenAPI documents, and where the API is that they describe."""

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx
import orjson
import yaml

from toolorch_env.core.errors import RecordingError, UnansweredError
from toolorch_env.recording.http.bodies import ACCEPT_ENCODING, read_body
from toolorch_env.recording.http.references import expect_list, expect_mapping, expect_text
from toolorch_env.recording.redaction import Redactor, secrets_of_headers, secrets_of_url
from toolorch_env.store.yaml_reader import read_yaml

MAX_DOCUMENT_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class OpenApiDocument:
    """An OpenAPI document and where its API is.

    Attributes:
        content: the document, parsed.
        base_url: URL that the paths are appended to; may hold a user and a password.
    """

    content: Mapping[str, Any]
    base_url: str


async def load_document(
    where: str | Path,
    *,
    base_url: str | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 30.0,
    transport: httpx.AsyncBaseTransport | None = None,
) -> OpenApiDocument:
    """Loads an OpenAPI document, JSON or YAML.

    Args:
        where: an ``http`` or ``https`` URL, or a file.
        base_url: where the API is; by default the document's first server, or else the host of its URL.
        headers: sent when the document is fetched, unless ``base_url`` is given and is on another host.
        timeout: seconds in which the document has to arrive.
        transport: an HTTP transport in place of the network.

    Raises:
        RecordingError: the document cannot be had or read, or it does not say where the API is.
    """
    text = str(where)
    if not is_url(text):
        data, address = await asyncio.to_thread(_read_file, Path(where)), None
    elif not (_is_valid(text) and _is_valid(base_url or "")):
        raise RecordingError("the URL of the OpenAPI document, or the base URL, is not valid")
    else:
        sent = {} if base_url is not None and not _same_host(base_url, text) else dict(headers or {})
        redactor = Redactor(secrets=secrets_of_url(text) | secrets_of_headers(sent))
        data, address = await _fetched(text, sent, timeout, transport, redactor), text
        text = redactor.text(text)
    content = _parsed(data, text)
    return OpenApiDocument(content, base_url or _base_url(content, address))


def is_url(where: str) -> bool:
    """Whether ``where`` is a URL that can be fetched, not a file."""
    return re.match(r"https?://", where, re.IGNORECASE) is not None


def is_loopback(url: str) -> bool:
    """Whether a URL names this machine: proxies do not lead there."""
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.") or host.endswith(".localhost")


def _is_valid(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True


def _same_host(left: str, right: str) -> bool:
    return urlsplit(left).hostname == urlsplit(right).hostname


def _read_file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordingError(f"{path}: the OpenAPI document cannot be read: {error.strerror}") from None


async def _fetched(
    url: str, headers: dict[str, str], timeout: float, transport: httpx.AsyncBaseTransport | None, redactor: Redactor
) -> bytes:
    headers = {**headers, "Accept-Encoding": ACCEPT_ENCODING}
    shown = redactor.text(url)
    try:
        with redactor.redacting_logs():
            async with (
                asyncio.timeout(timeout),
                httpx.AsyncClient(transport=transport, trust_env=not is_loopback(url), follow_redirects=True) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                if response.status_code != 200:
                    raise RecordingError(f"{shown} has no OpenAPI document: status {response.status_code}")
                return await read_body(response, MAX_DOCUMENT_BYTES)
    except TimeoutError:
        raise RecordingError(f"{shown} did not answer within {timeout:g} seconds") from None
    except UnansweredError as error:
        raise RecordingError(f"{shown}: {error}") from None
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise RecordingError(f"{shown} cannot be fetched: {redactor.text(repr(error))}") from None


def _parsed(data: bytes, where: str) -> Mapping[str, Any]:
    try:
        content = orjson.loads(data)
    except ValueError:
        content = _parsed_yaml(data, where)
    if not isinstance(content, Mapping):
        raise RecordingError(f"{where} is not an OpenAPI document: an object is needed, not {type(content).__name__}")
    return content


def _parsed_yaml(data: bytes, where: str) -> Any:
    try:
        content = read_yaml(data)
        return orjson.loads(orjson.dumps(content, option=orjson.OPT_NON_STR_KEYS))
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise RecordingError(f"{where} is neither JSON nor YAML: {' '.join(str(error).split())[:200]}") from None


def _base_url(content: Mapping[str, Any], address: str | None) -> str:
    """The document's first server, relative to its own URL."""
    servers = expect_list(content.get("servers") or [{"url": "/"}], "servers")
    server = expect_mapping(servers[0], "servers/0")
    url = _filled_in(expect_text(server.get("url"), "servers/0/url"), server)
    url = urljoin(address, url) if address and _is_valid(url) else url
    if not is_url(url) or not _is_valid(url):
        raise RecordingError(f"the document does not say where the API is (its server is {url!r}): give a base_url")
    return url


def _filled_in(url: str, server: Mapping[str, Any]) -> str:
    """A server's URL with its variables at their defaults."""
    variables = expect_mapping(server.get("variables", {}), "servers/0/variables")
    for name in re.findall(r"\{([^{}]*)\}", url):
        where = f"servers/0/variables/{name}"
        default = expect_mapping(variables.get(name), where).get("default")
        url = url.replace(f"{{{name}}}", str(default) if isinstance(default, int) else expect_text(default, where))
    return url
