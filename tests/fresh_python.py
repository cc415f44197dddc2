"""Running code in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_python(code: str, hash_seed: int = 0, *arguments: str) -> str:
    """What the code prints in a fresh interpreter with this ``PYTHONHASHSEED`` and these arguments."""
    environment = dict(os.environ, PYTHONHASHSEED=str(hash_seed), PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout
