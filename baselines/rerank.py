"""A cross-encoder: one model that reads query and passage together and says how well they fit.

Trained on groups of one right and some wrong passages, which the first stage ranked high: softmax cross-entropy of
the right one within its group (localised contrastive estimation, Gao et al., "Rethink Training of BERT Rerankers in
Multi-Stage Retrieval Pipeline", ECIR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from baselines.encoder import device, open_model, parameter_bytes, quietly
from baselines.fitting import Loss, read
from baselines.negatives import Lesson
from baselines.saved import writing
from harness.errors import ConfigError
from harness.ranking import ranked
from harness.types import Corpus, Hit, Passage

if TYPE_CHECKING:
    import torch

READS_PAIRS = ("ForSequenceClassification", "ForCausalLM")
"""Ends of the names of architectures that come with a head for scores; to others a random one is added."""


class CrossEncoder:
    """A `harness.retriever.Reranker`."""

    def __init__(self, model: str, seed: int, *, title_separator: str, batch_size: int) -> None:
        """Load the weights; where they have no head for scores, a random one is put on.

        Args:
            model: "embedded" (all-MiniLM-L6-v2, without a head), a folder, or an id on the Hugging Face hub.
            seed: of the random head.
            title_separator: between a passage's title and its text.
            batch_size: pairs read together.

        Raises:
            ConfigError: a path that is no folder, or a model that gives several scores a pair.
            DataError, OfflineError, DependencyError: it cannot be had.
        """
        import torch

        torch.manual_seed(seed)
        self._model = open_model(model, _open, "cross-encoder")
        self._title_separator = title_separator
        self._batch_size = batch_size
        if self._model.num_labels != 1:
            raise ConfigError(
                "a cross-encoder that gives one score a pair",
                f"{model!r}, which gives {self._model.num_labels}",
                "set `model` to one that was trained to rank",
            )

    @property
    def model(self) -> Any:
        """The cross-encoder of sentence-transformers itself, for training."""
        return self._model

    @property
    def untaught(self) -> bool:
        """Whether the head was drawn at random when the model was loaded, so that scores mean nothing yet."""
        named = self._model.model.config.architectures or [""]
        return not named[0].endswith(READS_PAIRS)

    @property
    def parameter_bytes(self) -> int:
        """Bytes of the weights as held in memory."""
        return parameter_bytes(self._model)

    def rerank(self, query: str, candidates: Sequence[Passage]) -> list[Hit]:
        """Score every candidate, in logits, and return them best first; passages of the same text get one score."""
        import torch

        texts = [self._text(passage) for passage in candidates]
        different = list(dict.fromkeys(texts))
        logits = self._model.predict(
            [(query, text) for text in different],
            batch_size=self._batch_size,
            activation_fn=torch.nn.Identity(),
            show_progress_bar=False,
        )
        score = dict(zip(different, map(float, logits), strict=True))
        return ranked(Hit(passage.docid, score[text]) for passage, text in zip(candidates, texts, strict=True))

    def _text(self, passage: Passage) -> str:
        return self._title_separator.join(part for part in (passage.title, passage.text) if part)

    def listwise(self, corpus: Corpus, max_length: int) -> Loss:
        """Make the loss of a batch: softmax cross-entropy of each right passage in its group.

        Args:
            corpus: where the rows of the lessons are.
            max_length: tokens after which query and passage together are cut; never more than the model reads.
        """

        def loss(batch: Sequence[Lesson]) -> tuple[torch.Tensor, int]:
            import torch

            groups = [(lesson.gold, *lesson.negatives) for lesson in batch]
            pairs = [
                (lesson.query, self._text(corpus[row]))
                for lesson, rows in zip(batch, groups, strict=True)
                for row in rows
            ]
            scores, tokens = read(self._model, pairs, "scores", max_length)
            ends = list(accumulate(len(rows) for rows in groups))
            logits = scores.flatten().float().tensor_split(ends[:-1])
            return torch.stack([-group.log_softmax(0)[0] for group in logits]).mean(), tokens

        return loss

    def save(self, folder: Path) -> None:
        """Write weights and tokeniser in the form of sentence-transformers; `CrossEncoder(str(folder), …)` reads it.

        Raises:
            StorageError: the file system refused.
        """
        with writing(folder, "the cross-encoder"), quietly():
            self._model.save_pretrained(str(folder), create_model_card=False)


def _open(name: str, complete: bool) -> Any:
    from sentence_transformers import CrossEncoder as Model

    return Model(name, device=device())
