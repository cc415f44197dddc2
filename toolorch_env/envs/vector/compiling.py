"""How functions of the vector environment are compiled."""

from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """The function in machine code, kept on disk for the next process.

    It can allocate nothing: without numba's counting of references, which costs more than a step, there is no memory to
    be had (the option ``_nrt``). Functions that it calls are compiled into it; numba looks at the file of the function
    alone, so what was kept before any of the package's files changed is removed here.
    """
    made: Any = njit(cache=True, _nrt=False)(function)  # type: ignore[call-overload]
    folder = Path(made.stats.cache_path)
    for index in folder.glob(f"*.{function.__name__}-*.nbi"):
        with suppress(FileNotFoundError):  # another process may have been faster
            if index.stat().st_mtime < _latest_change():
                index.unlink()
    kept: Function = made
    return kept


@cache
def _latest_change() -> float:
    """When any file was changed that compiled functions may come from."""
    package = Path(__file__).parents[2]
    folders = (package / "core", package / "rewards", package / "envs", package / "envs" / "vector")
    return max(path.stat().st_mtime for folder in folders for path in folder.glob("*.py"))
