"""Adapters are trained in place of the weights, and are weights in the end."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.batches import collate, pack
from harness.lm.checkpoint import read
from harness.lm.examples import Example
from harness.lm.lattice import require_lattice
from harness.lm.objective import target_loss
from harness.lm.training import TrainingSettings, train
from tests.lm_models import tiny_gpt2, tiny_llama

EXAMPLES = [Example((5, 6, 7, 8, 9), ((3, 5),)), Example((9, 3, 4), ((1, 3),)), Example((11, 12), ((0, 2),))] * 8
SETTINGS = TrainingSettings(
    frozen_layers=1, lora_rank=2, dtype="float32", batch_tokens=24, row_tokens=12, learning_rate=3e-2, checkpoint_s=0
)


def gpt2() -> Backbone:
    """A model whose linear layers are of a kind of their own."""
    return Backbone(tiny_gpt2(), tiny_llama().tokenizer)


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    return {name: weight.clone() for name, weight in backbone.model.state_dict().items()}


def loss(backbone: Backbone) -> float:
    (batch,) = pack(EXAMPLES, 12, 10_000)
    with torch.no_grad():
        return float(target_loss(backbone)(*collate(batch)))


@pytest.mark.parametrize(("make", "upper"), [(tiny_llama, "layers.1."), (gpt2, "h.1.")])
def test_a_small_change_to_the_linear_layers_above_the_frozen_is_learned(make: Any, upper: str) -> None:
    backbone = make()
    before, loss_before = weights(backbone), loss(backbone)
    train(backbone, EXAMPLES, SETTINGS)
    after = weights(backbone)
    assert after.keys() == before.keys()  # a model like any other
    changed = {name for name in after if not torch.equal(after[name], before[name])}
    linear = {n for n, w in before.items() if upper in n and w.ndim == 2}
    assert changed == linear
    assert all(torch.linalg.matrix_rank(after[n] - before[n], rtol=1e-4) <= SETTINGS.lora_rank for n in changed)
    assert loss(backbone) < loss_before * 0.8
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_what_is_saved_can_be_read_without_adapters(tmp_path: Path) -> None:
    backbone = tiny_llama()
    train(backbone, EXAMPLES, SETTINGS)
    backbone.model.save_pretrained(tmp_path)
    read_back = AutoModelForCausalLM.from_pretrained(tmp_path).state_dict()
    assert all(torch.equal(read_back[name], weight) for name, weight in weights(backbone).items())


def test_the_state_of_the_training_is_that_of_the_adapters(tmp_path: Path) -> None:
    train(tiny_llama(), EXAMPLES, SETTINGS, checkpoints=tmp_path / "adapters")
    train(tiny_llama(), EXAMPLES, SETTINGS.model_copy(update={"lora_rank": 0}), checkpoints=tmp_path / "all")
    small, large = (read(next((tmp_path / name).iterdir()))[1]["weights"] for name in ("adapters", "all"))
    assert sum(w.numel() for w in small.values()) < sum(w.numel() for w in large.values()) / 2


@pytest.mark.parametrize("make", [tiny_llama, gpt2])
def test_dev_queries_are_searched_while_adapters_are_trained(make: Any) -> None:
    """With the adapters as they are at that moment, on the sessions of every search."""

    class Searched:
        measure, identity = "RR@5", "a test"

        def __init__(self, backbone: Backbone) -> None:
            self.backbone, self.seen = backbone, list[float]()

        def score(self) -> float:
            now = Backbone(self.backbone.model, self.backbone.tokenizer)
            states, _ = require_lattice(now).prefill([[12, 13, 14]])
            with torch.inference_mode():
                plain = now.model(torch.tensor([[12, 13, 14]])).logits[0, -1]
                torch.testing.assert_close(now.logits(states)[0], plain, rtol=1e-4, atol=1e-4)
            self.seen.append(float(plain[5]))
            return float(len(self.seen))

    backbone = make()
    searched = Searched(backbone)
    train(backbone, EXAMPLES, SETTINGS.model_copy(update={"dev_evaluations": 3}), evaluate=searched)
    assert len(set(searched.seen)) == 3


def test_without_a_layer_to_adapt_there_is_one_clear_error() -> None:
    settings = SETTINGS.model_copy(update={"frozen_layers": 2})
    with pytest.raises(ConfigError, match=r"training\.frozen_layers"):
        train(tiny_llama(), EXAMPLES, settings)


@pytest.mark.parametrize("rank", [0, 4])
def test_results_without_adapters_keep_the_fingerprint_they_had(rank: int) -> None:
    table = SETTINGS.model_copy(update={"lora_rank": rank}).model_dump(mode="json")
    assert ("lora_rank" in table) == (rank > 0)
    assert TrainingSettings.model_validate(table).lora_rank == rank
