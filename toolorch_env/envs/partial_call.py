"""A call that is chosen piece by piece: first its tool, then its parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from toolorch_env.envs.observation import Observation, observation_space
from toolorch_env.envs.vocabulary import FINISH, LEAVE_OUT, MAX_MENTIONS, Vocabulary


class PartialCall:
    """The choices of one action of ``ToolOrch-v0``, made one after the other.

    Attributes:
        action: the action as far as it is chosen, int64; what is not chosen yet is left out.
        component: the component of the action that is chosen next; ``None`` when all are.

    Args:
        vocabulary: the snapshot's vocabulary.
        mask: what `action_masks()` of the environment says.
        mentions: the values that the query mentions.
    """

    def __init__(self, vocabulary: Vocabulary, mask: np.ndarray, mentions: Sequence[Any]) -> None:
        self._vocabulary = vocabulary
        self._mask = mask
        self._mentions = mentions
        self._remaining: list[int] = []
        self._chosen = np.zeros(vocabulary.mask_size, np.float32)
        self.action = np.zeros(len(vocabulary.sizes), np.int64)
        self.component: int | None = 0

    def choose(self, choice: int) -> None:
        """Makes the next choice.

        Args:
            choice: as a place in the flat mask; one that belongs to another component leaves out, or finishes.
        """
        component = self.component
        assert component is not None
        own = choice - int(self._vocabulary.offsets[component])
        if not 0 <= own < self._vocabulary.sizes[component]:
            own = LEAVE_OUT
        self.action[component] = own
        self._chosen[self._vocabulary.offsets[component] + own] = 1.0
        if component == 0 and own != FINISH:
            self._remaining = [1 + position for _, position in self._vocabulary.tool_parameters[own - 1]]
        self.component = self._remaining.pop(0) if self._remaining else None

    def mask(self) -> np.ndarray:
        """Which choices are open now, bool, flat: all of one component.

        Now that the tool is known, a mention is open only if it fits the parameter of this tool, and a parameter that
        it requires cannot be left out while anything else is open.
        """
        found = np.zeros_like(self._mask)
        if self.component is None:
            return found
        start = int(self._vocabulary.offsets[self.component])
        end = start + int(self._vocabulary.sizes[self.component])
        found[start:end] = self._mask[start:end]
        if self.component:
            self._close_what_does_not_fit(found[start:end])
        return found

    def _close_what_does_not_fit(self, choices: np.ndarray) -> None:
        assert self.component is not None
        tool = self._vocabulary.tools[self.action[0] - 1]
        name = self._vocabulary.parameters[self.component - 1]
        parameter = self._vocabulary.toolset.signature(tool).parameters[name]
        for index, value in enumerate(self._mentions[:MAX_MENTIONS]):
            choices[1 + index] &= parameter.fits(parameter.read(value))
        if parameter.required and not parameter.has_default and choices[1:].any():
            choices[LEAVE_OUT] = False

    def observe(self, observation: Observation) -> Observation:
        """An observation with what is chosen so far, and which component is next; all arrays are fresh."""
        component = np.zeros(len(self.action), np.float32)
        if self.component is not None:
            component[self.component] = 1.0
        plain = {name: array.copy() for name, array in observation.items()}
        return {**plain, "chosen": self._chosen.copy(), "component": component}


def partial_call_space(vocabulary: Vocabulary) -> spaces.Dict:
    """The space of the observations of :class:`PartialCall`: those of ``ToolOrch-v0`` and two more parts."""
    more = {
        "chosen": spaces.Box(0.0, 1.0, (vocabulary.mask_size,), np.float32),
        "component": spaces.Box(0.0, 1.0, (len(vocabulary.sizes),), np.float32),
    }
    return spaces.Dict({**observation_space(vocabulary).spaces, **more})
