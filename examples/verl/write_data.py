"""Writes data sets for verl: ``train.parquet``, and ``test.parquet`` with values that are in no row of the other.

    cd examples/verl
    pip install 'toolorch-env[verl]'
    python write_data.py data [--count N]

The options of ``python -m verl.trainer.main_ppo`` that make it play them, beside those of the model and the engine::

    data.train_files=data/train.parquet data.val_files=data/test.parquet data.return_raw_chat=True
    data.max_prompt_length=4096 data.max_response_length=4096
    actor_rollout_ref.rollout.mode=async
    actor_rollout_ref.rollout.agent.agent_loop_config_path=agent_loop.yaml
"""

import argparse
from pathlib import Path

import pyarrow as pa
from pyarrow import parquet

from toolorch_env.integrations.verl import dataset


def main() -> None:
    """Writes the files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=1000, help="rows of each file")
    parser.add_argument("--snapshot", default="travel")
    given = parser.parse_args()
    for split in ("train", "test"):
        rows = dataset(given.count, env={"snapshot": given.snapshot, "constraints": {"split": split}})
        given.folder.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pa.Table.from_pylist(rows), given.folder / f"{split}.parquet")


if __name__ == "__main__":
    main()
