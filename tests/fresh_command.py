"""Running the command ``toolorch`` in a fresh interpreter."""

import os
import subprocess
import sys
from pathlib import Path

from fresh_python import ROOT


def run_command(*arguments: str, typed: str = "", folder: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What ``toolorch`` does with these arguments when it is run in a folder and something is typed."""
    environment = dict(os.environ, PYTHONPATH=str(ROOT), COLUMNS="200", NO_COLOR="1")
    command = [sys.executable, "-m", "toolorch_env.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder, input=typed)
