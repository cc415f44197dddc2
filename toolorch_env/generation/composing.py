"""From a trace to a task: its query, the tools on offer, and its identifier."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, unquote

from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import TaskError
from toolorch_env.core.tasks import Task
from toolorch_env.generation.checking import unreadable_literals
from toolorch_env.generation.constraints import Split, Style, TaskConstraints, Values
from toolorch_env.generation.paraphrases import Paraphrases
from toolorch_env.generation.phraser import Phraser
from toolorch_env.generation.phrasing import Sentence, Template, compose, value_text
from toolorch_env.generation.sayings import Saying
from toolorch_env.generation.sources import Trace, TraceSource

_TODAY = Template.parse("Today is {today}.")
_USUAL = (TaskConstraints().styles, TaskConstraints().values)


class TaskComposer:
    """Makes tasks of traces.

    Args:
        phraser: words the workflows.
        pools: for each kind the values that sentences with values nobody needs may mention.
        distractions: such sentences; their slots are kinds.
        paraphrases: other ways to say values.
        kind_of: for kinds whose paraphrases go by another name, that name.

    Attributes:
        pools: as given.
        distractions: those sentences that there are values for.
    """

    def __init__(
        self,
        phraser: Phraser,
        pools: Mapping[str, Sequence[Any]],
        distractions: Sequence[Template],
        paraphrases: Paraphrases,
        kind_of: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._phraser = phraser
        self.pools = pools
        self.distractions = [template for template in distractions if all(pools.get(kind) for kind in template.slots)]
        self._paraphrases = paraphrases
        self._kind_of = kind_of

    def task(self, name: str, source: TraceSource, trace: Trace, variant: int, constraints: TaskConstraints) -> Task:
        """The task of a trace.

        Args:
            name: what the identifier begins with; the workflow is to be found by it.
            source: the workflow.
            trace: one of its traces.
            variant: decides everything but the trace, from 0 to 2^32 - 1.
            constraints: how many distractor tools and distractions there are, which tools are not offered, and how the
                query is worded.

        Raises:
            TaskError: the query does not say every literal of the reference.
        """
        draws = Draws(variant)
        style = draws.choose(constraints.styles) if len(constraints.styles) > 1 else constraints.styles[0]
        kinds = source.workflow.literals
        sentences = [
            Sentence(template, trace.literals, kinds) for template in draws.choose(self.phrasings(source, style))
        ]
        reference = source.reference(trace)
        needed = [value for call in reference for value in call.arguments.values()]
        for sentence in self._draw_distractions(draws, constraints, needed):
            first = int(style == "chatty")  # which has a greeting first and thanks last
            place = (len(sentences) - first, first)[draws.below(2)]
            sentences.insert(place, sentence)
        if constraints.values != "explicit":
            sentences, today = self._said_otherwise(draws, sentences, source, needed, constraints.values)
            sentences[style == "chatty" : 0] = today  # a greeting comes first
        query, mentions = compose(sentences)
        task = Task(
            id=make_task_id(name, trace.number, variant, constraints),
            query=query,
            tools=_offer(draws, source, constraints),
            reference=reference,
            mentions=mentions,
            workflow=source.workflow.name,
            split=trace.split,
        )
        problems = list(unreadable_literals(task))
        if problems:
            raise TaskError(f"task {task.id!r} is not well posed: {'; '.join(problems)}")
        return task

    def phrasings(self, source: TraceSource, style: Style) -> Sequence[Sequence[Template]]:
        """The phrasings of a workflow in a style, sentence by sentence."""
        found = source.phrasings.get(style)
        if found is None:
            told = self._phraser.phrasings(source.workflow, style)
            found = source.phrasings[style] = [[Template.parse(text) for text in sentences] for sentences in told]
        return found

    def again(
        self, task_id: str, name: str, source: TraceSource, accept: Callable[[Trace], bool] | None = None
    ) -> Task:
        """The task of an identifier, made once more.

        Args:
            task_id: the identifier.
            name, source: the workflow that it names.
            accept: whether tasks are made of a trace; by default of all.

        Raises:
            ValueError, KeyError: no task has this identifier.
        """
        _, number, variant, constraints = read_task_id(task_id)
        trace = source.trace(number) if 0 <= number < source.join.count else None
        if trace is None or source.held_out != (trace.split == "test_workflows"):
            raise ValueError
        if accept is not None and not accept(trace):
            raise ValueError
        task = self.task(name, source, trace, variant, constraints)
        if task.id != task_id:
            raise ValueError
        return task

    def _draw_distractions(
        self, draws: Draws, constraints: TaskConstraints, needed: Sequence[Any]
    ) -> Iterator[Sentence]:
        if not constraints.distractions or not self.distractions:
            return
        count = min(1 + draws.below(constraints.distractions), len(self.distractions))
        for template in draws.sample(self.distractions, count):
            values = {kind: self._other_value(draws, kind, needed) for kind in template.slots}
            yield Sentence(template, values, {kind: kind for kind in template.slots})

    def _said_otherwise(
        self,
        draws: Draws,
        sentences: Sequence[Sentence],
        source: TraceSource,
        needed: Sequence[Any],
        values: Values,
    ) -> tuple[list[Sentence], list[Sentence]]:
        """Sentences with values said in other words, and the one that gives the date of today if any depends on it.

        The same value is said in the same way throughout.
        """
        avoid = {value for value in needed if isinstance(value, str)}
        told: list[Sentence] = []
        today: list[Sentence] = []
        chosen: dict[tuple[str, str], Saying | None] = {}
        for sentence in sentences:
            for slot in dict.fromkeys(sentence.template.slots):
                kind, value = sentence.kinds[slot], sentence.values[slot]
                key = (kind, value_text(value))
                if key in chosen:
                    continue
                chosen[key] = None
                if values == "mixed" and draws.below(2):
                    continue
                now = today[0].values["today"] if today else ""
                named = self._kind_of.get(kind, kind)
                chosen[key] = saying = self._paraphrases.say(named, value, draws, now, avoid, source.tools)
                if saying and saying.today and not today:
                    today = [Sentence(_TODAY, {"today": saying.today}, {"today": kind})]
            said = {
                slot: chosen[sentence.kinds[slot], value_text(sentence.values[slot])]
                for slot in sentence.template.slots
            }
            told.append(sentence._replace(sayings={slot: saying for slot, saying in said.items() if saying}))
        return told, today

    def _other_value(self, draws: Draws, kind: str, needed: Sequence[Any]) -> Any:
        """A value of a kind that no reference call needs, if there is one."""
        pool = self.pools[kind]
        value = draws.choose(pool)
        for _ in range(20):
            if value not in needed:
                break
            value = draws.choose(pool)
        return value


def draw_trace(source: TraceSource, draws: Draws, split: Split, tries: int) -> Trace | None:
    """A trace of a split, uniformly; ``None`` if none was found in so many draws, or there are no traces at all."""
    for _ in range(tries if source.is_feasible else 0):
        trace = source.trace(draws.below(source.join.count))
        if trace is not None and trace.split == split:
            return trace
    return None


def read_task_id(task_id: str) -> tuple[str, int, int, TaskConstraints]:
    """What an identifier of :class:`TaskComposer` stands for: name, number of the trace, variant, and constraints.

    Raises:
        ValueError: it is no such identifier.
    """
    name, number, variant, distractor_tools, wording, *excluded = task_id.split("/")
    if not 0 <= int(variant, 16) < 2**32:
        raise ValueError
    constraints = _variant_constraints(int(distractor_tools), wording, tuple(map(unquote, excluded)))
    return name, int(number), int(variant, 16), constraints


def make_task_id(name: str, trace: int, variant: int, constraints: TaskConstraints) -> str:
    """The identifier of a task (see :func:`read_task_id`)."""
    excluded = [quote(tool, safe="") for tool in constraints.exclude_tools]
    parts = (trace, f"{variant:x}", constraints.distractor_tools, _wording(constraints))
    return "/".join(map(str, (name, *parts, *excluded)))


def _wording(constraints: TaskConstraints) -> str:
    """How the query is worded, as a part of the identifier: ``2``, or ``2+terse+chatty+implicit``."""
    styles, values = constraints.styles, constraints.values
    if (styles, values) == _USUAL:
        return str(constraints.distractions)
    return "+".join([str(constraints.distractions), *styles, values])


def _offer(draws: Draws, source: TraceSource, constraints: TaskConstraints) -> tuple[str, ...]:
    others = source.other_tools
    if constraints.exclude_tools:
        others = [name for name in others if name not in constraints.exclude_tools]
    left_out = draws.sample(others, max(0, len(others) - constraints.distractor_tools))
    left_out += constraints.exclude_tools
    return tuple([name for name in source.all_tools if name not in left_out])


@lru_cache(256)
def _variant_constraints(distractor_tools: int, wording: str, excluded: tuple[str, ...]) -> TaskConstraints:
    distractions, *worded = wording.split("+")
    given: dict[str, Any] = {"styles": tuple(worded[:-1]), "values": worded[-1]} if worded else {}
    return TaskConstraints(
        distractor_tools=distractor_tools, distractions=int(distractions), exclude_tools=excluded, **given
    )
