"""Serves the travel API on this machine, in a process of its own."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from multiprocessing import get_context, parent_process
from pathlib import Path

import uvicorn
from travel_api import create_app


@contextlib.contextmanager
def serve(database: Path) -> Iterator[str]:
    """Serves the API with uvicorn on a free loopback port as long as the block lasts; gives its base URL."""
    # The protocol is named, for asyncio to switch off Nagle's algorithm on connections (else each answer takes 40 ms).
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(128)  # from now on connections wait for the server
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        server = get_context("spawn").Process(target=_run, args=(listener, database), daemon=True)
        server.start()
    try:
        yield url
    finally:
        server.terminate()
        server.join()
        server.close()


def _run(listener: socket.socket, database: Path) -> None:
    server = uvicorn.Server(uvicorn.Config(create_app(database), log_level="warning"))
    threading.Thread(target=_stop_with_parent, args=(server,), daemon=True).start()
    server.run([listener])


def _stop_with_parent(server: uvicorn.Server) -> None:
    """A recorder that was killed must leave no server behind."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        server.should_exit = True
