"""The benchmarks of rewards are tested, too: their folder is on the path."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
