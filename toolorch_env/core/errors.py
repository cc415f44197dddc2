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


class PlanError(RecordingError):
    """A recording plan is not valid, or does not fit the API."""


class DataSetError(RecordingError):
    """A published data set cannot be read, or its parts do not fit together."""


class UnansweredError(RecordingError):
    """A call got no answer that can be recorded: nothing is known of what the API would say to it.

    Attributes:
        kind: ``unsendable``, ``unreachable``, ``timeout``, ``busy`` (429), ``server fault`` (5xx), ``exited``,
            ``not JSON`` or ``too large``.
        retry_after: seconds that the API asked to wait, ``None`` where it did not say.
    """

    RETRYABLE = frozenset({"unreachable", "timeout", "busy", "server fault", "exited"})

    def __init__(self, kind: str, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        """Whether asking again may help."""
        return self.kind in self.RETRYABLE

    @property
    def lost_session(self) -> bool:
        """Whether the session that was asked cannot be used any more."""
        return self.kind in ("exited", "timeout")


class WorkflowError(ToolOrchError):
    """A workflow file or a workflow in it is not valid."""


class ConstraintError(ToolOrchError, ValueError):
    """Task constraints are malformed, or no task can satisfy them."""


class TaskError(ToolOrchError):
    """A task is malformed, unknown, or cannot be played where it was asked for."""


class ChatModelError(ToolOrchError):
    """A language model was asked and gave no answer that can be used.

    Attributes:
        kind: ``timeout``, ``unreachable``, ``no completion`` (whatever it was instead), ``no room`` (the messages are
            longer than the model's context), or ``status`` and the number; empty where it is about several answers.
    """

    def __init__(self, message: str, kind: str = "") -> None:
        super().__init__(message)
        self.kind = kind


class RunError(ToolOrchError):
    """The file of an evaluation is missing, damaged, another one, or cannot be written."""


class SessionError(ToolOrchError):
    """A session of a server is unknown, has been dropped, or cannot be begun, as there are too many."""


class InvalidActionError(ToolOrchError, ValueError):
    """An action lies outside the action space of its environment."""


class EpisodeError(ToolOrchError):
    """An episode was used out of turn: a call after its end, a step before a reset."""


class ConfigurationError(ToolOrchError, ValueError):
    """An option (reward name, miss policy, render mode, ...) is unknown or contradictory."""
