"""The comparison of the training loop with the Trainer, on a tiny model: both learn the same, and padding is told."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from harness.bench import train as bench
from harness.cli import main
from harness.errors import ConfigError
from harness.lm.examples import Example
from harness.lm.training import TrainingSettings
from tests.lm_models import tiny_folder

SETTINGS = TrainingSettings(
    frozen_layers=1, dtype="float32", batch_tokens=120, row_tokens=40, learning_rate=3e-3, warmup=0.5
)


def examples(count: int) -> list[Example]:
    rng = random.Random(5)
    found = []
    for _ in range(count):
        tokens = tuple(rng.randrange(1, 200) for _ in range(rng.randrange(4, 36)))
        found.append(Example(tokens, ((2, len(tokens) - 1),)))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def test_both_ways_learn_the_same(folder: str) -> None:
    said: list[int] = []

    class Told:
        def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
            assert total == 2

        def advance(self, amount: int = 1) -> None:
            said.append(amount)

        def record(self, row: dict[str, Any]) -> None: ...

    task = bench.Task(folder, examples(30), SETTINGS)
    figures = bench.run(task, rounds=1, progress=Told())
    ours, trainer = figures["ours"], figures["trainer"]
    assert said == [1, 1]
    assert figures["equal_loss"] is True
    assert len(ours["losses"]) >= 4
    assert ours["losses"] == pytest.approx(trainer["losses"], abs=1e-3)  # so the optimiser and the schedule agree too
    assert ours["useful_tokens"] == trainer["useful_tokens"]
    assert 0 <= ours["padding"] < 0.2
    assert 0.3 < trainer["padding"] < 1
    assert figures["speedup_useful"] == pytest.approx(ours["useful_tokens_per_s"] / trainer["useful_tokens_per_s"])
    assert ours["fed_tokens_per_s"] > ours["useful_tokens_per_s"] > 0
    assert min(ours["rss_peak_bytes"], trainer["rss_peak_bytes"]) > 2**26
    assert min(ours["cores"], trainer["cores"]) > 0
    heads, rows = bench.table(figures)
    assert [len(row) for row in rows] == 2 * [len(heads)]
    json.dumps(figures)


def measured(speed: float, loss: float, rss: int = 1) -> bench.Measured:
    return {
        "useful_tokens_per_s": speed,
        "fed_tokens_per_s": speed,
        "useful_tokens": 10,
        "padding": 0.0,
        "losses": [loss, 1.0],
        "rss_peak_bytes": rss,
        "cores": 1.0,
    }


def test_the_median_round_counts_and_unequal_losses_are_told() -> None:
    ours = [measured(30, 2.0), measured(10, 2.0, 7), measured(20, 2.0)]
    trainer = [measured(10, 2.002), measured(5, 2.002), measured(5, 2.002)]
    figures = bench.summarise({"ours": ours, "trainer": trainer})
    assert (figures["ours"]["useful_tokens_per_s"], figures["ours"]["rss_peak_bytes"]) == (20, 7)
    assert figures["speedup_useful"] == 3  # of 3, 2 and 4
    assert figures["equal_loss"] is False
    assert figures["loss_difference"] == pytest.approx(0.002)
    assert bench.summarise({"ours": ours, "trainer": trainer}, bench.LOSS_TOLERANCE["bfloat16"])["equal_loss"] is True


def test_what_cannot_be_compared_is_refused(folder: str) -> None:
    with pytest.raises(ConfigError, match="two steps"):
        bench.run(bench.Task(folder, examples(1), SETTINGS))
    too_many = SETTINGS.model_copy(update={"frozen_layers": 9})
    with pytest.raises(ConfigError, match="to end well"):
        bench.run(bench.Task(folder, examples(30), too_many), rounds=1)


def test_the_command_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def training(tokens: int, rounds: int, progress: object) -> dict[str, Any]:
        asked.extend((tokens, rounds))
        return bench.summarise({"ours": [measured(30, 2.0)], "trainer": [measured(10, 2.0)]})

    monkeypatch.setattr("selfretrieval.bench.training", training)
    out = tmp_path / "train.json"
    assert main(["bench", "train", "--tokens", "500", "--rounds", "1", "--json", str(out)]) == 0
    assert asked == [500, 1]
    assert "3.00x" in capsys.readouterr().out
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert (kept["speedup_useful"], kept["equal_loss"]) == (3.0, True)
    assert "environment" in kept
