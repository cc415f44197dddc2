"""Weights and penalties that make no sense are refused, and near enough ones cannot be exploited."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import play, reference_turns
from worlds import world

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.rewards import AtomicReward, BinaryReward, GraduatedReward, OrchestrationReward, make_reward
from toolorch_env.rewards.credit import AtomicWeights

NAN, INFINITY = float("nan"), float("inf")


@pytest.mark.parametrize("make", [GraduatedReward, BinaryReward, AtomicReward, OrchestrationReward])
@pytest.mark.parametrize("penalty", [-0.01, 1.01, NAN, INFINITY])
def test_a_penalty_outside_0_to_1_is_refused(make: Callable[..., Any], penalty: float) -> None:
    with pytest.raises(ConfigurationError, match="penalty"):
        make(penalty=penalty)


@pytest.mark.parametrize("alpha", [-0.01, 1.01, NAN, INFINITY])
def test_an_alpha_outside_0_to_1_is_refused(alpha: float) -> None:
    with pytest.raises(ConfigurationError, match="alpha"):
        GraduatedReward(alpha=alpha)


@pytest.mark.parametrize(
    "weights",
    [
        {"name": 0.3},
        {"name": -0.2, "structure": 0.6},
        {"name": NAN},
        {"values": INFINITY},
        {"name": 0, "structure": 0, "values": 0, "execution": 0},
    ],
)
def test_atomic_weights_that_do_not_add_up_to_1_are_refused(weights: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="add up to 1"):
        AtomicWeights(**weights)


@given(excess=st.sampled_from([0.0, 1e-12, 3e-10, 9e-10]), sign=st.sampled_from([-1, 1]))
def test_weights_that_add_up_to_1_but_for_rounding_pay_no_repetition(excess: float, sign: int) -> None:
    here = world("library")
    try:
        weights = AtomicWeights(name=0.2 + sign * excess)
    except ConfigurationError:
        return
    task = here.task("train", 0)
    sequence = reference_turns(task)
    episode = play(here, task, [*sequence, *sequence], GraduatedReward(weights=weights))
    assert episode.total == 1.0 - len(sequence) * episode.reward.penalty  # type: ignore[attr-defined]
    assert all(step.score.potential <= 1.0 for step in episode.steps)


def test_an_unknown_reward_is_refused_and_the_known_ones_are_told() -> None:
    with pytest.raises(ConfigurationError, match="graduated, binary, atomic, orchestration"):
        make_reward("best")
