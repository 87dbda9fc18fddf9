"""The training loop: packing changes nothing, budgets are kept, what is frozen stays, and the loss falls."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.batches import collate, pack, share
from harness.lm.checkpoint import NAME, read
from harness.lm.examples import Example, Piece, join, spend
from harness.lm.objective import target_loss
from harness.lm.steps import _refuse_parted
from harness.lm.training import TrainingSettings, train
from tests.lm_models import Kept, tiny_llama

EXAMPLES = [
    Example((5, 6, 7, 8, 9), ((3, 5),)),
    Example((9, 3, 4), ((1, 3),)),
    Example((2, 2, 8, 7, 6, 5, 4), ((1, 2), (5, 7))),
    Example((11, 12), ((0, 2),)),
]
QUICK = TrainingSettings(frozen_layers=1, dtype="float32", batch_tokens=24, row_tokens=12, learning_rate=1e-2)


def plain_loss(backbone: Backbone, example: Example) -> torch.Tensor:
    """Cross-entropy of one example by the model's own forward pass, token by token."""
    logits = backbone.model(torch.tensor([example.tokens])).logits[0]
    places = [t for a, b in example.spans for t in range(max(a, 1), b)]
    return sum(
        (functional.cross_entropy(logits[t - 1], torch.tensor(example.tokens[t])) for t in places), torch.zeros(())
    )


@pytest.mark.parametrize("row_tokens", [1, 8, 12, 100])
def test_packed_loss_is_the_sum_of_the_losses_alone(row_tokens: int) -> None:
    backbone = tiny_llama()
    alone = sum((plain_loss(backbone, e) for e in EXAMPLES), torch.zeros(()))
    (batch,) = pack(EXAMPLES, row_tokens, 10_000)
    packed = target_loss(backbone)(*collate(batch))
    assert packed.item() == pytest.approx(alone.item(), rel=1e-5)


def test_restricted_vocabulary_normalises_over_what_is_kept() -> None:
    backbone = tiny_llama()
    kept = torch.arange(2, 13).numpy()
    (batch,) = pack([EXAMPLES[0]], 8, 8)
    loss = target_loss(backbone.restricted(kept))(*collate(batch))
    logits = backbone.model(torch.tensor([EXAMPLES[0].tokens])).logits[0][:, 2:13]
    wanted = functional.cross_entropy(logits[[2, 3]], torch.tensor([8 - 2, 9 - 2]), reduction="sum")
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-5)


def test_training_lowers_the_loss_and_leaves_frozen_weights_alone() -> None:
    backbone, kept = tiny_llama(), Kept()
    before = {name: p.detach().clone() for name, p in backbone.model.named_parameters()}
    summary = train(backbone, EXAMPLES * 20, QUICK, progress=kept)
    assert summary.tokens == 20 * sum(len(e.tokens) for e in EXAMPLES) == kept.rows[-1]["tokens"]
    assert summary.last_loss is not None and summary.first_loss is not None
    assert summary.last_loss < summary.first_loss / 2
    changed = {name for name, p in backbone.model.named_parameters() if not torch.equal(p, before[name])}
    assert changed and all("layers.1." in name or name == "model.norm.weight" for name in changed)
    assert not any(p.requires_grad for p in backbone.model.parameters())


def test_the_same_seed_gives_the_same_weights() -> None:
    one, two = tiny_llama(), tiny_llama()
    for backbone in (one, two):
        train(backbone, EXAMPLES * 3, QUICK)
    for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_all_tokens_can_bear_the_loss() -> None:
    """What is reported of the first step is the mean over every token that something precedes."""
    backbone, kept = tiny_llama(), Kept()
    everywhere = [e._replace(spans=((0, len(e.tokens)),)) for e in EXAMPLES]
    wanted = sum((plain_loss(backbone, e) for e in everywhere), torch.zeros(())) / sum(
        len(e.tokens) - 1 for e in EXAMPLES
    )
    train(backbone, EXAMPLES, QUICK.model_copy(update={"loss": "all tokens", "batch_tokens": 100}), progress=kept)
    assert kept.rows[0]["loss"] == pytest.approx(wanted.item(), rel=1e-5)


def test_results_of_before_the_choice_keep_their_fingerprint() -> None:
    assert "loss" not in QUICK.model_dump(mode="json")
    changed = QUICK.model_copy(update={"loss": "all tokens"})
    assert TrainingSettings.model_validate(changed.model_dump(mode="json")) == changed


def test_a_target_outside_the_vocabulary_is_refused_before_training() -> None:
    backbone = tiny_llama()
    backbone.tokenizer.decode = str
    with pytest.raises(ConfigError, match="vocabulary"):
        train(backbone.restricted(torch.arange(2, 6).numpy()), EXAMPLES, QUICK)


def test_nothing_to_train_on_and_too_many_frozen_layers() -> None:
    assert train(tiny_llama(), [], QUICK).figures() == {}
    with pytest.raises(ConfigError, match="at most 2"):
        train(tiny_llama(), EXAMPLES, QUICK.model_copy(update={"frozen_layers": 3}))


def test_a_budget_is_spent_epoch_by_epoch_and_never_overdrawn() -> None:
    drawn = spend(EXAMPLES, 40, random.Random(0))
    assert sum(len(e.tokens) for e in drawn) <= 40
    assert sum(len(e.tokens) for e in drawn) > 40 - min(len(e.tokens) for e in EXAMPLES)
    assert sorted(drawn[:4]) == sorted(EXAMPLES)
    assert spend([], 40, random.Random(0)) == [] == spend(EXAMPLES, 1, random.Random(0))


def test_neighbouring_targets_are_one_span() -> None:
    example = join([Piece([1, 2], False), Piece([], True), Piece([3], True), Piece([4], True), Piece([5], False)])
    assert example == Example((1, 2, 3, 4, 5), ((2, 4),))


@pytest.mark.parametrize("processes", [2, 3])
def test_shares_of_several_processes_add_up_to_the_batch_mean(processes: int) -> None:
    """What data-parallel training averages over processes is the gradient of the whole batch's mean loss."""
    backbone = tiny_llama()
    (rows,) = pack(EXAMPLES, 7, 10_000)
    module = target_loss(backbone)
    whole, factor = share(rows, 0, 1, torch.device("cpu"))
    parts = [share(rows, i, processes, torch.device("cpu")) for i in range(processes)]
    mean = sum((module(*batch).item() * share for batch, share in parts), 0.0) / processes
    assert mean == pytest.approx(module(*whole).item() * factor, rel=1e-5)


def test_a_loss_that_is_not_finite_ends_the_training_before_it_is_kept(tmp_path: Path) -> None:
    backbone, kept = tiny_llama(), Kept()
    wild = QUICK.model_copy(update={"learning_rate": 1e25, "warmup": 0.0, "checkpoint_s": 0.0})
    with pytest.raises(ConfigError, match=r"(?s)finite loss.*(nan|inf) at step \d+ after \d+ tokens.*learning_rate"):
        train(backbone, EXAMPLES * 20, wild, progress=kept, checkpoints=tmp_path)
    assert all(torch.isfinite(torch.tensor(row["loss"])) for row in kept.rows)
    assert 0 < len(kept.rows) < 10
    assert read(tmp_path / NAME)[1]["story"]["steps"] == len(kept.rows)
    for weight in read(tmp_path / NAME)[1]["weights"].values():
        assert torch.isfinite(weight).all()


def test_a_gradient_that_is_not_finite_changes_no_weight() -> None:
    backbone = tiny_llama()
    last = backbone.model.model.layers[1].mlp.down_proj.weight
    last.register_hook(lambda gradient: gradient * float("nan"))
    before = {name: p.detach().clone() for name, p in backbone.model.named_parameters()}
    with pytest.raises(ConfigError, match="finite gradient"):
        train(backbone, EXAMPLES, QUICK)
    assert all(torch.equal(p, before[name]) for name, p in backbone.model.named_parameters())


@pytest.mark.parametrize("way", ["DEEPSPEED", "FSDP", "MEGATRON_LM"])
def test_weights_or_optimiser_in_parts_are_refused(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate import Accelerator
    from accelerate.utils import DistributedType

    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType[way])
    with pytest.raises(ConfigError, match=f"(?s)whole model.*distributed_type: {way}.*MULTI_GPU"):
        train(tiny_llama(), EXAMPLES, QUICK)
    for plain in ("NO", "MULTI_CPU", "MULTI_GPU", "MULTI_XPU"):
        _refuse_parted(plain)


def test_an_example_longer_than_the_backbone_reads_is_refused() -> None:
    backbone = tiny_llama()
    backbone.model.config.max_position_embeddings = max(len(e.tokens) for e in EXAMPLES)
    train(backbone, EXAMPLES, QUICK)
    with pytest.raises(ConfigError, match=r"(?s)at most 7 tokens.*an example of the training of 8"):
        train(backbone, [*EXAMPLES, Example(tuple(range(2, 10)), ((1, 3),))], QUICK)
