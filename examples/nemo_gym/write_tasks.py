"""Writes tasks for NeMo Gym: ``train.jsonl``, and ``validation.jsonl`` with values that are in none of those.

    cd examples/nemo_gym
    pip install 'toolorch-env[nemo]'          # Python 3.12
    python write_tasks.py data [--count N]
    gym eval run --config resources_servers/toolorch/configs/toolorch.yaml --split validation \
        --model-type vllm_model --model MODEL --model-url http://127.0.0.1:8000/v1 --model-api-key KEY \
        --agent toolorch_agent --output rollouts.jsonl

The last command starts the servers, plays each task with the model behind the endpoint, and writes what came of it.
"""

import argparse
from pathlib import Path

import orjson

from toolorch_env.integrations.nemo_gym import dataset


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=100, help="rows of each file")
    parser.add_argument("--snapshot", default="travel")
    given = parser.parse_args()
    for split in ("train", "validation"):
        rows = dataset(given.count, env={"snapshot": given.snapshot, "constraints": {"split": split}})
        given.folder.mkdir(parents=True, exist_ok=True)
        (given.folder / f"{split}.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))


if __name__ == "__main__":
    main()
