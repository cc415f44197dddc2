"""Sessions that change what they look at: the state moves on, and the same call is another call."""

from dataclasses import replace
from pathlib import Path

import pytest
from envs.driving import ENVIRONMENT_IDS, make
from hypothesis import assume, given
from hypothesis import strategies as st
from rewards.strategies import AnyCall, play, reference_call, reference_turns, tasks, turns
from stateful_world import BANK_TOOLS as BANK
from stateful_world import OWNERS, TOOLS, Session
from worlds import World, world

from toolorch_env.core.calls import Call, Malformed
from toolorch_env.core.episode import Episode
from toolorch_env.core.errors import MissError
from toolorch_env.core.responses import Response, Source
from toolorch_env.core.states import state_after, state_order
from toolorch_env.core.tasks import Binding, ReferenceCall, Task
from toolorch_env.policies.oracle import next_reference_call
from toolorch_env.rewards import GraduatedReward, make_reward
from toolorch_env.store.replay import SnapshotReplay
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.writer import SnapshotWriter

REWARD = GraduatedReward()
LIST = Call("list_accounts", {})
OPEN, OPEN_OTHER = Call("open_account", {"owner": "Cleo"}), Call("open_account", {"owner": "Dora"})


@pytest.fixture(scope="module")
def bank() -> World:
    return world("bank")


def start(bank: World, *reference: ReferenceCall, on_miss: str = "error", query: str = "Cleo, Dora") -> Episode:
    task = Task("t", query, tuple(BANK), reference or (ReferenceCall("list_accounts", {}),))
    return Episode(task, SnapshotReplay(bank.snapshot, on_miss), REWARD, max_calls=50)


def test_only_a_change_that_succeeded_moves_a_session_on() -> None:
    call = BANK.canonical(OPEN)
    for status, source in ((200, Source.RECORDED), (201, Source.ROUNDED), (404, Source.RECORDED), (200, Source.MISS)):
        response = Response.synthetic(status, {}, source)
        assert state_after(call, response, read_only=True) == b""
        assert state_after(call, response, read_only=False) == (call.key if response.success else b"")


def test_states_name_the_changes_in_their_order() -> None:
    def state(*calls: Call) -> bytes:
        session = Session(BANK)
        for call in calls:
            session.call(call.tool, **call.arguments)
        return session.state

    failing = Call("close_account", {"account_id": "AC99"})
    assert state() == state(LIST, failing) == b""
    assert state(OPEN) == state(LIST, OPEN, LIST, failing)
    histories = [(), (OPEN,), (OPEN_OTHER,), (OPEN, OPEN), (OPEN, OPEN_OTHER), (OPEN_OTHER, OPEN)]
    assert len({state(*history) for history in histories}) == len(histories)


@given(st.lists(st.booleans(), max_size=8))
def test_every_order_that_is_left_open_gives_each_call_the_same_changes_before_it(read_only: list[bool]) -> None:
    needed = state_order(read_only)
    before: list[set[int]] = []
    for index, calls in enumerate(needed):
        assert all(call < index for call in calls)
        before.append(set(calls).union(*(before[call] for call in calls)))
    for index in range(len(read_only)):
        for other in range(index):
            free = read_only[index] and read_only[other] and all(read_only[other:index])
            assert (other in before[index]) != free


def test_the_same_call_is_answered_by_what_was_changed_before(bank: World) -> None:
    episode = start(bank)
    counts = []
    for call in (LIST, OPEN, LIST):
        response = episode.send([call])[0].response
        assert response.source is Source.RECORDED
        counts.append(response.body.get("count"))
    assert counts == [2, None, 3]
    assert [step.match.repeated for step in episode.steps] == [False, False, False]
    assert episode.send([LIST])[0].match.repeated


def test_calls_of_one_turn_are_made_one_after_the_other(bank: World) -> None:
    steps = start(bank).send([LIST, OPEN, LIST, Malformed("{", "none"), Call("no_such_tool", {}), LIST])
    assert [step.response.body.get("count") for step in steps] == [2, None, 3, None, None, 3]
    assert [step.match.repeated for step in steps] == [False, False, False, False, False, True]


def test_errors_misses_and_refusals_change_nothing(bank: World) -> None:
    episode = start(bank)
    episode.send([OPEN])
    state = episode.state
    for call, source in [
        (Call("transfer", {"source": "AC1", "target": "AC2", "amount": 1e6}), Source.RECORDED),
        (Call("open_account", {"owner": "Nobody at all"}), Source.UNRECORDED_STATE),
        (Call("close_account", {"account_id": 5}), Source.INVALID),
        (Call("burn_account", {}), Source.UNKNOWN_TOOL),
    ]:
        assert episode.send([call])[0].response.source is source
        assert episode.state == state


def test_what_was_not_recorded_in_a_state_is_told_as_such(bank: World) -> None:
    episode = start(bank)
    episode.send([OPEN, OPEN_OTHER])
    step = episode.send([LIST])[0]
    assert (step.response.source, step.response.status) == (Source.UNRECORDED_STATE, BANK["list_accounts"].miss_status)
    assert not step.response.success
    unseen = start(bank).send([Call("find_account", {"owner": "Nobody"})])[0]
    assert unseen.response.source is Source.MISS


def test_raising_names_state_and_call_and_nothing_has_happened(bank: World) -> None:
    episode = start(bank, on_miss="raise")
    episode.send([LIST])
    with pytest.raises(MissError, match=rf"open_account.*Ann.*{BANK.canonical(OPEN).key.hex()}"):
        episode.send([OPEN, Call("open_account", {"owner": "Ann"})])
    assert episode.state == b""
    assert len(episode.steps) == 1
    assert episode.send([OPEN])[0].response.success


@given(data=st.data())
def test_forks_go_on_in_states_of_their_own(data: st.DataObject) -> None:
    here = world("bank")
    task = data.draw(tasks(here))
    first, left, right = (data.draw(turns(here, task)) for _ in range(3))
    trunk = Episode(task, here.replay, REWARD, max_calls=1000)
    for turn in first:
        trunk.send(turn)
    branch = trunk.fork()
    for episode, sequence in ((trunk, left), (branch, right)):
        for turn in sequence:
            episode.send(turn)
        assert episode.state == play(here, task, [*first, *sequence], REWARD).state


def test_a_change_found_by_rounded_fractions_goes_on_where_the_recorded_one_did(bank: World) -> None:
    task = bank.task("test_workflows", 0)
    for seed in range(50):
        task = bank.task("test_workflows", seed)
        if 12.345678 in task.reference[3].arguments.values():
            break
    calls = [reference_call(task, index) for index in range(len(task.reference))]
    calls[3] = Call("transfer", {**calls[3].arguments, "amount": 12.3457})
    episode = play(bank, task, [[call] for call in calls], REWARD)
    assert [step.response.source for step in episode.steps] == [Source.RECORDED] * 3 + [Source.ROUNDED] + [
        Source.RECORDED
    ] * 2
    assert (episode.total, episode.success) == (1.0, True)


def test_a_reference_with_rounded_fractions_is_followed_through_the_recorded_states(bank: World) -> None:
    transfer = {"source": "AC1", "target": "AC3", "amount": 12.3457}
    calls = [
        ReferenceCall("open_account", {"owner": "Cleo"}),
        ReferenceCall("transfer", transfer, (Binding("target", 0, "account_id"),)),
        ReferenceCall("get_account", {"account_id": "AC1"}, after=(1,)),
    ]
    for amount in (12.3457, 12.345678):
        episode = start(bank, *calls, query="Cleo AC1 12.3457 12.345678")
        for call in calls:
            arguments = {**call.arguments, "amount": amount} if call.tool == "transfer" else call.arguments
            episode.send([Call(call.tool, arguments)])
        assert episode.steps[2].response.body["balance"] == pytest.approx(100 - 12.345678)
        assert episode.total == 1.0


def test_the_list_after_a_change_completes_the_second_list_of_the_reference(bank: World) -> None:
    reference = [ReferenceCall("list_accounts", {}), ReferenceCall("open_account", {"owner": "Cleo"}, after=(0,))]
    reference.append(ReferenceCall("list_accounts", {}, after=(1,)))
    episode = start(bank, *reference)
    assert episode.send([LIST])[0].match == (0, True, True, False)
    assert episode.send([LIST])[0].match == (0, False, False, True)
    assert episode.send([OPEN])[0].match == (1, True, True, False)
    assert episode.send([LIST])[0].match == (2, True, True, False)


def test_a_look_before_the_change_is_no_look_after_it(bank: World) -> None:
    reference = [ReferenceCall("open_account", {"owner": "Cleo"}), ReferenceCall("list_accounts", {}, after=(0,))]
    episode = start(bank, *reference)
    step = episode.send([LIST])[0]
    assert (step.match.step, step.score.components["execution"]) == (None, 0.0)
    episode.send([OPEN])
    assert not episode.progress.all_complete
    assert episode.send([LIST])[0].match.completes


def test_another_way_to_look_must_look_at_the_same_state(bank: World) -> None:
    """What is said of Ann is the same before the change and after it, be she found or got."""
    got = ReferenceCall("get_account", {"account_id": "AC1"})
    reference = (got, ReferenceCall("open_account", {"owner": "Cleo"}, after=(0,)), replace(got, after=(1,)))
    episode = start(bank, *reference, query="Ann AC1 Cleo")
    digests = episode.reference.digests
    assert digests[0] == digests[2] != 0 == digests[1]
    find = Call("find_account", {"owner": "Ann"})
    matches = [episode.send([call])[0].match for call in (find, find, OPEN, find, find)]
    assert [match.step for match in matches] == [0, 0, 1, 2, 2]
    assert [match.completes for match in matches] == [True, False, True, True, False]
    assert [match.repeated for match in matches] == [False, True, False, False, True]
    assert episode.progress.all_complete


def test_two_changes_with_one_answer_are_not_equivalent(tmp_path: Path) -> None:
    with SnapshotWriter(tmp_path / "s.sqlite", TOOLS, name="test") as writer:
        for number in (1, 2):
            call = writer.tools.canonical(Call("close_account", {"account_id": f"AC{number}"}))
            writer.add(call, 200, {"ok": True})
        for owner in ("Ann", "Ben"):
            writer.add(Call("find_account", {"owner": owner}), 200, {"ok": True})
    replay = SnapshotReplay(Snapshot(tmp_path / "s.sqlite"))
    changes = [Call("close_account", {"account_id": f"AC{number}"}) for number in (1, 2)]
    looks = [Call("find_account", {"owner": owner}) for owner in ("Ann", "Ben")]
    for wanted in (changes[0], looks[0]):
        task = Task("t", "AC2 Ben", tuple(BANK), (ReferenceCall(wanted.tool, dict(wanted.arguments)),))
        for made in (*changes, *looks):
            match = Episode(task, replay, REWARD, 5).send([made])[0].match
            assert match.completes == (made == wanted or (wanted in looks and made in looks))


def _changes(call: AnyCall) -> bool:
    return isinstance(call, Call) and call.tool in BANK.state_changing


@given(data=st.data())
def test_an_extra_change_anywhere_spoils_what_comes_after_it(data: st.DataObject) -> None:
    here = world("bank")
    task = data.draw(tasks(here))
    sequence = reference_turns(task)
    reference = play(here, task, sequence, REWARD).steps
    place = data.draw(st.integers(0, len(sequence)))
    owner = data.draw(st.sampled_from(OWNERS))
    made = [turn[0] for turn in sequence[:place] if _changes(turn[0])]
    extra = data.draw(st.sampled_from([Call("open_account", {"owner": owner}), *made]))
    assume([extra] not in sequence[place:])
    longer = [*sequence[:place], [extra], *sequence[place:]]
    for reward in (REWARD, make_reward("atomic"), make_reward("orchestration")):
        episode = play(here, task, longer, reward)
        assert episode.total < 1.0
        moved = episode.steps[place].response.success
        for step, of_reference in zip(episode.steps[place + 1 :], reference[place:], strict=True):
            assert step.match.completes != moved
            assert moved or step.match == of_reference.match
        assert episode.success != (moved and place < len(sequence))
        assert episode.steps[place].match.repeated == (extra in made)


@given(data=st.data())
def test_a_change_made_again_never_pays(data: st.DataObject) -> None:
    here = world("bank")
    task = data.draw(tasks(here))
    sequence = data.draw(turns(here, task, 1))
    changes = [call for turn in sequence for call in turn if _changes(call)]
    assume(changes)
    before = play(here, task, sequence, REWARD)
    after = play(here, task, [*sequence, [data.draw(st.sampled_from(changes))]], REWARD)
    if not after.steps[-1].match.completes:  # as where it had failed before
        assert after.total == before.total - REWARD.penalty


@pytest.mark.parametrize("env_id", ENVIRONMENT_IDS)
def test_both_environments_play_on_in_the_states_and_say_where_nothing_was_recorded(env_id: str) -> None:
    env = make(env_id, "bank")
    env.reset(seed=0, options={"constraints": {"workflows": ("open_two",)}})
    opened, another, _ = env.episode.task.reference
    sources = []
    for call in (Call(opened.tool, opened.arguments), Call(another.tool, another.arguments), LIST):
        info = env.step(env.action_for(call))[4]
        sources.append(info["source"] if "source" in info else info["calls"][0]["source"])
    assert sources == ["recorded", "recorded", "unrecorded_state"]
    for seed in range(20):
        env.reset(seed=seed)
        rewards = [env.step(env.action_for(next_reference_call(env.episode))) for _ in env.episode.task.reference]
        assert sum(reward for _, reward, _, _, _ in rewards) == 1.0
        assert env.step(env.action_for(None))[4]["is_clean_success"]
