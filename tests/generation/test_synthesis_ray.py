"""Tasks drawn on a Ray cluster of two nodes: the same bytes as without it."""

import json
import tempfile
from pathlib import Path

import pytest
from fresh_python import run_python

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.generation.synthesis import Drawers, synthesize
from toolorch_env.store.snapshot import Snapshot

pytest.importorskip("ray.data", reason="the extra `ray` is not installed")

ON_A_CLUSTER = """
import json, warnings
warnings.simplefilter("ignore")  # Ray warns of itself
import ray
from ray.cluster_utils import Cluster
from toolorch_env.core.errors import ToolOrchError
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.synthesis import Drawers, synthesize
from toolorch_env.generation.synthesis_chunks import SynthesisRequest
from toolorch_env.generation.synthesis_ray import draw_on_ray
from toolorch_env.store.snapshot import Snapshot
from pathlib import Path

library, path = Path({library!r}), Path({path!r})
cluster = Cluster(initialize_head=True, head_node_args={{"num_cpus": 1, "include_dashboard": False}})
try:
    cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    found = synthesize(library, path, n=8300, seed=6, drawers=Drawers(ray=cluster.address))
    connected = ray.is_initialized()
    impossible = SynthesisRequest(
        Snapshot(library).meta["content_hash"], 2000, 0, TaskConstraints(min_steps=30), ".jsonl"
    )
    try:
        list(draw_on_ray(library, impossible, [0, 1], cluster.address))
    except ToolOrchError as error:
        told = f"{{type(error).__name__}}: {{error}}"
finally:
    ray.shutdown()
    cluster.shutdown()
print(json.dumps([len(ray.nodes()) if ray.is_initialized() else 0, connected, found.drawn, found.valid, told]))
"""


@pytest.mark.long
def test_a_cluster_of_two_nodes_gives_the_same_bytes(library: Path, tmp_path: Path) -> None:
    """Two nodes on this machine with one processor each, so that the two workers are on different nodes."""
    path = tmp_path / "ray.jsonl"
    sent = Path(tempfile.gettempdir()) / f"toolorch-{Snapshot(library).meta['content_hash']}.sqlite"
    sent.unlink(missing_ok=True)
    printed = run_python(ON_A_CLUSTER.format(library=str(library), path=str(path))).splitlines()[-1]
    assert sent.read_bytes() == library.read_bytes()
    sent.unlink()
    nodes, connected, drawn, valid, told = json.loads(printed)
    assert (nodes, connected, drawn, valid) == (0, False, 8300, 8300)
    assert told.startswith("ConstraintError: no workflow of 'library' satisfies")
    synthesize(library, tmp_path / "here.jsonl", n=8300, seed=6)
    assert path.read_bytes() == (tmp_path / "here.jsonl").read_bytes()


@pytest.mark.long
def test_where_no_cluster_is_nothing_is_waited_for(library: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"there is no Ray cluster at '127\.0\.0\.1:1'"):
        synthesize(library, tmp_path / "t.jsonl", n=10, drawers=Drawers(ray="127.0.0.1:1"))
