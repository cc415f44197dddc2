"""One step of a copy, in compiled code.

A step first looks everything up and changes nothing. Where it needs what only the scalar rules can tell (how a tool
reads a value, whether a value was seen), it asks and is made again once that is known.
"""

import numpy as np
from numba.extending import register_jitable

from toolorch_env.core.matching import choose_step, first_step
from toolorch_env.envs.vector.compiling import compiled
from toolorch_env.envs.vector.equality import NONE, MadeCall, direct_steps, find, same_call
from toolorch_env.envs.vector.scoring import all_complete, score
from toolorch_env.envs.vector.seeing import READING, ask, in_order
from toolorch_env.envs.vector.showing import note
from toolorch_env.envs.vocabulary import FINISH, MAX_MENTIONS, RECENT_RESPONSES

for rule in (choose_step, first_step):
    register_jitable(rule)


@compiled
def step_all(world, copies, rules, scratch, actions, active, rewards, questions):
    """Steps all active copies; those that need to know something ask and stay as they are.

    Args:
        world, copies, rules, scratch: see there.
        actions: int64, shape (n, components).
        active: bool, shape (n,); what was stepped is not active any more.
        rewards: float64, shape (n,), written.
        questions: int64, shape (n, 3), written: :data:`READING`, parameter, value; :data:`SEEING`, copy, value.

    Returns:
        Number of questions.
    """
    asked = 0
    for copy in range(len(active)):
        if not active[copy]:
            continue
        question = questions[asked]
        question[0] = 0
        reward = _step(world, copies, rules, scratch, copy, actions[copy], question)
        if question[0]:
            asked += 1
        else:
            active[copy] = False
            rewards[copy] = reward
    return asked


@compiled
def _step(world, copies, rules, scratch, copy, action, question):
    """Plays an action; returns what it earns, unless it asks."""
    if action[0] == FINISH:
        copies.done[copy] = copies.finished[copy] = True
        return 0.0
    tool = action[0] - 1
    passed, fitting = _read(world, copies, scratch, copy, action, question)
    if question[0]:
        return 0.0
    is_offered = copies.features_tools[copy, tool] > 0
    record = find(world, scratch, tool, scratch.arguments) if is_offered else NONE
    is_refused = not is_offered or (record == NONE and not _is_valid(world, tool, passed, fitting))
    success = record != NONE and world.recorded.rows[record] != NONE
    earlier = same_call(world, copies, copy, tool, scratch.arguments)
    call = MadeCall(tool, scratch.arguments, passed, fitting, record, success, earlier != NONE)
    direct = direct_steps(world, copies, copy, tool, scratch.arguments)
    same = direct if direct else _steps_answered_alike(world, copies, copy, call, earlier)
    open_steps = same & ~copies.complete[copy]
    whose_turn = _whose_turn(world, copies, copy, call, open_steps, direct, question)
    if question[0]:
        return 0.0

    # all is known: from here on the copy changes
    match = first_step(same) if same else NONE
    if open_steps:
        match = choose_step(open_steps, whose_turn, copies.optional[copy])
        copies.complete[copy] |= np.int64(1) << match
        copies.ordered[copy] |= np.int64(whose_turn != 0) << match
    completes, ordered = open_steps != 0, whose_turn != 0
    reward = score(world, copies, rules, scratch, copy, call, match, completes, ordered)
    note(world, copies, copy, call, action, match, completes, is_refused)
    _end(copies, rules, copy)
    return reward


@compiled
def _read(world, copies, scratch, copy, action, question):
    """Reads the arguments that an action passes into the scratch; returns which are passed and which fit."""
    scratch.arguments[:] = NONE
    tool, passed, fitting = action[0] - 1, np.int64(0), np.int64(0)
    first = world.first_parameter[tool]
    for parameter in range(first, world.first_parameter[tool + 1]):
        component, place = world.components[parameter], parameter - first
        value = chosen(world, copies, copy, component, action[component])
        if value == NONE:
            continue
        reading = world.values.readings[parameter, value]
        if reading == 0:
            ask(question, READING, parameter, value)
            return passed, fitting
        read = ((reading - 1) >> 1) - 1
        if read != NONE:
            scratch.arguments[place] = read
            passed |= np.int64(1) << place
            fitting |= np.int64((reading - 1) & 1) << place
    return passed, fitting


@compiled
def _steps_answered_alike(world, copies, copy, call, earlier):
    """Reference calls that a call is equivalent to as it gets the same answer; asked again, it is what it was."""
    if earlier != NONE:
        matched = copies.made_matches[copy, earlier]
        return np.int64(0) if matched == NONE else np.int64(1) << matched
    same = np.int64(0)
    if call.success and world.recorded.digests[call.record]:
        for step in range(copies.steps[copy]):
            if copies.reference_digests[copy, step] == world.recorded.digests[call.record]:
                same |= np.int64(1) << step
    return same


@compiled
def _whose_turn(world, copies, copy, call, open_steps, direct, question):
    """Those of some steps that a call completes in a valid order."""
    found = np.int64(0)
    for step in range(copies.steps[copy]):
        if open_steps >> step & 1:
            found |= np.int64(in_order(world, copies, copy, step, call, direct >> step & 1, question)) << step
            if question[0]:
                break
    return found


@compiled
def chosen(world, copies, copy, component, choice):
    """The value that a choice stands for now, NONE if it resolves to none."""
    if choice == 0:
        return np.int64(NONE)
    if choice <= MAX_MENTIONS:
        known = choice <= copies.mention_count[copy]
        return copies.mention_values[copy, choice - 1] if known else np.int64(NONE)
    number = (choice - 1 - MAX_MENTIONS) // RECENT_RESPONSES
    age = (choice - 1 - MAX_MENTIONS) % RECENT_RESPONSES
    link = world.first_link[component] + number
    tool = world.link_tools[link]
    row = copies.recent[copy, tool, age]
    if row == NONE:
        return np.int64(NONE)
    return np.int64(world.outputs[world.first_output[tool] + row * world.output_width[tool] + world.link_columns[link]])


@compiled
def _is_valid(world, tool, passed, fitting):
    """Whether all required parameters are passed, and all values fit their schema."""
    first = world.first_parameter[tool]
    for parameter in range(first, world.first_parameter[tool + 1]):
        if world.required[parameter] and not passed >> (parameter - first) & 1:
            return False
    return passed == fitting


@compiled
def _end(copies, rules, copy):
    """Ends an episode at the call limit, or for the agent."""
    copies.features_progress[copy, 0] = copies.calls[copy] / rules.max_calls
    if rules.auto_finish and all_complete(copies, copy):
        copies.finished[copy] = True
        copies.done[copy] = True
    if copies.calls[copy] >= rules.max_calls:
        copies.done[copy] = True


@compiled
def successes(copies, success, clean):
    """Which copies have solved their task, and which with no call more than needed; bool, shape (n,), written."""
    for copy in range(len(success)):
        success[copy] = copies.finished[copy] and all_complete(copies, copy)
        required = 0
        for step in range(copies.steps[copy]):
            required += not copies.optional[copy] >> step & 1
        clean[copy] = success[copy] and copies.calls[copy] - copies.spare[copy] <= required
