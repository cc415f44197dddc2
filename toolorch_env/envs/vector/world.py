"""A compiled snapshot as the arrays that steps are looked up in."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from toolorch_env.envs.vector.recorded import RecordedCalls, by_rounded_key, recorded_calls
from toolorch_env.envs.vector.values import ValueArrays, Values
from toolorch_env.envs.vocabulary import Vocabulary
from toolorch_env.store.interned import ABSENT


class World(NamedTuple):
    """What is the same in all copies.

    Attributes:
        values: what is known of values.
        recorded: the recorded calls.
        exact, rounded: hash tables of the recorded calls, by values and by values with fractions rounded; int32,
            ABSENT where free.
        rounded_arguments: the arguments of the recorded calls with fractions rounded, as in :class:`RecordedCalls`.
        first_parameter: of each tool, where its parameters begin among those of all tools; int64, shape (tools + 1,).
        components: of each parameter of a tool, the action component that fills it; int64.
        required: whether it has to be passed, bool.
        choices: whether its schema spells its values out, bool.
        first_link: of each action component, where its links begin; int64, shape (components + 1,).
        link_tools, link_columns: of each link its tool and output column; int64.
        outputs: value numbers that expressions select from responses, tool by tool and row by row; int32.
        first_output, output_width: of each tool, where its outputs begin, and how many a response has; int64.
        first_slot: of each tool, where its slots begin; int64, shape (tools + 1,).
        slot_columns, slot_choices, slot_places: of each slot the output column, where the choice of the latest response
            stands in the mask, and where among all link choices; int64.
        choice_offsets: where each action component begins in the mask; int64.
    """

    values: ValueArrays
    recorded: RecordedCalls
    exact: np.ndarray
    rounded: np.ndarray
    rounded_arguments: np.ndarray
    first_parameter: np.ndarray
    components: np.ndarray
    required: np.ndarray
    choices: np.ndarray
    first_link: np.ndarray
    link_tools: np.ndarray
    link_columns: np.ndarray
    outputs: np.ndarray
    first_output: np.ndarray
    output_width: np.ndarray
    first_slot: np.ndarray
    slot_columns: np.ndarray
    slot_choices: np.ndarray
    slot_places: np.ndarray
    choice_offsets: np.ndarray


def make_world(vocabulary: Vocabulary, values: Values) -> World:
    """The world of a snapshot's vocabulary, with the values as they are known so far."""
    from toolorch_env.envs.vector.hashing import hash_table

    compiled = vocabulary.snapshot.compiled
    assert compiled is not None
    recorded = recorded_calls(vocabulary.snapshot, values)
    rounded_arguments = np.where(recorded.arguments == ABSENT, ABSENT, values.arrays.same[recorded.arguments])
    tables = [compiled.tables[name] for name in vocabulary.tools]
    sizes = [table.outputs.size for table in tables]
    signatures = [vocabulary.toolset.signature(name).parameters for name in vocabulary.tools]
    parameters = [(signatures[tool][name], position) for tool, pairs in enumerate(vocabulary.tool_parameters)
                  for name, position in pairs]  # fmt: skip
    links = [link for links in vocabulary.links for link in links]
    slots = [vocabulary.link_slots[name] for name in vocabulary.tools]
    return World(
        values=values.arrays,
        recorded=recorded,
        exact=hash_table(recorded.tools, recorded.arguments, np.arange(len(recorded.tools))),
        rounded=hash_table(recorded.tools, rounded_arguments, by_rounded_key(recorded, values.arrays.is_rounded)),
        rounded_arguments=rounded_arguments.astype(np.int32),
        first_parameter=_starts([len(pairs) for pairs in vocabulary.tool_parameters]),
        components=np.array([1 + position for _, position in parameters], np.int64),
        required=np.array([p.required and not p.has_default for p, _ in parameters], bool),
        choices=np.array([p.is_choice for p, _ in parameters], bool),
        first_link=_starts([0, *map(len, vocabulary.links)]),
        link_tools=np.array([vocabulary.tool_index[tool] for tool, _ in links], np.int64),
        link_columns=np.array([column for _, column in links], np.int64),
        outputs=np.concatenate([table.outputs.reshape(-1) for table in tables]),
        first_output=_starts(sizes)[:-1],
        output_width=np.array([len(table.selects) for table in tables], np.int64),
        first_slot=_starts([len(columns) for columns, _, _ in slots]),
        slot_columns=np.concatenate([columns for columns, _, _ in slots]),
        slot_choices=np.concatenate([choices for _, choices, _ in slots]),
        slot_places=np.concatenate([places for _, _, places in slots]),
        choice_offsets=vocabulary.offsets,
    )


def _starts(sizes: Sequence[int]) -> np.ndarray:
    """Where pieces of these sizes begin, and where the last one ends; int64."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
