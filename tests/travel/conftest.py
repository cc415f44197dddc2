"""One database and one client for all tests of the travel API."""

from __future__ import annotations

import asyncio
import sqlite3
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

TRAVEL = Path(__file__).parents[2] / "cache_snapshots" / "travel"
sys.path.insert(0, str(TRAVEL))

from travel_api import create_app, open_database  # noqa: E402  the folder is on the path only from here on
from travel_database import build_database  # noqa: E402

Get = Callable[..., httpx.Response]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("travel") / "travel.sqlite"
    build_database(path)
    return path


@pytest.fixture(scope="session")
def connection(database: Path) -> Iterator[sqlite3.Connection]:
    opened = open_database(database)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def app(database: Path) -> Any:
    return create_app(database)


@pytest.fixture(scope="session")
def paths(app: Any) -> dict[str, str]:
    """The path of every tool."""
    return {entry["get"]["operationId"]: path for path, entry in app.openapi()["paths"].items()}


@pytest.fixture(scope="session")
def get(app: Any, paths: dict[str, str]) -> Iterator[Get]:
    """Calls a tool by name over HTTP: `get("get_airport", iata="JFK")`."""
    with asyncio.Runner() as runner:
        client = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://travel")

        def call(tool: str, **arguments: Any) -> httpx.Response:
            path, query = paths[tool], dict(arguments)
            for name in list(query):
                if f"{{{name}}}" in path:
                    path = path.replace(f"{{{name}}}", str(query.pop(name)))
            return runner.run(client.get(path, params=query))

        yield call
        runner.run(client.aclose())


@pytest.fixture(scope="session")
def document() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((TRAVEL / "workflows.yaml").read_text(encoding="utf-8"))
    return loaded
