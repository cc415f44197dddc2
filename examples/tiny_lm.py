"""Makes a tiny language model with random weights, and a tokenizer of the chats that it is to play.

    pip install 'toolorch-env[trl]'
    python examples/tiny_lm.py tiny
    python examples/grpo_small_lm.py --model tiny --warm-up 1500 --warm-up-rate 1e-3 --all-tokens ...

It knows nothing before its warm-up. But an episode costs it a hundredth of what it costs SmolLM2-135M, so that rewards
can be compared on a CPU.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from toolorch_env.integrations.text_chats import TextChat

BEGIN, END, PAD = "<|im_start|>", "<|im_end|>", "<|pad|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def solved_chats(count: int, snapshot: str) -> Iterator[str]:
    """Texts of known solutions, to make words of."""
    for seed in range(count):
        chat = TextChat({"snapshot": snapshot, "constraints": {"split": "train"}}, seed=seed)
        while not chat.done:
            chat.send(chat.solution() or "Done.")
        yield "\n".join(message["content"] for message in chat.messages)


def make_tokenizer(chats: Iterator[str], words: int) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are parts of words.

    A value is then the same tokens wherever it stands, after a space or in quotes, so that it can be copied.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(r"\d|[^\W\d]+|\s+|[^\w\s]"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()  # type: ignore[assignment]
    trainer = trainers.BpeTrainer(
        vocab_size=words,
        special_tokens=[PAD, BEGIN, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(chats, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token=PAD, eos_token=END)
    fast.chat_template = TEMPLATE
    return fast


def main() -> None:
    """Writes a folder of transformers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--snapshot", default="travel")
    parser.add_argument("--words", type=int, default=4096, help="tokens of the vocabulary")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--chats", type=int, default=300, help="solutions that the tokenizer is made of")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tokenizer = make_tokenizer(solved_chats(given.chats, given.snapshot), given.words)
    set_seed(given.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=given.width, intermediate_size=4 * given.width,
        num_hidden_layers=given.layers, num_attention_heads=max(1, given.width // 64), max_position_embeddings=8192,
        tie_word_embeddings=True, bos_token_id=None, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)
    print(f"{given.out}: {model.num_parameters():,} parameters, {len(tokenizer):,} tokens")


if __name__ == "__main__":
    main()
