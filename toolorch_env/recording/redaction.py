"""Keeping credentials out of what is recorded, logged and said."""

import base64
import html
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.core.tools import Tool

REDACTED = "[redacted]"
"""What stands in the place of a credential."""

SHORTEST_SECRET = 4
"""Secrets with fewer characters cannot be told from other text."""

CREDENTIAL_NAMES = frozenset(
    {"accesskey", "accesstoken", "apikey", "apisecret", "apitoken", "appkey", "appsecret", "authenticationtoken"}
    | {"authkey", "authorization", "authorizationtoken", "authtoken", "awssecretaccesskey", "bearer", "bearertoken"}
    | {"clientsecret", "confirmpassword", "consumersecret", "credential", "credentials", "csrftoken"}
    | {"currentpassword", "encryptionkey", "idtoken", "jwt", "newpassword", "oauthtoken", "oauthtokensecret"}
    | {"oldpassword", "passphrase", "passwd", "password", "passwordconfirmation", "privatekey", "proxyauthorization"}
    | {"pwd", "rapidapikey", "refreshtoken", "secret", "secretaccesskey", "secretkey", "securitytoken"}
    | {"servicetoken", "sessionkey", "sessiontoken", "sharedsecret", "signingkey", "subscriptionkey", "token"}
    | {"webhooksecret", "xaccesstoken", "xapikey", "xapitoken", "xauthkey", "xauthtoken", "xcsrftoken"}
    | {"xrapidapikey", "xsrftoken"}
)
"""Names of credentials, in lower case, without ``-``, ``_``, ``.`` and spaces. The whole name has to match: neither
``next_page_token`` nor ``tokens_used`` is one. Session identifiers are not among them, as later calls need them."""

_PLAIN_HEADERS = frozenset(
    {"accept", "acceptcharset", "acceptencoding", "acceptlanguage", "cachecontrol", "connection", "contenttype"}
    | {"origin", "pragma", "prefer", "referer", "useragent", "xrequestedwith"}
)
_LOGGERS = (
    *("httpx", "httpx2", "mcp.client.session", "mcp.client.sse", "mcp.client.streamable_http"),
    *("mcp.shared.dispatcher", "mcp.shared.jsonrpc_dispatcher", "mcp.shared.session"),
    *(
        f"{name}{part}"
        for name in ("httpcore", "httpcore2")
        for part in ("", ".connection", ".http11", ".http2", ".proxy", ".socks")
    ),
)
_USERINFO = re.compile(r"[a-z][a-z0-9+.-]*://([^/\s?#]*)@", re.IGNORECASE)
_SHORTEST_FRAGMENT = 5
_OTHER_FORMS = {" ": r"\+", "\n": r"\\+n", "\r": r"\\+r", "\t": r"\\+t"}


class Redactor:
    """Replaces credentials by ``[redacted]``.

    A credential is what stands under the name of one, and any of the known secrets, wherever in a text it stands: as it
    is, percent-encoded, escaped for JSON, HTML or Python, or in Base64.

    Args:
        names: names of credentials besides :data:`CREDENTIAL_NAMES`; read without case, ``-``, ``_``, ``.``, spaces.
        secrets: the known secrets, of :data:`SHORTEST_SECRET` characters or more each.

    Raises:
        ConfigurationError: a secret is too short to be recognised.
    """

    def __init__(self, names: Iterable[str] = (), secrets: Iterable[str] = ()) -> None:
        self._names = CREDENTIAL_NAMES | set(map(_plain_name, names))
        known = sorted(set(secrets), key=len, reverse=True)
        if known and len(known[-1]) < SHORTEST_SECRET:
            message = f"a secret of fewer than {SHORTEST_SECRET} characters cannot be recognised safely"
            raise ConfigurationError(f"{message}: use a longer one")
        self._pattern = re.compile("|".join(map(_pattern_of, known))) if known else None
        self._numbers = self._pattern is not None and any(re.search(r"[0-9]{2}", secret) for secret in known)
        self.is_credential_name = lru_cache(maxsize=4096)(self._is_credential_name)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "is_credential_name"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.is_credential_name = lru_cache(maxsize=4096)(self._is_credential_name)

    def _is_credential_name(self, name: str) -> bool:
        """Whether a parameter or a field of this name holds a credential."""
        return _plain_name(name) in self._names

    def is_credential(self, name: str, schema: Any) -> bool:
        """Whether a parameter is a credential: by its name, or as its schema says it is a password or never shown."""
        if self.is_credential_name(name):
            return True
        return isinstance(schema, Mapping) and (schema.get("format") == "password" or schema.get("writeOnly") is True)

    def text(self, text: str) -> str:
        """A text without the known secrets."""
        if self._pattern is None:
            return text
        parts = text.split(REDACTED)  # what was put in before is not read again
        return REDACTED.join([self._pattern.sub(REDACTED, part) for part in parts])

    def body(self, value: Any) -> Any:
        """A JSON value without credentials; a value without any is returned equal.

        Raises:
            RecursionError: it is nested too deeply.
        """
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(key): self._field(key, item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.body(item) for item in value]
        if self._numbers and type(value) in (int, float) and self.text(str(value)) != str(value):
            return REDACTED
        return value

    def _field(self, name: str, value: Any) -> Any:
        if self.is_credential_name(name) and value != "" and type(value) in (str, int, float):
            return REDACTED
        return self.body(value)

    def objection(self, arguments: Mapping[str, Any]) -> str | None:
        """Why a call with these arguments cannot be recorded: what holds a credential; ``None`` if nothing does."""
        for name, value in arguments.items():
            if self.body({name: value}) != {name: value}:
                return f"the argument {self.text(name)!r} is or holds a credential, and those are not recorded"
        return None

    def tool(self, tool: Tool, credentials: Iterable[str] = ()) -> Tool:
        """The tool without its parameters that are credentials, and without secrets in what it says of the others.

        Args:
            tool: the tool.
            credentials: names of parameters that are credentials whatever the schema says.
        """
        dropped = {name for name, item in tool.properties.items() if self.is_credential(name, item)} | set(credentials)
        kept = {name: item for name, item in tool.properties.items() if name not in dropped}
        parameters = {**tool.parameters, "properties": kept}
        if "required" in parameters:
            parameters["required"] = [name for name in tool.required if name in kept]
        return replace(
            tool,
            description=self.text(tool.description),
            parameters=self.body(parameters),
            miss_body=self.body(tool.miss_body),
        )

    @contextmanager
    def redacting_logs(self) -> Iterator[None]:
        """While open, what the clients of HTTP and MCP log holds no secrets. May be open several times at once."""
        log_filter = _LogFilter(self)
        loggers = [logging.getLogger(name) for name in _LOGGERS]
        for logger in loggers:
            logger.addFilter(log_filter)
        try:
            yield
        finally:
            for logger in loggers:
                logger.removeFilter(log_filter)


class _LogFilter(logging.Filter):
    """Takes credentials out of log messages; lets all of them through."""

    def __init__(self, redactor: Redactor) -> None:
        super().__init__()
        self._redactor = redactor

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = self._redactor.text(record.getMessage()), ()
        if record.exc_info:
            record.exc_text = self._redactor.text(logging.Formatter().formatException(record.exc_info))
            record.exc_info = None
        return True


def secrets_of_headers(headers: Mapping[str, str]) -> set[str]:
    """The secrets in headers that are sent: whole values, and their part after a scheme such as ``Bearer``.

    Of Basic authentication also the user with the password and the password, of cookies each value. Left out are
    headers that say nothing secret, such as ``Accept-Language``, those whose name ends with ``version``, and very short
    values under a name that is no credential's.

    Raises:
        ConfigurationError: a credential is too short to be recognised; the message names the header.
    """
    secrets: set[str] = set()
    for name, value in headers.items():
        plain = _plain_name(name)
        if plain in _PLAIN_HEADERS or plain.endswith("version"):
            continue
        found = _secrets_of_header(plain, value.strip())
        short = {secret for secret in found if len(secret) < SHORTEST_SECRET}
        if short and (plain in CREDENTIAL_NAMES or found != short):
            raise ConfigurationError(
                f"the header {name!r} holds a credential of fewer than {SHORTEST_SECRET} characters, which cannot be "
                "kept out of what is recorded safely: use a longer one"
            )
        secrets |= found - short
    return secrets


def _secrets_of_header(plain_name: str, value: str) -> set[str]:
    if plain_name == "cookie":
        parts = {part.partition("=")[2].strip() for part in value.split(";")}
        return {value} | {part for part in parts if len(part) >= SHORTEST_SECRET}
    scheme, space, rest = value.partition(" ")
    if not space:
        return {value}
    return {value, rest.strip()} | (_secrets_of_basic(rest.strip()) if scheme.lower() == "basic" else set())


def _secrets_of_basic(encoded: str) -> set[str]:
    try:
        decoded = base64.b64decode(encoded, validate=True).decode()
    except ValueError:
        return set()
    user, _, password = decoded.partition(":")
    return {decoded, password or user}


def secrets_of_url(url: str) -> set[str]:
    """The secrets in a URL: user and password, and credentials in its query; as written and decoded."""
    parts = urlsplit(url)
    found = {value for name, value in parse_qsl(parts.query) if _plain_name(name) in CREDENTIAL_NAMES}
    found |= {parts.netloc.rpartition("@")[0], parts.password or parts.username or ""}
    return (found | set(map(unquote, found))) - {""}


def secrets_of_command(words: Iterable[str], names: Iterable[str] = ()) -> set[str]:
    """The secrets in a command: passwords in URLs, and what follows an option such as ``--api-key``.

    Args:
        words: program and arguments.
        names: names of credentials besides the usual ones.
    """
    secrets: set[str] = set()
    option = ""
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            secrets |= secrets_of_environment({name.lstrip("-").replace("-", "_"): value}, names)
        elif option and not word.startswith("-"):
            secrets |= secrets_of_environment({option: word}, names)
        secrets |= _secrets_of_userinfo(word)
        option = word.lstrip("-").replace("-", "_") if word.startswith("-") and not equals else ""
    return secrets


def secrets_of_environment(environment: Mapping[str, str], names: Iterable[str] = ()) -> set[str]:
    """Values of environment variables whose names end like those of credentials, as ``GITHUB_TOKEN`` does.

    Also passwords in URLs, whatever the variable is called.

    Args:
        environment: the variables.
        names: names of credentials besides the usual ones.
    """
    known = CREDENTIAL_NAMES | set(map(_plain_name, names))

    def ends_like_one(name: str) -> bool:
        words = name.split("_")
        return any(_plain_name("_".join(words[start:])) in known for start in range(len(words)))

    secrets = {value for name, value in environment.items() if len(value) >= SHORTEST_SECRET and ends_like_one(name)}
    return secrets.union(*map(_secrets_of_userinfo, environment.values()))


def _secrets_of_userinfo(text: str) -> set[str]:
    """The passwords, or users that stand alone, in the URLs of a text; as written and decoded."""
    found = {password or user for user, _, password in (part.partition(":") for part in _USERINFO.findall(text))}
    return {secret for secret in found | set(map(unquote, found)) if len(secret) >= SHORTEST_SECRET}


def _plain_name(name: str) -> str:
    return re.sub(r"[-_. ]", "", name).lower()


def _pattern_of(secret: str) -> str:
    """A pattern that matches a secret as it is, escaped in the usual ways, and in Base64."""
    characters = "".join(map(_pattern_of_character, secret))
    return "|".join([characters, *_base64_fragments(secret.encode("utf-8", "replace"))])


def _pattern_of_character(character: str) -> str:
    """Letters and digits stand for themselves; anything else may be escaped, for a URL also more than once."""
    if character.isascii() and character.isalnum():
        return character
    code, encoded, units = ord(character), character.encode("utf-8", "replace"), _utf16_units(character)
    forms = [
        rf"\\*{re.escape(character)}",
        "".join(rf"%(?:25)*{byte:02x}" for byte in encoded),
        "".join(rf"\\+u{unit}" for unit in units),
        "".join(rf"\\+x{byte:02x}" for byte in encoded),
        rf"&#(?:0*{code}|x0*{code:x});",
        re.escape(html.escape(character)),
    ]
    if character in _OTHER_FORMS:
        forms.append(_OTHER_FORMS[character])
    return f"(?i:{'|'.join(forms)})"


def _utf16_units(character: str) -> list[str]:
    encoded = character.encode("utf-16-be", "replace").hex()
    return [encoded[start : start + 4] for start in range(0, len(encoded), 4)]


def _base64_fragments(secret: bytes) -> Iterator[str]:
    """What Base64 makes of a secret inside any longer text: it depends on where in a group of three bytes it begins."""
    for offset in range(3):
        encoded = base64.b64encode(bytes(offset) + secret).decode()
        bits = 8 * (offset + len(secret))
        fragment = encoded[-(-8 * offset // 6) : bits // 6]
        if len(fragment) >= _SHORTEST_FRAGMENT:
            yield fragment.replace("+", "[+-]").replace("/", "[/_]")
