"""Beam search against `transformers`' own generate(prefix_allowed_tokens_fn=...): same hypotheses, same scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.lm.beam import constrained_search
from harness.lm.trie import TokenTrie
from tests.lm_models import tiny_llama

END = 1
HEIGHT = 6


def generated(backbone, prompt: list[int], trie: TokenTrie, beam_size: int) -> list[tuple[tuple[int, ...], float]]:
    def allowed(_: int, tokens: torch.Tensor) -> list[int]:
        node = trie.walk(tokens.tolist()[len(prompt) :])
        return trie.children(node)[0].tolist() if node >= 0 and len(trie.children(node)[0]) else [END]

    out = backbone.model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        num_beams=beam_size,
        num_return_sequences=beam_size,
        max_new_tokens=HEIGHT + 1,
        do_sample=False,
        early_stopping="never",
        prefix_allowed_tokens_fn=allowed,
        output_scores=True,
        return_dict_in_generate=True,
    )
    found = []
    for tokens, score in zip(out.sequences[:, len(prompt) :].tolist(), out.sequences_scores.tolist(), strict=True):
        if np.isfinite(score) and END in tokens:
            found.append((tuple(tokens[: tokens.index(END) + 1]), score))
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("beam_size", [2, 3, 8])
def test_same_hypotheses_and_scores_as_generate(seed: int, beam_size: int) -> None:
    backbone = tiny_llama(seed=seed)
    rng = np.random.default_rng(seed)
    sequences = [[*rng.integers(2, 7, rng.integers(1, HEIGHT)).tolist(), END] for _ in range(40)]
    trie = TokenTrie.from_sequences(sequences)
    prompts = [rng.integers(2, 24, n).tolist() for n in (3, 7, 5)]
    ours = constrained_search(backbone, prompts, trie, beam_size=beam_size)
    for prompt, found in zip(prompts, ours, strict=True):
        theirs = generated(backbone, prompt, trie, beam_size)
        assert [h.tokens for h in found] == [t for t, _ in theirs]
        np.testing.assert_allclose([h.score for h in found], [s for _, s in theirs], atol=1e-4)
