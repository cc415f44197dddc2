"""BFCL's multi-turn problems, recorded from the executable back ends that the package ``bfcl-eval`` brings."""

from toolorch_env.recording.importing.bfcl.problems import CATEGORIES
from toolorch_env.recording.importing.bfcl.reader import read_bfcl

__all__ = ["CATEGORIES", "read_bfcl"]
