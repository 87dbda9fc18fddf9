"""Dense search and a reader (retrieval-augmented generation; Table 5, Tang et al. 2024): find passages, then answer.

The reader is a language model trained on questions with their gold passages and answers; it writes its answer behind
the best passages of a dense search. Backbone, training loop and decoding are those of every generative system here.
It never refuses: unlike Self-Retrieval it is not trained on passages that do not hold the answer.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import NamedTuple, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from baselines.dense import Dense, DenseSettings
from baselines.saved import load_state, save_state
from harness.answer_match import token_f1
from harness.datasets.sampling import sample
from harness.errors import DataError
from harness.lm.backbone import EMBEDDED, Backbone, load
from harness.lm.examples import Example, Piece, join, spend, supervised_pairs
from harness.lm.greedy import greedy
from harness.lm.training import TrainingSettings, TrainingSummary, refuse_trimmed
from harness.lm.training import train as train_backbone
from harness.progress import SILENT, Progress
from harness.retriever import Footprint, System
from harness.types import Answer, Corpus, Hit, Passage, Query, Split
from harness.validation import validated

NAME = "dense-reader"
QUESTION = "Question: {query}"
TITLE = "\n\n Document title:"
PASSAGE = "\n Document content:"
ANSWER = "\n\n Final answer:"
_CHUNK = 4096


class ReaderSettings(BaseModel):
    """Settings of "dense-reader"."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    first_stage: DenseSettings = DenseSettings()
    """The dense search, as the system "dense" has it."""
    backbone: str = EMBEDDED
    """The reader."""
    passages: int = Field(1, ge=1)
    """Passages the reader is shown, best first; the paper shows one."""
    training: TrainingSettings = TrainingSettings()
    trim_vocabulary: bool = True
    """Restrict the head to the tokens of the corpus and the training answers."""
    answer_tokens: int = Field(32, ge=1)
    """Longest answer."""
    query_tokens: int = Field(512, ge=8)
    """A longer question is cut after so many tokens."""
    passage_tokens: int = Field(512, ge=16)
    """A longer passage is cut after so many tokens."""
    dtype: str = Field("auto", pattern="^(auto|float32|bfloat16)$")
    """Number type of the reader's weights when answering and on disk."""
    query_batch: int = Field(8, ge=1)
    """Questions answered together."""

    @model_validator(mode="after")
    def _can_learn(self) -> Self:
        refuse_trimmed(self.training, self.trim_vocabulary)
        return self


class _Parts(NamedTuple):
    """What is needed beside the dense search to answer."""

    backbone: Backbone
    corpus: Corpus


@dataclass(frozen=True)
class DevAnswers:
    """An `Evaluation`: the mean F1 of the answers to dev queries, by a reader over the weights of that moment."""

    queries: tuple[Query, ...]
    reader: Callable[[], DenseReader]
    measure: str = "F1"

    @property
    def identity(self) -> str:
        """Tell these queries and answers from others."""
        return hashlib.sha256(repr((self.measure, self.queries)).encode()).hexdigest()

    def score(self) -> float:
        """Answer all queries and average."""
        given = self.reader().answer([query.text for query in self.queries])
        return fmean(token_f1(one.text, query.answers) for one, query in zip(given, self.queries, strict=True))


class DenseReader:
    """A dense search whose best passages a language model reads."""

    def __init__(self, settings: ReaderSettings | None = None, seed: int = 0) -> None:
        self.settings = settings or ReaderSettings()
        self.seed = seed
        self._dense = Dense(self.settings.first_stage, seed)
        self._parts: _Parts | None = None
        self._summary: TrainingSummary | None = None
        self._training_folder: Path | None = None

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Encode every passage and train the reader on the queries of `train` that have answers.

        Without such queries the reader stays as the backbone is. `dev` chooses the weights where asked for.
        """
        self._dense.index(corpus, train, dev, progress)
        progress.phase("load backbone")
        backbone = load(self.settings.backbone)
        if self.settings.trim_vocabulary:
            answers = [answer for query in train.queries for answer in query.answers[:1]]
            backbone = backbone.restricted(_vocabulary(backbone, corpus, answers))
        rng = random.Random(self.seed)
        examples = spend(self._examples(backbone, corpus, train, rng), self.settings.training.tokens, rng)
        parts = _Parts(backbone, corpus)
        self._summary = train_backbone(
            backbone,
            examples,
            self.settings.training,
            seed=self.seed,
            progress=progress,
            checkpoints=self._training_folder,
            evaluate=self._evaluation(dev, parts),
        )
        self._parts = parts._replace(backbone=backbone.astype(self.settings.dtype))

    def keep_training_in(self, folder: Path) -> None:
        """Let `index` keep in `folder` what an interrupted training goes on from; see `harness.retriever.Resumable`."""
        self._training_folder = folder

    def _evaluation(self, dev: Split, parts: _Parts) -> DevAnswers | None:
        """Return how to measure the training on dev; None where it is not asked for, or dev has no answers."""
        training = self.settings.training
        answered = Split(dev.name, tuple(query for query in dev.queries if query.answers), dev.qrels)
        if not training.dev_evaluations or not len(answered):
            return None
        return DevAnswers(sample(answered, training.dev_queries).queries, lambda: self._in_training(parts))

    def _in_training(self, parts: _Parts) -> DenseReader:
        """Return a system that answers with the weights as they are in the middle of the training."""
        other = DenseReader(self.settings, self.seed)
        other._dense = self._dense
        other._parts = parts._replace(backbone=parts.backbone.restricted(parts.backbone.vocabulary))
        return other

    def _examples(self, backbone: Backbone, corpus: Corpus, train: Split, rng: random.Random) -> list[Example]:
        """Write question, gold passage -> *answer*, for each gold passage of a query with answers."""
        pairs = [(query, row) for query, row in supervised_pairs(train, corpus) if query.answers]
        examples = []
        for (query, _), shown in zip(pairs, self._shown(pairs, corpus, rng), strict=True):
            answer = backbone.encode_after(ANSWER, [_spaced(query.answers[0])])[0]
            prompt = self._prompt(backbone, query.text, shown)
            examples.append(join([Piece(prompt, False), Piece([*answer, backbone.end], True)]))
        return examples

    def _shown(self, pairs: Sequence[tuple[Query, int]], corpus: Corpus, rng: random.Random) -> Iterator[list[Passage]]:
        """Yield what the reader is shown of each pair: the gold passage, in any place among others that are found."""
        more = self.settings.passages - 1
        found = self._dense.search([query.text for query, _ in pairs], more + 1) if more else [[] for _ in pairs]
        for (_, gold), hits in zip(pairs, found, strict=True):
            rows = [row for row in (corpus.row_of[hit.docid] for hit in hits) if row != gold][:more]
            rows.insert(rng.randint(0, len(rows)), gold)
            yield [corpus[row] for row in rows]

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return what the dense search finds."""
        return self._dense.search(queries, k)

    def answer(self, queries: Sequence[str]) -> list[Answer]:
        """Write the likeliest answer behind the best `passages` of each query, token by token."""
        backbone, corpus = self._ready()
        found = self._dense.search(queries, self.settings.passages)
        prompts = [
            self._prompt(backbone, query, [corpus[corpus.row_of[hit.docid]] for hit in hits])
            for query, hits in zip(queries, found, strict=True)
        ]
        written = greedy(
            backbone,
            prompts,
            max_tokens=self.settings.answer_tokens,
            end=backbone.end,
            batch_size=self.settings.query_batch,
        )
        return [
            Answer(backbone.decode(one.tokens).strip(), hits[0].docid if hits else None, one.logprob)
            for one, hits in zip(written, found, strict=True)
        ]

    def _prompt(self, backbone: Backbone, query: str, passages: Sequence[Passage]) -> list[int]:
        """Encode a question, the passages and the cue for an answer."""
        title_cue, passage_cue, answer_cue = backbone.encode([TITLE, PASSAGE, ANSWER])
        tokens = backbone.encode([QUESTION.format(query=" ".join(query.split()))])[0][: self.settings.query_tokens]
        for passage in passages:
            title = backbone.encode_after(TITLE, [_spaced(passage.title)])[0]
            text = backbone.encode_after(PASSAGE, [_spaced(passage.text)])[0]
            tokens += [*title_cue, *title, *passage_cue, *text[: self.settings.passage_tokens]]
        return [*tokens, *answer_cue]

    def training_summary(self) -> dict[str, float]:
        """Return train_tokens and tokens_per_s of the reader's training, as far as there was one."""
        return self._summary.figures() if self._summary else {}

    def footprint(self) -> Footprint:
        """Count the dense index and the passages as index; the weights of encoder and reader as parameters."""
        backbone, corpus = self._ready()
        return self._dense.footprint() + Footprint(int(corpus.table.nbytes), backbone.parameter_bytes)

    def save(self, folder: Path) -> None:
        """Write the reader as a Hugging Face folder; the dense search (`dense/`), passages and settings beside it."""
        backbone, corpus = self._ready()
        backbone.save(folder)
        (folder / "dense").mkdir()
        self._dense.save(folder / "dense")
        corpus.save(folder / "corpus.arrow")
        save_state(folder, NAME, {"seed": self.seed, "settings": self.settings.model_dump(mode="json")})

    @classmethod
    def load(cls, folder: Path) -> DenseReader:
        """Load what `save` wrote, ready to search and to answer."""
        state = load_state(folder, NAME)
        reader = cls(validated(ReaderSettings, state["settings"], str(folder)), int(state["seed"]))
        backbone = load(str(folder), reader.settings.dtype)
        reader._dense = Dense.load(folder / "dense")
        reader._parts = _Parts(backbone, Corpus.open(folder / "corpus.arrow"))
        return reader

    def _ready(self) -> _Parts:
        if self._parts is None:
            raise DataError("an indexed or loaded retriever", "an empty one", "call index or load first")
        return self._parts


def _spaced(text: str) -> str:
    """Return a text as it follows a cue: one leading space, white space squeezed; nothing for an empty one.

    >>> _spaced(" New  York ")
    ' New York'
    """
    return "".join(f" {word}" for word in text.split())


def _vocabulary(backbone: Backbone, corpus: Corpus, answers: Iterable[str]) -> np.ndarray:
    """List the tokens of all titles and passages, of the `answers`, and the end."""
    spoken = backbone.encode_after(ANSWER, [_spaced(answer) for answer in answers])
    kept = np.unique([backbone.end, *(token for ids in spoken for token in ids)])
    for first in range(0, len(corpus), _CHUNK):
        chunk = list(Corpus(corpus.table.slice(first, _CHUNK)))
        texts = backbone.encode_after(PASSAGE, [_spaced(p.text) for p in chunk])
        titles = backbone.encode_after(TITLE, [_spaced(p.title) for p in chunk])
        kept = np.union1d(kept, [token for ids in (*texts, *titles) for token in ids])
    return kept.astype(np.int64)


DENSE_READER = System(
    name=NAME,
    family="dense",
    summary="the dense search, and a language model trained to read its best passage and answer",
    config=ReaderSettings,
    build=DenseReader,
    load=DenseReader.load,
)
