"""Tasks that begin in a state: what was done before the episode decides how the agent's calls are answered."""

import pickle
from dataclasses import replace
from typing import Any

import gymnasium as gym
import pytest
from envs.driving import ENVIRONMENT_IDS, NUMERIC, TEXT, make, message, reference_actions
from gymnasium.vector import SyncVectorEnv
from hypothesis import given
from hypothesis import strategies as st
from rewards.strategies import POTENTIALS, play, reference_turns, turns
from stateful_world import OWNERS, Session
from worlds import World, snapshot_path, world

from toolorch_env.core.calls import Call
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import TaskError
from toolorch_env.core.responses import Source
from toolorch_env.core.tasks import Binding, Mention, ReferenceCall, Task
from toolorch_env.evaluation.runner import evaluate
from toolorch_env.generation.checking import task_problems
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.policies.oracle import OraclePolicy
from toolorch_env.rewards import GraduatedReward, make_reward

every_env = pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
LIST = ReferenceCall("list_accounts", {})


def opened(owner: str) -> ReferenceCall:
    return ReferenceCall("open_account", {"owner": owner})


def listing_task(*setup: ReferenceCall) -> Task:
    return Task("t", "List all accounts.", ("list_accounts", "exchange_rate"), (LIST,), setup=setup)


@pytest.fixture(scope="module")
def bank() -> World:
    return world("bank")


@st.composite
def tasks_begun_later(draw: st.DrawFn) -> tuple[Task, Task]:
    """A task of the bank, and the same with its first calls, one of them a change, made before the episode."""
    here = world("bank")
    changing = here.snapshot.tools.state_changing
    seeds = st.integers(0, 50)
    task = draw(
        st.builds(here.task, st.sampled_from(here.splits), seeds).filter(
            lambda task: any(call.tool in changing for call in task.reference[:-1])
        )
    )
    first = next(index for index, call in enumerate(task.reference) if call.tool in changing)
    begun = draw(st.integers(first + 1, len(task.reference) - 1))
    kept = tuple(
        replace(
            call,
            bindings=tuple(replace(b, step=b.step - begun) for b in call.bindings if b.step >= begun),
            after=tuple(step - begun for step in call.after if step >= begun),
        )
        for call in task.reference[begun:]
    )
    return task, replace(task, reference=kept, setup=task.reference[:begun])


@given(pair=tasks_begun_later(), reward=st.sampled_from(sorted(POTENTIALS)))
def test_calls_are_answered_as_they_were_after_the_setup(bank: World, pair: tuple[Task, Task], reward: str) -> None:
    whole, later = pair
    before = play(bank, whole, reference_turns(whole), make_reward(reward))
    after = play(bank, later, reference_turns(later), make_reward(reward))
    assert after.success
    assert after.total == 1.0
    assert [step.response.raw for step in after.steps] == [step.response.raw for step in before.steps][
        len(later.setup) :
    ]
    assert after.state == before.state
    assert len(after.steps) == len(later.reference)


@given(pair=tasks_begun_later(), data=st.data())
def test_forks_begin_where_their_episode_began(bank: World, pair: tuple[Task, Task], data: st.DataObject) -> None:
    task = pair[1]
    episode = Episode(task, bank.replay, GraduatedReward(), max_calls=100)
    fork = episode.fork()
    for turn in data.draw(turns(bank, task)):
        fork.send(turn)
    for turn in reference_turns(task):
        episode.send(turn)
    episode.finish()
    assert episode.total == 1.0


@given(pair=tasks_begun_later())
def test_a_setup_goes_into_json_and_back(pair: tuple[Task, Task]) -> None:
    task = pair[1]
    assert Task.from_json(task.to_json()) == task
    assert pickle.loads(pickle.dumps(task)) == task


def test_an_episode_begins_in_the_state_that_a_session_would_be_in(bank: World) -> None:
    session = Session(bank.snapshot.tools)
    session.call("open_account", owner="Cleo")
    session.call("open_account", owner="Dora")
    episode = Episode(listing_task(opened("Cleo"), opened("Dora")), bank.replay, GraduatedReward(), max_calls=5)
    assert episode.state == session.state
    task = replace(listing_task(opened("Cleo"), opened("Dora")), tools=("list_accounts", "get_account"))
    [step] = Episode(task, bank.replay, GraduatedReward(), max_calls=5).send(
        [Call("get_account", {"account_id": "AC4"})]
    )
    assert step.response.body == session.call("get_account", account_id="AC4")[2]
    assert step.response.body["owner"] == "Dora"
    assert Episode(listing_task(), bank.replay, GraduatedReward(), max_calls=5).state == b""


def test_looks_and_failures_in_a_setup_change_nothing(bank: World) -> None:
    failing = ReferenceCall("transfer", {"source": "AC1", "target": "AC2", "amount": 1e6})
    look = ReferenceCall("find_account", {"owner": "Ann"})
    plain, busy = (
        Episode(listing_task(*setup), bank.replay, GraduatedReward(), max_calls=5)
        for setup in ([opened("Cleo")], [look, failing, opened("Cleo"), failing, look])
    )
    assert plain.state == busy.state


def test_what_the_setup_was_answered_was_not_seen_by_the_agent(bank: World) -> None:
    """The new account's number stands in the answer to the setup only: the agent has to look it up."""
    got = ReferenceCall("get_account", {"account_id": "AC3"})
    listed = ReferenceCall("list_accounts", {})
    found = replace(got, bindings=(Binding("account_id", 0, "accounts[2].account_id"),))
    task = Task("t", "Show the latest.", ("list_accounts", "get_account"), (listed, found), setup=(opened("Cleo"),))
    good = play(bank, task, reference_turns(task), GraduatedReward())
    guessed = play(bank, task, reference_turns(task)[::-1], GraduatedReward())
    assert (good.total, good.success) == (1.0, True)
    assert guessed.total < 1.0


def test_setup_calls_are_no_calls_of_the_agent(bank: World) -> None:
    episode = Episode(listing_task(*map(opened, OWNERS[:2])), bank.replay, GraduatedReward(), max_calls=1)
    assert (episode.steps, episode.turns, episode.done) == ([], 0, False)
    [step] = episode.send([Call("list_accounts", {})])
    assert (step.match.repeated, step.match.completes, episode.truncated) == (False, True, True)


@every_env
def test_its_tools_need_not_be_on_offer(env_id: str) -> None:
    env = make(env_id, "bank")
    task = listing_task(opened("Cleo"))
    _, info = env.reset(options={"task": task})
    assert "open_account" not in task.tools
    for action in reference_actions(env):
        _, _, terminated, _, info = env.step(action)
    assert terminated
    assert info["is_clean_success"]
    assert env.episode.total == 1.0
    assert env.episode.steps[0].response.body["count"] == 3


def test_the_agent_cannot_call_a_tool_of_the_setup() -> None:
    env = make(TEXT, "bank")
    env.reset(options={"task": listing_task(opened("Cleo"))})
    info = env.step(message(Call("open_account", {"owner": "Dora"})))[-1]
    assert info["calls"] == [{"source": "unknown_tool", "status": 404}]


@every_env
@pytest.mark.parametrize(
    ("setup", "named"),
    [
        (opened("Nobody"), "open_account"),
        (ReferenceCall("get_account", {"account_id": "AC77"}), "get_account"),
        (ReferenceCall("teleport", {}), "teleport"),
    ],
)
def test_a_setup_that_is_not_recorded_is_told_and_the_environment_stays_usable(
    env_id: str, setup: ReferenceCall, named: str
) -> None:
    env = make(env_id, "bank")
    env.reset(seed=1)
    running = env.episode
    with pytest.raises(TaskError, match=f"'t'.*{named}.*setup"):
        env.reset(options={"task": listing_task(setup)})
    assert env.episode is running
    for action in reference_actions(env):
        env.step(action)
    assert env.episode.total == 1.0
    env.reset(options={"task": listing_task(opened("Cleo"))})
    for action in reference_actions(env):
        env.step(action)
    assert env.episode.total == 1.0


@every_env
def test_a_setup_that_is_not_json_is_told(env_id: str) -> None:
    env = make(env_id, "bank")
    with pytest.raises(TaskError, match="'t' cannot be played"):
        env.reset(options={"task": listing_task(opened(float("nan")))})  # type: ignore[arg-type]


def test_a_setup_is_recorded_only_in_its_own_order(bank: World) -> None:
    """Second in its session, a call is another call."""
    renamed = ReferenceCall("rename_account", {"account_id": "AC3", "owner": "Dora"})
    with pytest.raises(TaskError, match="rename_account of its setup"):
        Episode(listing_task(renamed, opened("Cleo")), bank.replay, GraduatedReward(), max_calls=5)


@given(pair=tasks_begun_later())
def test_a_well_posed_task_begins_where_its_setup_leads(bank: World, pair: tuple[Task, Task]) -> None:
    task = pair[1]
    said = tuple(Mention(value, "value", 0, len(task.query)) for value in values_of(task))
    where = "where it should"  # the mentions are made up: only their values count here
    told = [problem for problem in task_problems(replace(task, mentions=said), bank.replay) if where not in problem]
    assert told == []
    moved = replace(task, setup=(), mentions=said)
    if any(call.tool == "get_account" for call in task.reference):
        assert [problem for problem in task_problems(moved, bank.replay) if where not in problem]


def values_of(task: Task) -> list[Any]:
    return [value for call in task.reference for value in call.arguments.values()]


def test_a_setup_that_is_not_recorded_is_a_problem(bank: World) -> None:
    [problem] = task_problems(listing_task(opened("Nobody")), bank.replay)
    assert "open_account of its setup" in problem


def later_tasks() -> FixedTasks:
    return FixedTasks(replace(listing_task(opened(owner)), id=owner) for owner in OWNERS[:4])


@every_env
def test_the_oracle_solves_them_all(env_id: str) -> None:
    env = gym.make(env_id, snapshot=snapshot_path("bank"), generator=later_tasks())
    metrics = evaluate(env, OraclePolicy(env_id), tasks=20, seed=0)
    assert (metrics.clean_success_rate, metrics.mean_return, metrics.mean_calls) == (1.0, 1.0, 1.0)


@every_env
def test_vector_environments_play_them(env_id: str) -> None:
    path, generator = snapshot_path("bank"), pickle.loads(pickle.dumps(later_tasks()))
    vector = SyncVectorEnv([lambda: gym.make(env_id, snapshot=path, generator=generator)] * 2)
    try:
        vector.reset(seed=3)
        envs = [env.unwrapped for env in vector.envs]
        for _ in range(2):
            actions = [env.action_for(Call("list_accounts", {})) for env in envs]
            vector.step(actions if env_id == NUMERIC else tuple(actions))
            for env in envs:
                last = env.episode.steps[-1]
                assert (last.response.source, last.response.body["count"]) == (Source.RECORDED, 3)
                assert last.response.body["accounts"][2]["owner"] == env.episode.task.id
    finally:
        vector.close()
