"""What a call changes in the history, the observation and the mask, in compiled code."""

from toolorch_env.envs.observation import CONTEXT_BUCKETS, KIND_BUCKETS, OUTCOMES, RECENT_CALLS
from toolorch_env.envs.vector.compiling import compiled
from toolorch_env.envs.vector.equality import NONE

_SUCCESS, _EMPTY, _ERROR, _REFUSED, _REPEATED = range(len(OUTCOMES))
_MENTION_WIDTH = KIND_BUCKETS + CONTEXT_BUCKETS + 1


@compiled
def note(world, copies, copy, call, action, match, completes, is_refused):
    """Takes a call into the history, the observation and the mask."""
    made = copies.calls[copy]
    copies.made_tools[copy, made] = call.tool
    for place in range(len(call.arguments)):
        copies.made_arguments[copy, made, place] = call.arguments[place]
    copies.made_matches[copy, made] = match
    copies.made_records[copy, made] = call.record
    if completes and copies.optional[copy] >> match & 1:
        copies.spare[copy] += 1
    copies.calls[copy] = made + 1
    copies.seen_count[copy] = 0
    if call.success:
        outcome = _SUCCESS if world.recorded.digests[call.record] else _EMPTY
    else:
        outcome = _REFUSED if is_refused else _ERROR
    _show_call(copies.features_calls[copy], call.tool, len(world.first_parameter) - 1, outcome, call.repeated)
    for parameter in range(world.first_parameter[call.tool], world.first_parameter[call.tool + 1]):
        choice = action[world.components[parameter]]
        if 1 <= choice <= copies.mention_count[copy]:
            copies.features_mentions[copy, choice * _MENTION_WIDTH - 1] = 1.0
    if call.success and world.first_slot[call.tool] < world.first_slot[call.tool + 1]:
        _show_response(world, copies, copy, call.tool, world.recorded.rows[call.record])


@compiled
def _show_call(features, tool, tools, outcome, repeated):
    width = tools + len(OUTCOMES)
    for place in range(RECENT_CALLS * width - 1, width - 1, -1):
        features[place] = features[place - width]
    features[:width] = 0.0
    features[tool] = 1.0
    features[tools + outcome] = 1.0
    if repeated:
        features[tools + _REPEATED] = 1.0


@compiled
def _show_response(world, copies, copy, tool, row):
    """The latest response of a tool becomes the second-latest one."""
    copies.recent[copy, tool, 1] = copies.recent[copy, tool, 0]
    copies.recent[copy, tool, 0] = row
    first = world.first_output[tool] + row * world.output_width[tool]
    for slot in range(world.first_slot[tool], world.first_slot[tool + 1]):
        resolves = world.outputs[first + world.slot_columns[slot]] != NONE
        choice, place = world.slot_choices[slot], world.slot_places[slot]
        copies.mask[copy, choice + 1] = copies.mask[copy, choice]
        copies.mask[copy, choice] = resolves
        copies.features_links[copy, place + 1] = copies.features_links[copy, place]
        copies.features_links[copy, place] = resolves
