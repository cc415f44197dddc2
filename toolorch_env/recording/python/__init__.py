"""Python modules, functions and objects."""

from toolorch_env.recording.python.api import PythonApi, PythonSession, open_python, read_only

__all__ = ["PythonApi", "PythonSession", "open_python", "read_only"]
