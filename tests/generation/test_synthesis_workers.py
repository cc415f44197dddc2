"""Tasks drawn by several processes: the same bytes, no process left behind, and a death is told."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from worlds import snapshot_path

from toolorch_env.core.errors import ConfigurationError, ConstraintError, ToolOrchError
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.synthesis import Drawers, synthesize
from toolorch_env.generation.synthesis_chunks import CHUNK_TASKS, SynthesisRequest
from toolorch_env.generation.synthesis_workers import draw_in_processes
from toolorch_env.store.snapshot import Snapshot

N = 5 * CHUNK_TASKS + 1


def drawing_processes() -> list[psutil.Process]:
    """The processes that draw tasks; not what other tests have started."""
    return [child for child in psutil.Process().children(recursive=True) if _draws(child)]


def _draws(process: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False


def once_there_are(tasks: int, act: Callable[[], None]) -> Callable[[int], None]:
    """A progress that acts once, when so many tasks are there."""
    left = [act]

    def progress(drawn: int) -> None:
        if drawn >= tasks and left:
            left.pop()()

    return progress


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_any_number_of_workers_gives_the_same_bytes(suffix: str, library: Path, tmp_path: Path) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow")
    written = []
    for workers in (1, 3):
        path = tmp_path / f"{workers}{suffix}"
        found = synthesize(library, path, n=N, seed=9, drawers=Drawers(workers))
        written.append((path.read_bytes(), found.drawn, found.valid, found.distinct))
    assert written[0] == written[1]
    assert drawing_processes() == []


def test_workers_go_on_where_one_process_was(tmp_path: Path) -> None:
    bank = snapshot_path("bank")

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        synthesize(bank, tmp_path / "t.jsonl", n=N, drawers=Drawers(2), progress=once_there_are(1, interrupt))
    assert drawing_processes() == []
    assert 0 < synthesize(bank, tmp_path / "t.jsonl", n=N).resumed < N
    synthesize(bank, tmp_path / "whole.jsonl", n=N)
    assert (tmp_path / "t.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


@pytest.mark.long
def test_a_worker_that_dies_is_told(library: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill() -> None:
        worker = drawing_processes()[0]
        killed.append(worker.pid)
        worker.kill()

    progress = once_there_are(CHUNK_TASKS, kill)
    with pytest.raises(ToolOrchError, match=r"ended by SIGKILL.*is kept: run the same again") as error:
        synthesize(library, tmp_path / "t.jsonl", n=15 * CHUNK_TASKS, drawers=Drawers(2), progress=progress)
    assert f"worker process {killed[0]} " in str(error.value)
    assert drawing_processes() == []
    found = synthesize(library, tmp_path / "t.jsonl", n=15 * CHUNK_TASKS, check=True, drawers=Drawers(2))
    assert CHUNK_TASKS <= found.resumed < found.drawn == found.valid == 15 * CHUNK_TASKS


def request(library: Path, **other: Any) -> SynthesisRequest:
    content_hash = Snapshot(library).meta["content_hash"]
    fields = {"content_hash": content_hash, "n": N, "seed": 0, "constraints": TaskConstraints(), "suffix": ".jsonl"}
    return SynthesisRequest(**{**fields, **other})


def test_what_goes_wrong_in_a_worker_is_raised_here(library: Path) -> None:
    with pytest.raises(ConstraintError, match="no workflow of 'library' satisfies"):
        list(draw_in_processes(library, request(library, constraints=TaskConstraints(min_steps=30)), range(6), 2))
    with pytest.raises(ConfigurationError, match="has changed since the tasks were asked for"):
        list(draw_in_processes(library, request(library, content_hash="other"), range(6), 2))
    assert drawing_processes() == []


def test_chunks_that_are_not_wanted_any_more(library: Path) -> None:
    chunks = draw_in_processes(library, request(library), range(6), 2)
    assert next(chunks).tasks == CHUNK_TASKS
    assert len(drawing_processes()) == 2
    chunks.close()
    assert drawing_processes() == []


def test_an_interrupt_does_not_reach_workers(library: Path) -> None:
    """A terminal sends Ctrl-C to them, too; they end because this process ends them."""
    chunks = draw_in_processes(library, request(library, n=10**6), range(1000), 2)
    next(chunks)
    for worker in drawing_processes():
        worker.send_signal(signal.SIGINT)
    assert sorted(next(chunks).tasks for _ in range(6)) == [CHUNK_TASKS] * 6
    chunks.close()
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


@pytest.mark.parametrize(
    ("told", "asked"), [("0 workers", {"workers": 0}), ("not both", {"workers": 2, "ray": "auto"})]
)
def test_bad_use(told: str, asked: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=told):
        Drawers(**asked)
