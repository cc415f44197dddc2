"""A policy for ``MaskablePPO`` that is shaped like a call: first the tool, then the parameters that the tool has."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule
from torch import nn

from toolorch_env.envs.vocabulary import MAX_MENTIONS

_CLOSED = -1e8
"""Stands in the place of the logit of a choice that is not open."""


class ToolCallPolicy(MaskableActorCriticPolicy):
    """Chooses a tool, then for each of its parameters a mention, a link, or to leave it out.

    Mentions are scored by what they are, not by where they stand: each mention's features become a vector, and a
    parameter's choice among mentions is a dot product with them. Parameters that the tool does not have are no choice:
    they count neither in probabilities nor in the entropy.

    Args:
        observation_space, action_space: of ``ToolOrch-v0``.
        lr_schedule: learning rate by what remains of the training.
        tool_parameters: for each tool the action components of its parameters, less one.
        required: for each of them whether the tool requires it: then it is not left out while anything else is open.
        width: of the hidden layers.
        mention_width: of the vectors of mentions.
        **kwargs: as for the policy of sb3-contrib.
    """

    logit_index: torch.Tensor
    mask_index: torch.Tensor
    component: torch.Tensor
    is_required: torch.Tensor

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        tool_parameters: Sequence[Sequence[int]] = (),
        required: Sequence[Sequence[bool]] = (),
        width: int = 256,
        mention_width: int = 64,
        **kwargs: Any,
    ) -> None:
        self._tool_parameters = [list(parameters) for parameters in tool_parameters]
        self._required = [list(flags) for flags in required] or [[False] * len(own) for own in self._tool_parameters]
        self._width = width
        self._mention_width = mention_width
        kwargs.pop("use_sde", None)
        super().__init__(observation_space, action_space, lr_schedule, **kwargs)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        data = super()._get_constructor_parameters()
        return data | {
            "tool_parameters": self._tool_parameters,
            "required": self._required,
            "width": self._width,
            "mention_width": self._mention_width,
        }

    def make_features_extractor(self) -> Any:
        """Nothing is extracted: the network takes the observation as it is."""
        from stable_baselines3.common.torch_layers import CombinedExtractor

        return CombinedExtractor(self.observation_space)  # type: ignore[arg-type]

    def _build(self, lr_schedule: Schedule) -> None:
        sizes = [int(size) for size in self.action_space.nvec]  # type: ignore[attr-defined]
        shapes = {name: space.shape[0] for name, space in self.observation_space.spaces.items()}  # type: ignore[attr-defined]
        width, vector = self._width, self._mention_width
        features = shapes["mentions"] // MAX_MENTIONS
        self.mention_net = nn.Sequential(nn.Linear(features, vector), nn.ReLU(), nn.Linear(vector, vector))
        self._plain = [name for name in shapes if name != "mentions"]
        given = sum(shapes[name] for name in self._plain) + 2 * vector
        self.trunk = nn.Sequential(nn.Linear(given, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.critic = nn.Sequential(nn.Linear(given, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                                       nn.Linear(width, 1))  # fmt: skip
        self.tool_net = nn.Linear(width, sizes[0])
        self.tool_vectors = nn.Embedding(sizes[0], width)
        self.call_net = nn.Sequential(nn.Linear(width, width), nn.ReLU())
        count = len(sizes) - 1
        links = [size - 1 - MAX_MENTIONS for size in sizes[1:]]
        self.pointer_net = nn.Linear(width, count * vector)
        self.choice_net = nn.Linear(width, count + sum(links))
        self._index_choices(sizes, links)
        self._initialise()
        self.optimizer = self.optimizer_class(self.parameters(), lr=lr_schedule(1), **self.optimizer_kwargs)  # type: ignore[call-arg]

    def _initialise(self) -> None:
        for module in (self.mention_net, self.trunk, self.critic, self.call_net):
            module.apply(lambda part: self.init_weights(part, gain=float(np.sqrt(2))))
        self.init_weights(self.critic[-1], gain=1.0)
        for head in (self.tool_net, self.choice_net):
            self.init_weights(head, gain=0.01)
        self.init_weights(self.pointer_net, gain=0.1)
        nn.init.normal_(self.tool_vectors.weight, std=1.0)

    def _index_choices(self, sizes: list[int], links: list[int]) -> None:
        """For each tool and each of its parameters, where the logits of the choices stand, and where in the mask.

        Logits are those of leaving out, then those of links, then those of mentions, and at last one that is closed.
        """
        count, most = len(sizes) - 1, max(sizes[1:], default=1)
        offsets = np.concatenate([[0], np.cumsum(sizes)])
        first_link = count + np.concatenate([[0], np.cumsum(links)])
        first_mention = count + sum(links)
        closed = first_mention + count * MAX_MENTIONS
        logits = np.full((count + 1, most), closed, np.int64)
        open_places = np.full((count + 1, most), int(offsets[-1]), np.int64)
        for parameter in range(count):
            mentions = first_mention + parameter * MAX_MENTIONS + np.arange(MAX_MENTIONS)
            places = [parameter, *mentions, *range(first_link[parameter], first_link[parameter + 1])]
            logits[parameter, : len(places)] = places
            open_places[parameter, : len(places)] = offsets[1 + parameter] + np.arange(len(places))
        widest = max([1, *map(len, self._tool_parameters)])
        rows = np.full((sizes[0], widest), count, np.int64)
        is_required = np.zeros(rows.shape, bool)
        for tool, (parameters, flags) in enumerate(zip(self._tool_parameters, self._required, strict=True)):
            rows[1 + tool, : len(parameters)] = parameters
            is_required[1 + tool, : len(parameters)] = flags
        buffers = {"logit_index": logits[rows], "mask_index": open_places[rows], "component": rows}
        for name, values in (*buffers.items(), ("is_required", is_required)):
            self.register_buffer(name, torch.as_tensor(values), persistent=False)
        self._parameters_count = count

    # -- what is chosen

    def _encode(self, obs: PyTorchObs) -> tuple[torch.Tensor, torch.Tensor]:
        """What the trunk is given, shape (n, given), and the vectors of mentions, shape (n, mentions, width)."""
        assert isinstance(obs, dict)
        features = obs["mentions"].float().view(len(obs["mentions"]), MAX_MENTIONS, -1)
        mentions = self.mention_net(features)
        is_there = (features.amax(-1, keepdim=True) > 0).float()
        pooled = torch.cat([(mentions * is_there).sum(1) / 4.0, (mentions - 1e3 * (1 - is_there)).amax(1).relu()], 1)
        plain = torch.cat([obs[name].float() for name in self._plain], 1)
        return torch.cat([plain, pooled], 1), mentions

    def _tool_log_probs(self, latent: torch.Tensor, masks: torch.Tensor | None) -> torch.Tensor:
        logits = self.tool_net(latent)
        if masks is not None:
            logits = logits.masked_fill(~masks[:, : logits.shape[1]], _CLOSED)
        return torch.log_softmax(logits, -1)

    def _choice_log_probs(
        self, latent: torch.Tensor, mentions: torch.Tensor, tools: torch.Tensor, masks: torch.Tensor | None
    ) -> torch.Tensor:
        """Log probabilities of the choices of each parameter of these tools, shape (n, widest tool, most choices)."""
        count = len(latent)
        call = self.call_net(latent * torch.sigmoid(self.tool_vectors(tools)) + self.tool_vectors(tools))
        pointers = self.pointer_net(call).view(count, self._parameters_count, -1)
        pointed = torch.bmm(pointers, mentions.transpose(1, 2)) / self._mention_width**0.5
        closed = latent.new_full((count, 1), _CLOSED)
        logits = torch.cat([self.choice_net(call), pointed.flatten(1), closed], 1)
        index = self.logit_index[tools]
        chosen = logits.gather(1, index.flatten(1)).view(index.shape)
        if masks is not None:
            padded = torch.cat([masks, masks.new_zeros(count, 1)], 1)
            is_open = padded.gather(1, self.mask_index[tools].flatten(1)).view(index.shape)
            has_other = is_open[..., 1:].any(-1) & self.is_required[tools]
            is_open = torch.cat([is_open[..., :1] & ~has_other[..., None], is_open[..., 1:]], -1)
            chosen = chosen.masked_fill(~is_open, _CLOSED)
        return torch.log_softmax(chosen, -1)

    def _act(
        self, obs: PyTorchObs, deterministic: bool, action_masks: Any
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions, what the trunk was given, and log probabilities."""
        masks = self._as_masks(action_masks)
        given, mentions = self._encode(obs)
        latent = self.trunk(given)
        tool_log_probs = self._tool_log_probs(latent, masks)
        tools = _pick(tool_log_probs, deterministic)
        choice_log_probs = self._choice_log_probs(latent, mentions, tools, masks)
        choices = _pick(choice_log_probs, deterministic)
        is_one = self._has_parameter(tools)
        log_prob = tool_log_probs.gather(1, tools[:, None])[:, 0]
        log_prob = log_prob + (choice_log_probs.gather(2, choices[..., None])[..., 0] * is_one).sum(1)
        actions = torch.zeros(len(tools), 2 + self._parameters_count, dtype=torch.long, device=tools.device)
        actions.scatter_(1, 1 + self.component[tools], choices * is_one.long())
        actions[:, 0] = tools
        return actions[:, :-1], given, log_prob

    def _has_parameter(self, tools: torch.Tensor) -> torch.Tensor:
        return (self.component[tools] < self._parameters_count).float()

    def _as_masks(self, action_masks: Any) -> torch.Tensor | None:
        if action_masks is None:
            return None
        masks = torch.as_tensor(action_masks, device=self.device)
        return masks.view(-1, masks.shape[-1]).bool()

    # -- the interface of sb3-contrib

    def forward(
        self, obs: PyTorchObs, deterministic: bool = False, action_masks: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions, shape (n, components), values, shape (n, 1), and log probabilities, shape (n,)."""
        actions, given, log_prob = self._act(obs, deterministic, action_masks)
        return actions, self.critic(given), log_prob

    def _predict(self, observation: PyTorchObs, deterministic: bool = False, action_masks: Any = None) -> torch.Tensor:
        return self._act(observation, deterministic, action_masks)[0]

    def evaluate_actions(
        self, obs: PyTorchObs, actions: torch.Tensor, action_masks: Any = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Values, log probabilities of actions, and entropies: of the tool, and of the choices that it has."""
        masks = self._as_masks(action_masks)
        given, mentions = self._encode(obs)
        latent = self.trunk(given)
        tool_log_probs = self._tool_log_probs(latent, masks)
        tools = actions[:, 0].long()
        choice_log_probs = self._choice_log_probs(latent, mentions, tools, masks)
        is_one = self._has_parameter(tools)
        padded = torch.cat([actions.long(), actions.new_zeros(len(actions), 1).long()], 1)
        choices = padded.gather(1, 1 + self.component[tools])
        log_prob = tool_log_probs.gather(1, tools[:, None])[:, 0]
        log_prob = log_prob + (choice_log_probs.gather(2, choices[..., None])[..., 0] * is_one).sum(1)
        entropy = _entropy(tool_log_probs) + (_entropy(choice_log_probs) * is_one).sum(1)
        return self.critic(given), log_prob, entropy

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Values, shape (n, 1)."""
        values: torch.Tensor = self.critic(self._encode(obs)[0])
        return values


def _pick(log_probs: torch.Tensor, deterministic: bool) -> torch.Tensor:
    """The likeliest choice, or one at random (by Gumbel's trick)."""
    if deterministic:
        return log_probs.argmax(-1)
    noise = torch.empty_like(log_probs).exponential_().log_()
    return (log_probs - noise).argmax(-1)


def _entropy(log_probs: torch.Tensor) -> torch.Tensor:
    return -(log_probs.exp() * log_probs).sum(-1)
