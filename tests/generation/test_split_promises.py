"""What splits promise holds however queries are worded, whoever draws the tasks, and on published responses, too."""

from typing import Any

import numpy as np
import pytest
from booking_data import needs_booking, published
from generation.crossings import Crossings, traces
from worlds import WORLD_NAMES, world

from toolorch_env.generation.constraints import SPLITS, STYLES
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator
from toolorch_env.generation.graph_generator import GraphGenerator

EVERY_STYLE = "+".join(STYLES)
WORDINGS = [f"{distractions}+{EVERY_STYLE}+{values}" for distractions, values in ((0, "mixed"), (2, "implicit"))]
WORDED: dict[str, Any] = {"styles": STYLES, "values": "mixed"}

every_world = pytest.mark.parametrize("name", WORLD_NAMES)


def add_drawn(found: Crossings, generator: TaskGenerator, draws: int) -> None:
    """Looks at so many tasks of every split, in all wordings."""
    rng = np.random.default_rng(0)
    for split in SPLITS:
        for number in range(draws):
            task = generator.sample(rng, {**WORDED, "split": split, "distractions": number % 3})
            assert task.split == split
            found.add(task)


@every_world
def test_nothing_crosses_however_the_traces_of_all_workflows_are_worded(name: str) -> None:
    found = Crossings()
    for wording in ("0", *WORDINGS):
        for task in traces(world(name).generator, wording, most=60):
            found.add(task)
    found.check_workflows()
    assert set(found.combinations.values()) == set(world(name).splits)
    assert len(found.queries) > 2 * len(found.solutions)


@every_world
def test_a_trace_is_in_one_split_however_it_is_worded(name: str) -> None:
    generator = world(name).generator
    for wording in WORDINGS:
        for plain, worded in zip(traces(generator, most=20), traces(generator, wording, most=20), strict=True):
            assert (plain.split, plain.reference) == (worded.split, worded.reference)


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in WORLD_NAMES if name != "bank"])
def test_nothing_crosses_between_written_workflows_and_those_that_nobody_wrote(name: str) -> None:
    found = Crossings(solutions=False)
    for wording in WORDINGS:
        for task in traces(world(name).generator, wording, most=30):
            found.add(task)
    written = set(found.workflows)
    add_drawn(found, world(name).graph_generator_of(25), 30)
    found.check_workflows()
    assert len(set(found.workflows) - written) > 25
    assert found.shared > 5


@pytest.mark.long
@needs_booking
def test_nothing_crosses_on_published_responses() -> None:
    """With the published templates as workflows, and with those that nobody wrote."""
    snapshot = published(templates=True).snapshot
    generator, found = WorkflowGenerator(snapshot), Crossings(solutions=False)
    for wording in ("0", *WORDINGS):
        for task in traces(generator, wording, most=60):
            found.add(task)
    assert len(found.workflows) > 20
    add_drawn(found, GraphGenerator(snapshot, variety=25), 25)
    found.check_workflows()
