"""The space of Unicode texts: members, samples, equality, pickling, and vector environments."""

import copy
import multiprocessing
import pickle
from typing import Any

import gymnasium as gym
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
from gymnasium.vector.utils import (
    batch_space,
    concatenate,
    create_empty_array,
    create_shared_memory,
    iterate,
    read_from_shared_memory,
)
from gymnasium.vector.utils.shared_memory import write_to_shared_memory
from hypothesis import given
from hypothesis import strategies as st

from toolorch_env.envs.spaces import UnicodeText

TEXTS = ["", "a", "🛫 漢字 é", "\0", "{}", "x" * 50, "🛫" * 50, "\ud800", "\u202e\u0301", "\n\r\t"]
any_texts = st.text(st.characters(), max_size=50)
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


class Echo(gym.Env[str, str]):
    """Says what it was told."""

    observation_space = UnicodeText(50)
    action_space = UnicodeText(50)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[str, dict[str, Any]]:
        super().reset(seed=seed)
        return "", {}

    def step(self, action: str) -> tuple[str, float, bool, bool, dict[str, Any]]:
        return action, 0.0, False, False, {}


@given(text=st.text(st.characters()), limit=st.integers(1, 20))
def test_a_space_contains_every_text_that_is_not_too_long(text: str, limit: int) -> None:
    assert (text in UnicodeText(limit)) == (len(text) <= limit)


@pytest.mark.parametrize("other", [None, 5, b"a", ["a"], ("a",), {"a": 1}, 1.5])
def test_a_space_contains_nothing_but_texts(other: Any) -> None:
    assert other not in UnicodeText(10)


@given(limit=st.integers(1, 200), seed=st.integers(0, 2**31))
def test_samples_are_members_and_follow_the_seed(limit: int, seed: int) -> None:
    space, twin = UnicodeText(limit, seed=seed), UnicodeText(limit)
    twin.seed(seed)
    samples = [space.sample() for _ in range(5)]
    assert all(sample in space for sample in samples)
    assert samples == [twin.sample() for _ in range(5)]


def test_samples_include_the_empty_text_and_emoji() -> None:
    space = UnicodeText(4, seed=0)
    samples = {space.sample() for _ in range(2000)}
    assert "" in samples
    assert any("🛫" in sample for sample in samples)


def test_spaces_are_equal_when_their_length_is() -> None:
    assert UnicodeText(5) == UnicodeText(5)
    assert UnicodeText(5) != UnicodeText(6)
    assert UnicodeText(5) != gym.spaces.Text(5)
    assert str(UnicodeText(5)) == "UnicodeText(5)"


def test_a_pickled_or_copied_space_is_equal_and_samples_on() -> None:
    space = UnicodeText(40, seed=3)
    space.sample()
    for twin in (pickle.loads(pickle.dumps(space)), copy.deepcopy(space)):
        assert twin == space
        assert twin.sample() == copy.deepcopy(space).sample()


def test_members_survive_json() -> None:
    space = UnicodeText(50)
    texts = [text for text in TEXTS if text.isprintable()]
    assert space.from_jsonable(space.to_jsonable(texts)) == texts


def test_a_batch_of_texts_is_a_tuple_of_texts() -> None:
    space = UnicodeText(50)
    batched = batch_space(space, 3)
    assert batched.contains(("a", "", "🛫"))
    assert list(iterate(batched, ("a", "", "🛫"))) == ["a", "", "🛫"]
    assert tuple(concatenate(space, ["a", "", "🛫"], create_empty_array(space, 3))) == ("a", "", "🛫")


@given(texts=st.lists(any_texts, min_size=2, max_size=2), later=any_texts)
def test_shared_memory_gives_back_the_latest_texts(texts: list[str], later: str) -> None:
    space = UnicodeText(50)
    memory = create_shared_memory(space, 2, multiprocessing)
    for index, text in enumerate(texts):
        write_to_shared_memory(space, index, text, memory)
    assert tuple(read_from_shared_memory(space, memory, 2)) == tuple(texts)
    write_to_shared_memory(space, 0, later, memory)
    assert tuple(read_from_shared_memory(space, memory, 2)) == (later, texts[1])


@pytest.mark.parametrize("shared_memory", [True, False])
@pytest.mark.parametrize("copied", [True, False])
def test_asynchronous_vector_environments_pass_every_text(shared_memory: bool, copied: bool) -> None:
    vector = AsyncVectorEnv([Echo, Echo], shared_memory=shared_memory, copy=copied)
    kept = []
    try:
        vector.reset(seed=0)
        for text in TEXTS:
            observations = vector.step((text, text[::-1]))[0]
            assert tuple(observations) == (text, text[::-1])
            kept.append(observations)
    finally:
        vector.close()
    if copied:
        assert [tuple(observations) for observations in kept] == [(text, text[::-1]) for text in TEXTS]


def test_synchronous_vector_environments_pass_every_text() -> None:
    vector = SyncVectorEnv([Echo, Echo])
    vector.reset(seed=0)
    for text in TEXTS:
        assert tuple(vector.step((text, text[::-1]))[0]) == (text, text[::-1])
    vector.close()
