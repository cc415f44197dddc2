"""Running code in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run_python(code: str, hash_seed: int = 0) -> str:
    """What the code prints in a fresh interpreter with this ``PYTHONHASHSEED``."""
    environment = dict(os.environ, PYTHONHASHSEED=str(hash_seed), PYTHONPATH=f"{ROOT}{os.pathsep}{ROOT / 'tests'}")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout
