"""Which call is which: recorded, made before, or of the reference; in compiled code."""

from typing import NamedTuple

import numpy as np

from toolorch_env.envs.vector.compiling import compiled
from toolorch_env.envs.vector.hashing import find_call

NONE = -1
"""Stands for: no value, no step, no recorded call."""


class MadeCall(NamedTuple):
    """A call as it was read.

    Attributes:
        tool: number of the tool.
        arguments: numbers of values, int32, shape (widest tool,); NONE for what is left out or at its default.
        passed: parameters of the tool that are passed, a bit mask.
        fitting: those of them whose value fits its schema.
        record: number of the recorded call that answers it, or NONE.
        success: whether it was answered with success.
        repeated: whether it was made before.
    """

    tool: int
    arguments: np.ndarray
    passed: int
    fitting: int
    record: int
    success: bool
    repeated: bool


@compiled
def find(world, scratch, tool, arguments):
    """Number of the recorded call that answers this one."""
    recorded = world.recorded
    found = find_call(world.exact, recorded.tools, recorded.arguments, tool, arguments)
    if found != NONE:
        return found
    alike = scratch.alike
    for place in range(len(arguments)):
        alike[place] = _same(world, arguments[place])
    return find_call(world.rounded, recorded.tools, world.rounded_arguments, tool, alike)


@compiled
def _same(world, value):
    return np.int32(NONE) if value == NONE else world.values.same[value]


@compiled
def _alike(world, left, right):
    """Whether arguments are equal, fractions rounded."""
    for place in range(len(left)):
        if left[place] != right[place] and (
            left[place] == NONE
            or right[place] == NONE
            or world.values.same[left[place]] != world.values.same[right[place]]
        ):
            return False
    return True


@compiled
def same_call(world, copies, copy, tool, arguments):
    """The latest earlier call that is this one, NONE if there is none."""
    for made in range(copies.calls[copy] - 1, -1, -1):
        if copies.made_tools[copy, made] == tool and _alike(world, copies.made_arguments[copy, made], arguments):
            return np.int64(made)
    return np.int64(NONE)


@compiled
def _is_own(world, arguments):
    """Whether rounding fractions changes nothing."""
    for value in arguments:
        if value != NONE and not world.values.is_rounded[value]:
            return False
    return True


@compiled
def _are_equal(left, right):
    for place in range(len(left)):
        if left[place] != right[place]:
            return False
    return True


@compiled
def direct_steps(world, copies, copy, tool, arguments):
    """Reference calls that are this very call: exactly, else with fractions rounded."""
    exact, alike = np.int64(0), np.int64(0)
    for step in range(copies.steps[copy]):
        if copies.reference_tools[copy, step] != tool:
            continue
        wanted = copies.reference_arguments[copy, step]
        if not _alike(world, wanted, arguments):
            continue
        alike |= np.int64(1) << step
        if _are_equal(wanted, arguments) or _is_own(world, arguments):
            exact |= np.int64(1) << step
    return exact if exact else alike
