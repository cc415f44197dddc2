"""Drawing chunks in this process, or in several at once.

Each worker has a pipe of its own: a pool whose workers share one waits forever for a worker that was killed while it
wrote. A worker ends when its pipe is closed, so none is left behind, however this process ends.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from toolorch_env.core.errors import ToolOrchError
from toolorch_env.generation.synthesis_chunks import Chunk, ChunkDrawer, SynthesisRequest

AHEAD = 2
"""So many chunks are asked of a worker at once, for it not to wait for the next one."""


def draw_here(drawer: ChunkDrawer, numbers: Iterable[int]) -> Generator[Chunk, None, None]:
    """The chunks of these numbers, in this process."""
    for number in numbers:
        yield drawer.draw(number)


def draw_in_processes(
    snapshot: Path, request: SynthesisRequest, numbers: Iterable[int], workers: int
) -> Generator[Chunk, None, None]:
    """The chunks of these numbers, in whatever order they are done.

    Args:
        snapshot: path of the snapshot file.
        request: what to draw.
        numbers: which chunks.
        workers: number of processes, at least 1. They are started anew (``spawn``), so a script that calls this keeps
            its own work behind ``if __name__ == "__main__":``.

    Raises:
        ToolOrchError: drawing failed, or a worker died.
    """
    left = iter(numbers)
    with _started(snapshot, request, workers) as running:
        asked = {worker: sum(worker.ask(left) for _ in range(AHEAD)) for worker in running}
        while busy := {worker.connection: worker for worker in running if asked[worker]}:
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                yield worker.answer()
                asked[worker] += worker.ask(left) - 1


@dataclass(frozen=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection

    def ask(self, left: Iterator[int]) -> int:
        """Asks for the next chunk; returns how many were asked for, 0 where none is left."""
        number = next(left, None)
        if number is None:
            return 0
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # it died: told when it does not answer
            self.connection.send(number)
        return 1

    def answer(self) -> Chunk:
        """The next chunk of those that it was asked for."""
        try:
            answer: Chunk | ToolOrchError = self.connection.recv()
        except (EOFError, ConnectionResetError):
            raise ToolOrchError(self._how_it_died()) from None
        if isinstance(answer, ToolOrchError):
            raise answer
        return answer

    def _how_it_died(self) -> str:
        number = self.process.pid
        self.process.join()
        code = self.process.exitcode or 0
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        hint = ", as happens when memory runs out" if code == -signal.SIGKILL else ""
        return f"worker process {number} {how}{hint}; what was drawn before is kept: run the same again to go on"

    def end(self) -> None:
        """Ends the process, whatever it is at."""
        self.connection.close()
        self.process.terminate()
        self.process.join()
        self.process.close()


@contextlib.contextmanager
def _started(snapshot: Path, request: SynthesisRequest, workers: int) -> Iterator[list[_Worker]]:
    context = multiprocessing.get_context("spawn")
    running: list[_Worker] = []
    try:
        with _interrupts_held():
            for _ in range(workers):
                ours, theirs = context.Pipe()
                process = context.Process(target=_work, args=(snapshot, request, theirs), daemon=True)
                process.start()
                theirs.close()
                running.append(_Worker(process, ours))
        yield running
    finally:
        for worker in running:
            worker.end()


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """While open, Ctrl-C waits; processes that are started meanwhile never get it, and this one ends them."""
    resource_tracker.ensure_running()  # it would let interrupts through when it is started with the first process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(snapshot: Path, request: SynthesisRequest, connection: Connection) -> None:
    """What a worker does until its pipe is closed."""
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        try:
            drawer = ChunkDrawer(snapshot, request)
            while True:
                connection.send(drawer.draw(connection.recv()))
        except ToolOrchError as error:
            connection.send(error)
