"""How fast training is: the loop of `harness.lm.training` against `transformers.Trainer` with padding.

Both ways train the same model on the same examples in the same order and batches, with the same layers frozen, the same
optimiser, schedule and arithmetic, and take the mean loss of the same targets. What differs is what is under test: ours
lays several examples into a row and computes logits for targets alone; the Trainer pads the examples of a batch to the
longest, labels -100 outside the targets, and computes all logits, as a `Trainer` of a causal model does.

Tokens counted are useful ones: all tokens of the examples, those that bear loss and those they follow, padding
excluded. Each way and round is a process of its own, `python -m harness.bench.train WAY FILE`, so that its peak memory
is its own.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, cast

from harness.errors import ConfigError
from harness.jsonfile import read_object, write_json
from harness.lm.backbone import load, resolve_dtype
from harness.lm.batches import pack, size_of
from harness.lm.examples import Example
from harness.lm.objective import freeze
from harness.lm.training import TrainingSettings, train
from harness.meter import PeakRss
from harness.progress import SILENT, Progress

if TYPE_CHECKING:
    import torch

Way = Literal["ours", "trainer"]
WAYS: tuple[Way, ...] = ("ours", "trainer")
LOSS_TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}
"""Nats by which the losses of the same examples may differ between two layouts: bfloat16 keeps eight bits."""
_IGNORED = -100


class Measured(TypedDict):
    """What one process measured of one way.

    useful_tokens_per_s: over all steps but the first, which warms up. fed_tokens_per_s: the same with padding.
    useful_tokens: of those steps. padding: share of what was fed in all steps, 0..1. losses: of each step, nats a
    target. rss_peak_bytes: while training. cores: processor seconds a second of these steps; where it is well below the
    threads, or differs between the ways, something else was running and the speeds say nothing.
    """

    useful_tokens_per_s: float
    fed_tokens_per_s: float
    useful_tokens: int
    padding: float
    losses: list[float]
    rss_peak_bytes: int
    cores: float


@dataclass(frozen=True)
class Task:
    """What is trained: model as in `harness.lm.backbone.load`, over its whole vocabulary; examples in order."""

    model: str
    examples: Sequence[Example]
    settings: TrainingSettings


def run(task: Task, rounds: int = 2, progress: Progress = SILENT) -> dict[str, Any]:
    """Train both ways, each in a process of its own, the first one changing from round to round.

    Returns:
        {"ours": Measured, "trainer": Measured, "speedup_useful", "equal_loss", "loss_difference", "rounds"}: of each
        way the round of median speed and the largest memory; equal_loss: the losses of the first step, in nats a
        target, differ by at most `LOSS_TOLERANCE` of the number type trained in.

    Raises:
        ConfigError: too few examples for two steps, or a way that failed.
    """
    if len(_batches(task)) < 2:
        raise ConfigError("examples for at least two steps", f"{len(_batches(task))}", "raise --tokens")
    progress.phase("train", len(WAYS) * rounds, "processes")
    found: dict[Way, list[Measured]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "task.json"
        write_json(path, {**asdict(task), "settings": task.settings.model_dump(mode="json")}, "the task of a benchmark")
        for i in range(rounds):
            for way in WAYS if i % 2 == 0 else WAYS[::-1]:
                found[way].append(_in_process(way, path))
                progress.advance()
    return summarise(found, LOSS_TOLERANCE[resolve_dtype(task.settings.dtype)])


def summarise(found: dict[Way, list[Measured]], tolerance: float = LOSS_TOLERANCE["float32"]) -> dict[str, Any]:
    """Put the rounds together; see `run`."""
    middle = {way: _median(rounds) for way, rounds in found.items()}
    speed = {way: [m["useful_tokens_per_s"] for m in rounds] for way, rounds in found.items()}
    difference = abs(middle["ours"]["losses"][0] - middle["trainer"]["losses"][0])
    return {
        "ours": middle["ours"],
        "trainer": middle["trainer"],
        "speedup_useful": statistics.median(a / b for a, b in zip(speed["ours"], speed["trainer"], strict=True)),
        "equal_loss": difference <= tolerance,
        "loss_difference": difference,
        "rounds": len(found["ours"]),
    }


def table(figures: dict[str, Any]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and rows of the comparison."""
    heads = (
        "way",
        "useful tokens/s",
        "tokens/s with padding",
        "padding",
        "peak RSS, GB",
        "cores",
        "first loss",
        "speed-up",
    )
    rows: list[tuple[str, ...]] = [
        (
            name,
            f"{m['useful_tokens_per_s']:.0f}",
            f"{m['fed_tokens_per_s']:.0f}",
            f"{m['padding']:.0%}",
            f"{m['rss_peak_bytes'] / 1e9:.2f}",
            f"{m['cores']:.2f}",
            f"{m['losses'][0]:.4f}",
            speedup,
        )
        for name, m, speedup in (
            ("ours", figures["ours"], f"{figures['speedup_useful']:.2f}x"),
            ("Trainer", figures["trainer"], ""),
        )
    ]
    return heads, rows


def _median(rounds: Sequence[Measured]) -> Measured:
    ordered = sorted(rounds, key=lambda m: m["useful_tokens_per_s"])
    return {**ordered[(len(ordered) - 1) // 2], "rss_peak_bytes": max(m["rss_peak_bytes"] for m in rounds)}


def _in_process(way: Way, path: Path) -> Measured:
    command = [sys.executable, "-P", "-m", "harness.bench.train", way, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        raise ConfigError(f"the process that trains in the way {way!r} to end well", last, "see that the model loads")
    return cast(Measured, json.loads(done.stdout.splitlines()[-1]))


def _batches(task: Task) -> list[list[list[Example]]]:
    return pack(task.examples, task.settings.row_tokens, task.settings.batch_tokens)


def _read(path: Path) -> Task:
    kept = read_object(path)
    examples = [Example(tuple(t), tuple((a, b) for a, b in spans)) for t, spans in kept["examples"]]
    return Task(kept["model"], examples, TrainingSettings.model_validate(kept["settings"]))


class _Ends:
    """Remembers when each step ended, by the clock and in processor time, and its loss, as a `Progress`."""

    def __init__(self) -> None:
        self.at: list[float] = []
        self.processor_s: list[float] = []
        self.losses: list[float] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        pass

    def advance(self, amount: int = 1) -> None:
        pass

    def record(self, row: dict[str, float | int | str]) -> None:
        self.at.append(time.perf_counter())
        self.processor_s.append(time.process_time())
        self.losses.append(float(row["loss"]))


def _train_ours(task: Task) -> tuple[_Ends, list[int]]:
    """Train with our loop; return when steps ended and how many tokens each fed, padding included."""
    ends = _Ends()
    train(load(task.model, "float32").restricted(None), task.examples, task.settings, progress=ends)
    rows = [[sum(len(e.tokens) for e in row) for row in batch] for batch in _batches(task)]
    return ends, [len(lengths) * max(lengths) for lengths in rows]


def _train_padded(task: Task) -> tuple[_Ends, list[int]]:
    """Train with `transformers.Trainer`; an item of its dataset is one of our batches, which the collator pads."""
    import transformers

    backbone, settings, ends = load(task.model, "float32"), task.settings, _Ends()
    freeze(backbone.model, settings.frozen_layers, settings.freeze_embeddings)
    batches = [[e for row in batch for e in row] for batch in _batches(task)]

    class Stamps(transformers.TrainerCallback):  # type: ignore[misc]
        def on_log(self, *_: Any, logs: dict[str, float], **__: Any) -> None:
            if "loss" in logs:
                ends.record({"loss": logs["loss"]})

    with tempfile.TemporaryDirectory() as folder:
        arguments = transformers.TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=1,
            train_sampling_strategy="sequential",
            learning_rate=settings.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=round(settings.warmup * len(batches)),
            weight_decay=settings.weight_decay,
            max_grad_norm=settings.clip,
            optim="adamw_torch_fused",
            bf16=resolve_dtype(settings.dtype) == "bfloat16",
            use_cpu=backbone.device.type == "cpu",
            logging_steps=1,
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = transformers.Trainer(
            model=backbone.model,
            args=arguments,
            train_dataset=batches,
            data_collator=lambda items: pad(items[0]),
            callbacks=[Stamps()],
        )
        trainer.remove_callback(transformers.PrinterCallback)
        trainer.train()
    return ends, [len(batch) * max(len(e.tokens) for e in batch) for batch in batches]


def pad(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Pad examples on the right to the longest: input_ids, attention_mask and labels, each (examples, longest).

    >>> pad([Example((7, 8, 9), ((1, 2),)), Example((5,), ())])["labels"].tolist()
    [[-100, 8, -100], [-100, -100, -100]]
    """
    import torch

    shape = (len(examples), max(len(e.tokens) for e in examples))
    tokens, seen = torch.zeros(shape, dtype=torch.long), torch.zeros(shape, dtype=torch.long)
    labels = torch.full(shape, _IGNORED)
    for row, example in enumerate(examples):
        written = torch.tensor(example.tokens)
        tokens[row, : len(written)], seen[row, : len(written)] = written, 1
        for start, end in example.spans:
            labels[row, start:end] = written[start:end]
    return {"input_ids": tokens, "attention_mask": seen, "labels": labels}


def measure(way: Way, task: Task) -> Measured:
    """Train in one way in this process."""
    with PeakRss() as peak:
        ends, fed = {"ours": _train_ours, "trainer": _train_padded}[way](task)
    sizes = [size_of(batch) for batch in _batches(task)]
    seconds = ends.at[-1] - ends.at[0]
    return {
        "useful_tokens_per_s": sum(sizes[1:]) / seconds,
        "fed_tokens_per_s": sum(fed[1:]) / seconds,
        "useful_tokens": sum(sizes[1:]),
        "padding": 1 - sum(sizes) / sum(fed),
        "losses": ends.losses,
        "rss_peak_bytes": peak.peak_bytes,
        "cores": (ends.processor_s[-1] - ends.processor_s[0]) / seconds,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(cast(Way, sys.argv[1]), _read(Path(sys.argv[2])))) + "\n")
