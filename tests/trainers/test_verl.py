"""verl: the agent loop runs on verl's own base class; only its GPU servers are replaced, by a model on the CPU."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from fresh_python import ROOT
from trainers.smollm2 import load_tokenizer, tiny_model
from trainers.solver import run_script
from worlds import snapshot_path

pytest.importorskip("verl", reason="verl is not installed: nox -s verl")
import torch
from hydra.utils import get_class
from omegaconf import OmegaConf
from verl.experimental.agent_loop.agent_loop import AgentLoopOutput, DictConfigWrap, _agent_loop_registry
from verl.utils.dataset.rl_dataset import RLHFDataset
from verl.workers.rollout.replica import TokenOutput

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.integrations.text_chats import TextChat
from toolorch_env.integrations.verl import ToolOrchAgentLoop, dataset

ENV = {"snapshot": str(snapshot_path("library")), "constraints": {"distractor_tools": 0, "distractions": 0}}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer()


class ModelServer:
    """Generates with a small model, as verl's servers do with a large one."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer, self._model = tokenizer, tiny_model(tokenizer)

    async def generate(self, *, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any]) -> TokenOutput:
        with torch.no_grad():
            out = self._model.generate(
                torch.tensor([prompt_ids]), max_new_tokens=sampling_params["max_tokens"], do_sample=True,
                pad_token_id=self._tokenizer.pad_token_id, eos_token_id=self._tokenizer.eos_token_id,
            )  # fmt: skip
        ids = out[0, len(prompt_ids) :].tolist()
        return TokenOutput(token_ids=ids, log_probs=[-1.0] * len(ids))


class SolvingServer:
    """Writes the solution of one task."""

    def __init__(self, tokenizer: Any, seed: int, env: dict[str, Any] = ENV, log_prob: float | None = -0.5) -> None:
        self._tokenizer, self._chat, self._log_prob = tokenizer, TextChat(env, seed=seed), log_prob

    async def generate(self, **_: Any) -> TokenOutput:
        text = self._chat.solution() or "Done."
        self._chat.send(text)
        ids = [*self._tokenizer(text)["input_ids"], self._tokenizer.eos_token_id]
        return TokenOutput(token_ids=ids, log_probs=None if self._log_prob is None else [self._log_prob] * len(ids))


def play(
    server: Any, tokenizer: Any, row: dict[str, Any], length: int = 4096, prompt_length: int = 4096
) -> AgentLoopOutput:
    lengths = {"response_length": length, "prompt_length": prompt_length}
    config = OmegaConf.create({"actor_rollout_ref": {"rollout": lengths}})

    async def run() -> AgentLoopOutput:
        loop = ToolOrchAgentLoop(
            DictConfigWrap(config), server, tokenizer, None, RLHFDataset, DictConfigWrap(OmegaConf.create({}))
        )
        return await loop.run({"max_tokens": 8, "temperature": 1.0}, **row)

    return asyncio.run(run())


def test_verl_finds_the_loop() -> None:
    assert _agent_loop_registry["toolorch"]["_target_"] == "toolorch_env.integrations.verl.ToolOrchAgentLoop"


def test_a_solution_earns_its_rewards_message_by_message(tokenizer: Any) -> None:
    for row in dataset(4, env=ENV):
        output = play(SolvingServer(tokenizer, row["seed"]), tokenizer, row)
        assert output.reward_score == pytest.approx(1.0)
        scores, ends = output.extra_fields["turn_scores"], output.extra_fields["turn_ends"]
        assert sum(scores) == pytest.approx(1.0)
        assert sum(output.extra_fields["tool_rewards"]) == pytest.approx(1.0)
        assert len(scores) == len(ends) == output.num_turns // 2
        assert ends[-1] == len(output.response_ids) == len(output.response_mask) == len(output.response_logprobs or ())
        own = [value for value, flag in zip(output.response_logprobs or (), output.response_mask, strict=True) if flag]
        assert set(own) == {-0.5}
        assert output.as_dict()["responses"].shape == (len(output.response_ids),)
        assert tokenizer.decode(output.prompt_ids).endswith("<|im_start|>assistant\n")


def test_log_probabilities_are_there_where_the_server_tells_them_however_sure_it_is(tokenizer: Any) -> None:
    """verl puts rows together only if all have them, or none."""
    (row,) = dataset(1, env=ENV)
    for told, found in ((0.0, True), (-0.5, True), (None, False)):
        output = play(SolvingServer(tokenizer, row["seed"], log_prob=told), tokenizer, row)
        assert (output.response_logprobs is not None) is found


def test_a_group_plays_the_same_episode_with_a_real_model(tokenizer: Any) -> None:
    (row,) = dataset(1, first_seed=3, env=ENV)
    server = ModelServer(tokenizer)
    group = [play(server, tokenizer, row) for _ in range(4)]
    assert len({tuple(output.prompt_ids) for output in group}) == 1
    assert len({tuple(output.response_ids) for output in group}) > 1


@pytest.mark.parametrize("length", [10, 30, 60, 100, 150, 300])
def test_responses_are_no_longer_than_there_is_room(tokenizer: Any, length: int) -> None:
    (row,) = dataset(1, env=ENV)
    output = play(SolvingServer(tokenizer, row["seed"]), tokenizer, row, length=length)
    assert len(output.response_ids) == len(output.response_mask) == len(output.response_logprobs or ()) <= length
    assert output.extra_fields["turn_ends"][-1] == len(output.response_ids)


def test_a_prompt_that_is_longer_than_prompts_may_be_is_told(tokenizer: Any) -> None:
    """verl would not pad it, and fail where it puts rows together; and cut off, it tells no tools."""
    (row,) = dataset(1, env=ENV)
    length = len(play(SolvingServer(tokenizer, 0), tokenizer, row).prompt_ids)
    assert play(SolvingServer(tokenizer, 0), tokenizer, row, prompt_length=length)
    with pytest.raises(ConfigurationError, match=f"data.max_prompt_length is {length - 1}"):
        play(SolvingServer(tokenizer, 0), tokenizer, row, prompt_length=length - 1)
    with pytest.raises(ConfigurationError, match="no seed"):
        play(SolvingServer(tokenizer, 0), tokenizer, {"env": ENV})


def test_the_example_writes_data_that_verl_reads_and_the_loop_plays(tokenizer: Any, tmp_path: Path) -> None:
    folder = ROOT / "examples" / "verl"
    run_script(folder / "write_data.py", "data", "--count", "3", "--snapshot", ENV["snapshot"], cwd=tmp_path)
    config = OmegaConf.create({"cache_dir": str(tmp_path), "return_raw_chat": True, "filter_overlong_prompts": False})
    rows = RLHFDataset(str(tmp_path / "data" / "train.parquet"), tokenizer, config)
    assert len(rows) == 3
    for seed in range(3):
        row = rows[seed]
        assert row["agent_name"] == "toolorch"
        env = {"snapshot": ENV["snapshot"], "constraints": {"split": "train"}}
        assert play(SolvingServer(tokenizer, seed, env), tokenizer, row).reward_score == pytest.approx(1.0)


def test_the_example_names_the_loop() -> None:
    (told,) = OmegaConf.load(ROOT / "examples" / "verl" / "agent_loop.yaml")
    assert told.name == "toolorch"
    assert get_class(told["_target_"]) is ToolOrchAgentLoop
