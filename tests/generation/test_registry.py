"""Generators by name: those of this package, and those of packages that are really installed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fresh_python import run_python
from worlds import world

from toolorch_env.core.errors import ConfigurationError, TaskError
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator
from toolorch_env.generation.registry import BUILT_IN, as_generator, generator_names, load_generator

PROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.0"

[tool.hatch.build.targets.wheel]
include = [{files}]

[project.entry-points."toolorch_env.generators"]
"""
GENERATORS = """
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import WorkflowGenerator


class ShortTasks(WorkflowGenerator):
    def sample(self, rng, constraints=None):
        return super().sample(rng, {"max_steps": 2})


def first_tasks(snapshot):
    return FixedTasks([WorkflowGenerator(snapshot).task("author_town/0/0/7/0")])


def nothing(snapshot):
    return None


def itself(snapshot):
    return ShortTasks


number = 5
"""
OFFERED = {
    "short": "many_generators:ShortTasks",
    "first": "many_generators:first_tasks",
    "twice": "many_generators:ShortTasks",
    "nothing": "many_generators:nothing",
    "itself": "many_generators:itself",
    "number": "many_generators:number",
    "absent": "many_generators:absent",
    "no_module": "there_is_no_such_module:absent",
    "broken": "broken_generators:anything",
    "workflows": "many_generators:first_tasks",
}


def install(folder: Path, target: Path, name: str, modules: dict[str, str], offered: dict[str, str]) -> None:
    """Builds a package and installs it into a folder, as a user would."""
    source = folder / name
    source.mkdir()
    for module, text in modules.items():
        (source / f"{module}.py").write_text(text)
    files = ", ".join(f'"{module}.py"' for module in modules)
    entries = "".join(f'{entry} = "{value}"\n' for entry, value in offered.items())
    (source / "pyproject.toml").write_text(PROJECT.format(name=name, files=files) + entries)
    options = ("--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--no-compile", "--target", str(target))
    command = [sys.executable, "-m", "pip", "install", *options, str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two installed packages that offer generators."""
    folder, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    broken = "raise RuntimeError('no licence found')\n"
    install(folder, target, "many-generators", {"many_generators": GENERATORS, "broken_generators": broken}, OFFERED)
    other = "from many_generators import first_tasks\n"
    install(folder, target, "other-generators", {"other_generators": other}, {"twice": "other_generators:first_tasks"})
    return target


@pytest.fixture
def offered(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packages are there."""
    monkeypatch.syspath_prepend(installed)


@pytest.fixture
def library() -> Path:
    return world("library").path


def draw(generator: TaskGenerator) -> Any:
    return generator.sample(np.random.default_rng(3))


def test_built_in_generators_are_known_by_name(library: Path) -> None:
    assert generator_names()[: len(BUILT_IN)] == ("workflows", "tasks", "graph")
    made = load_generator("workflows", library)
    assert isinstance(made, WorkflowGenerator)
    assert draw(made) == draw(world("library").generator)
    with pytest.raises(TaskError, match="'library' holds no tasks"):
        load_generator("tasks", library)


def test_the_graph_generator_is_known_by_name(library: Path) -> None:
    made = load_generator("graph", library)
    task = draw(made)
    assert made.task(task.id) == task


@pytest.mark.usefixtures("offered")
def test_a_generator_of_an_installed_package_is_known_by_name(library: Path) -> None:
    assert {"short", "first"} <= set(generator_names())
    assert len(draw(load_generator("short", library)).reference) <= 2
    first = load_generator("first", world("library").snapshot)
    assert isinstance(first, FixedTasks)
    assert draw(first).id == "author_town/0/0/7/0"


def test_it_is_known_in_a_fresh_process(installed: Path, library: Path) -> None:
    code = f"""
import sys
sys.path.append({str(installed)!r})
from toolorch_env.generation.registry import load_generator
print("many_generators" in sys.modules, load_generator("first", {str(library)!r}).tasks[0].id)
"""
    assert run_python(code).split() == ["False", "author_town/0/0/7/0"]


@pytest.mark.usefixtures("offered")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "unknown",
            r"no generator 'unknown'; choose one of workflows, tasks, graph, .*short.*'toolorch_env.generators'",
        ),
        ("nothing", r"sample\(\) and task\(\), the generator 'nothing' makes None"),
        ("itself", r"sample\(\) and task\(\), the generator 'itself' makes <class"),
        ("number", r"'number' is to be made by many_generators:number of many-generators, which is not callable"),
        ("absent", r"'absent' cannot be imported from many_generators:absent of many-generators: AttributeError"),
        (
            "no_module",
            r"'no_module' cannot be imported.*ModuleNotFoundError: No module named 'there_is_no_such_module'",
        ),
        ("broken", r"'broken' cannot be imported.*RuntimeError: no licence found"),
        ("twice", r"several packages offer a generator 'twice': .*first_tasks of other-generators"),
    ],
)
def test_what_is_wrong_with_a_name_is_told(library: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        load_generator(name, library)


@pytest.mark.usefixtures("offered")
def test_no_package_takes_the_name_of_a_built_in_generator(library: Path) -> None:
    assert generator_names().count("workflows") == 1
    assert isinstance(load_generator("workflows", library), WorkflowGenerator)


@pytest.mark.usefixtures("offered")
def test_an_environment_takes_a_name_an_object_or_what_is_stored() -> None:
    snapshot = world("library").snapshot
    assert isinstance(as_generator(None, snapshot), WorkflowGenerator)
    assert isinstance(as_generator("first", snapshot), FixedTasks)
    given = world("library").generator
    assert as_generator(given, snapshot) is given
    for wrong in (5, WorkflowGenerator, FixedTasks):
        with pytest.raises(ConfigurationError, match=r"sample\(\) and task\(\), got"):
            as_generator(wrong, snapshot)  # type: ignore[arg-type]
