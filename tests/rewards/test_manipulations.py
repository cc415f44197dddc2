"""No manipulated solution pays, on any source of tasks; and the documents show the table that the benchmark makes."""

import re
from functools import cache
from pathlib import Path

import pytest
from booking_data import needs_booking, published
from manipulations import MANIPULATIONS, Problem, World
from reward_manipulations import REWARDS, SOLUTION, Measured, columns, faults, measure, open_world, rows, write_markdown
from typer import BadParameter
from worlds import TRAVEL, WORLD_NAMES, world

DOCUMENT = Path(__file__).parents[2] / "docs" / "rewards.md"
TASKS = 60


@cache
def small_world(name: str) -> World:
    return World(world(name).snapshot, world(name).tasks(TASKS))


@cache
def measured(name: str) -> Measured:
    return measure(small_world(name))


every_world = pytest.mark.parametrize("name", WORLD_NAMES)


@every_world
def test_the_graduated_reward_pays_for_no_manipulation(name: str) -> None:
    assert list(faults(measured(name))) == []


@every_world
def test_every_manipulation_was_tried_unless_no_task_allows_it(name: str) -> None:
    tried = {row for row, figures in measured(name).items() if figures["graduated"].scores}
    assert {manipulation.name for manipulation in MANIPULATIONS} - tried <= {
        "library": set(),
        "bank": {"guess unseen values, then solve"},  # what a guess would hit comes after a change
        "travel": set(),
    }[name]


@every_world
def test_the_solution_returns_one_with_every_reward_of_ours(name: str) -> None:
    for reward in ("graduated", "binary"):
        assert set(measured(name)[SOLUTION][reward].scores) == {1.0}


@every_world
def test_binary_is_beaten_by_nothing_and_pays_nothing_for_what_is_left_undone(name: str) -> None:
    figures = measured(name)
    assert all(row["binary"].beats == 0 for row in figures.values())
    for manipulation in MANIPULATIONS:
        if manipulation.name.startswith(("leave out", "all values wrong")):
            assert set(figures[manipulation.name]["binary"].scores) <= {0.0}


def test_the_flaws_of_the_published_reward_show() -> None:
    """The benchmark can find what it looks for."""
    found = [fault for name in ("library", "bank") for fault in faults(measured(name), "published")]
    assert any("repeat the first call" in fault and "beats" in fault for fault in found)
    assert any("leave out repeated names" in fault and "beats" in fault for fault in found)
    assert any("unseen values, self-written" in fault and "equals" in fault for fault in found)


def test_execution_cannot_see_what_was_left_out() -> None:
    found = list(faults(measured("library"), "execution"))
    assert any("leave out the last call" in fault and "equals" in fault for fault in found)


@every_world
def test_the_same_seed_gives_the_same_manipulations(name: str) -> None:
    here = small_world(name)
    for task in here.tasks[:10]:
        left, right = ([m.make(Problem(task, here, 3)) for m in MANIPULATIONS] for _ in range(2))
        assert left == right


@needs_booking
@pytest.mark.long
def test_the_graduated_reward_pays_for_no_manipulation_of_the_published_tasks() -> None:
    figures = measure(open_world(str(published().summary.path), 101, 0))
    assert len(figures[SOLUTION]["graduated"].scores) == 101
    assert set(figures[SOLUTION]["graduated"].scores) == {1.0}
    assert list(faults(figures)) == []


# ------------------------------------------------------------------------------------------------------ documents


def tables() -> dict[str, list[list[str]]]:
    """The tables in the document by the name of their snapshot, as cells."""
    blocks = re.findall(r"<!-- manipulations on (\w+): begin -->\n(.*?)\n<!-- manipulations on \1: end -->",
                        DOCUMENT.read_text(), flags=re.S)  # fmt: skip
    return {name: [re.split(r" *\| *", line.strip("| ")) for line in block.split("\n")] for name, block in blocks}


def test_the_document_has_the_tables_of_the_benchmark() -> None:
    assert tables().keys() >= {"travel", "booking"}
    for table in tables().values():
        assert table[0] == columns()
        assert [row[0] for row in table[2:]] == [SOLUTION, *(manipulation.name for manipulation in MANIPULATIONS)]


def test_the_document_says_that_the_graduated_reward_pays_for_nothing_it_must_not() -> None:
    harmful = {manipulation.name for manipulation in MANIPULATIONS if not manipulation.may_equal}
    for table in tables().values():
        for name, _, graduated, *_ in table[2:]:
            _, beats, equals = graduated.split(" · ")
            assert beats == "0%"
            assert name not in harmful or equals == "0%"


@pytest.mark.skipif(not TRAVEL.exists(), reason="the travel snapshot was not built")
def test_the_solution_scores_as_the_document_says() -> None:
    said = next(row for row in tables()["travel"] if row[0] == SOLUTION)
    assert said[2:4] == rows(measured("travel"))[0][2:4] == ["1.000 · 0% · 100%"] * 2


def test_a_table_is_put_where_a_document_has_a_place_for_it(tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text("before\n<!-- manipulations on x: begin -->\nold\n<!-- manipulations on x: end -->\nafter\n")
    for _ in range(2):
        write_markdown(document, "x", measured("library"))
        lines = document.read_text().split("\n")
        assert lines[0] == "before"
        assert lines[-2] == "after"
        assert len(lines) == 4 + 1 + 2 + len(MANIPULATIONS) + 1
        assert all(len(line.split(" | ")) == 2 + len(REWARDS) for line in lines[2:-3])
    with pytest.raises(BadParameter, match="no place for the table"):
        write_markdown(document, "y", measured("library"))
