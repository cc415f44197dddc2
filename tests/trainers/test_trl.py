"""TRL: real optimisation steps of a real tokenizer and a tiny model, with rewards for each message."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fresh_python import ROOT
from trainers.smollm2 import load_tokenizer, tiny_model
from worlds import snapshot_path

pytest.importorskip("trl", reason="TRL is not installed: nox -s trl")
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM
from transformers.utils import get_json_schema
from trl import GRPOConfig

from toolorch_env.core.errors import ConfigurationError
from toolorch_env.generation.curriculum import Curriculum
from toolorch_env.generation.generator import WorkflowGenerator
from toolorch_env.integrations.text_chats import TextChat, chat_rows
from toolorch_env.integrations.token_chats import TokenChat, end_tokens, play_all
from toolorch_env.integrations.trl import Rollouts, TurnGRPOTrainer, total_reward, turn_advantages, write_on
from toolorch_env.integrations.trl_tools import environment_factory

ENV: dict[str, Any] = {
    "snapshot": str(snapshot_path("library")),
    "constraints": {"distractor_tools": 0, "distractions": 0},
}


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer()


@pytest.fixture
def model(tokenizer: Any) -> Any:
    return tiny_model(tokenizer)


def arguments(folder: Path, **more: Any) -> GRPOConfig:
    return GRPOConfig(
        output_dir=str(folder), per_device_train_batch_size=4, num_generations=4, max_steps=1, learning_rate=1e-2,
        report_to=[], use_cpu=True, logging_steps=1, max_completion_length=512, bf16=False, **more,
    )  # fmt: skip


# ----------------------------------------------------------------------------------------------------------- rollouts


class Scripted(Rollouts):
    """Plays what it is told, in place of the model: the first episode of a group is solved, the others are not."""

    def _generate(self, trainer: Any, contexts: list[list[int]]) -> list[list[int]]:
        self.turn = getattr(self, "turn", -1) + 1
        written = []
        for number, chat in enumerate(self.going(contexts)):
            text = (chat.solution() if number == 0 else None) or "Done."
            written.append([*trainer.processing_class(text)["input_ids"], trainer.processing_class.eos_token_id])
        return written

    def going(self, contexts: list[list[int]]) -> list[TextChat]:
        return [chat for chat in self.chats if not chat.done][: len(contexts)]

    def _chat(self, prompt: Any) -> TextChat:
        chat = super()._chat(prompt)
        self.chats = [*getattr(self, "chats", []), chat]
        return chat


def test_a_step_of_grpo_with_rewards_for_each_message(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    rows = chat_rows(1, first_seed=3, env=ENV)
    rollouts = Scripted(rows)
    seen: list[dict[str, Any]] = []

    class Trainer(TurnGRPOTrainer):
        def _compute_loss(self, model: Any, inputs: Any) -> Any:
            seen.append({name: value.clone() for name, value in inputs.items() if torch.is_tensor(value)})
            return super()._compute_loss(model, inputs)

    trainer = Trainer(
        model=model, reward_funcs=total_reward, args=arguments(tmp_path), processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]), rollout_func=rollouts,
    )  # fmt: skip
    before = {name: value.clone() for name, value in model.named_parameters()}
    trainer.train()
    assert any(not torch.equal(before[name], value) for name, value in model.named_parameters())
    log = next(entry for entry in trainer.state.log_history if "reward" in entry)
    assert log["reward"] == pytest.approx(0.25)  # one of four is solved

    # all four have a first message, after which one earns 1 and the others nothing; nobody else has a second one
    (inputs,) = seen
    advantages, ids, own = inputs["advantages"], inputs["completion_ids"], inputs["tool_mask"].bool()
    assert advantages.shape == ids.shape
    (first, *others), spread = [1.0, 0.0, 0.0, 0.0], 0.5 + 1e-4
    message = TextChat(ENV, seed=3).solution() or ""
    end = tokenizer.eos_token
    solved = int((advantages > 0).any(1).nonzero()[0, 0])
    for episode in range(4):
        value, said = (
            ((first - 0.25) / spread, message) if episode == solved else ((others[0] - 0.25) / spread, "Done.")
        )
        earning = (advantages[episode] != 0) & own[episode]
        assert advantages[episode][earning].tolist() == pytest.approx([value] * int(earning.sum()))
        assert tokenizer.decode(ids[episode][earning]) == said + end
    assert len({tuple(chat.prompt[-1].items()) for chat in rollouts.chats}) == 1  # the group plays the same episode
    assert tokenizer.decode(ids[solved][own[solved]]).count(end) > 2  # there are more messages than the first


def test_a_step_with_what_the_model_itself_writes(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    rows = chat_rows(1, env=ENV)
    trainer = TurnGRPOTrainer(
        model=model, reward_funcs=total_reward, args=arguments(tmp_path), processing_class=tokenizer,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        rollout_func=Rollouts(rows, max_turn_tokens=8),
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 1


def test_it_samples_as_the_trainer_is_told_to(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    """Not as the model's own configuration says."""
    rows, seen = chat_rows(1, env=ENV), list[dict[str, Any]]()
    generate = model.generate

    def recording(**given: Any) -> Any:
        seen.append(given)
        return generate(**given)

    model.generate = recording
    told = {"temperature": 0.7, "top_p": 0.9, "min_p": 0.2, "repetition_penalty": 1.3}
    trainer = TurnGRPOTrainer(
        model=model, reward_funcs=total_reward, processing_class=tokenizer,
        args=arguments(tmp_path, **told, generation_kwargs={"no_repeat_ngram_size": 3}),
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        rollout_func=Rollouts(rows, max_turn_tokens=8),
    )  # fmt: skip
    trainer.train()
    for name, value in {**told, "no_repeat_ngram_size": 3, "max_new_tokens": 8, "do_sample": True}.items():
        assert all(given[name] == value for given in seen), name


def test_what_cannot_be_trained_on_is_refused(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    rows = chat_rows(1, env=ENV)
    data = Dataset.from_list([{"prompt": row["prompt"]} for row in rows])
    with pytest.raises(ConfigurationError, match="total_reward"):
        TurnGRPOTrainer(
            model=model, reward_funcs=[total_reward, lambda turn_rewards, **_: [0.0] * len(turn_rewards)],
            args=arguments(tmp_path), processing_class=tokenizer, train_dataset=data, rollout_func=Rollouts(rows),
        )  # fmt: skip
    with pytest.raises(ConfigurationError, match="same prompt"):
        Rollouts([*rows, *chat_rows(1, env={**ENV, "reward": "binary"})])
    assert Rollouts([*rows, *rows])
    for most, found in ((None, 5), (9, 9)):
        trainer = SimpleNamespace(
            use_vllm=False, processing_class=tokenizer, chat_template_kwargs={}, max_completion_length=5,
            generation_kwargs={"do_sample": True}, model=model, accelerator=SimpleNamespace(unwrap_model=lambda m: m),
        )  # fmt: skip
        played = Rollouts(rows, max_completion_tokens=most)([rows[0]["prompt"]], trainer)
        assert len(played["completion_ids"][0]) <= found  # type: ignore[index]
    with pytest.raises(ConfigurationError, match="use_vllm=False"):
        Rollouts(rows)([rows[0]["prompt"]], SimpleNamespace(use_vllm=True))


@pytest.mark.parametrize("most", [1, 30, 60, 100, 200, 400])
def test_no_completion_is_longer_than_it_may_be(tokenizer: Any, most: int) -> None:
    """A message is cut off; an answer that has no room is left out, so that nothing ends in the midst of one."""
    for seed in range(5):
        whole, chat = (TokenChat(TextChat(ENV, seed=seed), tokenizer, max_tokens=n) for n in (100_000, most))
        told = [*tokenizer(TextChat(ENV, seed=seed).solution())["input_ids"], tokenizer.eos_token_id]
        for played in (whole, chat):
            played.take(list(told))
        assert len(chat.mask) == len(chat.ids) - len(chat.prompt_ids) == chat.ends[-1] <= most
        assert chat.ids == whole.ids[: len(chat.ids)]
        if len(whole.mask) >= most:
            assert chat.done
            assert chat.mask == [1] * min(most, len(told))


@pytest.mark.parametrize("reward", ["published", "execution", "graduated"])
def test_what_is_paid_at_the_end_is_paid_to_the_last_message_however_an_episode_ends(
    tokenizer: Any, reward: str
) -> None:
    """Where there is no room for an answer, and after the last turn that there may be."""

    def message(seed: int) -> list[int]:
        said = TextChat(ENV, seed=seed).solution()
        return [*tokenizer(said)["input_ids"], tokenizer.eos_token_id]

    for seed in range(3):
        env = {**ENV, "reward": reward}
        full = TokenChat(TextChat(env, seed=seed), tokenizer, max_tokens=len(message(seed)) + 1)
        full.take(message(seed))
        left = TokenChat(TextChat(env, seed=seed), tokenizer)
        play_all([left], lambda contexts, seed=seed: [message(seed)], max_turns=1)  # type: ignore[misc]
        assert full.done
        assert left.done
        assert sum(full.rewards) == sum(left.rewards) == full.metrics()["return"] > 0


@pytest.mark.parametrize("eos", ["<|im_end|>", "<|endoftext|>"])
def test_tokens_of_a_chat_are_those_of_its_template(tokenizer: Any, eos: str) -> None:
    """Turn by turn, what is put together is what the template writes of the whole chat.

    Some tokenizers name another token as their end than the one with which the template ends messages.
    """
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.eos_token = eos
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert end_tokens(tokenizer) == {end, tokenizer.eos_token_id}
    for seed in range(5):
        chat = TextChat(ENV, seed=seed)
        played = TokenChat(chat, tokenizer)
        while not chat.done:
            text = chat.solution() or "Done."
            played.take([*tokenizer(text)["input_ids"], end])
        whole = tokenizer.apply_chat_template(chat.messages, tokenize=False).rstrip("\n")
        assert tokenizer.decode(played.ids) == whole
        own = [token for token, flag in zip(played.ids[len(played.prompt_ids) :], played.mask, strict=True) if flag]
        said = [message["content"] for message in chat.messages if message["role"] == "assistant"]
        assert tokenizer.decode(own, skip_special_tokens=True) == "".join(said)
        assert played.ends[-1] == len(played.mask)
        assert len(played.rewards) == len(said) == len(played.ends)


def test_a_message_ends_where_the_template_ends_it(tokenizer: Any, model: Any) -> None:
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.eos_token = "<|endoftext|>"
    ends = sorted(end_tokens(tokenizer))

    class Ending:
        """Writes a word, an end, and what is no part of the message any more."""

        device, training = "cpu", False
        eval = train = lambda self, *_: self

        def generate(self, input_ids: Any, eos_token_id: list[int], **_: Any) -> Any:
            assert eos_token_id == ends
            return torch.cat([input_ids, torch.tensor([[5, ends[0], 7], [5, 6, ends[1]]])], 1)

    assert write_on(Ending(), tokenizer, [[1], [1, 2]], 3) == [[5, ends[0]], [5, 6, ends[1]]]
    (written,) = write_on(model, tokenizer, [[1, 2, 3]], 4, do_sample=False)
    assert 1 <= len(written) <= 4


def test_a_group_may_be_spread_over_processes() -> None:
    """Each process has a part of the rows; all of them together are the groups."""
    rewards, ends = [[1.0], [0.0], [0.5], [0.5]], [[3], [9], [2], [4]]
    whole = turn_advantages(rewards, ends, 4, 9)
    assert torch.equal(turn_advantages(rewards, ends, 4, 3), whole[:, :3])  # where its own rows are shorter


def test_advantages_are_of_what_was_earned_from_a_message_on() -> None:
    rewards = [[0.5, 0.5, 0.0], [0.5, -0.05], [0.0]]
    ends = [[2, 4, 6], [3, 5], [1]]
    found = turn_advantages(rewards, ends, 3, 7)
    to_go = torch.tensor([1.0, 0.45, 0.0])
    expected = (to_go - to_go.mean()) / (to_go.std() + 1e-4)
    assert found[:, 0].tolist() == pytest.approx(expected.tolist())
    second = torch.tensor([0.5, -0.05])
    expected = ((second - second.mean()) / (second.std() + 1e-4)).tolist()
    assert found[0, 2:4].tolist() == pytest.approx([expected[0]] * 2)
    assert found[1, 3:5].tolist() == pytest.approx([expected[1]] * 2)
    assert found[0, 4:6].tolist() == [0.0, 0.0]  # nobody to compare with
    assert found[2, 1:].tolist() == [0.0] * 6


def test_advantages_are_scaled_as_trl_names_it() -> None:
    """A group whose rewards hardly differ counts as much as any, or as little as they differ."""
    rewards, ends = [[1.0], [0.0], [0.51], [0.5]], [[1]] * 4
    by_group, by_batch, as_it_is = (
        turn_advantages(rewards, ends, 2, 1, scale)[:, 0] for scale in ("group", "batch", "none")
    )
    assert by_group[0].item() == pytest.approx(by_group[2].item(), rel=0.02)
    assert as_it_is.tolist() == pytest.approx([0.5, -0.5, 0.005, -0.005], abs=1e-6)
    spread = torch.tensor([1.0, 0.0, 0.51, 0.5]).std()
    assert by_batch.tolist() == pytest.approx((as_it_is / (spread + 1e-4)).tolist(), abs=1e-6)


def run_example(name: str, *given: str) -> None:
    command = [sys.executable, f"examples/{name}", *given]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]


FEW = [
    "--device",
    "cpu",
    "--batch",
    "1",
    "--prompts",
    "1",
    "--generations",
    "2",
    "--tasks",
    "1",
    "--turn-tokens",
    "16",
    "--distractor-tools",
    "0",
]


@pytest.mark.long
def test_the_example_runs_with_a_real_model(tokenizer: Any, tmp_path: Path) -> None:
    """SmolLM2 itself: a warm-up, a step of GRPO, measured before, between and after. So few steps teach nothing."""
    out = tmp_path / "run.json"
    run_example("grpo_small_lm.py", *FEW, "--warm-up", "2", "--steps", "1", "--out", str(out))
    figures = json.loads(out.read_text())
    assert len(figures["rewards"]) == 1
    for when in ("before", "warmed_up", "after"):
        assert figures[when].keys() == {"test", "test_sampled", "test_workflows"}
        assert all(0 <= figures[when][split]["turn_accuracy"] <= 1 for split in figures[when])


@pytest.mark.long
def test_the_examples_go_on_from_a_tiny_model_that_was_warmed_up(tmp_path: Path) -> None:
    tiny, warm, out = (str(tmp_path / name) for name in ("tiny", "warm", "run.json"))
    run_example("tiny_lm.py", tiny, "--chats", "10", "--words", "600", "--width", "64", "--layers", "2",
                "--copy-steps", "5")  # fmt: skip
    grpo = ["grpo_small_lm.py", *FEW, "--model"]
    run_example(*grpo, tiny, "--warm-up", "3", "--steps", "0", "--save", warm)
    before, after = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (tiny, warm))
    assert any(not torch.equal(before[name], after[name]) for name in before)
    run_example(*grpo, warm, "--warm-up", "0", "--steps", "1", "--reward", "binary", "--out", out)
    assert json.loads(Path(out).read_text()).keys() == {"arguments", "before", "rewards", "after", "seconds"}


def test_a_tiny_model_can_copy_values() -> None:
    """A value is the same tokens wherever it stands, and what is written can be read again."""
    sys.path.insert(0, str(ROOT / "examples"))
    from tiny_lm import make_tokenizer, solved_chats

    chats = list(solved_chats(5, ENV["snapshot"]))
    made = make_tokenizer(iter(chats), 600)
    for chat in chats:
        assert made.decode(made(chat)["input_ids"]) == chat
    plain, quoted = (made(text)["input_ids"] for text in ("in Reykjavik, 2013-04-05", 'x":"Reykjavik, 2013-04-05"'))
    value = made("Reykjavik, 2013-04-05")["input_ids"]
    assert str(value)[1:-1] in str(plain)
    assert str(value)[1:-1] in str(quoted)


def test_other_prompts_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="no row"):
        Rollouts([])._chat([{"role": "user", "content": "?"}])


# -------------------------------------------------------------------------------------------------- environment factory


def test_methods_are_the_tools() -> None:
    made = environment_factory(**ENV)()
    env = TextChat(ENV, seed=0)._env
    for name, tool in env.snapshot.tools.items():
        schema = get_json_schema(getattr(made, name))["function"]
        assert schema["name"] == name
        assert set(schema["parameters"]["properties"]) == set(tool.parameters["properties"])
        assert set(schema["parameters"].get("required", ())) == set(tool.parameters.get("required", ()))


def test_a_group_plays_the_same_episode_and_earns_what_it_did() -> None:
    factory = environment_factory(**ENV)
    group = [factory() for _ in range(3)]
    queries = {made.reset(seed=4, prompt="?") for made in group}
    assert len(queries) == 1
    task = group[0]._env.episode.task
    for call in task.reference:
        answer = getattr(group[0], call.tool)(**call.arguments)
        assert json.loads(answer)
    assert group[0].get_reward() == pytest.approx(1.0)
    assert sum(group[0]._rewards) == pytest.approx(1.0)
    assert [made.get_reward() for made in group[1:]] == [0.0, 0.0]
    assert "ended" in getattr(group[1], task.reference[0].tool)(**task.reference[0].arguments)
    group[0].reset(seed=4)
    assert group[0].get_reward() == 0.0


def test_every_tool_that_is_shown_is_on_offer() -> None:
    made = environment_factory(**ENV)()
    made.reset(seed=1)
    for tool in made._env.snapshot.tools:
        assert "There is no tool" not in made._call(tool, {})


def test_the_factory_refuses_rows_that_would_play_something_else() -> None:
    made = environment_factory(**ENV)()
    with pytest.raises(ConfigurationError, match="no seed"):
        made.reset(prompt="?")
    with pytest.raises(ConfigurationError, match="environment_factory"):
        made.reset(**chat_rows(1, env=ENV)[0])


def test_a_curriculum_follows_the_episodes_of_the_factory() -> None:
    curriculum = Curriculum(WorkflowGenerator(ENV["snapshot"]), [{}, {}], window=4, up=0.5)
    made = environment_factory(snapshot=ENV["snapshot"], generator=curriculum)()
    for seed in range(4):
        made.reset(seed=seed)
        for call in made._env.episode.task.reference:
            getattr(made, call.tool)(**call.arguments)
        assert made.get_reward() == made.get_reward() == pytest.approx(1.0)
    assert curriculum.state.level == 1


def test_a_step_of_grpo_with_the_factory(tokenizer: Any, model: Any, tmp_path: Path) -> None:
    from trl import GRPOTrainer
    from trl.chat_template_utils import qwen3_chat_template  # one that knows tools

    tokenizer.chat_template = qwen3_chat_template
    rows = [{"prompt": [{"role": "user", "content": "Answer by calling tools. "}], "seed": 1}]
    trainer = GRPOTrainer(
        model=model, args=arguments(tmp_path, max_tool_calling_iterations=1), processing_class=tokenizer,
        train_dataset=Dataset.from_list(rows), environment_factory=environment_factory(**ENV),
    )  # fmt: skip
    trainer.train()
    assert trainer.state.global_step == 1
