"""What an agent had seen and done before a call, in compiled code."""

from toolorch_env.envs.vector.compiling import compiled
from toolorch_env.envs.vector.equality import NONE
from toolorch_env.envs.vector.values import MANY_TOKENS, NO_TOKEN

READING, SEEING = 1, 2
"""What is asked: how a tool's parameter reads a value; whether a value was seen."""


@compiled
def ask(question, kind, one, other):
    """Asks a question, so that the step is made again."""
    question[0], question[1], question[2] = kind, one, other


@compiled
def in_order(world, copies, copy, step, call, is_direct, question):
    """Whether all that a step needs was done and seen before; asks where it is not known what was seen."""
    after = copies.after[copy, step]
    if after & copies.complete[copy] != after:
        return False
    first = world.first_parameter[call.tool]
    bound, given = copies.bound[copy, step], copies.given[copy, step]
    for parameter in range(first, world.first_parameter[call.tool + 1]):
        place = parameter - first
        if not call.passed >> place & 1:
            continue
        needed = bound >> place & 1
        if not is_direct and not (given >> place & 1) and not world.choices[parameter]:
            needed = 1
        if not needed:
            continue
        seen = _has_seen(world, copies, copy, call.arguments[place])
        if seen == NONE:
            ask(question, SEEING, copy, call.arguments[place])
            return False
        if not seen:
            return False
    return True


@compiled
def _has_seen(world, copies, copy, value):
    """1 where it is clear that a value was seen, 0 or 1 where that was asked already, else NONE."""
    token = world.values.tokens[value]
    if token == NO_TOKEN:
        return 1
    for answer in range(copies.seen_count[copy]):
        if copies.seen[copy, answer, 0] == value:
            return copies.seen[copy, answer, 1]
    if token < 0:
        return NONE
    for mention in range(copies.mention_count[copy]):
        if world.values.tokens[copies.mention_values[copy, mention]] == token:
            return 1
    for made in range(copies.calls[copy]):
        record = copies.made_records[copy, made]
        if record == NONE or world.recorded.rows[record] == NONE:
            continue
        if _tells(world, copies.made_tools[copy, made], world.recorded.rows[record], token) and not _passes(
            world, copies.made_arguments[copy, made], token
        ):
            return 1
    return NONE


@compiled
def _tells(world, tool, row, token):
    """Whether an output of a response is a value of this token."""
    first = world.first_output[tool] + row * world.output_width[tool]
    for place in range(first, first + world.output_width[tool]):
        value = world.outputs[place]
        if value != NONE and world.values.tokens[value] == token:
            return True
    return False


@compiled
def _passes(world, arguments, token):
    """Whether an argument may hold a token."""
    for value in arguments:
        if value != NONE and (world.values.tokens[value] == token or world.values.tokens[value] == MANY_TOKENS):
            return True
    return False
