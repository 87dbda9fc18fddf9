"""The public face of the engine: the page's example, texts, errors, and what is kept of a model."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import harness.lm
from harness.errors import ConfigError, DataError
from harness.lm import Backbone, TokenTrie, constrained_search
from harness.lm.backbone import load
from harness.lm.lattice import Lattice
from harness.lm.session import Work, told
from tests.lm_models import MODELS, tiny_folder, tiny_llama

PAGE = Path(__file__).resolve().parents[2] / "docs" / "DECODING.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def test_the_example_of_the_page_runs(folder: str) -> None:
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert code
    done = subprocess.run(
        [sys.executable, "-c", f"NAME = {folder!r}\n{code[1]}"], capture_output=True, text=True, check=True
    )
    lines = [ast.literal_eval(line) for line in done.stdout.splitlines()]
    assert [len(found) for found in lines] == [3, 3]
    for found in lines:
        assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
        assert {title for title, _ in found} < {" Marie Curie", " Pierre Curie", " Radium", " Marie Antoinette"}


def test_every_public_name_is_there() -> None:
    for name in harness.lm.__all__:
        assert getattr(harness.lm, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        harness.lm.nothing  # noqa: B018


def test_from_texts_ends_texts_and_keeps_copies(folder: str) -> None:
    tokenizer = load(folder).tokenizer
    trie = TokenTrie.from_texts([" ab", " a", " ab"], tokenizer, prompt_end="Q:")
    end = tokenizer.eos_token_id
    assert trie.items_at(trie.walk([*tokenizer(" ab").input_ids, end])).tolist() == [0, 2]
    assert trie.items_at(trie.walk([*tokenizer(" a").input_ids, end])).tolist() == [1]
    assert len(TokenTrie.from_texts([" ab", " cd"], tokenizer, cut=True)) == 4  # root, the space, one letter each


def test_from_texts_refuses_what_cannot_be_ended_or_told_apart() -> None:
    class Merging:
        eos_token_id = 0

        def __call__(self, texts: list[str], **_: object) -> dict[str, list[list[int]]]:
            return {"input_ids": [[9] if text == "Q: a" else [ord(c) for c in text] for text in texts]}

    with pytest.raises(ConfigError, match="token boundary"):
        TokenTrie.from_texts(["a"], Merging(), prompt_end="Q: ")
    endless = Merging()
    endless.eos_token_id = None  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="end-of-sequence"):
        TokenTrie.from_texts(["a"], endless)


def test_bad_arguments_are_refused() -> None:
    trie, backbone = TokenTrie.from_sequences([[2, 1]]), tiny_llama()
    for name, value in (
        ("beam_size", 0),
        ("length_penalty", -1.0),
        ("normaliser", "all"),
        ("batch_size", 0),
        ("early_stopping", "ever"),
    ):
        with pytest.raises(ConfigError):
            constrained_search(backbone, [[3]], trie, **{"beam_size": 2, name: value})
    with pytest.raises(DataError, match="prompt 1 is empty"):
        constrained_search(backbone, [[3], []], trie, beam_size=2)
    assert constrained_search(backbone, [], trie, beam_size=2) == []


def test_a_model_trained_on_is_seen_anew() -> None:
    """Packed weights must not outlive the weights they were made from."""
    backbone = tiny_llama()
    trie = TokenTrie.from_sequences([[a, b, 1] for a in range(2, 6) for b in range(2, 6)])
    before = constrained_search(backbone, [[3, 4]], trie, beam_size=4)[0]
    with torch.no_grad():
        for parameter in backbone.model.parameters():
            parameter.copy_(parameter.flip(0))
    after = constrained_search(backbone, [[3, 4]], trie, beam_size=4)[0]
    fresh = constrained_search(Backbone(backbone.model, None), [[3, 4]], trie, beam_size=4)[0]
    assert [h.score for h in after] == pytest.approx([h.score for h in fresh], abs=1e-6)
    assert [h.score for h in after] != pytest.approx([h.score for h in before], abs=1e-3)


def test_moved_weights_are_seen_and_silent_changes_can_be_told() -> None:
    model = tiny_llama().model
    trie = TokenTrie.from_sequences([[a, b, 1] for a in range(2, 6) for b in range(2, 6)])
    before = [h.score for h in constrained_search(model, [[3, 4]], trie, beam_size=4)[0]]
    model.bfloat16()
    half = [h.score for h in constrained_search(model, [[3, 4]], trie, beam_size=4)[0]]
    assert half != before and half == pytest.approx(before, abs=0.3)
    model.float()
    for parameter in model.parameters():
        parameter.data.copy_(parameter.data.flip(0).clone())
    Backbone.forget(model)
    fresh = constrained_search(Backbone(model, None), [[3, 4]], trie, beam_size=4)[0]
    after = constrained_search(model, [[3, 4]], trie, beam_size=4)[0]
    assert [h.score for h in after] == pytest.approx([h.score for h in fresh], abs=1e-6)


def test_a_model_that_is_being_trained_is_searched_without_dropout() -> None:
    for model in (MODELS["gpt2"][0](), MODELS["t5"][0]()):
        trie = TokenTrie.from_sequences([[a, b, 1] for a in range(2, 6) for b in range(2, 6)])
        still = [h.score for h in constrained_search(model, [[3, 4]], trie, beam_size=4)[0]]
        model.train()
        Backbone.forget(model)
        assert [h.score for h in constrained_search(model, [[3, 4]], trie, beam_size=4)[0]] == pytest.approx(still)
        assert model.training


def test_a_trie_of_another_tokeniser_is_refused() -> None:
    with pytest.raises(DataError, match="below 24"):
        constrained_search(tiny_llama(), [[3]], TokenTrie.from_sequences([[99, 1], [5, 1]]), beam_size=2)


def test_nothing_of_the_model_is_changed() -> None:
    model = tiny_llama().model
    kind, attention = type(model.model.layers[0].self_attn.q_proj), model.config._attn_implementation
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    constrained_search(model, [[3]], TokenTrie.from_sequences([[2, 1], [3, 1]]), beam_size=2)
    assert type(model.model.layers[0].self_attn.q_proj) is kind
    assert model.config._attn_implementation == attention
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())


def test_half_precision_weights_are_not_packed_and_work() -> None:
    trie = TokenTrie.from_sequences([[a, b, 1] for a in range(2, 6) for b in range(2, 6)])
    whole = constrained_search(tiny_llama(), [[3, 4]], trie, beam_size=16)[0]
    backbone = tiny_llama().astype("bfloat16")
    found = constrained_search(backbone, [[3, 4]], trie, beam_size=16)[0]
    scores = {h.tokens: h.score for h in whole}
    assert {h.tokens for h in found} == set(scores)
    assert [h.score for h in found] == pytest.approx([scores[h.tokens] for h in found], abs=0.15)
    assert [h.score for h in found] != pytest.approx([scores[h.tokens] for h in found], abs=1e-5)


def test_a_fork_goes_on_as_its_branch_would() -> None:
    backbone = tiny_llama()
    lattice = Lattice(backbone)
    _, slots = lattice.prefill([[3, 4, 5], [6]])
    _, fed = lattice.feed(np.array([slots[0], slots[1], slots[1]]), np.array([7, 8, 9]))
    fork, starts = lattice.fork(fed)
    forked, _ = fork.feed_chains(starts.tolist(), [[2, 3], [4], [5, 6, 7]])
    here, _ = lattice.feed_chains(fed.tolist(), [[2, 3], [4], [5, 6, 7]])
    torch.testing.assert_close(forked, here, rtol=1e-4, atol=1e-4)
    texts = [[3, 4, 5, 7, 2, 3], [6, 8, 4], [6, 9, 5, 6, 7]]
    with torch.inference_mode():
        for state, text in zip(here, texts, strict=True):
            plain = backbone.model.model(torch.tensor([text])).last_hidden_state[0, -1]
            torch.testing.assert_close(state, plain, rtol=1e-3, atol=1e-3)


def test_time_outside_the_model_is_the_searchs_and_part_of_it_the_masks() -> None:
    clock = iter([0.0, 1.0, 4.0, 5.0, 7.0, 10.0])
    work = Work(lambda: next(clock))
    with work.search():
        with work.model():
            pass
        with work.mask():
            pass
    assert (work.model_s, work.search_s, work.mask_s) == (3.0, 7.0, 2.0)
    counters: dict[str, float] = {"queries": 2}
    work.count_into(counters)
    shares = told(counters)
    assert (shares["search_share"], shares["mask_share"]) == (pytest.approx(0.7), pytest.approx(0.2))
    assert "model_s" not in shares
