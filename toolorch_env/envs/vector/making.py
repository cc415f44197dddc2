"""Whether an environment can step in compiled code, and the engine that does it."""

from typing import TYPE_CHECKING

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.envs.tool_orch import ToolOrchEnv
from toolorch_env.rewards import AtomicReward, BinaryReward, GraduatedReward, OrchestrationReward

if TYPE_CHECKING:
    from toolorch_env.envs.vector.engine import Engine


def make_engine(env: ToolOrchEnv, count: int, instead: str) -> "Engine":
    """Copies of an environment that step in compiled code.

    Args:
        env: a scalar environment, whose rules hold.
        count: number of copies.
        instead: what to do where that cannot be done, for the error.

    Raises:
        ConfigurationError: the extra ``vector`` is not installed, or only Python can do what is asked for.
    """
    why = _why_not(env)
    if why:
        raise ConfigurationError(f"this cannot step in compiled code: {why}; {instead}")
    try:
        from toolorch_env.envs.vector.engine import Engine
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"this needs the extra 'vector' ({error.name} is not installed): pip install 'toolorch-env[vector]', "
            f"or {instead}"
        ) from None
    return Engine(env, count)


def _why_not(env: ToolOrchEnv) -> str:
    """Why only Python can do what is asked for, empty if that is not so."""
    if env.snapshot.tools.state_changing:
        return f"the tool {min(env.snapshot.tools.state_changing)!r} changes the state"
    if env.replay.on_miss.value != "error":
        return f"on_miss is {env.replay.on_miss.value!r}"
    if type(env.reward) not in (GraduatedReward, AtomicReward, OrchestrationReward, BinaryReward):
        return f"the reward {env.reward!r} is scored in Python"
    if max(map(len, env.vocabulary.tool_parameters), default=0) > 62:
        return "a tool has more than 62 parameters"
    return ""
