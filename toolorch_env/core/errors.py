"""Every error that ToolOrch raises on purpose. All derive from :class:`ToolOrchError`."""


class ToolOrchError(Exception):
    """Base class of all public errors: catch this one to catch them all."""


class SnapshotError(ToolOrchError):
    """A snapshot cannot be read or written."""


class SnapshotNotFoundError(SnapshotError):
    """There is no snapshot under this path or bundled name."""


class SnapshotFormatError(SnapshotError):
    """The file is not a ToolOrch snapshot, or one written by a newer ToolOrch."""


class SnapshotCorruptError(SnapshotError):
    """The file is a snapshot, but parts of it are missing or damaged."""


class SnapshotWriteError(SnapshotError):
    """The snapshot cannot be written where it was asked for."""


class MissError(ToolOrchError):
    """A call has no recorded response and the miss policy is ``raise``."""


class ToolSchemaError(ToolOrchError):
    """A tool's JSON Schema of parameters cannot be used."""


class RecordingError(ToolOrchError):
    """An API could not be recorded."""


class WorkflowError(ToolOrchError):
    """A workflow file or a workflow in it is not valid."""


class ConstraintError(ToolOrchError, ValueError):
    """Task constraints are malformed, or no task can satisfy them."""


class TaskError(ToolOrchError):
    """A task is malformed, unknown, or cannot be played where it was asked for."""


class InvalidActionError(ToolOrchError, ValueError):
    """An action lies outside the action space of its environment."""


class EpisodeError(ToolOrchError):
    """An episode was used out of turn: a call after its end, a step before a reset."""


class ConfigurationError(ToolOrchError, ValueError):
    """An option (reward name, miss policy, render mode, ...) is unknown or contradictory."""
