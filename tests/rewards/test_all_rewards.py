"""What must hold for every reward, with default and with other weights."""

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import POTENTIALS, any_reward, play, reference_call, reference_turns, tasks, turns, valid_orders
from worlds import WORLD_NAMES, world

from toolorch_env.core.episode import Episode
from toolorch_env.core.progress import Reference
from toolorch_env.rewards import REWARDS, BinaryReward, PotentialReward, make_reward, rescore

every_world = pytest.mark.parametrize("name", WORLD_NAMES)
every_reward = pytest.mark.parametrize("reward", [make() for make in POTENTIALS.values()], ids=list(POTENTIALS))


@every_world
@given(data=st.data(), reward=any_reward())
def test_potential_never_falls_and_rewards_are_its_rises_minus_penalties(
    name: str, data: st.DataObject, reward: PotentialReward
) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, data.draw(turns(here, task)), reward)
    before = 0.0
    for step in episode.steps:
        assert before <= step.score.potential <= 1.0
        assert step.score.penalty in (0.0, reward.penalty)
        assert step.score.reward == step.score.potential - before - step.score.penalty
        before = step.score.potential
    assert episode.total == before - sum(step.score.penalty for step in episode.steps)


@every_world
@given(data=st.data(), reward=any_reward())
def test_the_reference_returns_exactly_one_in_any_valid_order(
    name: str, data: st.DataObject, reward: PotentialReward
) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    order = data.draw(valid_orders(task))
    assert play(here, task, [[reference_call(task, i) for i in group] for group in order], reward).total == 1.0


@every_world
@given(data=st.data(), reward=any_reward())
def test_repeated_calls_are_never_paid(name: str, data: st.DataObject, reward: PotentialReward) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = data.draw(st.just(reference_turns(task)) | turns(here, task, 1))
    before = play(here, task, sequence, reward)
    again = [[step.call] for step in before.steps if step.canonical is None or step.canonical.state == before.state]
    after = play(here, task, [*sequence, *again], reward)
    assert after.total == before.total - len(again) * reward.penalty


@every_world
@given(data=st.data(), reward=any_reward())
def test_a_logged_episode_is_scored_again_as_it_was_played(
    name: str, data: st.DataObject, reward: PotentialReward
) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, data.draw(turns(here, task)), reward)
    logged = [
        [(step.canonical, step.response) for step in episode.steps if step.turn == turn]
        for turn in range(episode.turns)
    ]
    reference = Reference(task, here.snapshot.tools, here.replay.look_up)
    assert rescore(pickle.loads(pickle.dumps(reward)), reference, logged) == [step.score for step in episode.steps]


@every_world
@given(data=st.data(), reward=any_reward())
def test_forked_episodes_are_scored_on_their_own(name: str, data: st.DataObject, reward: PotentialReward) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    start, left, right = (data.draw(turns(here, task)) for _ in range(3))
    trunk = Episode(task, here.replay, reward, max_calls=1000)
    for turn in start:
        trunk.send(turn)
    branch = trunk.fork()
    for index in range(max(len(left), len(right))):  # in turns, so that shared state would show
        for episode, sequence in ((trunk, left), (branch, right)):
            if index < len(sequence):
                episode.send(sequence[index])
    for episode, sequence in ((trunk, left), (branch, right)):
        alone = play(here, task, start + sequence, reward)
        assert [step.score for step in episode.steps] == [step.score for step in alone.steps]
        assert episode.progress.complete == alone.progress.complete
        assert episode.progress.ordered == alone.progress.ordered


@every_world
@given(data=st.data(), reward=any_reward())
def test_an_episode_that_was_pickled_goes_on_as_before(name: str, data: st.DataObject, reward: PotentialReward) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    start, rest = data.draw(turns(here, task)), data.draw(turns(here, task))
    episode = Episode(task, here.replay, reward, max_calls=1000)
    for turn in start:
        episode.send(turn)
    copy = pickle.loads(pickle.dumps(episode))
    for turn in rest:
        episode.send(turn)
        copy.send(turn)
    assert [step.score for step in copy.steps] == [step.score for step in episode.steps]


@every_world
@given(data=st.data())
def test_binary_is_one_when_all_is_complete_and_nothing_else(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = data.draw(turns(here, task))
    sequence += data.draw(st.sampled_from([[], reference_turns(task), reference_turns(task)[::-1]]))
    episode = play(here, task, sequence, BinaryReward())
    assert episode.total == float(episode.progress.all_complete)
    assert sum(step.score.reward != 0 for step in episode.steps) == int(episode.progress.all_complete)


@every_world
@given(data=st.data())
def test_orchestration_is_the_share_of_ordered_calls(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    episode = play(here, task, data.draw(turns(here, task, 1)), make_reward("orchestration"))
    ordered = episode.progress.ordered
    assert episode.steps[-1].score.potential == pytest.approx(sum(ordered) / len(ordered), abs=1e-9)


@every_world
@given(data=st.data())
def test_graduated_is_the_weighted_mean_of_atomic_and_orchestration(name: str, data: st.DataObject) -> None:
    here = world(name)
    task = data.draw(tasks(here))
    sequence = data.draw(turns(here, task, 1))
    potential = {
        reward: play(here, task, sequence, make_reward(reward)).steps[-1].score.potential
        for reward in ("graduated", "atomic", "orchestration")
    }
    assert potential["graduated"] == pytest.approx(
        0.5 * potential["atomic"] + 0.5 * potential["orchestration"], abs=1e-9
    )


@every_reward
def test_rewards_have_the_name_they_are_made_by(reward: PotentialReward) -> None:
    assert REWARDS[reward.name] is type(reward)
    assert type(reward).__name__ in repr(reward)
