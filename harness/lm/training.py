"""The one training loop of all generative systems: packed rows, loss on target spans, a fixed token budget.

Several examples share a row; a block-diagonal mask and restarting positions keep them apart, so a packed example
gets the loss it would get alone. The lower layers and the embeddings may be frozen: with SmolLM2-135M this
doubles the speed at no loss of quality after minutes of training. Runs on one device or, under
`accelerate launch`, on several: each process takes every n-th row of a batch.

A training that keeps checkpoints can be stopped at any moment and gone on with: on a processor it ends in the very
weights of one that was never stopped. One that is evaluated ends in the best weights it was seen with.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Protocol

from pydantic import Field

from harness.growing import GrowingSettings
from harness.lm.backbone import Backbone
from harness.lm.batches import pack, size_of
from harness.lm.checkpoint import Checkpoints
from harness.lm.examples import Example, everything
from harness.lm.objective import refuse_longer, refuse_unwritable
from harness.lm.session import Clock
from harness.lm.steps import Training
from harness.progress import SILENT, Progress


class TrainingSettings(GrowingSettings):
    """How a backbone is trained."""

    added: ClassVar[frozenset[str]] = frozenset({"lora_rank", "loss"})

    tokens: int = Field(100_000, ge=0)
    """Tokens fed, context included, padding excluded."""
    learning_rate: float = Field(4e-4, gt=0)
    """Peak of a cosine schedule with linear warm-up (AdamW)."""
    warmup: float = Field(0.04, ge=0, le=1)
    """Share of all steps."""
    weight_decay: float = Field(0.01, ge=0)
    """Decay of the weights, of AdamW."""
    clip: float = Field(1.0, gt=0)
    """Largest norm of the gradient."""
    batch_tokens: int = Field(1024, ge=1)
    """Tokens a step, over all processes."""
    row_tokens: int = Field(256, ge=1)
    """Tokens a packed row; a longer example gets a row of its own."""
    frozen_layers: int = Field(20, ge=0)
    """Lower transformer layers that are not trained."""
    freeze_embeddings: bool = True
    """Leave the token embeddings, and the head where it shares them, as they are."""
    lora_rank: int = Field(0, ge=0)
    """Train low-rank adapters of this rank in all linear layers above the frozen ones, and nothing else; 0: the weights
    themselves. Adapters want a larger `learning_rate`."""
    loss: Literal["targets", "all tokens"] = "targets"
    """Whose cross-entropy is lowered: what is to be written alone (Tang et al. 2024), or the context as well (an
    addition), from the second token of an example on, over the whole vocabulary."""
    dtype: str = Field("auto", pattern="^(auto|float32|bfloat16)$")
    """Arithmetic of the forward and backward pass; weights that are trained stay float32."""
    checkpoint_s: float = Field(120.0, ge=0)
    """Seconds between two checkpoints, which an interrupted training goes on from; 0: one after every step."""
    dev_evaluations: int = Field(0, ge=0)
    """How often quality on dev queries is measured, evenly spaced, the last time at the end; 0: never."""
    dev_queries: int = Field(50, ge=1)
    """Dev queries that are searched each time, chosen by hash."""
    keep_best: bool = True
    """Where dev queries are searched: end with the weights that did best on them, not with the last ones."""


def refuse_trimmed(training: TrainingSettings, trim_vocabulary: bool) -> None:
    """Refuse to learn all tokens with a head that has no row for some of them: ValueError, for a validator."""
    if training.loss == "all tokens" and trim_vocabulary:
        raise ValueError('training.loss = "all tokens" needs trim_vocabulary = false: contexts hold any token')


class Evaluation(Protocol):
    """Measures the weights as they are. The model is in evaluation mode, and its weights are float32."""

    @property
    def measure(self) -> str:
        """Name of what is measured, such as "RR@5"."""

    @property
    def identity(self) -> str:
        """A text that differs where another thing is measured; a checkpoint is gone on from only where it is equal."""

    def score(self) -> float:
        """Measure; larger is better."""


@dataclass(frozen=True)
class TrainingSummary:
    """What a training run was: tokens fed, seconds of its steps, loss of the first and the last tenth of the steps.

    evaluation_s: seconds spent measuring on dev, which are no part of `seconds`. best_score, best_tokens: the best
    evaluation and how many tokens had been fed by then; None where nothing was evaluated. earlier_s: seconds of both
    kinds that were spent before the training was stopped, by processes that are gone.
    """

    tokens: int
    seconds: float
    first_loss: float | None
    last_loss: float | None
    evaluation_s: float = 0.0
    best_score: float | None = None
    best_tokens: int | None = None
    earlier_s: float = 0.0

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens fed a second, evaluation excluded."""
        return self.tokens / self.seconds if self.seconds else None

    def behind(self, other: TrainingSummary) -> TrainingSummary:
        """Return this training's summary with the tokens and seconds of one that had to come before it."""
        best = None if self.best_tokens is None else other.tokens + self.best_tokens
        tokens, seconds = other.tokens + self.tokens, other.seconds + self.seconds
        earlier_s = other.earlier_s + self.earlier_s
        return replace(self, tokens=tokens, seconds=seconds, best_tokens=best, earlier_s=earlier_s)

    def figures(self) -> dict[str, float]:
        """Return train_tokens and tokens_per_s, as far as something was trained, and what dev queries said of it.

        earlier_s is there where the training was gone on with.
        """
        speed = self.tokens_per_s
        found = {} if speed is None else {"train_tokens": self.tokens, "tokens_per_s": speed}
        if self.best_score is not None and self.best_tokens is not None:
            found |= {"dev_score": self.best_score, "dev_tokens": self.best_tokens, "dev_s": self.evaluation_s}
        return found | ({"earlier_s": self.earlier_s} if self.earlier_s else {})


def train(
    backbone: Backbone,
    examples: Sequence[Example],
    settings: TrainingSettings,
    *,
    seed: int = 0,
    progress: Progress = SILENT,
    checkpoints: Path | None = None,
    evaluate: Evaluation | None = None,
    clock: Clock = time.perf_counter,
) -> TrainingSummary:
    """Train `backbone` in place on `examples` in the order given; see `TrainingSettings`.

    Every step writes a row {"step", "tokens", "loss", "learning_rate", "tokens_per_s"} to `progress`; loss is in nats
    a target token. Every evaluation writes {"step", "tokens", "dev_<measure>", "evaluation_s"}. Weights end in the
    number type they came in.

    Args:
        backbone: what is trained.
        examples: in the order they are fed.
        settings: how.
        seed: of dropout, where the model has any.
        progress: is told about each step. A training that goes on from a checkpoint begins by telling the rows of the
            steps before it once more, so that a log which starts empty ends whole, and names its phase
            "train, resume at N tokens".
        checkpoints: folder whose checkpoint is gone on from where settings, seed, examples, evaluation and the weights
            to start from are the same, and which gets a new one every `checkpoint_s`. Of several processes the first
            writes and all read, so they must share it. None: neither.
        evaluate: is asked `dev_evaluations` times; it disturbs neither weights nor random state.
        clock: seconds.

    Raises:
        ConfigError: more layers are to be frozen than there are, a target is outside the backbone's vocabulary, an
            example is longer than the backbone reads, loss or gradient are not finite, or of several processes not all
            hold the whole model or can read the checkpoint that the first has.
        StorageError: a checkpoint cannot be written.
    """
    if settings.loss == "all tokens":
        examples = [everything(e) for e in examples]
    batches = pack(examples, settings.row_tokens, settings.batch_tokens)
    if not batches:
        return TrainingSummary(0, 0.0, None, None)
    refuse_unwritable(backbone, examples)
    refuse_longer(backbone, max(len(e.tokens) for e in examples), "an example of the training")
    training = Training(backbone, settings, len(batches), seed, clock)
    kept: Checkpoints | None = None
    if checkpoints:
        called = training.fingerprint(examples, {"seed": seed, "evaluation": evaluate and evaluate.identity})
        kept = Checkpoints(checkpoints, called, settings.checkpoint_s, clock)
    training.begin(training.agreed(kept.load()) if kept else None, sum(map(size_of, batches)), progress)
    for rows in batches[training.story.steps :]:
        progress.record(training.step(rows))
        progress.advance(size_of(rows))
        if evaluate and training.story.steps in _due(len(batches), settings.dev_evaluations):
            progress.record(training.evaluate(evaluate))
        if kept and training.is_main:
            kept.save_when_due(training.state)
    training.end()
    story = training.story
    first, last = story.losses_of_ends()
    return TrainingSummary(
        story.tokens,
        story.seconds,
        first,
        last,
        story.evaluation_s,
        story.best_score,
        story.best_tokens,
        training.earlier_s,
    )


def _due(steps: int, times: int) -> set[int]:
    """Say after which of `steps` steps to evaluate: `times` of them, evenly spaced, the last one included.

    >>> sorted(_due(10, 4)), sorted(_due(2, 5)), _due(10, 0)
    ([2, 5, 8, 10], [1, 2], set())
    """
    return {max(1, round(steps * i / times)) for i in range(1, times + 1)}
