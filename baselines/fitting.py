"""The training loop of the baselines that learn from pairs, and the choice of the best epoch on the dev queries."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import TYPE_CHECKING, Any, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from baselines.negatives import Lesson
from harness.lm.backbone import resolve_dtype
from harness.lm.training import TrainingSummary
from harness.measures import per_query
from harness.progress import SILENT, Progress
from harness.types import Hit, Split

if TYPE_CHECKING:
    import torch

Deal = Callable[[Sequence[Lesson], int, random.Random], list[list[Lesson]]]
"""(lessons, batch size, randomness) -> the batches of one epoch."""
Loss = Callable[[Sequence[Lesson]], "tuple[torch.Tensor, int]"]
"""Batch -> its mean loss in nats a lesson, and the tokens read for it without padding."""
Judge = Callable[[int], float]
"""Epoch (0: untrained) -> quality of the weights as they are now; larger is better."""
CHOSEN_BY = "RR@10"
TOGETHER = 8
"""Inputs that go through a model together in training."""


class FitSettings(BaseModel):
    """How a model is trained on pairs of query and passage."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    epochs: int = Field(default=2, ge=0)
    """Times every pair is seen; 0: the model is used as it comes."""
    queries: int | None = Field(default=None, ge=1)
    """Training queries that are used, chosen by hash; none: all."""
    batch_size: int = Field(default=16, ge=1)
    """Pairs a step."""
    learning_rate: float = Field(default=5e-5, gt=0)
    """Peak of a cosine schedule with linear warm-up (AdamW)."""
    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of all steps."""
    weight_decay: float = Field(default=0.01, ge=0)
    """Decay of the weights, of AdamW."""
    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""
    max_length: int = Field(default=256, ge=8)
    """Tokens after which a text is cut while training; never more than the model reads."""
    dtype: str = Field(default="auto", pattern="^(auto|float32|bfloat16)$")
    """Arithmetic of the forward and backward pass; auto: bfloat16 where the hardware multiplies in it."""


class Fitted(NamedTuple):
    """What came of a training: its figures and the epoch whose weights were kept (0: the untrained ones)."""

    summary: TrainingSummary
    kept: int


def reciprocal_rank(lists: Sequence[Sequence[Hit]], split: Split) -> float:
    """Return the mean over the queries of 1 / rank of the first relevant hit, 0 below rank 10."""
    qids = [query.qid for query in split.queries]
    return fmean(per_query(dict(zip(qids, lists, strict=True)), split.qrels, qids, [CHOSEN_BY])[CHOSEN_BY].values())


def read(model: Any, inputs: Sequence[Any], output: str, max_length: int) -> tuple[torch.Tensor, int]:
    """Put texts, or pairs of texts, through a model of sentence-transformers for training.

    Inputs of like length go together, a few at a time, which spares most of the padding.

    Args:
        model: the model.
        inputs: str, or (str, str) for a cross-encoder.
        output: which of the model's outputs is wanted.
        max_length: tokens after which an input is cut, if the model reads that many.

    Returns:
        The (inputs, width) output, in the order of the inputs, and the tokens read.
    """
    import torch
    from sentence_transformers.util import batch_to_device

    longest = min(max_length, model.max_seq_length)
    lengths = [len(one) if isinstance(one, str) else sum(map(len, one)) for one in inputs]
    order = sorted(range(len(inputs)), key=lambda place: lengths[place])
    parts: list[torch.Tensor] = []
    tokens = 0
    for start in range(0, len(order), TOGETHER):
        some = [inputs[place] for place in order[start : start + TOGETHER]]
        features = batch_to_device(model.preprocess(some, max_length=longest), model.device)
        tokens += int(features["attention_mask"].sum())
        parts.append(model(features)[output])
    whole = torch.cat(parts)
    return whole[torch.tensor(order).argsort().to(whole.device)], tokens


def fit(
    model: Any,
    lessons: Sequence[Lesson],
    loss: Loss,
    deal: Deal,
    settings: FitSettings,
    *,
    seed: int,
    judge: Judge | None = None,
    progress: Progress = SILENT,
) -> Fitted:
    """Train `model` in place; where there is a judge, end with the weights it valued most, of equals the earliest.

    Every step writes a row {"step", "tokens", "loss", "learning_rate", "tokens_per_s"} to `progress`, and every
    judgement, the first before training, a row {"epoch", "tokens", "dev_RR@10"}. The summary counts training alone.
    Dropout stays off: with it, attention on processors keeps every matrix, which takes far more memory and time.
    """
    model.eval()
    rng = random.Random(seed)
    epochs = [deal(lessons, settings.batch_size, rng) for _ in range(settings.epochs if lessons else 0)]
    best = _Best(model, judge, progress)
    best.look(0, 0)
    steps = _Steps(model, loss, settings, sum(map(len, epochs)), progress)
    for epoch, batches in enumerate(epochs, start=1):
        progress.phase("train", len(lessons), "pairs")
        for batch in batches:
            steps.take(batch)
        best.look(epoch, steps.tokens)
    return Fitted(steps.summary(), best.settle(len(epochs)))


class _Best:
    """Remembers the weights that did best on dev."""

    def __init__(self, model: Any, judge: Judge | None, progress: Progress) -> None:
        self._model, self._judge, self._progress = model, judge, progress
        self._value = float("-inf")
        self._epoch = 0
        self._weights: dict[str, Any] = {}

    def look(self, epoch: int, tokens: int) -> None:
        """Judge the weights as they are after an epoch and copy them if they are better than any before."""
        if self._judge is None:
            return
        self._progress.phase("judge on dev")
        value = self._judge(epoch)
        self._progress.record({"epoch": epoch, "tokens": tokens, f"dev_{CHOSEN_BY}": value})
        if value > self._value:
            self._value, self._epoch = value, epoch
            self._weights = {name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()}

    def settle(self, last: int) -> int:
        """Put the best weights back and return their epoch; without a judge the last epoch stays."""
        if self._judge is None:
            return last
        if self._epoch != last:
            self._model.load_state_dict(self._weights)
        return self._epoch


class _Steps:
    """Takes optimiser steps and keeps count."""

    def __init__(self, model: Any, loss: Loss, settings: FitSettings, steps: int, progress: Progress) -> None:
        import torch
        from transformers import get_cosine_schedule_with_warmup

        self._model, self._loss, self._clip, self._progress = model, loss, settings.clip, progress
        self._reduced = resolve_dtype(settings.dtype) == "bfloat16"
        weights = [weight for weight in model.parameters() if weight.requires_grad]
        self._weights = weights
        self._optimizer = torch.optim.AdamW(
            weights, settings.learning_rate, weight_decay=settings.weight_decay, fused=True
        )
        self._schedule = get_cosine_schedule_with_warmup(self._optimizer, round(settings.warmup * steps), steps)
        self._losses: list[float] = []
        self._seconds = 0.0
        self.tokens = 0

    def take(self, batch: Sequence[Lesson]) -> None:
        """Learn from one batch and record it."""
        import torch

        began = time.perf_counter()
        with torch.autocast(self._model.device.type, torch.bfloat16, enabled=self._reduced):
            loss, tokens = self._loss(batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(self._weights, self._clip)
        self._optimizer.step()
        self._optimizer.zero_grad()
        used_rate = self._schedule.get_last_lr()[0]
        self._schedule.step()
        self._losses.append(float(loss.detach()))
        self._seconds += time.perf_counter() - began
        self.tokens += tokens
        row = {"step": len(self._losses) - 1, "tokens": self.tokens, "loss": self._losses[-1]}
        self._progress.advance(len(batch))
        self._progress.record({**row, "learning_rate": used_rate, "tokens_per_s": self.tokens / self._seconds})

    def summary(self) -> TrainingSummary:
        """Return tokens, seconds and the loss of the first and the last tenth of the steps."""
        if not self._losses:
            return TrainingSummary(0, 0.0, None, None)
        tenth = max(1, len(self._losses) // 10)
        return TrainingSummary(self.tokens, self._seconds, fmean(self._losses[:tenth]), fmean(self._losses[-tenth:]))
