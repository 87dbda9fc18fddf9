"""The exhaustive mode scores every sequence as a plain forward pass over it does, whatever its blocks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.errors import ConfigError, DataError
from harness.lm import GrownTrie, Ragged, TokenTrie, constrained_search, exhaustive_search
from harness.lm import exhaustive as mode
from harness.lm.trie import Upto
from tests.lm_models import logprobs_after, tiny_bloom, tiny_llama

END = 1
BACKBONE = tiny_llama()
CORPORA = st.lists(st.lists(st.integers(2, 6), min_size=1, max_size=5), min_size=1, max_size=10)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 23), min_size=1, max_size=6), CORPORA, st.sampled_from([2, 5, 256]), st.booleans())
def test_every_sequence_gets_its_own_score(prompt: list[int], corpus: list[list[int]], block: int, ends: bool) -> None:
    sequences = sorted({(*s, END) if ends else tuple(s) for s in corpus})  # without ends some are prefixes of others
    trie = TokenTrie.from_sequences(sequences)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mode, "BLOCK_TOKENS", block)
        found = exhaustive_search(BACKBONE, [prompt], trie, k=100)[0]
    wanted = {}
    for sequence in sequences:
        total = sum(logprobs_after(BACKBONE, [*prompt, *sequence[:n]])[t] for n, t in enumerate(sequence))
        wanted[sequence] = total / len(sequence)
    assert {h.tokens for h in found} == set(sequences)
    assert [h.score for h in found] == sorted((h.score for h in found), reverse=True)
    for h in found:
        assert h.score == pytest.approx(wanted[h.tokens], abs=1e-4)
        assert trie.walk(h.tokens) == h.node


@settings(max_examples=15, deadline=None)
@given(CORPORA, st.sampled_from(["vocabulary", "allowed"]))
def test_a_beam_as_wide_as_the_leaves_finds_the_same(corpus: list[list[int]], normaliser) -> None:
    trie = TokenTrie.from_sequences([[*s, END] for s in corpus])
    exact = exhaustive_search(BACKBONE, [[3, 4], [5]], trie, k=5, normaliser=normaliser)
    beams = constrained_search(BACKBONE, [[3, 4], [5]], trie, beam_size=len(corpus), normaliser=normaliser)
    for a, b in zip(exact, beams, strict=True):
        np.testing.assert_allclose([h.score for h in a], [h.score for h in b[:5]], atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(CORPORA, CORPORA, st.integers(1, 3))
def test_views_of_tries_are_scored_as_tries(corpus: list[list[int]], more: list[list[int]], depth: int) -> None:
    sequences = [[*s, END] for s in corpus]
    trie = TokenTrie.from_sequences(sequences)
    grown = GrownTrie.of(trie, Ragged.of(sequences)).added([[*s, END] for s in more])
    whole = TokenTrie.from_sequences([*sequences, *([*s, END] for s in more)])
    upto = Upto(trie, [trie.walk(s[:depth]) for s in sequences])
    openings = TokenTrie.from_sequences([s[:depth] for s in sequences])
    for view, plain in ((grown, whole), (upto, openings)):
        a, b = (exhaustive_search(BACKBONE, [[3, 4]], t, k=100)[0] for t in (view, plain))
        assert {h.tokens: round(h.score, 3) for h in a} == {h.tokens: round(h.score, 3) for h in b}


def test_bad_arguments_are_refused() -> None:
    trie = TokenTrie.from_sequences([[2, END]])
    with pytest.raises(ConfigError, match="k of at least 1"):
        exhaustive_search(BACKBONE, [[3]], trie, k=0)
    with pytest.raises(DataError, match="prompt 0 is empty"):
        exhaustive_search(BACKBONE, [[]], trie, k=1)


def test_long_shared_prefix_empty_trie_and_models_it_cannot_feed() -> None:
    shared = [2 + i % 5 for i in range(300)]
    trie = TokenTrie.from_sequences([[*shared, 3, END], [*shared, 4, END]])
    assert {h.tokens[-2] for h in exhaustive_search(BACKBONE, [[5]], trie, k=2)[0]} == {3, 4}
    assert exhaustive_search(BACKBONE, [[5]], TokenTrie.from_sequences([]), k=2) == [[]]
    with pytest.raises(ConfigError, match="full attention"):
        exhaustive_search(tiny_bloom(), [[5]], trie, k=1)
