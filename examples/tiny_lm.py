"""Makes a tiny language model that can copy and knows nothing else, and a tokenizer of the chats that it is to play.

    pip install 'toolorch-env[trl]'
    python examples/tiny_lm.py tiny
    python examples/grpo_small_lm.py --model tiny --warm-up 200 --batch 8 --warm-up-rate 1.5e-3 --device cpu ...

An episode costs it a hundredth of what it costs SmolLM2-135M, so that rewards can be compared on a CPU. Tool calls are
mostly copying, which a model with random weights does not learn from chats in any time one would wait here. So it
learns that before, in three minutes, on random tokens. It is built as LFM2, layers of short convolutions and of
attention in turn: each token knows the one before it from the first layer on, which is half of copying.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Lfm2Config, Lfm2ForCausalLM, PreTrainedTokenizerFast, set_seed

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

    A value is then the same tokens wherever it stands, after a space or in quotes, and codes are read letter by letter,
    so that those never seen can be copied, too.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(  # type: ignore[assignment]
        [
            pre_tokenizers.Split(Regex(r"\d|\p{Lu}|[^\W\d\p{Lu}]+|\s+|[^\w\s]"), "isolated"),
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


def learn_to_copy(model: Lfm2ForCausalLM, steps: int) -> None:
    """Trains on sequences of few random words that come again and again: from its first token on, one is known.

    Sequences grow from 24 words of three tokens, 4 of them different, to 192 words, 32 of them different, as soon as it
    can do it.
    """
    words, length, batch = 4, 24, 32
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 30))
    recent = 10.0
    for step in range(steps):
        vocabulary = torch.randint(3, model.config.vocab_size, (batch, words, 3))
        picked = torch.randint(words, (batch, length))
        tokens = vocabulary[torch.arange(batch)[:, None], picked].flatten(1)
        seen = (picked[:, :, None] == picked[:, None, :]).tril(-1).any(2)
        known = torch.stack([torch.zeros_like(seen), seen, seen], 2).flatten(1)[:, 1:]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            hidden = model.model(tokens).last_hidden_state[:, :-1]
            logits = model.lm_head(hidden[known])
        loss = torch.nn.functional.cross_entropy(logits.float(), tokens[:, 1:][known])
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        recent += 0.2 * (loss.item() - recent)
        if step % 20 == 0:
            print(f"copying among {words} words: loss {loss.item():.2f} at step {step}", flush=True)
        if recent < 0.3 and words < 32:
            words, length, batch, recent = 2 * words, 2 * length, batch // 2, 10.0


def main() -> None:
    """Writes a folder of transformers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write")
    parser.add_argument("--snapshot", default="travel")
    parser.add_argument("--words", type=int, default=2000, help="tokens of the vocabulary, at most")
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--chats", type=int, default=300, help="solutions that the tokenizer is made of")
    parser.add_argument("--copy-steps", type=int, default=800, help="steps of learning to copy")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    tokenizer = make_tokenizer(solved_chats(given.chats, given.snapshot), given.words)
    set_seed(given.seed)
    heads = max(1, given.width // 32)
    config = Lfm2Config(
        vocab_size=len(tokenizer), hidden_size=given.width, intermediate_size=3 * given.width,
        block_auto_adjust_ff_dim=False, num_hidden_layers=given.layers, num_attention_heads=heads,
        num_key_value_heads=heads, layer_types=["full_attention" if n % 2 else "conv" for n in range(given.layers)],
        max_position_embeddings=8192, initializer_range=0.04, tie_word_embeddings=True, bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = Lfm2ForCausalLM(config)
    learn_to_copy(model, given.copy_steps)
    model.save_pretrained(given.out)
    tokenizer.save_pretrained(given.out)
    print(f"{given.out}: {model.num_parameters():,} parameters, {len(tokenizer):,} tokens")


if __name__ == "__main__":
    main()
