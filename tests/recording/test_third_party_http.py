"""A server and an OpenAPI document that nobody here wrote: OpenFisca, which computes taxes and benefits."""

import asyncio
import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from playing import assert_oracle_succeeds

from toolorch_env.core.calls import Call
from toolorch_env.recording.api import Answer
from toolorch_env.recording.http import HttpApi, open_http_api
from toolorch_env.recording.plans.plan import parse_plan
from toolorch_env.recording.record import record
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.verify import verify_snapshot

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


def test_an_error_page_is_an_answer(api: HttpApi) -> None:
    [answer] = ask(api, Call("getParameter", {"parameterID": "no_such_parameter"}))
    assert answer.status == 404
    assert "Not Found" in answer.body["text"]


WORKFLOWS: dict[str, Any] = {
    "domain": "taxes",
    "kinds": {"kind": "kind of thing"},
    "workflows": [{
        "name": "first_parameter_and_its_unit",
        "literals": {"entity": "kind"},
        "steps": [
            {"id": "all", "tool": "getVariables"},
            {"id": "one", "tool": "getVariable", "arguments": {"variableID": {"query": "entity"}}},
            {"id": "entities", "tool": "getEntities", "after": ["one"]},
        ],
        "phrasings": ["List all variables, tell about {entity}, and then which entities there are."],
    }],
}  # fmt: skip


def test_it_is_recorded_and_played(url: str, api: HttpApi, tmp_path: Path) -> None:
    """From its own examples and answers, without a plan; then with one, for tasks."""
    done = record(api, tmp_path / "proposed.sqlite")
    assert verify_snapshot(tmp_path / "proposed.sqlite").ok
    assert {"getVariables", "getParameters", "getEntities", "spec"} <= tools_of(tmp_path / "proposed.sqlite")
    assert {"getVariable", "getParameter", "calculate"} <= done.unreached.keys()
    (tmp_path / "workflows.yaml").write_text(yaml.safe_dump(WORKFLOWS))
    names = {"from": "getVariables", "select": "keys(@)"}
    requests = [
        {"tool": "getVariables"},
        {"tool": "getEntities"},
        {"tool": "getParameters"},
        {"tool": "getVariable", "arguments": {"variableID": names}, "refusals": 5},
        {"tool": "getParameter", "arguments": {"parameterID": {"from": "getParameters", "select": "keys(@)"}}},
        {"tool": "calculate", "arguments": {"persons": {"value": situation(2000)["persons"]},
                                            "households": {"value": situation(2000)["households"]}}},
    ]  # fmt: skip
    path = tmp_path / "planned.sqlite"
    plan = parse_plan({"requests": requests, "workflows": {"file": "workflows.yaml"}}, folder=tmp_path)
    done = record(api, path, plan)
    assert done.summary.failed == 0
    assert verify_snapshot(path).ok
    assert_oracle_succeeds(path)


def tools_of(path: Path) -> set[str]:
    """The tools of which a snapshot holds responses."""
    return {record.tool for record in Snapshot(path).records()}
