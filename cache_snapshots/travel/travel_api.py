"""The travel API: a small, read-only HTTP API over open data about places and about flights from New York City.

Every answer is a pure function of the request. Unknown input is answered with 404 and a body that is the same for every
unknown input of that endpoint, invalid input with 422; lists without a match are empty, with `count` 0.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from functools import cache
from inspect import signature
from pathlib import Path
from typing import Any

import travel_dates
import travel_flights
import travel_places
from fastapi import FastAPI
from fastapi.routing import APIRoute

_DESCRIPTION = "Places of the world, and all flights that left the airports of New York City in 2013, from open data."
_ROUTERS = (travel_places.router, travel_dates.router, travel_flights.router)


def open_database(database: Path) -> sqlite3.Connection:
    """A read-only connection that the threads of a server may share: SQLite is built serialized."""
    if not database.is_file():
        raise FileNotFoundError(f"There is no database at {database}; build_database() makes one.")
    uri = f"{database.resolve().as_uri()}?mode=ro&immutable=1"
    return sqlite3.connect(uri, uri=True, check_same_thread=False)


def create_app(database: Path) -> FastAPI:
    """The application over a database that `travel_database.build_database` has written."""
    app = FastAPI(title="Travel", version="1.0.0", description=_DESCRIPTION)
    app.state.connection = open_database(database)
    for router in _ROUTERS:
        app.include_router(router)
    return app


@cache
def tools() -> dict[str, Callable[..., dict[str, Any]]]:
    """The functions behind the endpoints by operation id."""
    routes = [route for router in _ROUTERS for route in router.routes]
    return {
        route.operation_id: route.endpoint for route in routes if isinstance(route, APIRoute) and route.operation_id
    }


def answer(connection: sqlite3.Connection, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The body that a tool answers, without HTTP and without validation; unknown input raises `HTTPException`."""
    function = tools()[tool]
    if "connection" in signature(function).parameters:
        return function(connection, **arguments)
    return function(**arguments)
