"""Tiny language models with random weights, for tests of the engine."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from harness.lm.backbone import Backbone


def tiny_llama(vocabulary: int = 24, seed: int = 0, end: int = 1) -> Backbone:
    """A two-layer Llama whose logits are spread enough for rankings to be clear."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        bos_token_id=None,
        eos_token_id=end,
        pad_token_id=0,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0) if parameter.ndim > 1 else None
    tokenizer: Any = SimpleNamespace(eos_token_id=end)
    return Backbone(model, tokenizer)


def logprobs_after(backbone: Backbone, tokens: list[int]) -> Any:
    """(vocabulary,) float64 log-probabilities of the next token, by one plain forward pass."""
    import torch

    with torch.inference_mode():
        logits = backbone.model(torch.tensor([tokens])).logits[0, -1]
    return torch.log_softmax(logits.double(), dim=-1).numpy()


def tiny_folder(folder: Path, seed: int = 0) -> str:
    """Write a Hugging Face folder: a random two-layer Llama over bytes, tokenised one byte a token."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: i for i, letter in enumerate(["<end>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>", pad_token="<end>").save_pretrained(folder)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=0,
        tie_word_embeddings=True,
    )
    torch.manual_seed(seed)
    LlamaForCausalLM(config).save_pretrained(folder)
    return str(folder)
