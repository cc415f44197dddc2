"""RLlib trains on copies that step at once: in one process, and with env runners on the nodes of a cluster."""

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from worlds import snapshot_path

pytest.importorskip("numba", reason="the extra 'vector' is not installed")
pytest.importorskip("ray.rllib", reason="ray[rllib] is not installed")
pytest.importorskip("torch", reason="torch is not installed")
import ray
from ray.cluster_utils import Cluster

pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("ignore")]


def example() -> Any:
    """The module examples/train_rllib.py."""
    path = Path(__file__).parents[2] / "examples" / "train_rllib.py"
    spec = importlib.util.spec_from_file_location("train_rllib", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_rllib"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cluster() -> Iterator[str]:
    """A cluster of two nodes on this machine."""
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    nodes.add_node(num_cpus=2)
    ray.init(address=nodes.address)
    yield nodes.address
    ray.shutdown()
    nodes.shutdown()


@pytest.mark.parametrize("env_runners", [0, 2])
def test_it_trains(cluster: str, env_runners: int) -> None:
    algorithm = example().configuration(str(snapshot_path("library")), env_runners, 8).build_algo()
    try:
        steps = 0
        for _ in range(2):
            found = algorithm.train()
            runners = found["env_runners"]
            assert -2 < runners["episode_return_mean"] <= 1
            assert runners["num_env_steps_sampled_lifetime"] > steps
            steps = runners["num_env_steps_sampled_lifetime"]
        assert found["learners"]["default_policy"]["total_loss"] == pytest.approx(0, abs=100)
    finally:
        algorithm.stop()
