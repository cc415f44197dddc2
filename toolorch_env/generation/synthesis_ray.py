"""Drawing chunks on a Ray cluster, through Ray Data."""

import logging
import pickle
import socket
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from toolorch_env.core.errors import ConfigurationError, ToolOrchError
from toolorch_env.core.version import VERSION
from toolorch_env.generation.synthesis_chunks import Chunk, ChunkDrawer, SynthesisRequest
from toolorch_env.store.files import replacing

MAX_BLOCKS = 1000
"""The chunks are handed to the cluster in at most so many pieces."""


def draw_on_ray(
    snapshot: Path, request: SynthesisRequest, numbers: Sequence[int], address: str
) -> Generator[Chunk, None, None]:
    """The chunks of these numbers, in whatever order they are done.

    The nodes need ToolOrch of this version with the extra ``ray``, but not the snapshot: it is sent to them.

    Args:
        snapshot: path of the snapshot file.
        request: what to draw.
        numbers: which chunks, at least one.
        address: of the cluster, as ``ray.init`` takes it; ``local`` starts one on this machine.

    Raises:
        ConfigurationError: the extra ``ray`` is not installed, or there is no cluster at the address.
        ToolOrchError: drawing failed on the cluster.
    """
    ray = _import_ray()
    with _connected(ray, address):
        content = ray.put(snapshot.read_bytes())
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        rows = ray.data.from_items(
            [{"number": number} for number in numbers], override_num_blocks=min(len(numbers), MAX_BLOCKS)
        ).map(
            _Drawing,
            fn_constructor_args=(request, VERSION),
            fn_args=(content,),
            compute=ray.data.ActorPoolStrategy(min_size=1, max_size=min(processors, len(numbers))),
            num_cpus=1,
        )
        try:
            for row in rows.iter_rows():
                yield _read(row)
        except ray.exceptions.RayError as error:
            raise _told(error) from None


class _Drawing:
    """Draws on a node of the cluster."""

    def __init__(self, request: SynthesisRequest, version: str) -> None:
        self._request = request
        self._version = version
        self._drawer: ChunkDrawer | None = None

    def __call__(self, row: dict[str, Any], content: Any) -> dict[str, Any]:
        try:
            answer: Chunk | ToolOrchError = self._draw(int(row["number"]), content)
        except ToolOrchError as error:  # Ray would hand on no more than its traceback
            answer = error
        return {"answer": pickle.dumps(answer)}

    def _draw(self, number: int, content: Any) -> Chunk:
        if self._version != VERSION:
            raise ConfigurationError(f"a node of the cluster has ToolOrch {VERSION}, not {self._version} as here")
        if self._drawer is None:
            self._drawer = ChunkDrawer(self._received(content), self._request)
        return self._drawer.draw(number)

    def _received(self, content: Any) -> Path:
        """The snapshot as a file of this node; workers of one node share it, and so do later runs."""
        path = Path(tempfile.gettempdir()) / f"toolorch-{self._request.content_hash}.sqlite"
        if not path.exists():
            with replacing(path) as partial:
                partial.write_bytes(_import_ray().get(content))
        return path


def _read(row: dict[str, Any]) -> Chunk:
    answer: Chunk | ToolOrchError = pickle.loads(row["answer"])  # noqa: S301  of the cluster, which runs our code
    if isinstance(answer, ToolOrchError):
        raise answer
    return answer


def _told(error: Exception) -> ToolOrchError:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return ToolOrchError(
        f"drawing on the cluster failed ({lines[0]}); what was drawn before is kept: run the same again to go on"
    )


def _import_ray() -> Any:
    try:
        import_module("ray.data")
        return import_module("ray")
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this needs the extra 'ray' ({error.name} is not installed): pip install 'toolorch-env[ray]'"
        ) from None


def _check_reachable(address: str) -> None:
    """Checks that somebody listens: Ray itself would wait for minutes, and then end the process."""
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise ConfigurationError(f"there is no Ray cluster at {address!r}: {error}") from None


@contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:
    """Connected to a cluster; one that this process is connected to already stays so."""
    before = ray.is_initialized()
    if not before:
        _check_reachable(address)
        try:
            ray.init(address, log_to_driver=False, logging_level="warning")
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigurationError(f"there is no Ray cluster at {address!r}: {error}") from None
    logger = logging.getLogger("ray.data")
    level = logger.level
    try:
        logger.setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current().copy()
        context.enable_progress_bars = False
        with ray.data.DataContext.current(context):
            yield
    finally:
        logger.setLevel(level)
        if not before:
            ray.shutdown()
