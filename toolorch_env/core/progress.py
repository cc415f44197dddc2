"""How far an episode has come: which reference calls are complete, and in an order that respects data flow.

This part knows no weights. Rewards and metrics both stand on it, so that they cannot disagree about what is done.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import token, tokens
from toolorch_env.core.responses import Response
from toolorch_env.core.tasks import ReferenceCall, Task

Digest = Callable[[CanonicalCall], int]


@dataclass(frozen=True, slots=True)
class Match:
    """What one call did for the reference solution.

    Attributes:
        step: index of the reference call that it is equivalent to, ``None`` if there is none.
        completes: whether it is the first call to complete that step.
        ordered: whether it completes the step with every value seen before it was used.
        repeated: whether the same call was made before in this episode.
    """

    step: int | None
    completes: bool
    ordered: bool
    repeated: bool


class Reference:
    """The reference solution of one task, prepared for matching. Shared by all forks of an episode.

    Args:
        task: the task.
        tools: the snapshot's tools, through which arguments are read.
        digest: digest of the recorded response to a call (0: none); used for response equivalence.
    """

    def __init__(self, task: Task, tools: ToolSet, digest: Digest) -> None:
        self.task = task
        self.tools = tools
        self._digest = digest
        self.calls: tuple[CanonicalCall, ...] = tuple(
            tools.canonical(Call(call.tool, call.arguments)) for call in task.reference
        )
        self.bound: tuple[frozenset[str], ...] = tuple(
            frozenset(binding.parameter for binding in call.bindings) for call in task.reference
        )

    @cached_property
    def digests(self) -> tuple[int, ...]:
        """Response digest of each reference call."""
        return tuple(self._digest(call) for call in self.calls)

    @cached_property
    def query_tokens(self) -> frozenset[str]:
        """Tokens of the values that the query mentions."""
        return frozenset().union(*(tokens(mention.value) for mention in self.task.mentions))

    def in_query(self, text: str) -> bool:
        """Whether a token is mentioned in the query, or stands there as words of its own."""
        if text in self.query_tokens:
            return True
        return bool(text) and re.search(rf"(?<!\w){re.escape(text)}(?!\w)", self.task.query) is not None

    def values_to_see(self, step: int, call: CanonicalCall) -> list[Any]:
        """Values that ``call``, which completes ``step``, had to see before it used them.

        These are its values for what the reference takes from responses. A call that completes the step in another
        way has also to account for parameters that the reference does not use, unless the schema spells their values
        out.
        """
        bound = self.bound[step]
        reference: ReferenceCall = self.task.reference[step]
        parameters = self.tools.signature(call.tool).parameters if call.tool in self.tools else {}
        values = []
        for name, value in call.arguments.items():
            foreign = name not in reference.arguments and not (name in parameters and parameters[name].is_choice)
            if name in bound or (foreign and not call.same_as(self.calls[step])):
                values.append(value)
        return values


class Progress:
    """Mutable state of matching in one episode."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        count = len(reference.calls)
        self.complete = [False] * count
        self.ordered = [False] * count
        self._seen: frozenset[str] = frozenset()
        self._unread: list[tuple[Response, frozenset[str]]] = []
        self._matched: dict[bytes, int | None] = {}

    def copy(self) -> "Progress":
        """An independent copy."""
        other = Progress.__new__(Progress)
        other.reference = self.reference
        other.complete = self.complete.copy()
        other.ordered = self.ordered.copy()
        other._seen = self._seen
        other._unread = self._unread.copy()
        other._matched = self._matched.copy()
        return other

    @property
    def all_complete(self) -> bool:
        """Whether every reference call is complete."""
        return all(self.complete)

    def update(self, turn: Sequence[tuple[CanonicalCall | None, Response]]) -> list[Match]:
        """Takes one turn: calls made together, ``None`` for what was no call. Returns a match for each.

        What the responses of a turn hold counts as seen from the next turn on.
        """
        done_before = self.complete.copy()
        matches = [self._match(call, response, done_before) for call, response in turn]
        self._unread += [
            (response, self._own_words(call, match))
            for (call, response), match in zip(turn, matches, strict=True)
            if call is not None and response.success
        ]
        return matches

    def _own_words(self, call: CanonicalCall, match: Match) -> frozenset[str]:
        """What a response may repeat from its call without telling the agent anything: values that it may have guessed.

        In a call of the reference, the values that come from the query are not guessed.
        """
        is_reference = match.step is not None and call.same_as(self.reference.calls[match.step])
        bound = self.reference.bound[match.step] if is_reference and match.step is not None else call.arguments
        return tokens([value for name, value in call.arguments.items() if name in bound])

    def _match(self, call: CanonicalCall | None, response: Response, done_before: list[bool]) -> Match:
        if call is None:
            return Match(None, False, False, False)
        repeated = call.rounded_key in self._matched
        step = self._equivalent_step(call, response)
        self._matched[call.rounded_key] = step
        if step is None or self.complete[step]:
            return Match(step, False, False, repeated)
        self.complete[step] = True
        after = self.reference.task.reference[step].after
        ordered = all(done_before[index] for index in after) and self._all_seen(step, call)
        self.ordered[step] = ordered
        return Match(step, True, ordered, repeated)

    def _equivalent_step(self, call: CanonicalCall, response: Response) -> int | None:
        """The reference call that ``call`` is equivalent to: the same call before the same answer, open ones first."""
        same = [index for index, reference in enumerate(self.reference.calls) if call.same_as(reference)]
        if not same and call.rounded_key in self._matched:
            return self._matched[
                call.rounded_key
            ]  # asking again in another way than the reference is no second solution
        if not same and response.success and response.digest:
            digests = self.reference.digests
            same = [index for index, digest in enumerate(digests) if digest == response.digest]
        return next((index for index in same if not self.complete[index]), same[0] if same else None)

    def _all_seen(self, step: int, call: CanonicalCall) -> bool:
        values = self.reference.values_to_see(step, call)
        return all(self.has_seen(value) for value in values)

    def has_seen(self, value: Any) -> bool:
        """Whether every scalar in ``value`` stood in the query or in a response of an earlier turn."""
        found = tokens(value) if isinstance(value, (dict, list)) else {token(value)}
        return all(text is None or self._token_seen(text) for text in found)

    def _token_seen(self, text: str) -> bool:
        if self.reference.in_query(text):
            return True
        for response, own_words in self._unread:
            self._seen |= response.tokens - own_words
        self._unread.clear()
        return text in self._seen
