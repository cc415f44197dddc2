"""How far an episode has come: which reference calls are complete, and in an order that respects data flow.

This part knows no weights. Rewards and metrics both stand on it, so that they cannot disagree about what is done.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any, NamedTuple

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import token, tokens
from toolorch_env.core.errors import TaskError
from toolorch_env.core.matching import choose_step
from toolorch_env.core.responses import SEEN_SOURCES, Response
from toolorch_env.core.states import state_after
from toolorch_env.core.tasks import Task

LookUp = Callable[[CanonicalCall], Response | None]
"""The recorded response to a call in its state, ``None`` if there is none."""


class Match(NamedTuple):
    """What one call did for the reference solution.

    Attributes:
        step: index of the reference call that it is equivalent to, ``None`` if there is none.
        completes: whether it is the first call to complete that step.
        ordered: whether it completes the step with every value seen before it was used.
        repeated: whether the same call was made before in this episode; a read-only call, in the same state.
    """

    step: int | None
    completes: bool
    ordered: bool
    repeated: bool


class Reference:
    """The reference solution of one task, prepared for matching. Shared by all forks of an episode.

    A call in another state is another call: it sees or does something else.

    Args:
        task: the task.
        tools: the snapshot's tools, through which arguments are read.
        look_up: finds recorded responses: for response equivalence, and for the states that the solution comes to.

    Attributes:
        calls: the reference calls, each in the state that the solution has come to.
        initial_state: the state that the episode begins in.
        bound: for each reference call its parameters that come from responses, those of optional calls left out.

    Raises:
        TaskError: a call of the task's setup is not recorded, or an optional call changes the state.
    """

    def __init__(self, task: Task, tools: ToolSet, look_up: LookUp) -> None:
        self._check_optional(task, tools)
        self.task = task
        self.tools = tools
        self._look_up = look_up
        calls = [tools.canonical(Call(call.tool, call.arguments)) for call in task.reference]
        self.initial_state = self._state_after_setup() if task.setup else b""
        self.calls: tuple[CanonicalCall, ...] = tuple(self._in_their_states(calls) if tools.state_changing else calls)
        self._steps_by_key: dict[bytes, tuple[int, ...]] = {}
        for index, call in enumerate(self.calls):
            for key in {call.key, call.rounded_key}:
                self._steps_by_key[key] = (*self._steps_by_key.get(key, ()), index)
        self.bound: tuple[frozenset[str], ...] = tuple(
            frozenset([b.parameter for b in call.bindings if not task.reference[b.step].optional])
            for call in task.reference
        )

    @staticmethod
    def _check_optional(task: Task, tools: ToolSet) -> None:
        """Without an optional change of the state, all that follows would be other calls."""
        changing = [call.tool for call in task.reference if call.optional and call.tool in tools.state_changing]
        if changing:
            raise TaskError(f"task {task.id!r}: the call of {changing[0]!r} changes the state, so it is not optional")

    def _state_after_setup(self) -> bytes:
        state = b""
        for made in self.task.setup:
            call = self.tools.canonical(Call(made.tool, made.arguments)).within(state)
            response = self._look_up(call)
            if response is None:
                raise TaskError(f"task {self.task.id!r}: nothing is recorded for {made.tool} of its setup")
            state = state_after(call, response, read_only=made.tool not in self.tools.state_changing)
        return state

    def _in_their_states(self, calls: Sequence[CanonicalCall]) -> Iterator[CanonicalCall]:
        state = self.initial_state
        for made in calls:
            call = made.within(state)
            yield call
            if call.tool in self.tools.state_changing:
                response = self._look_up(call)
                state = state if response is None else state_after(call, response, read_only=False)

    @cached_property
    def digests(self) -> tuple[int, ...]:
        """Response digest of each read-only reference call; 0 for a state-changing one, or where there is none."""
        found = [None if call.tool in self.tools.state_changing else self._look_up(call) for call in self.calls]
        return tuple(0 if response is None else response.digest for response in found)

    def steps_of(self, call: CanonicalCall) -> tuple[int, ...]:
        """Indices of the reference calls that are this very call, fractions compared by their fourth decimal."""
        return self._steps_by_key.get(call.key) or self._steps_by_key.get(call.rounded_key, ())

    def steps_answered_alike(self, call: CanonicalCall, response: Response) -> tuple[int, ...]:
        """Indices of the reference calls that ask for the same thing in another way: response equivalence.

        Calls that change the state are no such ways: what they do is more than what they answer.
        """
        if not response.digest or call.tool in self.tools.state_changing:
            return ()
        alike = [index for index, digest in enumerate(self.digests) if digest == response.digest]
        return tuple(index for index in alike if self.calls[index].state == call.state)

    @cached_property
    def query_tokens(self) -> frozenset[str]:
        """Tokens of the values that the query mentions."""
        return tokens([mention.value for mention in self.task.mentions])

    def in_query(self, text: str) -> bool:
        """Whether a token is mentioned in the query, or stands there as words of its own."""
        return says(self.task.query, self.query_tokens, text)

    def values_to_see(self, step: int, call: CanonicalCall) -> list[Any]:
        """Values that ``call``, which completes ``step``, had to see before it used them.

        These are its values for what the reference takes from responses. A call that completes the step in another
        way has also to account for parameters that the reference does not use, unless the schema spells their values
        out.
        """
        bound = self.bound[step]
        if step in self.steps_of(call):
            return [call.arguments[name] for name in bound if name in call.arguments]
        parameters = self.tools.signature(call.tool).parameters if call.tool in self.tools else {}
        known = self.task.reference[step].arguments
        return [
            value
            for name, value in call.arguments.items()
            if name in bound or (name not in known and not (name in parameters and parameters[name].is_choice))
        ]


def says(query: str, mentioned: Collection[str], text: str) -> bool:
    """Whether a query says a token: among the values that it mentions, or as words of its own.

    Args:
        query: the query.
        mentioned: tokens of the values that it mentions.
        text: the token.
    """
    return text in mentioned or (bool(text) and stands_alone(text, query))


def stands_alone(text: str, query: str) -> bool:
    """Whether ``text`` stands in ``query`` as words of its own: 2013 does not in "12013", "2013-01-02" or "0.2013"."""
    start = query.find(text)
    while start >= 0:
        end = start + len(text)
        has_sign = text[0].isdigit() and query[:start].endswith("-")
        if not (has_sign or _goes_on(text[0], query[:start][-2:][::-1]) or _goes_on(text[-1], query[end : end + 2])):
            return True
        start = query.find(text, start + 1)
    return False


def _goes_on(edge: str, outside: str) -> bool:
    """Whether a word or number with this edge goes on in what stands outside of it, the nearest character first."""
    if not outside:
        return False
    if outside[0].isalnum() or outside[0] == "_":
        return True
    return edge.isdigit() and outside[0] in ".,:/-" and outside[1:].isdigit()


def _as_set(steps: Iterable[int]) -> int:
    """Steps as a bit mask."""
    return sum(1 << step for step in steps)


class Progress:
    """Mutable state of matching in one episode."""

    def __init__(self, reference: Reference) -> None:
        self.reference = reference
        count = len(reference.calls)
        self.complete = [False] * count
        self.ordered = [False] * count
        self._answered: list[tuple[CanonicalCall, Response, int | None]] = []
        self._matched: dict[bytes, int | None] = {}

    def copy(self) -> "Progress":
        """An independent copy."""
        other = Progress.__new__(Progress)
        other.reference = self.reference
        other.complete = self.complete.copy()
        other.ordered = self.ordered.copy()
        other._answered = self._answered.copy()
        other._matched = self._matched.copy()
        return other

    @property
    def all_complete(self) -> bool:
        """Whether every reference call is complete, but for optional ones."""
        return all(self.complete[index] for index in self.reference.task.required)

    def update(self, turn: Sequence[tuple[CanonicalCall | None, Response]]) -> list[Match]:
        """Takes one turn: calls made together, each in its state, ``None`` for what was no call.

        Returns a match for each.

        What the responses of a turn hold counts as seen from the next turn on.
        """
        done_before = self.complete.copy()
        matches = [self._match(call, response, done_before) for call, response in turn]
        for (call, response), match in zip(turn, matches, strict=True):
            if call is not None and response.source in SEEN_SOURCES:
                self._answered.append((call, response, match.step))
        return matches

    def _match(self, call: CanonicalCall | None, response: Response, done_before: list[bool]) -> Match:
        if call is None:
            return Match(None, False, False, False)
        name = self._name_of(call)
        repeated = name in self._matched
        same = self._equivalent_steps(call, response, name)
        open_steps = [index for index in same if not self.complete[index]]
        if not open_steps:
            step = self._matched[name] = same[0] if same else None
            return Match(step, False, False, repeated)
        step, ordered = self._choose(open_steps, call, done_before)
        self._matched[name] = step
        self.complete[step] = True
        self.ordered[step] = ordered
        return Match(step, True, ordered, repeated)

    def _choose(self, open_steps: list[int], call: CanonicalCall, done_before: list[bool]) -> tuple[int, bool]:
        """Which of several equal steps a call completes, and whether in order."""
        reference = self.reference.task.reference
        in_order = [index for index in open_steps if self._in_order(index, call, done_before)]
        optional = [index for index in open_steps if reference[index].optional]
        return choose_step(_as_set(open_steps), _as_set(in_order), _as_set(optional)), bool(in_order)

    def _in_order(self, step: int, call: CanonicalCall, done_before: list[bool]) -> bool:
        """Whether all that a step needs had been done and seen before the turn of the call."""
        reference = self.reference.task.reference
        after = [index for index in reference[step].after if not reference[index].optional]
        return all(done_before[index] for index in after) and self._all_seen(step, call)

    def _name_of(self, call: CanonicalCall) -> bytes:
        """What a call is remembered by: a change made again is a repetition, a look at what has changed is none."""
        if call.state and call.tool in self.reference.tools.state_changing:
            return call.within(b"").rounded_key
        return call.rounded_key

    def _equivalent_steps(self, call: CanonicalCall, response: Response, name: bytes) -> tuple[int, ...]:
        """The reference calls that ``call`` is equivalent to: the same call before the same answer."""
        same = self.reference.steps_of(call)
        if not same and name in self._matched:
            # asking again, in another way than the reference, is no second solution
            step = self._matched[name]
            return () if step is None else (step,)
        if not same and response.success:
            return self.reference.steps_answered_alike(call, response)
        return same

    def _all_seen(self, step: int, call: CanonicalCall) -> bool:
        return all(self.has_seen(value) for value in self.reference.values_to_see(step, call))

    def has_seen(self, value: Any) -> bool:
        """Whether every scalar in ``value`` stood in the query or in a response of an earlier turn."""
        if isinstance(value, (dict, list)):
            return all(self._token_seen(text) for text in tokens(value))
        text = token(value)
        return text is None or self._token_seen(text)

    def _token_seen(self, text: str) -> bool:
        for call, response, step in reversed(self._answered):
            # what a nearest answer repeats of its own call counts as said by the agent: a guess need not be exact
            if response.holds(text) and not (
                self._said_itself(call, step, text) or text in tokens(response.recorded_arguments)
            ):
                return True
        return self.reference.in_query(text)

    def _said_itself(self, call: CanonicalCall, step: int | None, text: str) -> bool:
        """Whether a call passed a value that it may have guessed: its response repeating it tells the agent nothing.

        In a call of the reference, the values that come from the query are not guessed.
        """
        is_reference = step is not None and step in self.reference.steps_of(call)
        for name, value in call.arguments.items():
            if text == value or text in tokens(value):
                return not is_reference or step is None or name in self.reference.bound[step]
        return False
