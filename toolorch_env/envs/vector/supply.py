"""The workflows of a generator as arrays, for tasks to be drawn in compiled code."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from toolorch_env.core.draws import mix
from toolorch_env.envs.observation import CONTEXT_BUCKETS, KIND_BUCKETS, QUERY_BUCKETS, bucket, words_of
from toolorch_env.envs.vector.copies import MAX_STEPS
from toolorch_env.envs.vector.values import Values
from toolorch_env.envs.vocabulary import Vocabulary
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.generation.join_tree import Node
from toolorch_env.generation.phrasing import Template
from toolorch_env.generation.sources import TraceSource
from toolorch_env.generation.splits import range_of, value_hash
from toolorch_env.store.interned import ABSENT

IDENTITY = -1
"""Stands for the sequence 0, 1, 2 and so on."""

MOST_LITERALS = 64
"""A workflow has at most so many literals and nodes of its join trees, where tasks are drawn in compiled code."""

MOST_WORDS = 2048
"""A query has at most so many words."""

MOST_SENTENCES = 256
"""A query has at most so many sentences, and they so many slots."""


class Supply(NamedTuple):
    """What tasks are drawn from. All arrays are int64, but for ``data`` (int32) and ``hashes`` (uint64).

    Attributes:
        traces: number of traces of each workflow.
        first_step, first_literal, first_root, first_other: of each workflow, where its steps and so on begin.
        steps: tool, bound parameters, steps that come first; shape (steps, 3).
        literals: step, column of its arguments, number of the default; shape (literals, 3).
        roots: nodes of join trees.
        nodes: where in ``data`` a node's cumulative counts, group starts, and groups by the parent's row begin; where
            its positions and its children begin; its count; shape (nodes + 1, 6).
        positions: step, and where in ``data`` its rows begin; shape (positions, 2).
        children: nodes.
        data: the sequences of all nodes.
        others: tools that each workflow does not need and that are not excluded.
        offered: whether a tool is not excluded, shape (tools,).
        first_phrasing: of each workflow and style, where its phrasings begin.
        first_sentence: of each phrasing, where its sentences begin.
        sentences: templates.
        first_item: of each template, where its items begin.
        items: word, and the slot that it stands for or ABSENT; shape (items, 2).
        buckets: of each word those in the query, before and after a mention, and as a kind; shape (words, 4).
        distractions: templates.
        first_pool: of each distraction, where its slots begin.
        slot_pools: the pool of each slot.
        pool_starts: where the values of each pool begin.
        pools: values.
        hashes: mixed hashes of values, by number.
        is_chatty: of each style, whether the first and the last sentence stay where they are.
        settings: number of styles, distractor tools, distractions at most, and the range of the split: from, to.
    """

    traces: np.ndarray
    first_step: np.ndarray
    first_literal: np.ndarray
    first_root: np.ndarray
    first_other: np.ndarray
    steps: np.ndarray
    literals: np.ndarray
    roots: np.ndarray
    nodes: np.ndarray
    positions: np.ndarray
    children: np.ndarray
    data: np.ndarray
    others: np.ndarray
    offered: np.ndarray
    first_phrasing: np.ndarray
    first_sentence: np.ndarray
    sentences: np.ndarray
    first_item: np.ndarray
    items: np.ndarray
    buckets: np.ndarray
    distractions: np.ndarray
    first_pool: np.ndarray
    slot_pools: np.ndarray
    pool_starts: np.ndarray
    pools: np.ndarray
    hashes: np.ndarray
    is_chatty: np.ndarray
    settings: np.ndarray


def make_supply(
    generator: object, constraints: TaskConstraints, vocabulary: Vocabulary, values: Values
) -> Supply | None:
    """What a generator draws from under constraints; ``None`` where only it can draw.

    Raises:
        ConstraintError: no task satisfies the constraints.
    """
    if type(generator) is not WorkflowGenerator or constraints.values != "explicit":
        return None
    sources = generator.eligible(constraints)
    if not all(_is_plain(source, vocabulary) for source in sources):
        return None
    return _Builder(generator, sources, constraints, vocabulary, values).build()


def _is_plain(source: TraceSource, vocabulary: Vocabulary) -> bool:
    """Whether traces can be drawn in compiled code: no selections by literals, no rejected draws, no huge counts."""
    compiled = vocabulary.snapshot.compiled
    return (
        not source.selects_by_literals
        and compiled is not None
        and source.compiled.values is compiled.values
        and source.join.is_exact
        and source.join.count < 2**31
        and len(source.workflow.steps) <= MAX_STEPS
        and len(source.workflow.literals) <= MOST_LITERALS
        and sum(map(_size, source.join.roots)) <= MOST_LITERALS
    )


def _size(node: Node) -> int:
    return 1 + sum(map(_size, node.children))


class _Builder:
    def __init__(
        self,
        generator: WorkflowGenerator,
        sources: Sequence[TraceSource],
        constraints: TaskConstraints,
        vocabulary: Vocabulary,
        values: Values,
    ) -> None:
        self._sources = sources
        self._composer = generator.composer
        self._constraints = constraints
        self._vocabulary = vocabulary
        self._values = values
        self._nodes: list[list[int]] = []
        self._positions: list[tuple[int, int]] = []
        self._children: list[int] = []
        self._data: list[np.ndarray] = []
        self._data_size = 0
        self._templates: list[list[tuple[int, int]]] = []
        self._words: dict[str, int] = {}

    def build(self) -> Supply | None:
        sources, tools = self._sources, self._vocabulary.tool_index
        excluded = self._constraints.exclude_tools
        roots = [[self._add_node(root) for root in source.join.roots] for source in sources]
        phrasings = [
            [[self._add_template(template, source.workflow.literals) for template in sentences] for sentences in told]
            for source in sources
            for style in self._constraints.styles
            for told in [self._composer.phrasings(source, style)]
        ]
        self._phrasings = [sentences for told in phrasings for sentences in told]
        distractions = self._composer.distractions if self._constraints.distractions else []
        pools = {kind: place for place, kind in enumerate(self._composer.pools)}
        others = [[tools[name] for name in source.other_tools if name not in excluded] for source in sources]
        literals = [list(source.literal_columns()) for source in sources]
        told = [self._add_template(t, {kind: kind for kind in t.slots}) for t in distractions]
        if any(len(set(template.slots)) < len(template.slots) for template in distractions) or self._is_long(told):
            return None
        sizes = [len(pool) for pool in self._composer.pools.values()]
        return Supply(
            traces=_integers([source.join.count for source in sources]),
            first_step=_starts([len(source.workflow.order) for source in sources]),
            first_literal=_starts(map(len, literals)),
            first_root=_starts(map(len, roots)),
            first_other=_starts(map(len, others)),
            steps=_integers([step for source in sources for step in self._steps(source)]).reshape(-1, 3),
            literals=_integers([row for rows in literals for row in rows]).reshape(-1, 3),
            roots=_integers([root for rows in roots for root in rows]),
            nodes=_integers([*self._nodes, [0, 0, 0, len(self._positions), len(self._children), 0]]),
            positions=_integers(self._positions).reshape(-1, 2),
            children=_integers(self._children),
            data=np.concatenate([*self._data, np.zeros(1, np.int32)]),
            others=_integers([tool for rows in others for tool in rows]),
            offered=_integers([name not in excluded for name in self._vocabulary.tools]),
            first_phrasing=_starts(map(len, phrasings)),
            first_sentence=_starts(len(sentences) for rows in phrasings for sentences in rows),
            sentences=_integers([t for rows in phrasings for sentences in rows for t in sentences]),
            first_item=_starts(map(len, self._templates)),
            items=_integers([item for items in self._templates for item in items]).reshape(-1, 2),
            buckets=_integers([_buckets(word) for word in self._words]).reshape(-1, 4),
            distractions=_integers(told),
            first_pool=_starts(len(template.slots) for template in distractions),
            slot_pools=_integers([pools[kind] for template in distractions for kind in template.slots]),
            pool_starts=_starts(sizes),
            pools=_integers([self._values.number(v) for pool in self._composer.pools.values() for v in pool]),
            hashes=self._hashes(),
            is_chatty=_integers([style == "chatty" for style in self._constraints.styles]),
            settings=_integers(
                [
                    len(self._constraints.styles),
                    self._constraints.distractor_tools,
                    self._constraints.distractions,
                    *range_of(self._constraints.split),
                ]
            ),
        )

    def _is_long(self, distractions: list[int]) -> bool:
        """Whether a query might not fit."""
        sizes = [len(items) for items in self._templates]
        longest = max((sum(sizes[t] for t in sentences) for sentences in self._phrasings), default=0)
        longest += self._constraints.distractions * max((sizes[t] for t in distractions), default=0)
        most = max(map(len, self._phrasings), default=0) + self._constraints.distractions
        return longest > min(MOST_WORDS, 2 * MOST_SENTENCES) or most > MOST_SENTENCES

    def _steps(self, source: TraceSource) -> Iterable[tuple[int, int, int]]:
        for step, (bindings, after) in zip(source.workflow.order, source.dependencies(), strict=True):
            tool = self._vocabulary.tool_index[step.tool]
            bound = {binding.parameter for binding in bindings}
            names = [name for name, _ in self._vocabulary.tool_parameters[tool]]
            places = sum(1 << place for place, name in enumerate(names) if name in bound)
            yield tool, places, sum(1 << index for index in after)

    def _add_node(self, node: Node) -> int:
        place = len(self._nodes)
        arrays = node.arrays
        row = [
            self._add_data(arrays.cumulative),
            self._add_data(arrays.group_start),
            self._add_data(arrays.group_of_parent_row),
            len(self._positions),
            0,
            node.count,
        ]
        self._nodes.append(row)
        for step, positions in zip(node.relation.steps, arrays.positions, strict=True):
            self._positions.append((step, self._add_data(positions)))
        children = [self._add_node(child) for child in node.children]
        return self._link(place, children)

    def _link(self, place: int, children: list[int]) -> int:
        self._nodes[place][4] = len(self._children)
        self._children += [len(children), *children]
        return place

    def _add_data(self, values: np.ndarray | None) -> int:
        if values is None:
            return IDENTITY
        start = self._data_size
        self._data.append(values.astype(np.int32))
        self._data_size += len(values)
        return start

    def _add_template(self, template: Template, kinds: dict[str, str]) -> int:
        slots = {name: place for place, name in enumerate(kinds)}
        items: list[tuple[int, int]] = []
        for plain, slot in template.parts:
            items += [(self._word(word), ABSENT) for word in words_of(plain)]
            if slot:
                items.append((self._word(f"<{kinds[slot]}>"), slots[slot]))
        self._templates.append(items)
        return len(self._templates) - 1

    def _word(self, word: str) -> int:
        return self._words.setdefault(word, len(self._words))

    def _hashes(self) -> np.ndarray:
        """Hashes of all values that literals can have."""
        hashes = np.zeros(len(self._values), np.uint64)
        places = {place for source in self._sources for place in self._literal_places(source)}
        known: set[int] = set()
        for table, column, default in places:
            assert self._vocabulary.snapshot.compiled is not None
            found = self._vocabulary.snapshot.compiled.tables[table].arguments[:, column]
            known |= {*np.unique(found).tolist(), default}
        for number in known - {ABSENT}:
            hashes[number] = mix(value_hash(self._values[number]))
        return hashes

    @staticmethod
    def _literal_places(source: TraceSource) -> Iterable[tuple[str, int, int]]:
        for step, column, default in source.literal_columns():
            yield source.workflow.order[step].tool, column, default


def _buckets(word: str) -> tuple[int, int, int, int]:
    return (
        bucket(word, QUERY_BUCKETS),
        bucket("<" + word, CONTEXT_BUCKETS),
        bucket(">" + word, CONTEXT_BUCKETS),
        bucket(word, KIND_BUCKETS),
    )


def _integers(values: Sequence[object]) -> np.ndarray:
    return np.array(values, np.int64)


def _starts(sizes: Iterable[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.array(list(sizes), np.int64))]).astype(np.int64)
