"""The dense retriever, its encoder fine-tuned on the training pairs.

Loss: MultipleNegativesRankingLoss (InfoNCE over the cosines, times 20) of sentence-transformers. The negatives of a
query are the passages of the other pairs in its batch and hard ones: what the untrained encoder itself ranks highest
and is wrong. The weights that find the dev queries best are kept, and the untrained ones are among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from baselines.dense import Dense, DenseSettings, EncodingSettings
from baselines.encoder import Encoder
from baselines.fitting import FitSettings, Judge, Loss, fit, read, reciprocal_rank
from baselines.negatives import Lesson, mined, unmixed
from baselines.saved import load_state, save_state
from harness.datasets.sampling import sample
from harness.errors import DataError
from harness.jsonfile import require
from harness.lm.training import TrainingSummary
from harness.progress import SILENT, Progress
from harness.retriever import Footprint, System
from harness.types import Corpus, Hit, Split
from harness.validation import validated

if TYPE_CHECKING:
    import torch

NAME = "dense-finetuned"
ENCODER = "encoder"
INDEX = "index"
JUDGED_TO = 10
"""Hits searched for each dev query."""
VECTOR = "sentence_embedding"
"""What sentence-transformers calls the vector of a text."""


class FineTuneSettings(EncodingSettings):
    """Settings of "dense-finetuned"; vectors are of unit length, as in the loss."""

    hard_negatives: int = Field(default=1, ge=0)
    """Hard negatives a training pair, besides the other passages of its batch."""
    mine_depth: int = Field(default=50, ge=1)
    """Hits of the untrained encoder among which hard negatives are looked for."""
    dev_corpus: int = Field(default=20_000, ge=0)
    """Passages up to which every epoch is judged on the dev queries, for which the corpus is encoded anew; of a larger
    corpus the last epoch is kept."""
    training: FitSettings = FitSettings()


class FineTuned:
    """A `Dense` with an encoder of its own."""

    def __init__(self, settings: FineTuneSettings, seed: int) -> None:
        self._settings = settings
        self._seed = seed
        self._encoder: Encoder | None = None
        self._dense: Dense | None = None
        self._summary: TrainingSummary | None = None

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Mine negatives, train, choose on `dev`, encode every passage; without training pairs this is "dense".

        Raises:
            ConfigError, DataError, OfflineError, DependencyError: the encoder or the kind of index cannot be had.
        """
        settings = self._settings
        encoder = Encoder(settings.model, normalise=True)
        dense = self._indexed(encoder, corpus, progress)
        lessons = mined(
            sample(train, settings.training.queries),
            corpus,
            dense.search,
            count=settings.hard_negatives,
            depth=settings.mine_depth,
            progress=progress,
        )
        if lessons and settings.training.epochs:
            judge = self._judge(encoder, corpus, dev)
            loss = _contrastive(encoder, corpus, settings)
            fitted = fit(
                encoder.model,
                lessons,
                loss,
                unmixed,
                settings.training,
                seed=self._seed,
                judge=judge,
                progress=progress,
            )
            self._summary = fitted.summary
            dense = self._indexed(encoder, corpus, progress) if fitted.kept else dense
        self._encoder, self._dense = encoder, dense

    def _indexed(self, encoder: Encoder, corpus: Corpus, progress: Progress = SILENT) -> Dense:
        shared = {name: getattr(self._settings, name) for name in EncodingSettings.model_fields}
        dense = Dense(DenseSettings(**shared), self._seed, encoder)
        dense.index(corpus, Split("train"), Split("dev"), progress)
        return dense

    def _judge(self, encoder: Encoder, corpus: Corpus, dev: Split) -> Judge | None:
        if not dev.queries or len(corpus) > self._settings.dev_corpus:
            return None
        queries = [query.text for query in dev.queries]
        return lambda epoch: reciprocal_rank(self._indexed(encoder, corpus).search(queries, JUDGED_TO), dev)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return the `k` passages of largest cosine."""
        return self._ready()[1].search(queries, k)

    def training_summary(self) -> dict[str, float]:
        """Return train_tokens and tokens_per_s of the training, as far as there was one."""
        return self._summary.figures() if self._summary else {}

    def footprint(self) -> Footprint:
        """Count as "dense" does."""
        return self._ready()[1].footprint()

    def save(self, folder: Path) -> None:
        """Write the encoder, the vectors and the settings.

        Raises:
            StorageError: the file system refused.
        """
        encoder, dense = self._ready()
        save_state(folder, NAME, {"settings": self._settings.model_dump(), "seed": self._seed})
        for part in (ENCODER, INDEX):
            (folder / part).mkdir()
        encoder.save(folder / ENCODER)
        dense.save(folder / INDEX)

    @classmethod
    def load(cls, folder: Path) -> FineTuned:
        """Read what `save` wrote; no hub and no package is asked.

        Raises:
            RunFolderError, DataError: a file is absent or damaged.
        """
        state = load_state(folder, NAME)
        tuned = cls(validated(FineTuneSettings, state["settings"], str(folder)), int(state["seed"]))
        require(folder / ENCODER / "modules.json")
        tuned._encoder = Encoder(str(folder / ENCODER), normalise=True)
        tuned._dense = Dense.load(folder / INDEX, tuned._encoder)
        return tuned

    def _ready(self) -> tuple[Encoder, Dense]:
        if self._encoder is None or self._dense is None:
            raise DataError("an indexed or loaded retriever", "an empty one", "call index or load first")
        return self._encoder, self._dense


def _contrastive(encoder: Encoder, corpus: Corpus, settings: FineTuneSettings) -> Loss:
    """Make the loss of a batch: each query against the passages of all its pairs."""
    from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss

    ranking = MultipleNegativesRankingLoss(encoder.model)
    longest = settings.training.max_length

    def loss(batch: Sequence[Lesson]) -> tuple[torch.Tensor, int]:
        rows = [[lesson.gold for lesson in batch], *zip(*(lesson.negatives for lesson in batch), strict=True)]
        passages = [settings.passage_text(corpus[row]) for column in rows for row in column]
        queries = [settings.query_prefix + lesson.query for lesson in batch]
        asked, query_tokens = read(encoder.model, queries, VECTOR, longest)
        found, passage_tokens = read(encoder.model, passages, VECTOR, longest)
        columns = [asked, *found.view(len(rows), len(batch), -1)]
        return ranking.compute_loss_from_embeddings(columns, None), query_tokens + passage_tokens

    return loss


DENSE_FINETUNED = System(
    name=NAME,
    family="dense",
    summary="dense with its encoder fine-tuned on the training pairs (in-batch and mined hard negatives)",
    config=FineTuneSettings,
    build=FineTuned,
    load=FineTuned.load,
)
