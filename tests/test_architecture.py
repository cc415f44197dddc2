"""The shape of the package: which part may import which, what an import costs, and the size of its modules."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import pytest
from fresh_python import ROOT, run_python

from toolorch_env.core import errors
from toolorch_env.core.errors import ToolOrchError

PACKAGE = ROOT / "toolorch_env"
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "__pycache__" not in path.parts)

RANKS = {
    "core": 0, "store": 1, "recording": 2, "generation": 2, "rewards": 2, "envs": 3, "policies": 4, "evaluation": 5,
    "integrations": 6, "cli": 7,
}  # fmt: skip
MAX_LINES = 400
HEAVY = ("torch", "httpx", "fastapi", "sqlalchemy", "stable_baselines3", "uvicorn", "openai", "mcp")


def imports(path: Path) -> Iterator[str]:
    """Full names of what a module imports, relative imports resolved."""
    here = path.relative_to(PACKAGE.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = list(here[: len(here) - node.level]) if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (f"{module}.{alias.name}" for alias in node.names)


def part_of(name: str) -> str | None:
    """The part of ToolOrch that a name belongs to, ``None`` for other packages and the top of ours."""
    pieces = name.split(".")
    return pieces[1] if pieces[0] == "toolorch_env" and len(pieces) > 1 and pieces[1] in RANKS else None


def relative(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_one_way(path: Path) -> None:
    """Parts of one rank do not know each other, but generation may use the equality of values in rewards.credit."""
    own = part_of("toolorch_env." + ".".join(path.relative_to(PACKAGE).with_suffix("").parts))
    for name in imports(path):
        other = part_of(name)
        if own is None or other is None or own == other:
            assert own is not None or other in (None, "core"), f"{relative(path)} imports {name}"
            continue
        allowed = RANKS[other] < RANKS[own] or (own == "generation" and name.startswith("toolorch_env.rewards.credit"))
        assert allowed, f"{relative(path)} imports {name}"


def test_every_part_has_a_rank() -> None:
    parts = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in MODULES} - {"__init__", "__main__"}
    assert parts <= set(RANKS)


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, toolorch_env; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert run_python(code).split() == []


def test_the_command_imports_what_records_only_when_it_records() -> None:
    code = f"import sys, toolorch_env.cli; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    assert run_python(code).split() == []


def test_playing_imports_no_trainer_and_no_network() -> None:
    """An episode needs a snapshot, a generator, a replay and a reward."""
    code = f"""
import sys
import toolorch_env.core.episode, toolorch_env.generation.generator, toolorch_env.rewards, toolorch_env.store.replay
print(*[name for name in {HEAVY!r} if name in sys.modules and name != "sqlalchemy"])
"""
    assert run_python(code).split() == []


@pytest.mark.parametrize(
    "name",
    [name for name, value in vars(errors).items() if inspect.isclass(value) and value.__module__ == errors.__name__],
)
def test_every_error_derives_from_the_base(name: str) -> None:
    assert issubclass(getattr(errors, name), ToolOrchError)
    assert getattr(errors, name).__doc__


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_errors_are_defined_in_one_place(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef) and node.name.endswith(("Error", "Exception")):
            assert path == PACKAGE / "core" / "errors.py", f"{node.name} in {relative(path)}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_nothing_is_printed_past_the_console(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id not in ("print", "input", "breakpoint"), f"{relative(path)}:{node.lineno}"


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_modules_are_short_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(ast.parse(text))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_no_randomness_that_is_seeded_globally(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    assert not used & {"np.random.seed", "random.seed", "np.random.rand", "np.random.randint", "random.random"}
