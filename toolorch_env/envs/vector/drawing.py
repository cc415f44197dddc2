"""Tasks drawn in compiled code, the same that :class:`toolorch_env.generation.generator.WorkflowGenerator` draws."""

from typing import NamedTuple

import numpy as np
from numba.extending import register_jitable

from toolorch_env.core.draws import mix
from toolorch_env.envs.observation import CONTEXT_BUCKETS, CONTEXT_WORDS, KIND_BUCKETS
from toolorch_env.envs.vector.compiling import compiled
from toolorch_env.envs.vector.copies import MAX_STEPS
from toolorch_env.envs.vector.supply import IDENTITY, MOST_LITERALS, MOST_SENTENCES, MOST_WORDS
from toolorch_env.envs.vocabulary import MAX_MENTIONS
from toolorch_env.generation.generator import MAX_TRACE_DRAWS, MAX_WORKFLOW_DRAWS

NONE = -1
DRAWN, ASKS, GIVES_UP = 0, 1, 2
"""What came of a draw: a task; a question, which parameters take a value; or the generator has to draw it."""

_GAMMA = np.uint64(0x9E3779B97F4A7C15)
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)
_MENTION_WIDTH = KIND_BUCKETS + CONTEXT_BUCKETS + 1
_OTHER_TRIES = 20
_FIRST_OTHER = 256
"""Where in ``said`` the values of distractions begin; before them stand those of mentions."""

register_jitable(mix)


class Room(NamedTuple):
    """Room for one draw.

    Attributes:
        state: of the random numbers, uint64, shape (1,).
        rows: row of each step.
        literals: number of the value of each literal.
        pool: what is shuffled.
        templates, values: the sentences of the query, and where in ``said`` the values of each begin.
        said: values of slots.
        words: of the query.
        places: where mentions stand among them.
        chosen: distractions.
        stack: nodes of join trees, groups, and what is left of the number.
    """

    state: np.ndarray
    rows: np.ndarray
    literals: np.ndarray
    pool: np.ndarray
    templates: np.ndarray
    values: np.ndarray
    said: np.ndarray
    words: np.ndarray
    places: np.ndarray
    chosen: np.ndarray
    stack: np.ndarray


def make_room(widest: int) -> Room:
    """Room for draws from pools and lists of at most so many."""
    return Room(
        state=np.zeros(1, np.uint64),
        rows=np.zeros(MAX_STEPS, np.int64),
        literals=np.zeros(MOST_LITERALS, np.int64),
        pool=np.zeros(widest, np.int64),
        templates=np.zeros(MOST_SENTENCES, np.int64),
        values=np.zeros(MOST_SENTENCES, np.int64),
        said=np.zeros(4 * _FIRST_OTHER, np.int64),
        words=np.zeros(MOST_WORDS, np.int64),
        places=np.zeros(MAX_MENTIONS, np.int64),
        chosen=np.zeros(MOST_SENTENCES, np.int64),
        stack=np.zeros((MOST_LITERALS, 3), np.int64),
    )


@compiled
def draw_all(world, supply, copies, room, pending, seeds, drawn, outcomes, questions):
    """Draws a task for each pending copy and begins its episode.

    Args:
        world, supply, copies, room: see there.
        pending: bool, shape (n,): a copy that is done is not pending any more.
        seeds: uint64, shape (n,).
        drawn: int64, shape (n, 3), written: workflow, number of the trace, variant.
        outcomes: int64, shape (n,), written: :data:`DRAWN`, :data:`ASKS`, :data:`GIVES_UP`.
        questions: int64, shape (n,), written: the value that is asked about.
    """
    for copy in range(len(pending)):
        if pending[copy]:
            outcomes[copy] = _draw(world, supply, copies, room, copy, seeds[copy], drawn[copy], questions)
            pending[copy] = outcomes[copy] == ASKS


@compiled
def _word(state):
    state[0] += _GAMMA
    return mix(state[0])


@compiled
def _below(state, limit):
    """An integer in [0, limit), limits below 2^32 (see :meth:`toolorch_env.core.draws.Draws.below`)."""
    word, bound = _word(state), np.uint64(limit)
    return np.int64(((word >> _HALF) * bound + ((word & _LOW) * bound >> _HALF)) >> _HALF)


@compiled
def _sample(state, pool, size, count):
    """Puts a sample in random order to the front of a pool."""
    for index in range(count):
        other = index + _below(state, size - index)
        pool[index], pool[other] = pool[other], pool[index]


@compiled
def _draw(world, supply, copies, room, copy, seed, drawn, questions):
    state = room.state
    state[0] = seed
    workflow, number = _draw_trace(world, supply, room)
    if workflow == NONE:
        return GIVES_UP
    variant = _word(state) >> _HALF
    state[0] = variant
    style = _below(state, supply.settings[0]) if supply.settings[0] > 1 else np.int64(0)
    sentences = _draw_sentences(world, supply, room, workflow, style)
    mentions, words = _compose(supply, room, sentences)
    if mentions > MAX_MENTIONS:
        return GIVES_UP
    for mention in range(mentions):
        value = room.said[mention]
        if value == NONE:
            return GIVES_UP
        if not world.values.is_asked[value]:
            questions[copy] = value
            return ASKS
    _begin(world, supply, room, copies, copy, workflow)
    _show(world, supply, room, copies, copy, mentions, words)
    _offer(world, supply, room, copies, copy, workflow)
    drawn[0], drawn[1], drawn[2] = workflow, number, np.int64(variant)
    return DRAWN


@compiled
def _draw_trace(world, supply, room):
    """A workflow and the number of one of its traces; its rows and literals are in the room."""
    for _ in range(MAX_WORKFLOW_DRAWS):
        workflow = _below(room.state, len(supply.traces))
        for _ in range(MAX_TRACE_DRAWS if supply.traces[workflow] else 0):
            number = _below(room.state, supply.traces[workflow])
            _descend(supply, room, workflow, number)
            if _is_task(world, supply, room, workflow):
                return workflow, number
    return np.int64(NONE), np.int64(NONE)


@compiled
def _at(supply, start, index):
    return index if start == IDENTITY else np.int64(supply.data[start + index])


@compiled
def _descend(supply, room, workflow, number):
    """Writes the rows of a trace (see :mod:`toolorch_env.generation.joins`)."""
    stack = room.stack
    size = 0
    for root in range(supply.first_root[workflow], supply.first_root[workflow + 1]):
        node = supply.roots[root]
        count = supply.nodes[node, 5]
        stack[size, 0], stack[size, 1], stack[size, 2] = node, 0, number % count
        number //= count
        size += 1
    while size:
        size -= 1
        node, group, rest = stack[size, 0], stack[size, 1], stack[size, 2]
        cumulative, starts = supply.nodes[node, 0], supply.nodes[node, 1]
        first, last = _at(supply, starts, group), _at(supply, starts, group + 1)
        target = _at(supply, cumulative, first) + rest
        row = target if cumulative == IDENTITY else _last_below(supply, cumulative, first, last, target)
        rest = target - _at(supply, cumulative, row)
        for position in range(supply.nodes[node, 3], supply.nodes[node + 1, 3]):
            room.rows[supply.positions[position, 0]] = _at(supply, supply.positions[position, 1], row)
        children = supply.nodes[node, 4]
        for place in range(supply.children[children]):
            child = supply.children[children + 1 + place]
            inner = _at(supply, supply.nodes[child, 2], row)
            begin = _at(supply, supply.nodes[child, 0], _at(supply, supply.nodes[child, 1], inner))
            end = _at(supply, supply.nodes[child, 0], _at(supply, supply.nodes[child, 1], inner + 1))
            stack[size, 0], stack[size, 1], stack[size, 2] = child, inner, rest % (end - begin)
            rest //= end - begin
            size += 1


@compiled
def _last_below(supply, cumulative, first, last, target):
    """The last row of [first, last) whose cumulative count is at most the target."""
    low, high = first, last - 1
    while low < high:
        middle = (low + high + 1) // 2
        if supply.data[cumulative + middle] <= target:
            low = middle
        else:
            high = middle - 1
    return low


@compiled
def _argument(world, tool, row, column):
    return np.int64(world.recorded.arguments[world.recorded.first_of_tool[tool] + row, column])


@compiled
def _is_task(world, supply, room, workflow):
    """Whether a trace repeats no call and no value and is in the split; reads its literals."""
    first, last = supply.first_step[workflow], supply.first_step[workflow + 1]
    for step in range(first, last):
        for other in range(first, step):
            same_tool = supply.steps[step, 0] == supply.steps[other, 0]
            if same_tool and room.rows[step - first] == room.rows[other - first]:
                return False
    hashes = np.uint64(0)
    begin = supply.first_literal[workflow]
    for literal in range(begin, supply.first_literal[workflow + 1]):
        step, column, default = supply.literals[literal, 0], supply.literals[literal, 1], supply.literals[literal, 2]
        value = _argument(world, supply.steps[first + step, 0], room.rows[step], column)
        if value == NONE:
            value = default
        for other in range(literal - begin):
            if room.literals[other] == value:
                return False
        room.literals[literal - begin] = value
        if value != default:
            hashes += supply.hashes[value]
    place = _hundredth(hashes)
    return supply.settings[3] <= place < supply.settings[4]


@compiled
def _hundredth(hashes):
    word, bound = mix(hashes), np.uint64(100)
    return np.int64(((word >> _HALF) * bound + ((word & _LOW) * bound >> _HALF)) >> _HALF)


@compiled
def _draw_sentences(world, supply, room, workflow, style):
    """Writes the sentences of the query, each with where its values begin in ``said``; returns their number."""
    state = room.state
    told = workflow * supply.settings[0] + style
    phrasing = supply.first_phrasing[told] + _below(
        state, supply.first_phrasing[told + 1] - supply.first_phrasing[told]
    )
    count = 0
    for sentence in range(supply.first_sentence[phrasing], supply.first_sentence[phrasing + 1]):
        room.templates[count], room.values[count] = supply.sentences[sentence], NONE
        count += 1
    known = len(supply.distractions)
    if not supply.settings[2] or not known:
        return count
    wanted = min(1 + _below(state, supply.settings[2]), known)
    for place in range(known):
        room.pool[place] = place
    _sample(state, room.pool, known, wanted)
    for place in range(wanted):
        room.chosen[place] = room.pool[place]
    said = _FIRST_OTHER
    for distraction in room.chosen[:wanted]:
        begin = said
        for slot in range(supply.first_pool[distraction], supply.first_pool[distraction + 1]):
            room.said[said] = _other_value(world, supply, room, workflow, supply.slot_pools[slot])
            said += 1
        keeps = supply.is_chatty[style]
        ends = _below(state, 2)
        place = keeps if ends else count - keeps
        for later in range(count, place, -1):
            room.templates[later] = room.templates[later - 1]
            room.values[later] = room.values[later - 1]
        room.templates[place], room.values[place] = supply.distractions[distraction], begin
        count += 1
    return count


@compiled
def _other_value(world, supply, room, workflow, pool):
    """A value that no reference call needs, if one is found in a few draws."""
    first, size = supply.pool_starts[pool], supply.pool_starts[pool + 1] - supply.pool_starts[pool]
    value = supply.pools[first + _below(room.state, size)]
    for _ in range(_OTHER_TRIES):
        if not _is_needed(world, supply, room, workflow, value):
            break
        value = supply.pools[first + _below(room.state, size)]
    return value


@compiled
def _is_needed(world, supply, room, workflow, value):
    first = supply.first_step[workflow]
    for step in range(first, supply.first_step[workflow + 1]):
        tool = supply.steps[step, 0]
        for column in range(world.recorded.arguments.shape[1]):
            if _argument(world, tool, room.rows[step - first], column) == value:
                return True
    return False


@compiled
def _compose(supply, room, sentences):
    """Writes words, places and values of the mentions; returns how many mentions and words there are."""
    mentions, words = 0, 0
    for sentence in range(sentences):
        template, begin = room.templates[sentence], room.values[sentence]
        for item in range(supply.first_item[template], supply.first_item[template + 1]):
            slot = supply.items[item, 1]
            if slot != NONE:
                if mentions < MAX_MENTIONS:
                    room.places[mentions] = words
                    room.said[mentions] = room.literals[slot] if begin == NONE else room.said[begin + slot]
                mentions += 1
            room.words[words] = supply.items[item, 0]
            words += 1
    return mentions, words


@compiled
def _begin(world, supply, room, copies, copy, workflow):
    """Clears a copy and writes the reference."""
    first, last = supply.first_step[workflow], supply.first_step[workflow + 1]
    copies.steps[copy] = last - first
    copies.optional[copy] = 0
    copies.complete[copy] = copies.ordered[copy] = copies.calls[copy] = 0
    copies.spare[copy] = copies.seen_count[copy] = 0
    copies.potential[copy] = 0.0
    copies.done[copy] = copies.finished[copy] = False
    copies.recent[copy] = NONE
    for step in range(first, last):
        place, tool = step - first, supply.steps[step, 0]
        record = world.recorded.first_of_tool[tool] + room.rows[place]
        copies.atomic[copy, place] = 0.0
        copies.reference_tools[copy, place] = tool
        copies.reference_digests[copy, place] = world.recorded.digests[record]
        copies.bound[copy, place] = supply.steps[step, 1]
        copies.after[copy, place] = supply.steps[step, 2]
        given = np.int64(0)
        for column in range(world.recorded.arguments.shape[1]):
            value = world.recorded.arguments[record, column]
            copies.reference_arguments[copy, place, column] = value
            given |= np.int64(value != NONE) << column
        copies.given[copy, place] = given


@compiled
def _show(world, supply, room, copies, copy, mentions, words):
    """Writes what a fresh episode shows of its query, and which choices are open for its mentions."""
    copies.features_calls[copy] = 0.0
    copies.features_links[copy] = 0.0
    copies.features_mentions[copy] = 0.0
    copies.features_query[copy] = 0.0
    copies.features_progress[copy] = 0.0
    copies.mask[copy] = False
    copies.mention_count[copy] = mentions
    for offset in world.choice_offsets:
        copies.mask[copy, offset] = True
    for word in range(words):
        copies.features_query[copy, supply.buckets[room.words[word], 0]] = 1.0
    for mention in range(mentions):
        value, place = room.said[mention], room.places[mention]
        copies.mention_values[copy, mention] = value
        features = copies.features_mentions[copy, mention * _MENTION_WIDTH : (mention + 1) * _MENTION_WIDTH]
        features[supply.buckets[room.words[place], 3]] = 1.0
        for distance in range(1, CONTEXT_WORDS + 1):
            if place - distance >= 0:
                _near(features, supply.buckets[room.words[place - distance], 1], distance)
            if place + distance < words:
                _near(features, supply.buckets[room.words[place + distance], 2], distance)
        for name in range(world.values.accepts.shape[1]):
            if world.values.accepts[value, name]:
                copies.mask[copy, world.choice_offsets[1 + name] + 1 + mention] = True


@compiled
def _near(features, place, distance):
    """The nearer a word, the larger its entry."""
    features[KIND_BUCKETS + place] = max(features[KIND_BUCKETS + place], np.float32(1.0 / distance))


@compiled
def _offer(world, supply, room, copies, copy, workflow):
    """Leaves distractor tools out and opens the choices of those that are left."""
    tools = copies.features_tools[copy]
    for tool in range(len(tools)):
        tools[tool] = supply.offered[tool]
    first, last = supply.first_other[workflow], supply.first_other[workflow + 1]
    size = last - first
    for place in range(size):
        room.pool[place] = supply.others[first + place]
    left_out = max(0, size - supply.settings[1])
    _sample(room.state, room.pool, size, left_out)
    for place in range(left_out):
        tools[room.pool[place]] = 0.0
    for tool in range(len(tools)):
        copies.mask[copy, 1 + tool] = tools[tool] > 0
