"""From a plan to calls: round by round, breadth first, the same ones on every machine and after every interruption."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from itertools import islice, product
from math import prod
from typing import Any

import orjson

from toolorch_env.core.calls import Call, CanonicalCall, ToolSet
from toolorch_env.core.canonical import canonical_json
from toolorch_env.core.draws import Draws
from toolorch_env.core.errors import PlanError
from toolorch_env.recording.plans.plan import CrawledValues, ForEach, Plan, Request, ValueSource
from toolorch_env.recording.plans.refusals import refused_variants
from toolorch_env.recording.plans.values import enumerate_values
from toolorch_env.store.records import Record
from toolorch_env.store.selection import Selector

Find = Callable[[Sequence[bytes]], Mapping[bytes, Record]]
"""Gives the records that there are under some keys."""

MAX_COMBINATIONS = 2_000_000


class Frontier:
    """The calls of a plan's requests, in rounds: each round has what the responses of the rounds before lead to.

    What comes out depends on the plan and on what the API answers, not on the order or time of the answers.

    Raises:
        PlanError: the plan does not fit the tools, or a product is too large to be made.
    """

    def __init__(self, plan: Plan, tools: ToolSet) -> None:
        plan.check_tools(tools)
        self.plan = plan
        self._tools = tools
        self._requests = [_CallMaker(index, request, plan, tools) for index, request in enumerate(plan.requests)]
        self._crawled = set().union(*(request.sources for request in plan.requests))
        self._planned: dict[str, list[bytes]] = {name: [] for name in tools}
        self._known: set[bytes] = set()
        self._fresh: dict[str, int] = dict.fromkeys(tools, 0)
        self._round = 0

    def __len__(self) -> int:
        """Number of calls so far."""
        return len(self._known)

    def planned(self, tool: str | None = None) -> Iterator[bytes]:
        """Keys of the calls so far, those of one tool in the order in which they came."""
        for name in self._planned if tool is None else (tool,):
            yield from self._planned[name]

    def next_round(self, find: Find) -> list[CanonicalCall]:
        """The calls of the next round, none when there are no more.

        Args:
            find: gives the records of the calls of earlier rounds, as far as they were answered.

        Raises:
            PlanError: an expression of the plan does not give arguments.
        """
        if self._round > self.plan.max_depth:
            return []
        if self._round:
            self._absorb(find)
        self._round += 1
        calls = []
        for maker in self._requests:
            room = self.plan.max_calls - len(self._known)
            for call in islice(maker.new_calls(self._known), room):
                self._known.add(call.key)
                self._planned[call.tool].append(call.key)
                calls.append(call)
        return calls

    def _absorb(self, find: Find) -> None:
        for tool in sorted(self._crawled):
            fresh = self._planned[tool][self._fresh[tool] :]
            self._fresh[tool] = len(self._planned[tool])
            for record in successes(fresh, find):
                for maker in self._requests:
                    maker.absorb(record)

    def values(self, source: ValueSource, find: Find) -> Sequence[Any]:
        """All values of a source, crawled ones taken from the responses to all calls so far."""
        if not isinstance(source, CrawledValues):
            return enumerate_values(source, self.plan)
        pool, select = _Distinct(), Selector(source.select)
        for record in successes(list(self.planned(source.source)), find):
            pool.extend(_as_list(select(record.response.body)))
        return pool.items


def successes(keys: Sequence[bytes], find: Find, chunk: int = 500) -> Iterator[Record]:
    """The successful ones among the records under some keys, in the order of the keys."""
    for start in range(0, len(keys), chunk):
        part = keys[start : start + chunk]
        found = find(part)
        yield from (found[key] for key in part if key in found and found[key].response.success)


class _Distinct:
    """Values without repetition, in the order in which they came."""

    def __init__(self) -> None:
        self.items: list[Any] = []
        self._known: set[bytes] = set()

    def extend(self, values: Sequence[Any]) -> None:
        for value in values:
            written = canonical_json(value)
            if value is not None and written not in self._known:
                self._known.add(written)
                self.items.append(value)


class _CallMaker:
    """The calls of one request."""

    def __init__(self, index: int, request: Request, plan: Plan, tools: ToolSet) -> None:
        self.request = request
        self._tools = tools
        self._seed = f"{plan.seed} {index} ".encode()
        self._fixed: dict[str, Sequence[Any]] = {}
        self._crawled: dict[str, tuple[CrawledValues, Selector, _Distinct]] = {}
        for name, source in request.arguments.items():
            if isinstance(source, CrawledValues):
                self._crawled[name] = (source, Selector(source.select), _Distinct())
            else:
                self._fixed[name] = enumerate_values(source, plan)
        self._each = _EachObject(request.for_each, request.tool, tools) if request.for_each else None
        self._stale = False
        self._made = 0
        self._refused = False
        if request.combine == "zip":
            self._check_zip()

    def _check_zip(self) -> None:
        lengths = {name: len(values) for name, values in self._fixed.items() if len(values) != 1}
        if len(set(lengths.values())) > 1:
            told = ", ".join(f"{name} {length}" for name, length in lengths.items())
            raise PlanError(f"request of {self.request.tool}: values to be zipped differ in number ({told})")

    def absorb(self, record: Record) -> None:
        """Takes what a response holds for this request."""
        for source, select, pool in self._crawled.values():
            if source.source == record.tool:
                pool.extend(_as_list(select(record.response.body)))
                self._stale = False
        if self._each and self._each.source == record.tool:
            self._each.absorb(record)
            self._stale = False

    def new_calls(self, known: set[bytes]) -> list[CanonicalCall]:
        """Calls that are not among the known ones, as many as the sample has room for."""
        room = None if self.request.sample is None else self.request.sample - self._made
        if self._stale or room == 0:
            return []
        self._stale = True
        found: dict[bytes, CanonicalCall] = {}
        for arguments in self._combinations(room):
            call = self._canonical(arguments)
            if call.key not in known:
                found.setdefault(call.key, call)
        chosen = list(found.values())
        if room is not None and len(chosen) > room:
            chosen = sorted(chosen, key=lambda call: blake2b(self._seed + call.key, digest_size=16).digest())[:room]
        self._made += len(chosen)
        return chosen + self._refusals(chosen, known | found.keys() if self.request.refusals else known)

    def _canonical(self, arguments: Mapping[str, Any]) -> CanonicalCall:
        try:
            return self._tools.canonical(Call(self.request.tool, arguments))
        except ValueError as error:
            raise PlanError(f"request of {self.request.tool}: {error}") from None

    def _refusals(self, calls: list[CanonicalCall], known: set[bytes]) -> list[CanonicalCall]:
        if self._refused or not self.request.refusals or not calls:
            return []
        self._refused = True
        variants = (self._canonical(arguments) for arguments in refused_variants(calls, self._tools, self._seed))
        fresh = {call.key: call for call in islice(variants, 4 * self.request.refusals) if call.key not in known}
        return list(fresh.values())[: self.request.refusals]

    def _combinations(self, room: int | None) -> Iterator[dict[str, Any]]:
        names = [*self._fixed, *self._crawled]
        pools = [*self._fixed.values(), *(pool.items for _, _, pool in self._crawled.values())]
        objects = self._each.objects if self._each else [{}]
        if self.request.combine == "zip":
            length = max((len(pool) for pool in pools), default=1)
            rows = list(zip(*(pool if len(pool) != 1 else list(pool) * length for pool in pools), strict=True))
            yield from ({**dict(zip(names, row, strict=True)), **each} for each in objects for row in rows or [()])
            return
        size = len(objects) * prod(map(len, pools))
        if size <= MAX_COMBINATIONS:
            for each in objects:
                yield from ({**dict(zip(names, row, strict=True)), **each} for row in product(*pools))
        elif room is None:
            raise PlanError(f"the request of {self.request.tool} has {size:,} combinations: give it a `sample`")
        else:
            yield from self._drawn(names, [*pools, objects], size, 2 * room)

    def _drawn(self, names: list[str], pools: list[Sequence[Any]], size: int, count: int) -> Iterator[dict[str, Any]]:
        draws = Draws.seeded_by(self._seed)
        for _ in range(count):
            number, row = draws.below(size), []
            for pool in pools:
                number, index = divmod(number, len(pool))
                row.append(pool[index])
            yield {**dict(zip(names, row[:-1], strict=True)), **row[-1]}


class _EachObject:
    """Arguments that belong together, taken from responses."""

    def __init__(self, each: ForEach, tool: str, tools: ToolSet) -> None:
        self.source = each.source
        self._each = each
        self._tool = tool
        self._parameters = tools.signature(tool).parameters
        self._select = Selector(each.select)
        self._distinct = _Distinct()

    @property
    def objects(self) -> list[dict[str, Any]]:
        return self._distinct.items

    def absorb(self, record: Record) -> None:
        arguments = orjson.loads(record.arguments)
        kept = {name: arguments[other] for name, other in self._each.keep.items() if other in arguments}
        found = [value for value in _as_list(self._select(record.response.body)) if value is not None]
        for value in found[: self._each.per_response]:
            if not isinstance(value, dict) or not value.keys() <= self._parameters.keys():
                raise PlanError(
                    f"request of {self._tool}: {self._each.select!r} must give objects of its arguments, not {value!r}"
                )
            if None not in value.values():
                self._distinct.extend([{**kept, **value}])


def _as_list(found: Any) -> list[Any]:
    return found if isinstance(found, list) else [found]
