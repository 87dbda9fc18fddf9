"""Time constrained decoding: our beam search and transformers' generate on the same model, trie and prompts.

Run by `make bench`; in `make test` each case runs once, as a check that both still find the same hypotheses.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture

from harness.lm.beam import constrained_search
from harness.lm.trie import TokenTrie
from tests.lm_models import tiny_llama

END, BEAMS, HEIGHT = 1, 5, 6
RNG = np.random.default_rng(0)
TRIE = TokenTrie.from_sequences([[*RNG.integers(2, 20, RNG.integers(2, HEIGHT)).tolist(), END] for _ in range(2000)])
PROMPTS = [RNG.integers(2, 24, 12).tolist() for _ in range(8)]
BACKBONE = tiny_llama()


def allowed(_: int, tokens: torch.Tensor) -> list[int]:
    node = TRIE.walk(tokens.tolist()[len(PROMPTS[0]) :])
    followers = TRIE.children(node)[0].tolist() if node >= 0 else []
    return followers or [END]


def generated() -> list[tuple[int, ...]]:
    out = BACKBONE.model.generate(
        torch.tensor(PROMPTS),
        attention_mask=torch.ones(len(PROMPTS), len(PROMPTS[0]), dtype=torch.long),
        num_beams=BEAMS,
        max_new_tokens=HEIGHT + 1,
        do_sample=False,
        early_stopping="never",
        prefix_allowed_tokens_fn=allowed,
    )
    return [tuple(t[: t.index(END) + 1]) for t in out[:, len(PROMPTS[0]) :].tolist()]


def ours() -> list[tuple[int, ...]]:
    return [found[0].tokens for found in constrained_search(BACKBONE, PROMPTS, TRIE, beam_size=BEAMS)]


EXPECTED = ours()


@pytest.mark.benchmark(group="decode")
@pytest.mark.parametrize("decode", [ours, generated])
def test_decode(benchmark: BenchmarkFixture, decode) -> None:
    assert benchmark(decode) == EXPECTED


@pytest.mark.benchmark(group="trie")
def test_build_a_trie(benchmark: BenchmarkFixture) -> None:
    sequences = [[*RNG.integers(2, 20_000, RNG.integers(2, 30)).tolist(), END] for _ in range(10_000)]
    trie = benchmark(TokenTrie.from_sequences, sequences, cut=True)
    assert len(trie.items) == len(sequences)
