"""A small shop over HTTP to be recorded: shelves lead to items, items to makers. It can be made to misbehave."""

import asyncio
import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, PlainTextResponse

SHELVES = 8
ITEMS = 12
"""Items on each shelf."""


class Shop:
    """The shop's API and what was asked of it.

    Attributes:
        asked: how often each path with its query was asked.
        log: the same, in order.
        faults: paths that answer with a status once for each entry in their list.
        broken: paths that always answer 500.
        texts: paths that answer with what is not JSON.
        deaf_after: the server answers nothing any more after so many requests.
    """

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.log: list[str] = []
        self.times: list[float] = []
        self.faults: dict[str, list[tuple[int, dict[str, str]]]] = {}
        self.broken: set[str] = set()
        self.texts: set[str] = set()
        self.deaf_after: int | None = None
        self.app = self._build()

    def _build(self) -> FastAPI:
        app = FastAPI(title="Shop")
        app.middleware("http")(self._watch)

        @app.get("/shelves", operation_id="list_shelves")
        async def list_shelves() -> dict[str, Any]:
            return {"shelves": [{"shelf_id": f"S{number}"} for number in range(SHELVES)]}

        @app.get("/items", operation_id="list_items")
        async def list_items(shelf_id: str, limit: int = ITEMS) -> dict[str, Any]:
            number = self._number(shelf_id, "S", SHELVES)
            return {"items": [{"item_id": f"I{number * ITEMS + index}"} for index in range(ITEMS)][:limit]}

        @app.get("/items/{item_id}", operation_id="get_item")
        async def get_item(item_id: str) -> dict[str, Any]:
            number = self._number(item_id, "I", SHELVES * ITEMS)
            return {"item_id": item_id, "price": 0.25 * number, "maker_id": f"M{number % 7}"}

        @app.get("/makers", operation_id="get_maker")
        async def get_maker(maker_id: str) -> dict[str, Any]:
            return {"maker_id": maker_id, "name": f"Maker {self._number(maker_id, 'M', 7)}"}

        return app

    async def _watch(self, request: Request, call_next: Any) -> Any:
        path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
        if path == "/openapi.json":
            return await call_next(request)
        self.asked[path] += 1
        self.log.append(path)
        self.times.append(time.monotonic())
        if self.deaf_after is not None and len(self.log) > self.deaf_after:
            await asyncio.sleep(60)
        if self.faults.get(path):
            status, headers = self.faults[path].pop(0)
            return JSONResponse({"detail": "fault"}, status, headers)
        if path in self.broken:
            return JSONResponse({"detail": "broken"}, 500)
        return PlainTextResponse("<html>") if path in self.texts else await call_next(request)

    @staticmethod
    def _number(text: str, letter: str, count: int) -> int:
        if not text.startswith(letter) or not text[1:].isdigit() or int(text[1:]) >= count:
            raise HTTPException(404, "There is no such thing.")
        return int(text[1:])

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Serves the shop on a free loopback port; gives its address."""
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
            listener.bind(("127.0.0.1", 0))
            server = uvicorn.Server(uvicorn.Config(self.app, log_level="critical", timeout_graceful_shutdown=1))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
            thread.start()
            while not server.started:
                time.sleep(0.005)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()


PLAN: dict[str, Any] = {
    "name": "shop",
    "requests": [
        {"tool": "list_shelves"},
        {"tool": "list_items", "arguments": {"shelf_id": {"from": "list_shelves", "select": "shelves[].shelf_id"}},
         "refusals": 6},
        {"tool": "get_item", "arguments": {"item_id": {"from": "list_items", "select": "items[].item_id"}}},
        {"tool": "get_maker", "arguments": {"maker_id": {"from": "get_item", "select": "maker_id"}}, "refusals": 3},
    ],
}  # fmt: skip
"""Asks all there is, and nine things that are not there."""

CALLS = 1 + SHELVES + SHELVES * ITEMS + 7 + 9

WORKFLOWS: dict[str, Any] = {
    "domain": "shop",
    "kinds": {"shelf": "shelf id"},
    "workflows": [{
        "name": "maker_of_first_item",
        "literals": {"shelf_id": "shelf"},
        "steps": [
            {"id": "items", "tool": "list_items", "arguments": {"shelf_id": {"query": "shelf_id"}}},
            {"id": "item", "tool": "get_item",
             "arguments": {"item_id": {"from": "items", "select": "items[0].item_id"}}},
            {"id": "maker", "tool": "get_maker", "arguments": {"maker_id": {"from": "item", "select": "maker_id"}}},
        ],
        "phrasings": ["Who makes the first item on {shelf_id}?"],
    }],
}  # fmt: skip
"""A chain through the shop, from a shelf to a maker."""
