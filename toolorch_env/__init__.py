"""ToolOrch: any recorded API as a reinforcement-learning environment for multi-step tool orchestration.

Importing this package registers the environments with Gymnasium.
"""

import gymnasium as _gym

from toolorch_env.core.errors import ToolOrchError
from toolorch_env.core.version import VERSION

__version__ = VERSION

ENVIRONMENTS = {
    "ToolOrch-v0": "toolorch_env.envs.tool_orch:ToolOrchEnv",
    "ToolOrchText-v0": "toolorch_env.envs.tool_orch_text:ToolOrchTextEnv",
}
"""Entry point of each environment by its id."""

VECTOR_ENVIRONMENTS = {"ToolOrch-v0": "toolorch_env.envs.vector.env:ToolOrchVectorEnv"}
"""Entry points of environments whose copies step at once (extra ``vector``)."""

for _id, _entry_point in ENVIRONMENTS.items():
    if _id not in _gym.registry:
        _gym.register(id=_id, entry_point=_entry_point, vector_entry_point=VECTOR_ENVIRONMENTS.get(_id))

__all__ = ["ENVIRONMENTS", "VECTOR_ENVIRONMENTS", "ToolOrchError", "__version__"]
