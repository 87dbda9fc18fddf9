"""Texts drawn at random: from the likeliest tokens alone, as often as their probabilities say, whatever the batch."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from scipy.stats import chisquare

from harness.errors import ConfigError, DataError
from harness.lm.beam import as_backbone
from harness.lm.greedy import greedy
from harness.lm.sampling import sampled
from tests.lm_models import MODELS, logprobs_after, tiny_llama

END = 1
PROMPTS = [[3, 9, 4, 4, 17, 6], [5], [12, 7, 19], [20, 2]]


@pytest.mark.parametrize("name", sorted(MODELS))
def test_among_one_token_all_copies_are_the_greedy_text(name: str) -> None:
    model = MODELS[name][0]()
    wanted = greedy(model, PROMPTS, max_tokens=8, end=END)
    for one, copies in zip(
        wanted, sampled(model, PROMPTS, copies=2, top_k=1, max_tokens=8, end=END, batch_size=3), strict=True
    ):
        assert [copy.tokens for copy in copies] == [one.tokens] * 2
        assert copies[0].logprob == pytest.approx(one.logprob, abs=1e-3)


@pytest.mark.parametrize("name", sorted(set(MODELS) - {"t5", "bart"}))
def test_copies_that_went_apart_are_each_worth_what_the_model_says(name: str) -> None:
    """A copy that went on behind another's tokens would be worth something else."""
    model = MODELS[name][0]()
    texts = sampled(model, PROMPTS, copies=3, top_k=6, max_tokens=6, end=END)
    assert all(len({copy.tokens for copy in copies}) > 1 for copies in texts)
    for prompt, copies in zip(PROMPTS, texts, strict=True):
        for copy in copies:
            before, total = list(prompt), 0.0
            for token in (*copy.tokens, *([END] if copy.ended else [])):
                total += logprobs_after(as_backbone(model), before)[token]
                before.append(token)
            assert copy.logprob == pytest.approx(total, abs=1e-3)


def test_neither_batches_nor_later_prompts_change_what_is_drawn() -> None:
    backbone = tiny_llama(seed=1)
    drawn = [
        sampled(backbone, prompts, copies=4, top_k=6, max_tokens=9, end=END, seed=7, batch_size=size)
        for prompts, size in ((PROMPTS, 32), (PROMPTS, 1), (PROMPTS, 3), (PROMPTS[:3], 32))
    ]
    texts = [[[copy.tokens for copy in copies] for copies in one] for one in drawn]
    assert texts[0] == texts[1] == texts[2] == [*texts[3], texts[0][3]]
    assert len({copy for copies in texts[0] for copy in copies}) > 8


def test_another_seed_draws_other_texts() -> None:
    one, two = (sampled(tiny_llama(), PROMPTS, copies=3, top_k=10, max_tokens=9, end=END, seed=seed) for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize("vocabulary", [None, np.array([0, END, 4, 7, 8, 13, 19, 22])])
def test_the_first_token_is_drawn_as_often_as_its_probability_says(vocabulary: np.ndarray | None) -> None:
    backbone = tiny_llama(seed=5).restricted(vocabulary)
    allowed = np.arange(24) if vocabulary is None else vocabulary
    logprobs = logprobs_after(backbone, PROMPTS[0])
    likeliest = sorted(allowed.tolist(), key=lambda token: -logprobs[token])[:4]
    (copies,) = sampled(backbone, [PROMPTS[0]], copies=4000, top_k=4, max_tokens=1, end=END)
    seen = Counter(copy.tokens[0] if copy.tokens else END for copy in copies)
    assert set(seen) <= set(likeliest)
    shares = np.exp(logprobs[likeliest])
    assert chisquare([seen[t] for t in likeliest], 4000 * shares / shares.sum()).pvalue > 1e-3


def test_numbers_out_of_range() -> None:
    given = {"copies": 2, "top_k": 3, "max_tokens": 3, "batch_size": 4}
    for name in given:
        with pytest.raises(ConfigError, match=name):
            sampled(tiny_llama(), [], end=END, **{**given, name: 0})
    with pytest.raises(DataError, match="prompt 1"):
        sampled(tiny_llama(), [[3], []], copies=1, top_k=1, max_tokens=2, end=END)
    assert sampled(tiny_llama(), [], copies=1, top_k=1, max_tokens=2, end=END) == []
