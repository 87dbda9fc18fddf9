"""Turn texts into the tokens a model will meet in context."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from harness.errors import ConfigError

Tokenizer = Any
"""A Hugging Face tokeniser."""


def encode(tokenizer: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Encode texts as they stand, without special tokens, never split into chat roles."""
    if not texts:
        return []
    ids: list[list[int]] = tokenizer(list(texts), add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return ids


def encode_after(tokenizer: Tokenizer, left: str, texts: Sequence[str]) -> list[list[int]]:
    """Encode `texts` as they are tokenised behind `left`, so that the boundary is the one the model will meet.

    Raises:
        ConfigError: the tokeniser merges the end of `left` with the start of a text.
    """
    prefix = encode(tokenizer, [left])[0] if left else []
    whole = encode(tokenizer, [left + text for text in texts])
    for text, ids in zip(texts, whole, strict=True):
        if ids[: len(prefix)] != prefix:
            raise ConfigError(
                f"a token boundary between {left[-20:]!r} and what follows",
                f"a tokeniser that merges it with {text[:20]!r}",
                "move the white space of the prompt to the start of the continuation",
            )
    return [ids[len(prefix) :] for ids in whole]


def end_of(tokenizer: Tokenizer) -> int:
    """Return the token that ends a sequence.

    Raises:
        ConfigError: the tokeniser names none.
    """
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            "a tokeniser with an end-of-sequence token",
            "none",
            "set eos_token in its tokenizer_config.json (tokenizer.eos_token), or build from sequences",
        )
    return int(tokenizer.eos_token_id)
