"""The numeric environment, for any reinforcement-learning library."""

import logging
from collections.abc import Mapping
from operator import lt
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
from gymnasium import spaces

from toolorch_env.core.calls import Call
from toolorch_env.core.errors import ConfigurationError, InvalidActionError, TaskError
from toolorch_env.core.scoring import Reward, Step
from toolorch_env.core.tasks import Task
from toolorch_env.envs.base import EpisodeEnv, reward_info, tier_info
from toolorch_env.envs.link_values import LinkValues
from toolorch_env.envs.observation import Observation, Observer, observation_space
from toolorch_env.envs.playability import why_unplayable
from toolorch_env.envs.vocabulary import FINISH, LEAVE_OUT, MAX_MENTIONS, RECENT_RESPONSES, Vocabulary
from toolorch_env.generation.constraints import TaskConstraints
from toolorch_env.generation.fixed_tasks import FixedTasks
from toolorch_env.generation.generator import TaskGenerator, WorkflowGenerator
from toolorch_env.generation.mixture import leaves
from toolorch_env.rewards.credit import same_value
from toolorch_env.store.compiled import Compiled
from toolorch_env.store.interned import ABSENT
from toolorch_env.store.replay import LiveAnswers
from toolorch_env.store.snapshot import Snapshot
from toolorch_env.store.workflows import WorkflowSet

_log = logging.getLogger(__name__)


class ToolOrchEnv(EpisodeEnv[Observation, np.ndarray]):
    """Multi-step tool orchestration over recorded API responses, in numbers.

    ## Description
    The agent reads a user's query and calls tools until it has made the calls that answer it; values that a call needs
    stand in the query or in earlier responses. Calls are answered from a snapshot of a real API.

    ## Action Space
    `MultiDiscrete`, one call a step. Component 0: 0 to finish, 1 + i to call tool i of the snapshot. Then one
    component for each parameter name of the snapshot's tools: 0 leaves the parameter out, 1 to 12 pass the k-th value
    mentioned in the query, larger numbers pass what an output expression selects from the latest or second-latest
    response of a tool (see `toolorch_env.envs.vocabulary.Vocabulary`). Parameters that the tool does not have are
    ignored, and what cannot be resolved is left out. `action_masks()` says what can be chosen, flat, in the order of
    the components.

    ## Observation Space
    `Dict` of float32 vectors in [0, 1]: `query`, `mentions`, `tools`, `calls`, `links`, `progress` (see
    `toolorch_env.envs.observation.Observer`). Nothing in it depends on the reference solution.

    ## Rewards
    By default `graduated`: the rise of a potential that is 1 when the task is solved, minus 0.05 for a call that raises
    nothing. See `toolorch_env.rewards`.

    ## Starting State
    A task drawn by the generator under the constraints. `reset(options=...)` takes one of `constraints` (a mapping is
    laid over the environment's own), `task`, `task_id`.

    ## Episode End
    Terminated when the agent finishes (with `auto_finish=True` also when the last reference call is complete, which
    gives the goal away); truncated after `max_calls` calls.

    ## Information
    `reset`: `task_id` (which names the workflow: not for the policy), `query`. `step`: `call`, `source`, `status` (not
    when finishing), `tier` (of a nearest answer only), `reward` (the components by name and the matched reference
    call); at the end `is_success`, `is_clean_success`.

    ## Arguments
    - `snapshot`: name of a bundled snapshot, path, or `Snapshot` (default `"travel"`)
    - `reward`: `"graduated"`, `"binary"`, `"atomic"`, `"orchestration"`, or an object
    - `generator`: draws the tasks; default: the tasks stored in the snapshot, as far as they can be played in numbers,
      or else its workflows
    - `constraints`: `TaskConstraints` or a mapping
    - `max_calls`: call limit of an episode (default 16); a solution must be shorter, for the agent to be able to finish
    - `on_miss`: what a valid call without a recorded response comes to: `"error"` (default), `"raise"`, `"nearest"`
      (what was recorded for the nearest call, never a success; needs the extra `nearest`), `"live"` (the real API's
      answer)
    - `live`: the real API for `on_miss="live"`, a `toolorch_env.recording.live.LiveApi`
    - `auto_finish`: off by default
    - `render_mode`: `"ansi"` or `"rgb_array"`
    - `compiled`: off by default; steps in compiled code (extra `vector`), several times as fast: all the same, but
      `info` tells of ends only (`env.unwrapped.episode` has the rest). Loading what is compiled takes a second, and
      compiling it for the first time half a minute

    ## Version History
    - v0: initial version
    """

    def __new__(cls, *args: Any, compiled: bool = False, **kwargs: Any) -> Self:
        """With ``compiled`` an environment of the subclass that steps in compiled code."""
        if not compiled:
            return super().__new__(cls)
        from toolorch_env.envs.vector.scalar import CompiledToolOrchEnv

        if cls is not ToolOrchEnv and not issubclass(cls, CompiledToolOrchEnv):
            raise ConfigurationError(f"{cls.__name__} steps in Python; derive it from CompiledToolOrchEnv instead")
        return cast("Self", super().__new__(CompiledToolOrchEnv if cls is ToolOrchEnv else cls))

    def __init__(
        self,
        snapshot: str | Path | Snapshot = "travel",
        *,
        reward: str | Reward = "graduated",
        generator: TaskGenerator | str | None = None,
        constraints: TaskConstraints | Mapping[str, Any] | None = None,
        max_calls: int = 16,
        on_miss: str = "error",
        live: LiveAnswers | None = None,
        auto_finish: bool = False,
        render_mode: str | None = None,
        compiled: bool = False,
    ) -> None:
        super().__init__(
            snapshot,
            reward=reward,
            generator=generator,
            constraints=constraints,
            max_calls=max_calls,
            on_miss=on_miss,
            live=live,
            render_mode=render_mode,
        )
        self.auto_finish = auto_finish
        self._check_links()
        self.vocabulary = Vocabulary(self.snapshot)
        self.action_space = spaces.MultiDiscrete(self.vocabulary.sizes)
        self.observation_space = cast("spaces.Space[Observation]", observation_space(self.vocabulary))
        self._leave_out_unplayable()
        self._limits = self.vocabulary.sizes.tolist()
        self._observer = Observer(self.vocabulary)

    def _check_links(self) -> None:
        """Values can flow only along the links that the snapshot was compiled for, and from recent responses."""
        for generator in leaves(self.generator):
            if isinstance(generator, WorkflowGenerator) and self.snapshot.compiled is not None:
                self._check_links_of(generator.workflows, self.snapshot.compiled)

    def _check_links_of(self, workflows: WorkflowSet, compiled: Compiled) -> None:
        missing = sorted(workflows.links() - set(compiled.links))
        if missing:
            raise ConfigurationError(
                f"the workflows use links that {self.snapshot.name!r} is not compiled for, the first is {missing[0]}: "
                "write the snapshot with the links of these workflows, or play in ToolOrchText-v0"
            )
        for workflow in workflows.workflows:
            for step, select in workflow.literal_selections():
                raise ConfigurationError(
                    f"workflow {workflow.name!r}, step {step!r} takes {select!r} from a response, which depends on a "
                    "literal of the query and is no link: leave the workflow out, or play in ToolOrchText-v0"
                )
            for step, source in workflow.distant_sources(RECENT_RESPONSES):
                raise ConfigurationError(
                    f"workflow {workflow.name!r}, step {step!r} needs the response of {source!r} after more than "
                    f"{RECENT_RESPONSES - 1} later call of the same tool: order its steps otherwise, or play in "
                    "ToolOrchText-v0"
                )

    def _leave_out_unplayable(self) -> None:
        """Tasks of a data set may need values that no action can pass; they are played in words only."""
        self.words_only: dict[str, str] = {}
        if not isinstance(self.generator, FixedTasks):
            self._check_playable()
            return
        found = {task.id: why_unplayable(task, self.vocabulary, self.max_calls) for task in self.generator.tasks}
        self.words_only = left_out = {task_id: why for task_id, why in found.items() if why}
        if len(left_out) == len(found):
            first = next(iter(left_out))
            raise TaskError(
                f"no task can be played in numbers, play in ToolOrchText-v0; the first is {first!r}: {left_out[first]}"
            )
        if left_out:
            _log.info("%d of %d tasks can be played in words only", len(left_out), len(found))
            self.generator = self.generator.where(lambda task: task.id not in left_out)

    def _check_playable(self) -> None:
        """In a mixture or curriculum nothing is left out: it stays the object that its owner asks for its state."""
        for tasks in leaves(self.generator):
            for task in tasks.tasks if isinstance(tasks, FixedTasks) else ():
                why = why_unplayable(task, self.vocabulary, self.max_calls)
                if why:
                    raise TaskError(
                        f"task {task.id!r}, one of those in a mixture or curriculum, cannot be played in numbers: "
                        f"{why}; leave such tasks out with FixedTasks.where(), or play in ToolOrchText-v0"
                    )

    def _choose_task(self, options: Mapping[str, Any], rng: np.random.Generator) -> Task:
        try:
            return super()._choose_task(options, rng)
        except TaskError:
            task_id = options.get("task_id")
            if not isinstance(task_id, str) or task_id not in self.words_only:
                raise
            why = self.words_only[task_id]
        raise TaskError(f"task {task_id!r} cannot be played in numbers, play it in ToolOrchText-v0: {why}")

    def reset(
        self, *, seed: int | None = None, options: Mapping[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Starts an episode (see the class).

        Raises:
            ConstraintError: no task satisfies the constraints.
            TaskError: the task is unknown, cannot be played in numbers, or is not recorded.
            ConfigurationError: an option is unknown.
        """
        episode = self._start(seed, options)
        task = episode.task
        if len(task.mentions) > MAX_MENTIONS:
            self._episode = None
            raise TaskError(
                f"task {task.id!r} mentions {len(task.mentions)} values; ToolOrch-v0 can refer to {MAX_MENTIONS} only"
            )
        self._observer.begin(task)
        self._recent: dict[str, list[list[int]]] = {}
        self._link_values = LinkValues(self.snapshot)
        self._mask = self.vocabulary.initial_mask(task)
        return self._observe(), {"task_id": task.id, "query": task.query}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Makes one call, or finishes.

        Raises:
            InvalidActionError: the action lies outside the action space.
            EpisodeError: the episode has ended or was not started.
        """
        choices = self._choices(action)
        episode = self.episode
        if choices[0] == FINISH:
            episode.finish()
            return self._observe(), episode.closing_reward, True, False, {"reward": {}, **self._end_info()}
        tool = choices[0] - 1
        call = Call(self.vocabulary.tools[tool], self._arguments(tool, choices))
        step = episode.send((call,))[0]
        self._note(tool, choices, step)
        if self.auto_finish and episode.progress.all_complete:
            self._finish_for_the_agent()
        info = {
            "call": call,
            "source": step.response.source.value,
            "status": step.response.status,
            "reward": reward_info(step),
            **tier_info(step),
        }
        if episode.done:
            info |= self._end_info()
        reward = step.score.reward + episode.closing_reward
        return self._observe(), reward, episode.finished, episode.truncated, info

    def _finish_for_the_agent(self) -> None:
        if self.episode.done:  # this was the last call: its end has been scored
            self.episode.finished = True
        else:
            self.episode.finish()

    def action_masks(self) -> np.ndarray:
        """Which choices are open, flat over the components of the action, bool, shape (sum of `action_space.nvec`,).

        A mask never depends on the reference solution: tools on offer, mentions whose form fits the parameter, links
        that resolve now. Finishing and leaving out are always open.
        """
        self.episode  # noqa: B018  raises before the first reset
        return self._mask.copy()

    def action_for(self, call: Call | None) -> np.ndarray:
        """The action that makes a call, or finishes for ``None``.

        Raises:
            InvalidActionError: a value of the call can be had neither from the query nor from a recent response.
        """
        action = np.zeros(len(self.vocabulary.sizes), np.int64)
        if call is None:
            return action
        tool = self.vocabulary.tool_index.get(call.tool)
        if tool is None:
            raise InvalidActionError(f"there is no tool {call.tool!r}")
        action[0] = tool + 1
        positions = dict(self.vocabulary.tool_parameters[tool])
        signature = self.snapshot.tools.signature(call.tool)
        for name, value in signature.read(call.arguments).items():  # without what is at its default
            choice = self._choice_of(positions[name], name, call.tool, value) if name in positions else None
            if choice is None:
                raise InvalidActionError(f"{name} = {value!r} stands neither in the query nor in a recent response")
            action[1 + positions[name]] = choice
        return action

    def _choice_of(self, parameter: int, name: str, tool: str, value: Any) -> int | None:
        reader = self.snapshot.tools.signature(tool).parameters[name].read
        start = int(self.vocabulary.offsets[1 + parameter])
        for choice in np.flatnonzero(self.action_masks()[start : start + int(self.vocabulary.sizes[1 + parameter])]):
            found, other = self._value(parameter, int(choice))
            if found and same_value(reader(other), value):
                return int(choice)
        return None

    def _choices(self, action: Any) -> list[int]:
        if isinstance(action, np.ndarray) and action.dtype.kind in "iu" and action.shape == self.vocabulary.sizes.shape:
            choices: list[int] = action.tolist()
            if min(choices) >= 0 and all(map(lt, choices, self._limits)):
                return choices
        elif isinstance(action, (list, tuple)) and all(
            isinstance(item, (int, np.integer)) and 0 <= item < 2**31 for item in action
        ):
            return self._choices(np.array(action, np.int64))
        raise InvalidActionError(
            f"the action {repr(action)[:200]} is outside the action space: {len(self.vocabulary.sizes)} whole numbers, "
            "each at least 0 and below its entry of action_space.nvec"
        )

    def _arguments(self, tool: int, choices: list[int]) -> dict[str, Any]:
        arguments = {}
        for name, position in self.vocabulary.tool_parameters[tool]:
            choice = choices[1 + position]
            if choice != LEAVE_OUT:
                found, value = self._value(position, choice)
                if found:
                    arguments[name] = value
        return arguments

    def _value(self, parameter: int, choice: int) -> tuple[bool, Any]:
        """Whether a choice resolves now, and to what."""
        if choice == LEAVE_OUT:
            return False, None
        if choice <= MAX_MENTIONS:
            mentions = self.episode.task.mentions
            return (True, mentions[choice - 1].value) if choice <= len(mentions) else (False, None)
        number, age = divmod(choice - 1 - MAX_MENTIONS, RECENT_RESPONSES)
        tool, column = self.vocabulary.links[parameter][number]
        recent = self._recent.get(tool, ())
        if age >= len(recent) or recent[age][column] == ABSENT:
            return False, None
        return True, self._link_values[recent[age][column]]

    def _note(self, tool: int, choices: list[int], step: Step) -> None:
        """Takes a call into the state that observations and masks are made from."""
        self._observer.add_call(tool, step)
        for _, position in self.vocabulary.tool_parameters[tool]:
            if 1 <= choices[1 + position] <= len(self.episode.task.mentions):
                self._observer.use_mention(choices[1 + position] - 1)
        if not step.response.informs:
            return
        name = self.vocabulary.tools[tool]
        columns, slots, places = self.vocabulary.link_slots[name]
        if not len(columns):
            return
        outputs = self._link_values.outputs(name, step.response)
        self._recent[name] = [outputs.tolist(), *self._recent.get(name, [])][:RECENT_RESPONSES]
        resolved = outputs[columns] != ABSENT
        self._mask[slots + 1] = self._mask[slots]  # the latest response becomes the second-latest
        self._mask[slots] = resolved
        self._observer.set_links(places, resolved)

    def _observe(self) -> Observation:
        return self._observer.observe(len(self.episode.steps) / self.max_calls)
