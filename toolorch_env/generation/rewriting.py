"""Phrasings in other words: a language model is asked for other versions of templates, and each is verified."""

import asyncio
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from toolorch_env.core.errors import ChatModelError, ConfigurationError, ToolOrchError
from toolorch_env.generation.chat_models import Ask, ChatModel, Messages
from toolorch_env.generation.phrasing import Sentence, Template, compose
from toolorch_env.generation.rewrite_checks import problems
from toolorch_env.store.workflows import WorkflowSet

_log = logging.getLogger(__name__)

_RULES = """\
You reword requests. A request holds slots: names in braces, such as {origin}, which a program fills with values later.
- Keep every slot exactly as it is, as often as it is there and in its role. Write no other braces.
- Keep everything that is asked for, every choice (the first, the longest, ...), every number, code and quoted text, and
  which part builds on which.
- Change the words and how the sentences are built, as another person would say it.
- Write one paragraph, about as long as the request.
Answer with the reworded request and nothing else."""
_EXAMPLE = (
    "Find the cheapest hotel in {city} for {count} guests. How far is it from {place}?",
    "I need a room in {city} for {count} people: which hotel costs the least, and what is the distance to {place}?",
)
_READING = """\
You read values out of requests. You get a template, in which each slot in braces has a role, and a request that says
the same in other words, with values in place of the slots. Answer with one JSON object that gives for each slot's name
the value that has its role in the request, and with nothing else."""

_THOUGHT = re.compile(r"^(?:\s*<think>)?.*?</think>", re.DOTALL)  # some servers cut off what opens it


@dataclass(frozen=True)
class Rewriting:
    """What came of rewriting.

    Attributes:
        workflows: the workflows, with the versions that were accepted beside those that were there.
        asked: number of versions that the model was asked for; each was accepted, rejected, or failed.
        accepted: number of versions that stood the verification.
        rejected: numbers of versions that did not, by what was first found wrong.
        failed: numbers of requests without an answer, by why.
        interrupted: whether it was ended from the keyboard before all was asked.
    """

    workflows: WorkflowSet
    asked: int
    accepted: int
    rejected: Mapping[str, int]
    failed: Mapping[str, int]
    interrupted: bool = False


def rewrite(
    workflows: WorkflowSet,
    model: ChatModel,
    *,
    versions: int = 1,
    concurrency: int = 8,
    check_roles: bool = False,
    phrasings: Iterable[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Rewriting:
    """Has a language model word phrasings in other ways; what is there already is not asked for.

    Not to be called where an event loop runs. Interrupted from the keyboard, it returns what it has.

    Args:
        workflows: the workflows.
        model: the language model.
        versions: how many versions each phrasing is to have, at least 1.
        concurrency: how many requests may be under way at once, at least 1.
        check_roles: whether the model also has to find each value's role in what it wrote, with values filled in: a
            second request for each version, which keeps origin and destination from being swapped. Small models fail
            it too often.
        phrasings: the templates to rewrite; by default those that are written in the workflows.
        progress: told how many versions were asked for, and of how many.

    Raises:
        ConfigurationError: ``versions`` or ``concurrency`` is below 1.
        ChatModelError: not one request was answered.
    """
    if versions < 1 or concurrency < 1:
        raise ConfigurationError(f"versions and concurrency are at least 1, not {versions} and {concurrency}")
    wanted = missing_versions(workflows, versions, phrasings)
    run = _Run(workflows, sum(wanted.values()), check_roles, progress or (lambda done, total: None))
    interrupted = bool(wanted) and asyncio.run(run.ask_all(model, wanted, concurrency))
    if run.total and run.failed.total() == run.total:
        reason, count = run.failed.most_common(1)[0]
        raise ChatModelError(f"the language model answered none of {run.total:,} requests ({count:,}: {reason})")
    rewrites = {phrasing: tuple(found) for phrasing, found in run.found.items() if found}
    told = WorkflowSet(**dict(workflows) | {"rewrites": rewrites})
    return Rewriting(told, run.done, run.accepted, dict(run.rejected), dict(run.failed), interrupted)


def missing_versions(workflows: WorkflowSet, versions: int, phrasings: Iterable[str] | None = None) -> dict[str, int]:
    """How many versions are still to be asked for, by phrasing; of the written phrasings, unless others are given."""
    if phrasings is None:
        phrasings = (text for workflow in workflows.workflows for text in workflow.phrasings)
    there = {phrasing: len(workflows.rewrites.get(phrasing, ())) for phrasing in phrasings}
    return {phrasing: versions - count for phrasing, count in there.items() if count < versions}


class _Run:
    """The requests of one rewriting, and what came of them."""

    def __init__(
        self, workflows: WorkflowSet, total: int, check_roles: bool, progress: Callable[[int, int], None]
    ) -> None:
        self.found = {phrasing: list(others) for phrasing, others in workflows.rewrites.items()}
        self.total = total
        self.done = self.accepted = 0
        self.rejected: Counter[str] = Counter()
        self.failed: Counter[str] = Counter()
        self._check_roles = check_roles
        self._progress = progress

    async def ask_all(self, model: ChatModel, wanted: Mapping[str, int], concurrency: int) -> bool:
        """Asks for all versions; says whether that was interrupted."""
        limit = asyncio.Semaphore(concurrency)
        self.found |= {phrasing: self.found.get(phrasing, []) for phrasing in wanted}
        try:
            async with model.open() as ask:
                await asyncio.gather(*(self._reword(ask, limit, text, count) for text, count in wanted.items()))
        except asyncio.CancelledError:  # what asyncio.run makes of an interrupt
            return True
        return False

    async def _reword(self, ask: Ask, limit: asyncio.Semaphore, phrasing: str, count: int) -> None:
        others = self.found[phrasing]
        for number in range(len(others), len(others) + count):
            async with limit:
                try:
                    reason = await self._ask_once(ask, phrasing, others, number)
                except ToolOrchError as error:
                    self.failed[str(error)] += 1
                else:
                    self.rejected.update([reason] if reason else [])
                    self.accepted += not reason
            self.done += 1
            self._progress(self.done, self.total)

    async def _ask_once(self, ask: Ask, phrasing: str, others: list[str], number: int) -> str:
        """Asks for one version and keeps it, or says what is wrong with it."""
        rewritten = _cleaned(await ask(_request(phrasing, others), number))
        reason = next(problems(phrasing, rewritten, others), "")
        if not reason and self._check_roles:
            reason = await _role_problem(ask, phrasing, rewritten)
        if reason:
            _log.debug("rejected (%s): %r for %r", reason, rewritten, phrasing)
        else:
            others.append(rewritten)
        return reason


def _request(phrasing: str, others: Sequence[str]) -> Messages:
    listed = "".join(f"\n- {other}" for other in others)
    rules = f"{_RULES}\nWord it in another way than these:{listed}" if others else _RULES
    said = (rules, *_EXAMPLE, phrasing)
    roles = ("system", "user", "assistant", "user")
    return [{"role": role, "content": content} for role, content in zip(roles, said, strict=True)]


def _cleaned(answer: str) -> str:
    """An answer without what models put around it: thoughts, quotation marks, white space."""
    text = _THOUGHT.sub("", answer).strip()
    return text[1:-1].strip() if len(text) > 1 and text[0] + text[-1] in ('""', "“”", "``") else text


async def _role_problem(ask: Ask, phrasing: str, rewritten: str) -> str:
    """Whether the model finds each value's role in the version, in words."""
    template = Template.parse(rewritten)
    values = {
        slot: f"{chr(75 + index % 16)}{17 + 13 * index}" for index, slot in enumerate(sorted(set(template.slots)))
    }
    if len(values) < 2:  # nothing can be swapped
        return ""
    query, _ = compose([Sentence(template, values, values)])
    told = f"Template: {phrasing}\nRequest: {query}\nSlots: {', '.join(values)}"
    answer = await ask([{"role": "system", "content": _READING}, {"role": "user", "content": told}], 0)
    found = re.search(r"\{[^{}]*\}", _THOUGHT.sub("", answer))
    try:
        read = orjson.loads(found.group()) if found else None
    except orjson.JSONDecodeError:
        read = None
    return "" if read == values else "the model reads other roles"
