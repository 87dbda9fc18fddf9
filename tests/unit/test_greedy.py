"""Greedy decoding against `transformers`' own generate(do_sample=False): the same tokens, and what they are worth."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from harness.errors import ConfigError, DataError
from harness.lm.backbone import Backbone
from harness.lm.greedy import continue_greedily, greedy
from harness.lm.lattice import Lattice
from tests.lm_models import MODELS, logprobs_after, tiny_llama, tiny_t5

END = 1
PROMPTS = [[3, 9, 4, 4, 17, 6], [5], [12, 7, 19], [20, 2]]
NARROW = np.array([0, END, 4, 7, 8, 13, 19, 22])


def generated(model: Any, prompt: list[int], max_tokens: int, **more: Any) -> tuple[int, ...]:
    """What transformers writes behind one prompt, unpadded, up to its end token."""
    start = 1 if model.config.is_encoder_decoder else len(prompt)
    out = model.generate(
        torch.tensor([prompt]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=END,
        pad_token_id=0,
        **more,
    )
    row = out[0, start:].tolist()
    return tuple(row[: row.index(END)] if END in row else row)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_batch_of_any_lengths_gets_the_tokens_of_generate(name: str) -> None:
    """With a lattice and without, encoder-decoder models too."""
    model = MODELS[name][0]()
    wanted = [generated(model, prompt, 12) for prompt in PROMPTS]
    for batch_size in (1, 3, 32):
        found = greedy(model, PROMPTS, max_tokens=12, end=END, batch_size=batch_size)
        assert [written.tokens for written in found] == wanted


@pytest.mark.parametrize("seed", range(6))
def test_ends_and_cuts_are_those_of_generate(seed: int) -> None:
    backbone = tiny_llama(seed=seed)
    for max_tokens in (1, 2, 40):
        found = greedy(backbone, PROMPTS, max_tokens=max_tokens, end=END)
        assert [w.tokens for w in found] == [generated(backbone.model, p, max_tokens) for p in PROMPTS]
        assert all(w.ended or len(w.tokens) == max_tokens for w in found)


def test_some_of_those_texts_end_and_some_are_cut() -> None:
    """Else the test above says little."""
    found = [w for seed in range(6) for w in greedy(tiny_llama(seed=seed), PROMPTS, max_tokens=40, end=END)]
    assert {w.ended for w in found} == {True, False}


@pytest.mark.parametrize("make", [lambda: tiny_llama(seed=3).model, tiny_t5])
def test_a_restricted_vocabulary_is_all_that_is_written(make: Any) -> None:
    model = make()
    backbone = Backbone.of(model).restricted(NARROW)
    found = greedy(backbone, PROMPTS, max_tokens=10, end=END)
    allowed = NARROW.tolist()
    for prompt, written in zip(PROMPTS, found, strict=True):
        wanted = generated(model, prompt, 10, prefix_allowed_tokens_fn=lambda *_: allowed)
        assert written.tokens == wanted
        assert set(written.tokens) <= set(allowed)
    assert [w.tokens for w in found] != [w.tokens for w in greedy(model, PROMPTS, max_tokens=10, end=END)]


@pytest.mark.parametrize("vocabulary", [None, NARROW])
def test_the_log_probability_is_the_sum_over_all_tokens_and_the_end(vocabulary: np.ndarray | None) -> None:
    backbone = tiny_llama(seed=2).restricted(vocabulary)
    kept = slice(None) if vocabulary is None else vocabulary
    for prompt, written in zip(PROMPTS, greedy(backbone, PROMPTS, max_tokens=8, end=END), strict=True):
        text, total = list(prompt), 0.0
        for token in (*written.tokens, *([END] if written.ended else [])):
            step = logprobs_after(backbone, text)
            total += step[token] - np.logaddexp.reduce(step[kept])
            text.append(token)
        assert written.logprob == pytest.approx(total, abs=1e-3)


def test_a_text_goes_on_behind_any_branch_of_a_session() -> None:
    backbone = tiny_llama(seed=4)
    lattice = Lattice(backbone)
    _, slots = lattice.prefill(PROMPTS[:2])
    tails = [[8, 3], [8, 3, 11], [2]]
    states, ends = lattice.feed_chains([int(slots[0]), int(slots[0]), int(slots[1])], tails)
    found = continue_greedily(lattice, states, ends, 9, END)
    whole = [[*PROMPTS[0], *tails[0]], [*PROMPTS[0], *tails[1]], [*PROMPTS[1], *tails[2]]]
    assert [w.tokens for w in found] == [generated(backbone.model, text, 9) for text in whole]


def test_passes_are_counted_and_ended_texts_are_fed_no_more() -> None:
    backbone = tiny_llama(seed=0)
    counters: dict[str, float] = {}
    found = greedy(backbone, PROMPTS, max_tokens=6, end=END, counters=counters)
    longest = max(len(w.tokens) + w.ended for w in found)
    assert counters["model_calls"] == longest  # the prompts, then every token but the last
    assert counters["model_s"] > 0


def test_nothing_to_do_and_numbers_out_of_range() -> None:
    backbone = tiny_llama()
    assert greedy(backbone, [], max_tokens=3, end=END) == []
    with pytest.raises(ConfigError, match="token to write"):
        greedy(backbone, PROMPTS, max_tokens=0, end=END)
    with pytest.raises(ConfigError, match="batch size"):
        greedy(backbone, PROMPTS, max_tokens=3, end=END, batch_size=0)
    with pytest.raises(DataError, match="prompt 0"):
        greedy(backbone, [[]], max_tokens=3, end=END)
