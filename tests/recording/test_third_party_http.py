"""A server and an OpenAPI document that nobody here wrote: OpenFisca, which computes taxes and benefits."""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import UnansweredError
from toolorch_env.recording.api import Answer
from toolorch_env.recording.http import HttpApi, open_http_api

pytestmark = pytest.mark.long

if not all(importlib.util.find_spec(name) for name in ("openfisca_web_api", "openfisca_country_template", "flask")):
    pytest.skip("openfisca-core[web-api] and openfisca-country-template are not installed", allow_module_level=True)

SERVE = """
from openfisca_core.scripts import build_tax_benefit_system
from openfisca_web_api.app import create_app
from werkzeug.serving import make_server

app = create_app(build_tax_benefit_system("openfisca_country_template", None, None))
server = make_server("127.0.0.1", 0, app, threaded=True)
print(server.port, flush=True)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    command = [sys.executable, "-W", "ignore", "-c", SERVE]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            port = int(process.stdout.readline())
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


@pytest.fixture
def api(url: str) -> HttpApi:
    return asyncio.run(open_http_api(f"{url}/spec"))


def ask(api: HttpApi, *calls: Call) -> list[Answer]:
    async def run() -> list[Answer]:
        async with api.session() as session:
            return [await session.ask(call) for call in calls]

    return asyncio.run(run())


def test_its_document_is_understood(api: HttpApi, url: str) -> None:
    assert api.source == url
    assert {name: tool.read_only for name, tool in api.tools.items()} == {
        "calculate": False, "getEntities": True, "getParameter": True, "getParameters": True, "spec": True,
        "trace": False, "getVariable": True, "getVariables": True,
    }  # fmt: skip
    assert set(api.tools["calculate"].properties) == {"households", "persons"}
    assert api.tools["getParameter"].required == ("parameterID",)
    for name in api.tools:
        api.tools.signature(name).check()


def test_what_one_answer_names_another_call_finds(api: HttpApi) -> None:
    [parameters, entities] = ask(api, Call("getParameters", {}), Call("getEntities", {}))
    assert parameters.status == entities.status == 200
    assert "taxes.income_tax_rate" in parameters.body
    assert {"persons", "households"} == {entity["plural"] for entity in entities.body.values()}
    [rate] = ask(api, Call("getParameter", {"parameterID": "taxes/income_tax_rate"}))
    assert (rate.status, rate.body["id"]) == (200, "taxes.income_tax_rate")
    [one] = ask(api, Call("getVariable", {"variableID": "income_tax"}))
    assert (one.status, one.body["id"], one.body["entity"]) == (200, "income_tax", "person")


def situation(salary: float) -> dict[str, Any]:
    person = {"salary": {"2017-01": salary}, "income_tax": {"2017-01": None}}
    return {"persons": {"Ada": person}, "households": {"home": {"adults": ["Ada"]}}}


def test_a_calculation_takes_a_body(api: HttpApi) -> None:
    first, again, more = ask(api, *(Call("calculate", situation(salary)) for salary in (1000, 1000, 3000)))
    tax = [answer.body["persons"]["Ada"]["income_tax"]["2017-01"] for answer in (first, again, more)]
    assert [first.status, again.status, more.status] == [200, 200, 200]
    assert 0 < tax[0] == tax[1] < tax[2]


def test_a_call_that_it_refuses_is_an_answer(api: HttpApi) -> None:
    wrong = situation(1000)
    wrong["persons"]["Ada"]["no_such_variable"] = {"2017-01": None}
    answer, nobody = ask(api, Call("calculate", wrong), Call("calculate", {}))
    assert (answer.status, nobody.status) == (404, 400)
    assert "no_such_variable" in str(answer.body)


def test_what_it_says_in_html_is_no_answer(api: HttpApi) -> None:
    with pytest.raises(UnansweredError, match="status 404") as caught:
        ask(api, Call("getParameter", {"parameterID": "no_such_parameter"}))
    assert caught.value.kind == "not JSON"
