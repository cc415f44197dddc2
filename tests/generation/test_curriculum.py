"""Curricula: levels by constraints or difficulty, moves by success alone, and a state that can be passed around."""

import copy
import json
import pickle
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import WORLD_NAMES, world

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import ConfigurationError, ConstraintError, TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.constraints import SPLITS, TaskConstraints
from toolorch_env.generation.curriculum import Curriculum, Level, levels_by_difficulty
from toolorch_env.generation.difficulty import difficulty
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator
from toolorch_env.generation.mixture import Mixture, Reporting
from toolorch_env.generation.schedule import CurriculumState, Schedule

LEVELS: list[dict[str, Any]] = [
    {"max_steps": 2, "distractions": 0},
    {"min_steps": 3, "max_steps": 3},
    {"min_steps": 4, "distractor_tools": 3},
]
STEPS = [(1, 2), (3, 3), (4, 64)]
seeds = st.integers(0, 2**32)
results = st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=60)
schedules = st.builds(
    Schedule,
    levels=st.integers(1, 4),
    up=st.sampled_from([0.5, 0.75, 1.0]),
    down=st.sampled_from([0.0, 0.25, 0.4]),
    window=st.integers(1, 6),
    review=st.sampled_from([0.0, 0.3]),
)


@pytest.fixture(scope="module")
def workflows() -> WorkflowGenerator:
    return world("library").generator


@pytest.fixture
def curriculum(workflows: WorkflowGenerator) -> Curriculum:
    return Curriculum(workflows, LEVELS, window=4, up=0.75, down=0.25, review=0.25)


def draw(generator: TaskGenerator, seed: int, **constraints: Any) -> Task:
    return generator.sample(np.random.default_rng(seed), constraints)  # type: ignore[arg-type]


@given(schedules, results)
def test_a_schedule_moves_by_one_level_and_only_for_a_reason(
    schedule: Schedule, reports: list[tuple[int, bool]]
) -> None:
    state = CurriculumState()
    for level, success in reports:
        after = schedule.after(state, level, success)
        seen = [*state.results, success][-schedule.window :]
        full = level == state.level and len(seen) == schedule.window
        if after.level > state.level:
            assert full
            assert np.mean(seen) >= schedule.up
        elif after.level < state.level:
            assert full
            assert np.mean(seen) < schedule.down
        elif full:
            assert np.mean(seen) < schedule.up or level == schedule.levels - 1
            assert np.mean(seen) >= schedule.down or level == 0
        assert abs(after.level - state.level) <= 1
        assert 0 <= after.level < schedule.levels
        if after.level == level == state.level:
            assert after.results == tuple(seen)
        else:
            assert after.results == (() if level == state.level else state.results)
        state = after


@pytest.mark.parametrize(
    ("wins", "level"), [(0, 0), (1, 1), (2, 1), (3, 2), (4, 2)], ids=["none", "down", "between", "up", "all"]
)
def test_a_rate_at_a_threshold_is_good_enough(wins: int, level: int) -> None:
    schedule, state = Schedule(levels=3, window=4, up=0.75, down=0.25), CurriculumState(1)
    for number in range(4):
        state = schedule.after(state, 1, number < wins)
    assert state.level == level


@given(schedules, results)
def test_better_results_never_lead_to_an_earlier_level(schedule: Schedule, reports: list[tuple[int, bool]]) -> None:
    state = perfect = CurriculumState()
    for _, success in reports:
        state = schedule.after(state, state.level, success)
        perfect = schedule.after(perfect, perfect.level, True)
    assert state.level <= perfect.level
    assert perfect.level == min(len(reports) // schedule.window, schedule.levels - 1)


def test_earlier_levels_are_mixed_in_to_their_share() -> None:
    schedule, draws = Schedule(levels=4, review=0.3), Draws(1)
    found = Counter(schedule.choose(CurriculumState(2), draws) for _ in range(10_000))
    assert set(found) == {0, 1, 2}
    for level, share in ((0, 0.15), (1, 0.15), (2, 0.7)):
        assert abs(found[level] - 10_000 * share) < 5 * (10_000 * share * (1 - share)) ** 0.5
    assert {schedule.choose(CurriculumState(0), draws) for _ in range(1000)} == {0}


def play(curriculum: Curriculum, seed: int, outcomes: list[bool]) -> list[str]:
    """The ids of the tasks that are drawn while these results are told."""
    rng = np.random.default_rng(seed)
    ids = []
    for success in outcomes:
        ids.append(curriculum.sample(rng).id)
        curriculum.report(ids[-1], success)
    return ids


@given(seeds, st.lists(st.booleans(), max_size=24), st.integers(0, 24))
def test_tasks_follow_from_the_seed_and_the_results_whoever_plays(
    workflows: WorkflowGenerator, seed: int, outcomes: list[bool], stop: int
) -> None:
    def fresh() -> Curriculum:
        return Curriculum(workflows, LEVELS, window=3, up=0.6, down=0.4)

    whole = fresh()
    ids = play(whole, seed, outcomes)
    assert play(fresh(), seed, outcomes) == ids
    assert [whole.task(task_id).id for task_id in ids] == ids
    first = fresh()
    play(first, seed, outcomes[:stop])
    loaded = fresh()
    loaded.load_state_dict(json.loads(json.dumps(first.state_dict())))
    copies = [pickle.loads(pickle.dumps(first)), copy.deepcopy(first), loaded]
    tail = play(first, 7, outcomes[stop:])
    assert [play(other, 7, outcomes[stop:]) for other in copies] == [tail] * 3
    assert first.state == loaded.state


@given(seeds, st.lists(st.booleans(), max_size=24))
def test_many_workers_can_share_a_state_that_is_passed(
    workflows: WorkflowGenerator, seed: int, outcomes: list[bool]
) -> None:
    """A driver that keeps the state, and workers that keep none, draw what a single curriculum draws."""
    single, worker = (Curriculum(workflows, LEVELS, window=3) for _ in range(2))
    rng, state = np.random.default_rng(seed), CurriculumState()
    ids = []
    for success in outcomes:
        ids.append(worker.sample_at(state, rng).id)
        state = worker.schedule.after(state, worker.level_of(ids[-1]), success)
    assert ids == play(single, seed, outcomes)
    assert single.state == state
    assert worker.state == CurriculumState()


@pytest.mark.parametrize("level", range(3))
def test_the_tasks_of_a_level_are_what_it_asks_for(curriculum: Curriculum, level: int) -> None:
    curriculum.state = CurriculumState(level)
    for seed in range(40):
        task = draw(curriculum, seed)
        drawn = curriculum.level_of(task.id)
        low, high = STEPS[drawn]
        assert low <= len(task.reference) <= high
        assert drawn <= level
        assert curriculum.task(task.id) == task
        assert difficulty(task).distractor_mentions == 0 or drawn > 0


def test_a_player_who_learns_climbs_to_the_last_level_and_falls_back(curriculum: Curriculum) -> None:
    rng = np.random.default_rng(0)
    for skill, reached in ((2, 1), (3, 2), (64, 2), (0, 0)):
        for _ in range(40):
            task = curriculum.sample(rng)
            curriculum.report(task.id, len(task.reference) <= skill)
            if curriculum.state.level == reached and not curriculum.state.results:
                break
        assert curriculum.state.level == reached


def test_the_split_is_for_who_draws_to_say(workflows: WorkflowGenerator) -> None:
    curriculum = Curriculum(workflows, [{"distractions": 0}])
    for split in SPLITS:
        assert {draw(curriculum, seed, split=split).split for seed in range(10)} == {split}
    with pytest.raises(ConfigurationError, match="split"):
        Curriculum(curriculum, [{"split": "test"}])


@given(seeds, st.integers(1, 5), st.integers(1, 5))
def test_what_is_asked_for_holds_beside_what_the_level_asks_for(
    workflows: WorkflowGenerator, seed: int, low: int, high: int
) -> None:
    levels = [{"min_steps": 2, "max_steps": 3, "exclude_tools": ["towns_near"], "include_tools": ["get_town"]}]
    asked: dict[str, Any] = {"min_steps": low, "max_steps": max(low, high), "exclude_tools": ["get_book"]}
    try:
        task = draw(Curriculum(workflows, levels), seed, **asked, include_tools=["get_author"])
    except ConstraintError:
        assert low > 2 or high < 2
        return
    assert max(low, 2) <= len(task.reference) <= min(max(low, high), 3)
    assert not {"towns_near", "get_book"} & set(task.tools)
    assert {"get_town", "get_author"} <= {call.tool for call in task.reference}


def test_workflows_are_those_of_both_and_other_numbers_those_of_the_level(workflows: WorkflowGenerator) -> None:
    curriculum = Curriculum(workflows, [{"workflows": ["author_town", "compare_authors"], "distractions": 0}])
    asked = ["town_neighbours", "compare_authors"]
    tasks = [draw(curriculum, seed, workflows=asked, distractions=3) for seed in range(20)]
    assert {task.workflow for task in tasks} == {"compare_authors"}
    assert {difficulty(task).distractor_mentions for task in tasks} == {0}
    with pytest.raises(ConstraintError, match=r"level 0.*workflows asked for \(town_neighbours\)"):
        draw(curriculum, 0, workflows=["town_neighbours"])


def test_no_split_is_asked_for_where_nobody_asks(workflows: WorkflowGenerator) -> None:
    """Published tasks may have no split; the default of constraints must not leave them out."""
    fixed = FixedTasks([draw(workflows, 0, split="test")])
    assert draw(Curriculum(fixed, [{"max_steps": 5}]), 0).split == "test"


@pytest.mark.parametrize("name", WORLD_NAMES)
def test_levels_by_difficulty_share_the_tasks_and_rise(name: str) -> None:
    generator = world(name).generator
    levels = levels_by_difficulty(generator, 3, {"distractor_tools": 0}, draws=600)
    assert levels == levels_by_difficulty(generator, 3, {"distractor_tools": 0}, draws=600)
    assert (levels[0].min_difficulty, levels[-1].max_difficulty) == (0, 1)
    totals = [difficulty(draw(generator, seed, distractor_tools=0)).total for seed in range(300)]
    holding = [[level for level in levels if level.min_difficulty <= total < level.max_difficulty] for total in totals]
    assert all(len(held) == 1 for held in holding)
    assert {level for [level] in holding} == set(levels)
    curriculum = Curriculum(generator, levels, review=0)
    for index, level in enumerate(levels):
        curriculum.state = CurriculumState(index)
        tasks = [draw(curriculum, seed, distractor_tools=0) for seed in range(20)]
        assert all(level.min_difficulty <= difficulty(task).total < level.max_difficulty for task in tasks)
        assert [curriculum.task(task.id) for task in tasks] == tasks


def test_each_level_by_difficulty_holds_as_many_tasks(workflows: WorkflowGenerator) -> None:
    one = draw(workflows, 0, distractor_tools=0, distractions=0)
    offers = [one.tools + tuple(f"other_{number}" for number in range(count)) for count in range(40)]
    graded = FixedTasks(replace(one, id=str(len(tools)), tools=tools) for tools in offers)
    levels = levels_by_difficulty(graded, 4, draws=2000)
    assert all(abs(sum(level.holds(task) for task in graded.tasks) - 10) <= 2 for level in levels)
    assert [level for level in levels if level.holds(graded.tasks[0])] == [levels[0]]


def test_no_task_is_made_again_on_a_level_of_another_difficulty(workflows: WorkflowGenerator) -> None:
    curriculum = Curriculum(workflows, levels_by_difficulty(workflows, 2))
    task = draw(curriculum, 0)
    assert task.id.startswith("0:")
    with pytest.raises(TaskError, match="difficulty"):
        curriculum.task("1" + task.id[1:])


def test_too_few_difficulties_and_too_rare_ones_are_told(workflows: WorkflowGenerator) -> None:
    same = FixedTasks([draw(workflows, 0)])
    with pytest.raises(ConfigurationError, match="differ too little"):
        levels_by_difficulty(same, 2)
    assert levels_by_difficulty(same, 1) == (Level(),)
    with pytest.raises(ConstraintError, match=r"level 0.*none of 1,000 tasks has a difficulty in \[0\.990, 1\.000\)"):
        draw(Curriculum(same, [Level(min_difficulty=0.99)]), 0)
    for count, draws in ((0, 10), (True, 10), (11, 10)):
        with pytest.raises(ConfigurationError, match="levels are at least 1"):
            levels_by_difficulty(same, count, draws=draws)


def test_curricula_and_mixtures_nest(workflows: WorkflowGenerator, curriculum: Curriculum) -> None:
    mixture = Mixture([(curriculum, 1), (workflows, 1)], names=["school", "street"])
    outer = Curriculum(mixture, [{}], window=1)
    tasks = [draw(outer, seed) for seed in range(20)]
    assert [outer.task(task.id) for task in tasks] == tasks
    for task in tasks:
        outer.report(task.id, True)
    assert {task.id.split(":")[1] for task in tasks} == {"school", "street"}
    assert curriculum.state.level > 0
    assert isinstance(outer, TaskGenerator)
    assert isinstance(outer, Reporting)
    assert outer.snapshot is workflows.snapshot
    assert Curriculum(FixedTasks([tasks[0]]), [{}]).snapshot is None


@pytest.mark.parametrize("task_id", ["", "author_town/0/0/7/2", "3:author_town/0/0/7/2", "-1:x", "00:x", "0:x", "0"])
def test_an_unknown_task_id_is_told(curriculum: Curriculum, task_id: str) -> None:
    with pytest.raises(TaskError, match="no task"):
        curriculum.task(task_id)
    if task_id[:1] != "0" or task_id == "00:x":
        with pytest.raises(TaskError, match="no task"):
            curriculum.report(task_id, True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"levels": []}, "levels is a whole number of at least 1"),
        ({"window": 0}, "window"),
        ({"window": 2.5}, "window"),
        ({"up": 0}, "up is above 0"),
        ({"up": 1.1}, "up is above 0"),
        ({"up": float("nan")}, "up is above 0"),
        ({"up": 0.5, "down": 0.5}, "down is at least 0 and below up"),
        ({"down": -0.1}, "down"),
        ({"review": 1.0}, "review"),
        ({"review": -0.1}, "review"),
        ({"generator": 5}, "an object with sample"),
        ({"generator": WorkflowGenerator}, "an object with sample"),
    ],
)
def test_settings_are_checked(workflows: WorkflowGenerator, settings: dict[str, Any], message: str) -> None:
    options: dict[str, Any] = {"generator": workflows, "levels": [{}, {}], **settings}
    with pytest.raises(ConfigurationError, match=message):
        Curriculum(options.pop("generator"), options.pop("levels"), **options)


def test_levels_are_checked(workflows: WorkflowGenerator) -> None:
    with pytest.raises(ConstraintError, match="no such constraint"):
        Curriculum(workflows, [{"steps": 3}])
    with pytest.raises(ConfigurationError, match="min_difficulty < max_difficulty"):
        Level(TaskConstraints(), 0.5, 0.5)
    with pytest.raises(ConfigurationError, match="min_difficulty < max_difficulty"):
        Level(max_difficulty=1.5)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({}, "a level and a list of results"),
        ({"level": "1", "results": []}, "a level and a list"),
        ({"level": True, "results": []}, "a level and a list"),
        ({"level": 0, "results": [1]}, "a level and a list"),
        ({"level": 3, "results": []}, "levels 0 to 2"),
        ({"level": -1, "results": []}, "levels 0 to 2"),
        ({"level": 0, "results": [True] * 5}, "takes 4 results"),
    ],
)
def test_a_state_that_does_not_fit_is_refused(curriculum: Curriculum, saved: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        curriculum.load_state_dict(saved)
    assert curriculum.state == CurriculumState()
