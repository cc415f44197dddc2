"""Finding the snapshots that come with the package."""

from pathlib import Path

from toolorch_env.core.errors import SnapshotNotFoundError
from toolorch_env.store.snapshot import Snapshot

_PACKAGE = Path(__file__).resolve().parents[1]
_FOLDERS = (_PACKAGE / "cache_snapshots", _PACKAGE.parent / "cache_snapshots")
"""Inside an installed wheel, or beside the package in a checkout."""


def bundled_snapshots() -> dict[str, Path]:
    """Paths of the bundled snapshots by name."""
    found: dict[str, Path] = {}
    for folder in _FOLDERS:
        for path in sorted(folder.glob("*/*.sqlite")):
            found.setdefault(path.stem, path)
    return found


def open_snapshot(name: str | Path | Snapshot) -> Snapshot:
    """The snapshot under a bundled name or a path; an open one is returned as it is.

    Raises:
        SnapshotNotFoundError: there is neither such a bundled snapshot nor such a file.
        SnapshotFormatError, SnapshotCorruptError: the file is not a whole snapshot.
    """
    if isinstance(name, Snapshot):
        return name
    if not isinstance(name, (str, Path)):
        raise SnapshotNotFoundError(f"a snapshot is given by its name or path, got {name!r}")
    bundled = bundled_snapshots()
    if str(name) in bundled:
        return Snapshot(bundled[str(name)])
    path = Path(name)
    if not path.exists():
        names = ", ".join(bundled) or "none"
        raise SnapshotNotFoundError(
            f"there is no snapshot {str(name)!r}: not a file, nor bundled (bundled are: {names})"
        )
    return Snapshot(path)
