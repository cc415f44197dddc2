"""Random choices: the same everywhere, in range, and uniform."""

from collections import Counter

import pytest
from fresh_python import run_python
from hypothesis import given
from hypothesis import strategies as st

from toolorch_env.core.draws import Draws, mix


def test_the_stream_is_pinned_to_the_published_splitmix64() -> None:
    draws = Draws(1234567)
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [draws.word() for _ in range(5)] == published


@given(st.integers(0, 2**64 - 1), st.integers(1, 2**300))
def test_draws_are_below_their_limit(seed: int, limit: int) -> None:
    draws = Draws(seed)
    assert all(0 <= draws.below(limit) < limit for _ in range(5))


@given(st.integers())
def test_the_lowest_64_bits_of_the_seed_count(seed: int) -> None:
    one, two = Draws(seed), Draws(seed % 2**64)
    assert [one.word() for _ in range(3)] == [two.word() for _ in range(3)]


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(), unique=True, max_size=10), st.data())
def test_a_sample_holds_different_items(seed: int, items: list[int], data: st.DataObject) -> None:
    count = data.draw(st.integers(0, len(items)))
    before = list(items)
    sample = Draws(seed).sample(items, count)
    assert len(set(sample)) == len(sample) == count
    assert set(sample) <= set(items)
    assert items == before


@given(st.integers(0, 2**64 - 1), st.lists(st.integers(), min_size=1))
def test_a_choice_is_one_of_the_items(seed: int, items: list[int]) -> None:
    assert Draws(seed).choose(items) in items


def test_mixing_is_a_bijection_on_what_was_tried() -> None:
    assert len({mix(value) for value in range(100_000)}) == 100_000


@pytest.mark.parametrize("limit", [2, 7, 60])
def test_draws_are_uniform(limit: int) -> None:
    draws, count = Draws(1), 60_000
    found = Counter(draws.below(limit) for _ in range(count))
    expected = count / limit
    chi_square = sum((found[value] - expected) ** 2 / expected for value in range(limit))
    assert chi_square < limit - 1 + 5 * (2 * (limit - 1)) ** 0.5


@pytest.mark.parametrize("limit", [2**32, 3 * 2**62, 2**200 + 1])
def test_large_limits_use_their_whole_range(limit: int) -> None:
    draws = Draws(3)
    eighths = Counter(draws.below(limit) * 8 // limit for _ in range(4000))
    assert all(400 < eighths[eighth] < 600 for eighth in range(8))


def test_orders_of_samples_are_uniform() -> None:
    draws = Draws(5)
    found = Counter(tuple(draws.sample("abc", 2)) for _ in range(6000))
    assert len(found) == 6
    assert all(850 < number < 1150 for number in found.values())


@pytest.mark.parametrize("hash_seed", [1, 99])
def test_draws_are_the_same_in_every_process(hash_seed: int) -> None:
    code = "from toolorch_env.core.draws import Draws; d = Draws(7); print(d.sample(range(50), 9), d.below(10**30))"
    draws = Draws(7)
    assert run_python(code, hash_seed).strip() == f"{draws.sample(range(50), 9)} {draws.below(10**30)}"
