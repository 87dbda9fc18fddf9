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


def _sharpened(model: Any) -> Any:
    """Spread the logits of a model with random weights, so that rankings are clear."""
    import torch

    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(6.0) if parameter.ndim > 1 else None
    return model.eval()


def _made(config: Any, kind: str) -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    return _sharpened(getattr(transformers, kind)(config))


_IDS = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 0}
_LLAMA_LIKE: dict[str, Any] = {
    "vocab_size": 24,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    **_IDS,
}


def tiny_gpt2() -> Any:
    """Learned positions."""
    from transformers import GPT2Config

    return _made(GPT2Config(vocab_size=24, n_embd=32, n_layer=2, n_head=4, n_positions=512, **_IDS), "GPT2LMHeadModel")


def tiny_neox() -> Any:
    """Rotary positions on a part of each head, biases, parallel residuals."""
    from transformers import GPTNeoXConfig

    config = GPTNeoXConfig(
        vocab_size=24, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, **_IDS
    )
    return _made(config, "GPTNeoXForCausalLM")


def tiny_qwen2() -> Any:
    """Rotary positions and biases; a sliding window in the settings that is not used."""
    from transformers import Qwen2Config

    return _made(Qwen2Config(**_LLAMA_LIKE), "Qwen2ForCausalLM")


def tiny_mistral() -> Any:
    """A sliding window in every layer, which a lattice does not know."""
    from transformers import MistralConfig

    return _made(MistralConfig(sliding_window=4, **_LLAMA_LIKE), "MistralForCausalLM")


def tiny_bloom() -> Any:
    """Positions that attention makes up itself (ALiBi)."""
    from transformers import BloomConfig

    return _made(BloomConfig(vocab_size=24, hidden_size=32, n_layer=2, n_head=4, **_IDS), "BloomForCausalLM")


def tiny_t5() -> Any:
    """An encoder and a decoder, relative positions."""
    from transformers import T5Config

    config = T5Config(
        vocab_size=24,
        d_model=32,
        d_kv=8,
        d_ff=48,
        num_layers=2,
        num_heads=4,
        decoder_start_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    return _made(config, "T5ForConditionalGeneration")


def tiny_bart() -> Any:
    """An encoder and a decoder, learned positions."""
    from transformers import BartConfig

    config = BartConfig(
        vocab_size=24,
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        max_position_embeddings=64,
        decoder_start_token_id=0,
        forced_eos_token_id=None,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=0,
    )
    return _made(config, "BartForConditionalGeneration")


def tiny_granite() -> Any:
    """Logits that are not the head times the last state."""
    from transformers import GraniteConfig

    return _made(GraniteConfig(logits_scaling=3.0, **_LLAMA_LIKE), "GraniteForCausalLM")


MODELS: dict[str, tuple[Any, bool]] = {
    "llama": (lambda: tiny_llama().model, True),
    "gpt2": (tiny_gpt2, True),
    "gpt-neox": (tiny_neox, True),
    "qwen2": (tiny_qwen2, True),
    "mistral": (tiny_mistral, False),
    "granite": (tiny_granite, False),
    "bloom": (tiny_bloom, False),
    "t5": (tiny_t5, False),
    "bart": (tiny_bart, False),
}
"""Makers of tiny models by architecture, and whether a lattice can feed them."""


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


class Kept:
    """A progress that remembers the rows of the training log."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None: ...

    def advance(self, amount: int = 1) -> None: ...

    def record(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
