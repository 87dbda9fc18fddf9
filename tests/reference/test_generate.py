"""Beam search against `transformers`' own generate(prefix_allowed_tokens_fn=...): same hypotheses, same scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch

from harness.bench.reference import dict_trie, equal, generate
from harness.lm import Backbone, TokenTrie, TrieLogitsProcessor, constrained_search
from harness.lm.beam import Hypothesis
from harness.lm.lattice import branches
from tests.lm_models import MODELS, tiny_llama, tiny_t5

END = 1
HEIGHT = 6


def corpus(seed: int, shared: int = 0) -> list[list[int]]:
    """Random sequences; `shared` tokens open every one of them."""
    rng = np.random.default_rng(seed)
    opening = rng.integers(2, 20, shared).tolist()
    return [[*opening, *rng.integers(2, 7, rng.integers(1, HEIGHT)).tolist(), END] for _ in range(40)]


def prompts_of(seed: int, lengths: Sequence[int] = (3, 7, 5)) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(2, 20, n).tolist() for n in lengths]


def assert_same(ours: list[list[Hypothesis]], theirs: list) -> None:
    for found, wanted in zip(ours, theirs, strict=True):
        assert [h.tokens for h in found] == [w.tokens for w in wanted]
        np.testing.assert_allclose([h.score for h in found], [w.score for w in wanted], atol=1e-4)
        assert equal(found, wanted)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beam_size", [2, 3, 8])
@pytest.mark.parametrize("normaliser", ["vocabulary", "allowed"])
def test_same_hypotheses_and_scores_as_generate(seed: int, beam_size: int, normaliser) -> None:
    backbone, sequences, prompts = tiny_llama(seed=seed), corpus(seed), prompts_of(seed)
    trie = TokenTrie.from_sequences(sequences)
    ours = constrained_search(backbone, prompts, trie, beam_size=beam_size, early_stopping=False, normaliser=normaliser)
    theirs = generate(
        backbone.model,
        prompts,
        dict_trie(sequences),
        beam_size=beam_size,
        end=END,
        longest=trie.height,
        normaliser=normaliser,
    )
    assert_same(ours, theirs)


def callback(trie: TokenTrie, start: int):
    def allowed(_: int, tokens: torch.Tensor) -> list[int]:
        node = trie.walk(tokens.tolist()[start:])
        return trie.children(node)[0].tolist() if node >= 0 and len(trie.children(node)[0]) else [END]

    return allowed


def generated(
    model, prompts: list[list[int]], trie: TokenTrie, early_stopping, *, penalty: float = 1.0, beams: int = 4, **more
):
    """One prompt at a time, unpadded, the callback walking the trie under test."""
    found = []
    for prompt in prompts:
        start = 1 if model.config.is_encoder_decoder else len(prompt)
        out = model.generate(
            torch.tensor([prompt]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            num_beams=beams,
            num_return_sequences=beams,
            max_new_tokens=trie.height,
            do_sample=False,
            early_stopping=early_stopping,
            length_penalty=penalty,
            prefix_allowed_tokens_fn=callback(trie, start),
            output_scores=True,
            return_dict_in_generate=True,
            eos_token_id=END,
            pad_token_id=0,
            **more,
        )
        rows = [row[start:] for row in out.sequences.tolist()]
        scored = [
            (tuple(row[: row.index(END) + 1]), score)
            for row, score in zip(rows, out.sequences_scores.tolist(), strict=True)
            if score > -1e8
        ]
        found.append(scored)
    return found


def compare(ours: list[list[Hypothesis]], theirs: list[list[tuple[tuple[int, ...], float]]]) -> None:
    for found, wanted in zip(ours, theirs, strict=True):
        assert [h.tokens for h in found] == [tokens for tokens, _ in wanted]
        np.testing.assert_allclose([h.score for h in found], [score for _, score in wanted], atol=1e-4)


@pytest.mark.parametrize("early_stopping", [True, False, "never"])
@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0, 2.0])
def test_every_rule_of_stopping_is_the_one_of_generate(early_stopping, penalty: float) -> None:
    # Where fewer than 2 x beams tokens may open a sequence, generate keeps copies of its one beam, worth -1e9 each.
    # They never come first, but early_stopping=True counts them as finished; so it gets a beam narrow enough.
    beams = 2 if early_stopping is True else 4
    for seed in range(4):
        backbone, trie, prompts = tiny_llama(seed=seed), TokenTrie.from_sequences(corpus(seed)), prompts_of(seed)
        ours = constrained_search(
            backbone, prompts, trie, beam_size=beams, length_penalty=penalty, early_stopping=early_stopping
        )
        compare(ours, generated(backbone.model, prompts, trie, early_stopping, penalty=penalty, beams=beams))


@pytest.mark.parametrize("name", sorted(MODELS))
def test_any_model_that_generate_can_search(name: str) -> None:
    """Causal models with rotary, learned and no positions, and encoder-decoder ones, through the public function."""
    make, lattice = MODELS[name]
    model = make()
    assert branches(Backbone.of(model)) == lattice
    trie, prompts = TokenTrie.from_sequences(corpus(5, shared=2)), prompts_of(5)
    for early_stopping in (False, "never"):
        ours = constrained_search(model, prompts, trie, beam_size=4, early_stopping=early_stopping)
        compare(ours, generated(model, prompts, trie, early_stopping))
    ours = constrained_search(model, prompts, trie, beam_size=4, normaliser="allowed", early_stopping=False)
    compare(ours, generated(model, prompts, trie, False, renormalize_logits=True))
    alone = constrained_search(
        model, prompts[::-1], trie, beam_size=4, normaliser="allowed", early_stopping=False, batch_size=1
    )
    compare(alone[::-1], [[(h.tokens, h.score) for h in found] for found in ours])


@pytest.mark.parametrize("beams", [1, 4])
def test_the_logits_processor_makes_generate_find_the_same(beams: int) -> None:
    trie, prompts = TokenTrie.from_sequences(corpus(1)), prompts_of(1, (5, 5, 5))
    for model, start in ((tiny_llama(seed=1).model, 5), (tiny_t5(), 1)):
        out = model.generate(
            torch.tensor(prompts),
            attention_mask=torch.ones(3, 5, dtype=torch.long),
            num_beams=beams,
            max_new_tokens=trie.height,
            do_sample=False,
            logits_processor=[TrieLogitsProcessor(trie, prompt_tokens=start, end=END)],
            eos_token_id=END,
            pad_token_id=0,
        )
        ours = constrained_search(model, prompts, trie, beam_size=beams, early_stopping=False)
        for row, found in zip(out[:, start:].tolist(), ours, strict=True):
            assert tuple(row[: row.index(END) + 1]) == found[0].tokens


def test_the_logits_processor_allows_exactly_what_the_trie_does() -> None:
    trie = TokenTrie.from_sequences([[7, 2, END], [7, 5, END], [9, END]])
    processor = TrieLogitsProcessor(trie, prompt_tokens=2, end=END)

    def allowed(written: list[list[int]]) -> list[list[int]]:
        ids = torch.tensor([[3, 3, *tokens] for tokens in written])
        masked = processor(ids, torch.zeros(len(written), 12))
        return [torch.isfinite(row).nonzero()[:, 0].tolist() for row in masked]

    assert allowed([[]]) == [[7, 9]]
    assert allowed([[9], [7]]) == [[END], [2, 5]]
    assert allowed([[7, 5], [7, 2], [9, END], [8, 8]]) == [[END]] * 4
    assert allowed([[7]]) == [[2, 5]]  # not what was asked before: looked up from the root
