"""The figures in docs/results.md are those that the benchmarks wrote."""

import json
import re
import sys
from typing import Any

import pytest
from fresh_python import ROOT

sys.path.insert(0, str(ROOT / "benchmarks"))
import language_model
import learning

RESULTS = ROOT / "benchmarks" / "results"
TEXT = (ROOT / "docs" / "results.md").read_text(encoding="utf-8")
ROWS = {re.sub(r"\s*\|\s*", "|", line.strip()).strip("|") for line in TEXT.splitlines() if line.startswith("|")}


def read(name: str) -> Any:
    return json.loads((RESULTS / name).read_text())


@pytest.mark.parametrize("path", sorted(RESULTS.glob("learning*.json")), ids=lambda path: path.stem)
def test_what_agents_have_learned(path: Any) -> None:
    runs = read(path.name)["runs"]
    tables = (learning.measures_table(runs), learning.places_table(runs))
    shown = [rows for rows in tables if {"|".join(row) for row in rows} <= ROWS]
    assert shown, f"docs/results.md has no table of {path.name}; one is {tables[1]}"


def test_three_seeds_and_the_same_number_of_steps_for_each_reward() -> None:
    runs = learning.by_reward(read("learning.json")["runs"])
    assert set(runs) >= {"graduated", "atomic", "orchestration", "binary"}
    assert all(len({run["seed"] for run in own}) >= 3 for own in runs.values())
    assert len({run["steps"] for own in runs.values() for run in own}) == 1


def test_speed_of_many_at_once() -> None:
    found = read("vector_speed.json")
    for width, figures in found["native"].items():
        row = f"{int(width):,}|{figures['steps_per_second']:,.0f}|{figures['microseconds_per_step']:.2f}"
        assert any(shown.startswith(row) for shown in ROWS), row


def test_speed_of_one() -> None:
    for name, figures in read("step_speed.json")["figures"].items():
        row = f"{name}|{figures['steps_per_second']:,.0f}|{figures['ratio_to_cart_pole']:.3f}"
        assert any(shown.startswith(row) for shown in ROWS), row


def test_memory() -> None:
    found = read("memory.json")
    for method in ("spawn", "fork"):
        figures = found[f"processes, {method}"]
        row = f"16 processes, {method}|{figures['private_mb']:.1f}|{figures['private_over_imports_mb']:.1f}"
        assert any(shown.startswith(row) for shown in ROWS), row


@pytest.mark.parametrize(
    ("name", "rewards"),
    [
        ("language_model", {"graduated", "atomic", "orchestration", "binary"}),
        ("language_model_80_steps", {"graduated", "atomic"}),
    ],
)
def test_language_model(name: str, rewards: set[str]) -> None:
    found = read(f"{name}.json")
    for row in language_model.rows(found):
        assert "|".join(row) in ROWS, row
    trained = [run["arguments"] for run in found["runs"]]
    assert {each["reward"] for each in trained} >= rewards
    assert len({(each["steps"], each["prompts"], each["generations"], each["rate"]) for each in trained}) == 1
