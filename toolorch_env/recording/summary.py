"""What a recording has done so far, and which calls got no answer."""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from toolorch_env.core.errors import UnansweredError

_LOGGER = logging.getLogger(__name__)


@dataclass
class Unanswered:
    """The calls that got no answer that could be recorded.

    Attributes:
        counts: number of calls by kind (see :class:`toolorch_env.core.errors.UnansweredError`).
        examples: the first message of each kind.
        out_of_reach: number of calls that did not reach the API since it last answered one.
        faults: for each tool the number of calls that were not answered since it last answered one.
    """

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    out_of_reach: int = 0
    faults: Counter[str] = field(default_factory=Counter)

    def add(self, tool: str, error: UnansweredError) -> None:
        """Counts a call."""
        self.counts[error.kind] += 1
        self.examples.setdefault(error.kind, str(error))
        self.out_of_reach += error.kind in ("unreachable", "timeout", "exited")
        self.faults[tool] += error.retryable
        _LOGGER.debug("not answered: %s", error)

    def answered(self, tool: str) -> None:
        """Notes that the API is there, and so is the tool."""
        self.out_of_reach = 0
        self.faults[tool] = 0


@dataclass
class Summary:
    """What a recording has done so far.

    Attributes:
        planned: different calls planned so far, and calls of runs of workflows that were made.
        known: of these, calls that had been recorded before.
        recorded: of these, calls that were answered now.
        statuses: how often each status was answered now.
        unanswered: calls that got no answer that could be recorded.
        changed: calls of repeated sessions that were answered otherwise than recorded before. A session is recorded
            up to there.
        runs: runs of workflows, and how many of them went to their end.
        seconds: since the recording began.
    """

    planned: int = 0
    known: int = 0
    recorded: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    unanswered: Unanswered = field(default_factory=Unanswered)
    changed: int = 0
    runs: int = 0
    complete_runs: int = 0
    begun: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        """Seconds since the recording began."""
        return time.monotonic() - self.begun

    @property
    def failed(self) -> int:
        """Number of calls that were sent and got no answer that could be recorded."""
        return self.unanswered.counts.total() - self.unanswered.counts["unsendable"]


Progress = Callable[[Summary], None]
