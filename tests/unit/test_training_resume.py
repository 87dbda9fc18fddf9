"""A training that was stopped and gone on with ends as one that was not, and nothing else is gone on with."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from harness import cell
from harness.errors import StorageError
from harness.lm.backbone import Backbone
from harness.lm.checkpoint import NAME, random_state, read, restore_random_state
from harness.lm.examples import Example
from harness.lm.training import TrainingSettings, TrainingSummary, train
from harness.records import Meter
from tests.lm_models import tiny_gpt2, tiny_llama

EXAMPLES = [
    Example((5, 6, 7, 8, 9), ((3, 5),)),
    Example((9, 3, 4), ((1, 3),)),
    Example((2, 2, 8, 7, 6, 5, 4), ((1, 2), (5, 7))),
    Example((11, 12), ((0, 2),)),
] * 8
SETTINGS = TrainingSettings(
    frozen_layers=1, dtype="float32", batch_tokens=24, row_tokens=12, learning_rate=1e-2, checkpoint_s=0
)


class StoppedError(Exception):
    pass


class Log:
    """A progress that remembers, and stops the training when it is told of step `stop_at`."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.rows: list[dict[str, Any]] = []
        self.phases: list[tuple[str, int | None]] = []
        self.advanced = 0
        self._stop_at = stop_at

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.phases.append((name, total))

    def advance(self, amount: int = 1) -> None:
        self.advanced += amount

    def record(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if row["step"] == self._stop_at:
            raise StoppedError

    @property
    def learned(self) -> list[tuple[Any, ...]]:
        """The rows without what the clock decides."""
        return [tuple(row.get(key) for key in ("step", "tokens", "loss", "learning_rate")) for row in self.rows]


def with_dropout() -> Backbone:
    """A model whose training draws random numbers."""
    model = tiny_gpt2()
    assert model.config.resid_pdrop > 0
    return Backbone(model, tiny_llama().tokenizer)


def weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    return dict(backbone.model.named_parameters())


def stopped(make: Any, folder: Path, at: int, settings: TrainingSettings = SETTINGS, **others: Any) -> None:
    with pytest.raises(StoppedError):
        train(make(), EXAMPLES, settings, progress=Log(at), checkpoints=folder, **others)


@pytest.mark.parametrize("make", [tiny_llama, with_dropout])
@pytest.mark.parametrize(("at", "rank"), [(1, 0), (3, 0), (3, 2)])
def test_the_weights_are_those_of_a_training_that_was_never_stopped(
    tmp_path: Path, make: Any, at: int, rank: int
) -> None:
    whole, log, settings = make(), Log(), SETTINGS.model_copy(update={"lora_rank": rank})
    expected = train(whole, EXAMPLES, settings, seed=3, progress=log)
    stopped(make, tmp_path, at, seed=3, settings=settings)
    resumed, again = make(), Log()
    summary = train(resumed, EXAMPLES, settings, seed=3, progress=again, checkpoints=tmp_path)
    for name, weight in weights(whole).items():
        assert torch.equal(weights(resumed)[name], weight), name
    assert again.learned == log.learned
    assert (summary.tokens, summary.first_loss, summary.last_loss) == (
        expected.tokens,
        expected.first_loss,
        expected.last_loss,
    )
    done = log.rows[at - 1]["tokens"]  # the step that was being told is taken again
    assert again.phases == [(f"train, resume at {done} tokens", summary.tokens - done)]
    assert again.advanced == summary.tokens - done


def test_dropout_makes_the_random_state_matter() -> None:
    """Otherwise the test above would not see it lost."""
    one, two = with_dropout(), with_dropout()
    train(one, EXAMPLES, SETTINGS, seed=3)
    train(two, EXAMPLES, SETTINGS, seed=4)
    assert any(not torch.equal(a, b) for a, b in zip(weights(one).values(), weights(two).values(), strict=True))


def test_a_finished_training_is_not_done_again(tmp_path: Path) -> None:
    first, second, log = tiny_llama(), tiny_llama(), Log()
    summary = train(first, EXAMPLES, SETTINGS, checkpoints=tmp_path)
    again = train(second, EXAMPLES, SETTINGS, checkpoints=tmp_path, progress=log)
    assert again == replace(summary, earlier_s=summary.seconds)
    assert log.advanced == 0
    assert all(torch.equal(a, b) for a, b in zip(weights(first).values(), weights(second).values(), strict=True))


def test_only_the_latest_is_kept_and_frozen_weights_are_not(tmp_path: Path) -> None:
    backbone = tiny_llama()
    train(backbone, EXAMPLES, SETTINGS, checkpoints=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [NAME]
    _, kept = read(tmp_path / NAME)
    assert kept["weights"].keys() == {n for n in weights(backbone) if "layers.1." in n or n == "model.norm.weight"}


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"settings": SETTINGS.model_copy(update={"clip": 0.5})},
        {"examples": [*EXAMPLES[:-1], Example((11, 13), ((0, 2),))]},
        {"examples": [*EXAMPLES[:-1], Example((11, 12), ((1, 2),))]},
        {"backbone": lambda: tiny_llama(seed=1)},
        {"backbone": lambda: tiny_llama().restricted(torch.arange(2, 20).numpy())},
    ],
    ids=["seed", "settings", "tokens", "spans", "weights", "vocabulary"],
)
def test_another_training_starts_anew(tmp_path: Path, change: dict[str, Any]) -> None:
    stopped(tiny_llama, tmp_path, 3)
    given = {"seed": 0, "settings": SETTINGS, "examples": EXAMPLES, "backbone": tiny_llama, **change}
    log = Log()
    make, seed = given["backbone"], given["seed"]
    train(make(), given["examples"], given["settings"], seed=seed, progress=log, checkpoints=tmp_path)
    assert log.phases[0][0] == "train"


def test_how_often_checkpoints_are_written_does_not_matter(tmp_path: Path) -> None:
    stopped(tiny_llama, tmp_path, 3)
    log = Log()
    rarely = SETTINGS.model_copy(update={"checkpoint_s": 1e6})
    train(tiny_llama(), EXAMPLES, rarely, progress=log, checkpoints=tmp_path)
    assert log.phases[0][0].startswith("train, resume at")


def test_a_checkpoint_is_written_when_its_time_has_come(tmp_path: Path) -> None:
    """The clock ticks at the beginning, twice a step and once after it: 3 a step, so every 7 means after step 3."""
    ticks = itertools.count()
    stopped(tiny_llama, tmp_path, 4, SETTINGS.model_copy(update={"checkpoint_s": 7}), clock=lambda: float(next(ticks)))
    assert read(tmp_path / NAME)[1]["story"]["steps"] == 3


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 half", pickle.dumps(print, protocol=2)])
def test_a_damaged_checkpoint_costs_only_its_time(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / NAME).write_bytes(damage)
    log = Log()
    train(tiny_llama(), EXAMPLES, SETTINGS, progress=log, checkpoints=tmp_path)
    assert log.phases[0][0] == "train"


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(StorageError, match="the state of the training"):
        train(tiny_llama(), EXAMPLES, SETTINGS, checkpoints=tmp_path / "file")


class Falling:
    """An evaluation that likes the weights less each time."""

    measure = "RR@5"

    def __init__(self, identity: str = "falling") -> None:
        self.identity = identity
        self.asked = 0

    def score(self) -> float:
        self.asked += 1
        return 1 / self.asked


def test_the_best_weights_so_far_survive_a_stop(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"dev_evaluations": 4})
    whole, resumed = tiny_llama(), tiny_llama()
    expected = train(whole, EXAMPLES, settings, evaluate=Falling())
    last = len([row for row in logged(settings) if "loss" in row]) - 2
    stopped(tiny_llama, tmp_path, last, settings, evaluate=Falling())
    later = Falling()
    later.asked = 3
    summary = train(resumed, EXAMPLES, settings, evaluate=later, checkpoints=tmp_path)
    assert later.asked == 4  # the three evaluations before the stop are not made again
    assert (summary.best_score, summary.best_tokens) == (expected.best_score, expected.best_tokens) == (1.0, 34)
    assert all(torch.equal(a, b) for a, b in zip(weights(whole).values(), weights(resumed).values(), strict=True))
    log = Log()
    train(tiny_llama(), EXAMPLES, settings, evaluate=Falling("another"), checkpoints=tmp_path, progress=log)
    assert log.phases[0][0] == "train"


def logged(settings: TrainingSettings) -> list[dict[str, Any]]:
    log = Log()
    summary = train(tiny_llama(), EXAMPLES, settings, evaluate=Falling(), progress=log)
    assert isinstance(summary, TrainingSummary)
    return log.rows


def test_a_processors_random_state_starts_a_card_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    state = random_state(torch.device("cpu"))
    first = torch.rand(3)
    told: list[object] = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda value, device: told.append(value))
    restore_random_state(state, torch.device("cuda"))
    assert torch.equal(torch.rand(3), first)
    assert told == []
    restore_random_state({**state, "gpu": state["cpu"]}, torch.device("cuda"))
    assert len(told) == 1


def test_the_time_before_a_training_was_stopped_is_told(tmp_path: Path) -> None:
    def clock() -> float:
        return next(ticks)

    ticks = itertools.count(0.0, 1.0)
    stopped(tiny_llama, tmp_path, 3, clock=clock)
    assert train(tiny_llama(), EXAMPLES, SETTINGS, clock=clock).earlier_s == 0
    summary = train(tiny_llama(), EXAMPLES, SETTINGS, checkpoints=tmp_path, clock=clock)
    assert 0 < summary.earlier_s < summary.seconds
    assert summary.figures()["earlier_s"] == summary.earlier_s
    assert summary.behind(summary).earlier_s == 2 * summary.earlier_s


def test_the_index_time_of_a_cell_holds_what_it_took_before() -> None:
    meter: Meter = {"index_s": 2.0}
    cell._add_training(meter, SimpleNamespace(training_summary=lambda: {"earlier_s": 3.0}), {})  # type: ignore[arg-type]
    assert (meter["index_s"], meter["earlier_s"]) == (5.0, 3.0)
