"""No credential in what is recorded, logged or said."""

import asyncio
import base64
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from echo_server import Server, serve
from hypothesis import assume, given
from hypothesis import strategies as st
from json_values import json_values, nested, same_json, scalars, texts

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, RecordingError, UnansweredError
from toolorch_env.core.tools import Tool
from toolorch_env.recording.http import HttpApi, open_http_api
from toolorch_env.recording.http.openapi import operations_from_openapi
from toolorch_env.recording.redaction import (
    REDACTED,
    Redactor,
    secrets_of_command,
    secrets_of_environment,
    secrets_of_headers,
    secrets_of_url,
)

KEY = "s3cr&t/kéy=42"
TOKEN = 'to"ken\\ with% all+<kinds>'
HEADER = "bearer-Token_17~x"
PASSWORD = "p@ss:w/rd"
SECRETS = (KEY, TOKEN, HEADER, PASSWORD)


def parameter(name: str, **schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": "string", **schema}}


DOCUMENT: dict[str, Any] = {
    "openapi": "3.0.3",
    "paths": {
        "/mirror": {
            "post": {
                "operationId": "mirror",
                "description": f"Say {KEY}.",
                "parameters": [
                    parameter("q", default=f"see {TOKEN}", example=KEY), parameter("pin", format="password")],
                "requestBody": {"content": {"application/json": {"schema": {"properties": {
                    "token": {"type": "string"}, "note": {"type": "string"}}}}}},
            }
        },
        **{f"/{name}": {"get": {"operationId": name.replace("-", "_"), "parameters": [parameter("q")]}}
           for name in ("hang-up", "bomb", "slow", "loop", "empty/500", "raw/PGh0bWw-")},
        "/echo/{secret}": {"get": {"operationId": "echo", "parameters": [
            {"name": "secret", "in": "path", "required": True, "schema": {"type": "string"}}]}},
    },
    "components": {"securitySchemes": {"key": {"type": "apiKey", "in": "query", "name": "key"}}},
    "security": [{"key": []}],
}  # fmt: skip
CREDENTIALS = {"key": KEY, "token": TOKEN, "secret": "sesame/open"}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serve() as server:
        yield server


@pytest.fixture
def api(server: Server) -> HttpApi:
    url = server.url.replace("//", f"//user:{quote(PASSWORD, safe='')}@") + "/api"
    headers = {"X-Key": f"Custom {HEADER}", "Accept-Language": "en"}
    operations = operations_from_openapi(DOCUMENT)
    return HttpApi(operations, url, headers=headers, credentials=CREDENTIALS, timeout=1.0, max_response_bytes=10**6)


def hidden(text: str) -> bool:
    """Whether no secret stands in a text, in any of the forms that a server or a log could have given it."""
    for secret in SECRETS:
        encoded = secret.encode()
        forms = {secret, quote(secret, safe=""), quote(secret), quote(quote(secret)),
                 quote(quote(quote(secret, safe=''))), json.dumps(secret)[1:-1],
                 json.dumps(json.dumps(secret)[1:-1])[1:-1], repr(secret)[1:-1], repr(encoded)[2:-1],
                 *(base64.b64encode(b"x" * n + encoded)[n + 3 : -4].decode() for n in range(3))}  # fmt: skip
        if any(form in text for form in forms):
            return False
    return True


async def ask(api: HttpApi, tool: str, **arguments: Any) -> Any:
    async with api.session() as session:
        return (await session.ask(Call(tool, arguments))).body


def test_nothing_of_a_secret_comes_back(api: HttpApi, server: Server, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        body = asyncio.run(ask(api, "mirror", q="public", note="a remark"))
    _, path, headers = server.asked[-1]
    assert f"key={quote(KEY, safe='')}" in path  # they were sent
    assert headers["X-Key"] == f"Custom {HEADER}"
    assert base64.b64decode(headers["Authorization"].split()[1]).decode() == f"user:{PASSWORD}"
    assert hidden(json.dumps(body))
    assert hidden(json.dumps(body, ensure_ascii=False))
    assert body["query"]["q"] == "public"
    assert "a remark" in body["said"]
    assert REDACTED in body["said"]
    assert hidden(caplog.text)
    assert {"httpx", "httpcore.http11"} <= {record.name for record in caplog.records}


@pytest.mark.parametrize("tool", ["hang_up", "bomb", "slow", "loop", "empty_500", "raw_PGh0bWw", "no_tool", "echo"])
def test_messages_hold_no_secret(api: HttpApi, caplog: pytest.LogCaptureFixture, tool: str) -> None:
    arguments = {TOKEN: KEY} if tool in ("no_tool", "echo") else {"q": "public"}
    with caplog.at_level(logging.DEBUG), pytest.raises(UnansweredError) as caught:
        asyncio.run(ask(api, tool, **arguments))
    assert hidden(f"{caught.value} {caught.value!r}")
    assert hidden(caplog.text)


def test_credentials_are_no_arguments(api: HttpApi) -> None:
    tool = api.tools["mirror"]
    assert set(tool.properties) == {"q", "note"}
    assert hidden(json.dumps(tool.as_openai(), ensure_ascii=False))
    assert tool.properties["q"] == {"type": "string", "default": f"see {REDACTED}", "examples": [REDACTED]}
    assert dict(api.tools["echo"].properties) == {}
    with pytest.raises(UnansweredError, match="no parameter 'key'"):
        asyncio.run(ask(api, "mirror", key="mine"))
    with pytest.raises(UnansweredError, match="no parameter 'pin'"):
        asyncio.run(ask(api, "mirror", pin="mine"))


def test_credentials_go_where_the_operation_takes_them(api: HttpApi, server: Server) -> None:
    asyncio.run(ask(api, "echo"))
    assert server.asked[-1][1].startswith("/api/echo/sesame%2Fopen?")
    asyncio.run(ask(api, "mirror"))
    assert "token" not in server.asked[-1][1]


def test_the_source_holds_no_userinfo(api: HttpApi, server: Server) -> None:
    assert api.source == f"{server.url}/api"


def test_a_required_credential_that_is_missing_is_told() -> None:
    with pytest.raises(ConfigurationError, match=r"echo requires the credential 'secret'"):
        HttpApi(operations_from_openapi(DOCUMENT), "http://127.0.0.1")


def test_a_credential_that_nothing_takes_is_told() -> None:
    with pytest.raises(ConfigurationError, match="'ticket'"):
        HttpApi(operations_from_openapi(DOCUMENT), "http://127.0.0.1", credentials={**CREDENTIALS, "ticket": "1234"})


def test_a_document_that_cannot_be_had_is_told_without_secrets(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    url = server.url.replace("//", f"//user:{quote(PASSWORD, safe='')}@") + f"/empty/404?api_key={quote(KEY, safe='')}"
    with caplog.at_level(logging.DEBUG), pytest.raises(RecordingError) as caught:
        asyncio.run(open_http_api(url, headers={"Authorization": f"Bearer {HEADER}"}))
    assert hidden(str(caught.value))
    assert hidden(caplog.text)


def test_the_filters_of_logs_are_removed_and_may_overlap(api: HttpApi, caplog: pytest.LogCaptureFixture) -> None:
    async def run() -> None:
        async with api.session():
            async with api.session():
                pass
            logging.getLogger("httpx").info("%s and %d", KEY, 1)

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert f"{REDACTED} and 1" in caplog.messages
    for name in ("httpx", "httpcore", "httpcore.http11", "httpcore.connection"):
        assert logging.getLogger(name).filters == []


@pytest.mark.parametrize(
    "name",
    ["api_key", "apiKey", "X-API-Key", "x.api.key", "access token", "Authorization", "PASSWORD", "client_secret", "pwd",
     "refreshToken", "session-token", "credentials", "token"],
)  # fmt: skip
def test_names_of_credentials(name: str) -> None:
    assert Redactor().is_credential_name(name)
    assert Redactor().body({"x": [{name: "abc"}, {name: 7}]}) == {"x": [{name: REDACTED}, {name: REDACTED}]}
    for value in ("", None, True, {}, [], {"a": 1}, ["abc"]):
        assert same_json(Redactor().body({name: value}), {name: value})


@pytest.mark.parametrize(
    "name",
    ["next_page_token", "tokens_used", "tokens", "key", "keys", "session_id", "passenger", "author", "secretary"],
)
def test_names_of_other_things(name: str) -> None:
    assert not Redactor().is_credential_name(name)
    assert Redactor().body({name: "abc"}) == {name: "abc"}


def test_more_names_can_be_given() -> None:
    assert Redactor(names=["Session-ID"]).body({"session_id": "abc", "n": 1}) == {"session_id": REDACTED, "n": 1}


@pytest.mark.parametrize(
    "arguments",
    [{"token": "abcd"}, {"a": [{"password": "abcd"}]}, {"a": "my hunter22"}, {"hunter22": 1}, {"a": 987654}],
)
def test_arguments_that_hold_a_credential_are_objected_to(arguments: dict[str, Any]) -> None:
    redactor = Redactor(secrets=["hunter22", "987654"])
    told = redactor.objection({"fine": 1, **arguments})
    assert told is not None
    assert "credential" in told
    assert "hunter22" not in told
    assert redactor.objection({"tokens_used": 3, "a": [{"b": "abcd"}], "password": ""}) is None


@pytest.mark.parametrize(
    ("command", "secrets"),
    [
        (["server", "--api-key", "hunter22", "--verbose", "value"], {"hunter22"}),
        (["server", "--github-token=hunter22", "--log=debug"], {"hunter22"}),
        (["server", "postgresql://ada:p%40ss@host/db"], {"p%40ss", "p@ss"}),
        (["server", "--dsn", "https://t0ken@host/x?y=1@z"], {"t0ken"}),
        (["env", "API_KEY=hunter22", "PLAIN=seen"], {"hunter22"}),
        (["server", "--token", "--verbose", "https://example.org/@scope"], set()),
        (["server", "--ticket", "hunter22"], {"hunter22"}),
    ],
)
def test_secrets_of_commands(command: list[str], secrets: set[str]) -> None:
    assert secrets_of_command(command, ["ticket"]) == secrets


def test_secrets_of_environments() -> None:
    environment = {"GITHUB_TOKEN": "hunter22", "URL": "redis://:hunter33@host", "TOKENS": "many", "KEY_PASSWORD": "abc"}
    assert secrets_of_environment(environment) == {"hunter22", "hunter33"}


@pytest.mark.parametrize("schema", [{"format": "password"}, {"writeOnly": True}])
def test_schemas_name_credentials_too(schema: dict[str, Any]) -> None:
    assert Redactor().is_credential("pin", schema)
    parameters = {"type": "object", "properties": {"pin": schema, "n": {}}, "required": ["pin", "n"]}
    assert Redactor().tool(Tool("t", "", parameters)).parameters == {
        "type": "object", "properties": {"n": {}}, "required": ["n"]}  # fmt: skip


@pytest.mark.parametrize("secret", ["", "a", "abc"])
def test_short_secrets_are_refused(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="4 characters"):
        Redactor(secrets=[secret])


@pytest.mark.parametrize("secret", ["a", "abc"])
def test_short_secrets_in_headers_are_refused(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="'Authorization'"):
        secrets_of_headers({"Authorization": f"Bearer {secret}"})


def test_secrets_of_headers() -> None:
    basic = base64.b64encode(b"user:pass word").decode()
    headers = {
        "Authorization": f"Basic {basic}",
        "User-Agent": "me/1",
        "X-Version": "2025",
        "X-Page": "7",
        "X-Id": "42ab",
    }
    assert secrets_of_headers(headers) == {f"Basic {basic}", basic, "user:pass word", "pass word", "42ab"}
    assert secrets_of_headers({"Cookie": "a=1; sid=abcdef"}) == {"a=1; sid=abcdef", "abcdef"}
    key = base64.b64encode(b"sk_live:").decode()
    assert secrets_of_headers({"authorization": f"basic {key}"}) == {f"basic {key}", key, "sk_live:", "sk_live"}


def test_secrets_of_urls() -> None:
    assert secrets_of_url("http://h/x?page_token=abcd&q=1") == set()
    assert secrets_of_url("http://u:p%40ss@h/?token=abcd") == {"u:p%40ss", "u:p@ss", "p%40ss", "p@ss", "abcd"}
    assert secrets_of_url("http://ghp_1@h/") == {"ghp_1"}


SECRET = st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=4, max_size=30)


@given(SECRET, st.lists(texts, min_size=1, max_size=3), st.data())
def test_a_secret_is_found_wherever_it_is(secret: str, around: list[str], data: st.DataObject) -> None:
    """In a text, in a text in JSON in a text, percent-encoded or in Base64, as a value or as a key."""
    assume(not set(secret) & set("[]{}") and not secret.isspace() and secret not in json.dumps(REDACTED))
    plain = secret.join([around[0], around[-1]])
    forms = [plain, json.dumps({"a": plain}), quote(plain, safe=""), base64.b64encode(plain.encode()).decode()]
    planted = data.draw(st.sampled_from(forms))
    body = data.draw(nested(st.just(planted) | st.just({planted: planted}) | scalars))
    assume(planted in json.dumps(body) or json.dumps(planted)[1:-1] in json.dumps(body))
    redacted = Redactor(secrets=[secret]).body(body)
    found = list(strings(redacted))
    assert not any(secret in text or quote(secret, safe="") in text for text in found)
    core = base64.b64encode(secret.encode()).decode().rstrip("=")[:-1]
    if around[0] == "" and len(core) > 5:
        assert not any(core in text for text in found)


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from strings(item)
    elif isinstance(value, str):
        yield value


@given(st.integers(10**6, 10**12), st.sampled_from(["", "-", "1.5"]))
def test_a_number_that_is_a_secret_is_found(secret: int, before: str) -> None:
    redactor = Redactor(secrets=[str(secret)])
    number = float(f"{before}{secret}") if "." in before else int(f"{before}{secret}")
    assert str(secret) not in json.dumps(redactor.body({"n": [number, str(number)]}))


@given(json_values, st.lists(SECRET, max_size=3))
def test_redacting_twice_is_redacting_once(body: Any, secrets: list[str]) -> None:
    redactor = Redactor(secrets=secrets)
    planted = {"token": body, "x": [f"{secret}{secret}" for secret in secrets], "y": body}
    once = redactor.body(planted)
    assert same_json(redactor.body(once), once)


@given(json_values)
def test_what_holds_no_credential_stays(body: Any) -> None:
    redactor = Redactor(secrets=["a very long secret that nobody says", "17171717171717171717171717"])
    assume(not any(redactor.is_credential_name(text) for text in strings(body)))
    assert same_json(redactor.body(body), body)
