"""What a call earns, in compiled code: the formulas are those of the scalar rewards."""

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from toolorch_env.envs.vector.compiling import compiled
from toolorch_env.envs.vector.equality import NONE
from toolorch_env.rewards.formulas import atomic_score, on_grid, penalty_of, share, weighted_mean

for rule in (atomic_score, on_grid, penalty_of, share, weighted_mean):
    register_jitable(rule)


class Rules(NamedTuple):
    """How calls are scored and episodes end.

    Attributes:
        all_or_nothing: whether the potential is 1 when all is complete, else 0.
        alpha: else, weight of the atomic scores in the potential.
        penalty: taken off for a call that raises nothing.
        weights: of the parts of the atomic score, float64, shape (4,).
        max_calls: call limit.
        auto_finish: whether an episode ends when all is complete.
    """

    all_or_nothing: bool
    alpha: float
    penalty: float
    weights: np.ndarray
    max_calls: int
    auto_finish: bool


class Scratch(NamedTuple):
    """Room for one step: compiled code takes no memory.

    Attributes:
        arguments: of the call, int32, shape (widest tool,).
        alike: the same with fractions rounded.
        atomic, ordered: of the required steps, float64 and bool, shape (steps,).
    """

    arguments: np.ndarray
    alike: np.ndarray
    atomic: np.ndarray
    ordered: np.ndarray


def make_scratch(widest: int, steps: int) -> Scratch:
    """Room for tools of so many parameters and references of so many calls."""
    return Scratch(np.zeros(widest, np.int32), np.zeros(widest, np.int32), np.zeros(steps), np.zeros(steps, bool))


@compiled
def score(world, copies, rules, scratch, copy, call, match, completes, ordered):
    """What a call earns (see :class:`toolorch_env.rewards.base.PotentialScorer`)."""
    step, best = match, 1.0
    if match == NONE and not call.repeated:
        best_rise = 0.0
        for candidate in range(copies.steps[copy]):
            counts = not (copies.complete[copy] | copies.optional[copy]) >> candidate & 1
            if not counts or copies.reference_tools[copy, candidate] != call.tool:
                continue
            credit = _credit(world, copies, rules, copy, candidate, call)
            rise = credit - copies.atomic[copy, candidate]
            if rise > best_rise or step == NONE:
                step, best, best_rise = candidate, credit, max(rise, best_rise)
    before = copies.potential[copy]
    if step != NONE:
        copies.atomic[copy, step] = 1.0 if completes else max(copies.atomic[copy, step], best)
        copies.potential[copy] = on_grid(_potential(copies, rules, scratch, copy))
    rise = copies.potential[copy] - before
    return rise - penalty_of(rise, ordered, rules.penalty)


@compiled
def _credit(world, copies, rules, copy, step, call):
    """The atomic score of a call of the step's tool that is not equivalent to it."""
    wanted = copies.reference_arguments[copy, step]
    every, known, fit, equal = 0, 0, 0, 0
    for place in range(len(call.arguments)):
        is_wanted, is_passed = wanted[place] != NONE, call.passed >> place & 1
        every += is_wanted or is_passed
        known += is_wanted
        if is_wanted and is_passed:
            fit += call.fitting >> place & 1
            equal += world.values.same[wanted[place]] == world.values.same[call.arguments[place]]
    return atomic_score(rules.weights, share(fit, every), share(equal, known), 1.0 if call.success else 0.0)


@compiled
def _potential(copies, rules, scratch, copy):
    count = copies.steps[copy]
    if rules.all_or_nothing:
        return 1.0 if all_complete(copies, copy) else 0.0
    atomic, ordered = scratch.atomic, scratch.ordered
    required = 0
    for step in range(count):
        if not copies.optional[copy] >> step & 1:
            atomic[required] = copies.atomic[copy, step]
            ordered[required] = copies.ordered[copy] >> step & 1
            required += 1
    return weighted_mean(rules.alpha, atomic[:required], ordered[:required])


@compiled
def all_complete(copies, copy):
    """Whether every reference call is complete, but for optional ones."""
    needed = ((np.int64(1) << copies.steps[copy]) - 1) & ~copies.optional[copy]
    return needed & copies.complete[copy] == needed
