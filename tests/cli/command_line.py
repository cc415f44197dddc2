"""What the tests of the command share."""

from collections.abc import Callable
from pathlib import Path


class Outcome:
    """What a command in this process did."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def words(self) -> str:
        """Standard output without frames and line breaks."""
        return " ".join(self.out.replace("│", " ").split())


Command = Callable[..., Outcome]


def told_in_one_line(error: str) -> bool:
    """Whether an error was told, in one line."""
    return error.startswith("error: ") and error.endswith("\n") and error.count("\n") == 1


def files_in(folder: Path) -> list[str]:
    """Names of all files in a folder, hidden ones too."""
    return sorted(path.name for path in folder.iterdir())
