"""The name by which verifiers finds ToolOrch: ``vf-eval toolorch_taskset``. Its tools look for packages at the top."""

from toolorch_env.integrations.verifiers import ToolOrchHarness, ToolOrchTaskset

__all__ = ["ToolOrchHarness", "ToolOrchTaskset"]
