"""A model is refused where its branches are not what plain passes give, and not where they are rounded otherwise."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from harness.lm.backbone import Backbone
from harness.lm.lattice import Lattice, branches
from tests.lm_models import tiny_llama


def half(seed: int) -> Backbone:
    return tiny_llama(200, seed).astype("bfloat16").restricted(np.arange(150))


def disturbed(monkeypatch: pytest.MonkeyPatch, share: float, of_one: float = 0.0) -> None:
    """Let logits of branches be off by `share` of their spread, and one of them by `of_one` of the largest."""
    plain = Lattice.logits

    def logits(self: Lattice, states: torch.Tensor) -> torch.Tensor:
        exact = plain(self, states)
        noise = torch.randn(exact.shape, generator=torch.Generator().manual_seed(1))
        spread = (exact - exact.mean(1, keepdim=True)).norm(dim=1, keepdim=True)
        off = exact + noise * share * spread / noise.norm(dim=1, keepdim=True)
        off[:, 0] += of_one * exact.abs().amax(1)
        return off

    monkeypatch.setattr(Lattice, "logits", logits)


@pytest.mark.parametrize("seed", range(8))
def test_rounding_of_half_precision_is_no_reason_to_refuse_a_model(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    """One logit of thousands is always rounded worst; it told trained models from others at random."""
    disturbed(monkeypatch, 0.02, 0.04)
    assert branches(half(seed))


@pytest.mark.parametrize("seed", range(4))
def test_other_logits_are(monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    disturbed(monkeypatch, 0.2)
    assert not branches(half(seed))


def test_single_precision_is_held_to_more(monkeypatch: pytest.MonkeyPatch) -> None:
    disturbed(monkeypatch, 0.04)
    assert not branches(tiny_llama())


def test_logits_that_are_no_numbers_are_refused() -> None:
    backbone = tiny_llama()
    with torch.no_grad():
        backbone.model.get_output_embeddings().weight.fill_(torch.nan)
    assert not branches(backbone)


def test_control_tokens_decide_nothing() -> None:
    """A trained model makes of them what rounding decides; here it makes nothing at all of them."""
    backbone = tiny_llama(600)
    with torch.no_grad():
        backbone.model.get_input_embeddings().weight[:17].fill_(torch.nan)
    assert branches(backbone)
