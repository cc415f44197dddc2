"""Intervals and repeated tries, against counting by hand and against many repetitions."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolorch_env.evaluation import statistics
from toolorch_env.evaluation.metrics import EpisodeResult
from toolorch_env.evaluation.statistics import RATES, differences, estimates, grouped, pass_hat


def result(success: bool, complete: int = 1, reference: int = 2, total: float = 0.5, depth: int = 1) -> EpisodeResult:
    """An episode with these numbers."""
    return EpisodeResult(
        "t", "w", depth, success, success, complete, reference, complete, reference, total, 3, True, {}
    )


outcomes = st.lists(st.lists(st.booleans(), min_size=1, max_size=5), min_size=1, max_size=8)


@given(outcomes, st.integers(1, 5))
def test_pass_hat_is_the_share_of_choices_of_tries_that_all_succeed(tried: list[list[bool]], k: int) -> None:
    by_task = [[result(success) for success in own] for own in tried]
    counted = [[all(choice) for choice in combinations(own, k)] for own in tried if len(own) >= k]
    if not counted:
        with pytest.raises(ValueError, match="tried"):
            pass_hat(by_task, k)
        return
    assert pass_hat(by_task, k) == pytest.approx(np.mean([np.mean(choices) for choices in counted]))


@given(outcomes)
def test_an_estimate_is_the_metric_and_lies_in_its_interval(tried: list[list[bool]]) -> None:
    by_task = [[result(success, complete=int(success)) for success in own] for own in tried]
    flat = [success for own in tried for success in own]
    found = estimates(by_task)
    assert found.keys() == RATES.keys()
    assert found["success_rate"].value == pytest.approx(np.mean(flat))
    assert found["call_accuracy"].value == pytest.approx(np.mean(flat) / 2)
    for estimate in found.values():
        assert estimate.low - 1e-9 <= estimate.value <= estimate.high + 1e-9
    assert found == estimates(by_task)


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(200):
        by_task = [[result(bool(success))] for success in rng.random(100) < 0.3]
        estimate = estimates(by_task)["success_rate"]
        held += estimate.low <= 0.3 <= estimate.high
    assert 0.90 <= held / 200 <= 0.985


def test_tries_at_one_task_are_no_independent_evidence() -> None:
    """Ten tries that all come to the same tell no more than one."""
    rng = np.random.default_rng(1)
    flags = [bool(flag) for flag in rng.random(50) < 0.5]
    once, often = (estimates([[result(flag)] * times for flag in flags])["success_rate"] for times in (1, 10))
    assert once.value == pytest.approx(often.value)
    assert once.high - once.low == pytest.approx(often.high - often.low)


@given(st.integers(1, 30), st.booleans())
def test_where_all_came_to_the_same_the_interval_is_that_of_so_many_tasks(count: int, success: bool) -> None:
    """Of a share at the other end of it, all tasks come to the same in one of 40 evaluations."""
    found = estimates([[result(success)] * 3] * count)["success_rate"]
    if success:
        assert (found.value, found.high) == (1.0, 1.0)
        assert found.low**count == pytest.approx(0.025)
    else:
        assert (found.value, found.low) == (0.0, 0.0)
        assert (1 - found.high) ** count == pytest.approx(0.025)


def test_a_handful_of_tasks_makes_nothing_clear() -> None:
    worse, better = [[result(False)]], [[result(True)]]
    assert not differences(worse * 5, better * 5)["success_rate"].is_clear
    assert differences(worse * 20, better * 20)["success_rate"].is_clear
    assert not differences(worse * 20, worse * 20)["success_rate"].is_clear


def test_resamples_are_the_same_however_many_are_held_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    by_task = [[result(bool(flag))] for flag in rng.random(50) < 0.4]
    whole = estimates(by_task)
    monkeypatch.setattr(statistics, "_DRAWN_AT_ONCE", 777)
    assert estimates(by_task) == whole


def test_groups_are_in_order_and_nothing_is_lost() -> None:
    results = [result(True, depth=depth) for depth in (3, 1, 2, 1)]
    assert {depth: len(own) for depth, own in grouped(results, lambda r: r.depth).items()} == {1: 2, 2: 1, 3: 1}
    assert list(grouped(results, lambda r: r.depth)) == [1, 2, 3]


def test_nothing_is_estimated_from_nothing() -> None:
    with pytest.raises(ValueError, match="no episodes"):
        estimates([])
