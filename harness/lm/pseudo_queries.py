"""Pseudo-queries: questions that a language model writes for the passages of a corpus (DSI-QG, Zhuang et al. 2022).

The backbone is trained on passage -> query with the training pairs, then writes queries for every passage. A system
that learns query -> passage from these has seen queries of passages nobody ever asked about. The original trains a
larger model on other data (docT5query) and lets a cross-encoder sort out what it writes; here the writer knows nothing
but the backbone and the training pairs, nothing is sorted out, and the writer's training tokens count among those of
the system it writes for.
"""

from __future__ import annotations

import itertools
import json
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from harness.jsonfile import write_json
from harness.lm.backbone import Backbone, load
from harness.lm.checkpoint import fingerprint
from harness.lm.examples import Example, Piece, join, spend, supervised_pairs
from harness.lm.objective import refuse_longer
from harness.lm.processes import from_first
from harness.lm.sampling import sampled
from harness.lm.session import Clock
from harness.lm.training import TrainingSettings, TrainingSummary, train
from harness.progress import Progress
from harness.types import Corpus, Passage, Query, Split

TITLE = "Document title: {title}\n "
CONTENT = "Document content: {text}"
CUE = "\n\n Question:"
TRAINING_FOLDER = "pseudo-queries"
"""Below a system's own training folder: where the training of the writer is gone on from, and what it wrote is kept."""
_WRITTEN = "queries.json"


class WriterTrainingSettings(TrainingSettings):
    """How the writer is trained: all its layers, and with fewer tokens than the system that learns from it."""

    tokens: int = Field(50_000, ge=0)
    """Tokens fed, context included, padding excluded; they count among the system's."""
    frozen_layers: int = Field(0, ge=0)
    """Lower transformer layers that are not trained."""
    dev_evaluations: int = Field(0, ge=0, le=0)
    """The writer is not asked dev queries: it does not search."""


class PseudoQuerySettings(BaseModel):
    """How pseudo-queries are written."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    per_passage: int = Field(0, ge=0)
    """Queries drawn for each passage, of which equal ones count once; 0: there are none, and nothing is trained."""
    top_k: int = Field(10, ge=1)
    """Likeliest tokens among which each is drawn."""
    query_tokens: int = Field(48, ge=1)
    """A query is cut after so many tokens."""
    passage_tokens: int = Field(256, ge=1)
    """What is shown of a passage, its title included, is cut after so many tokens."""
    training: WriterTrainingSettings = WriterTrainingSettings()
    """Of the writer, on the training pairs."""

    def check(self, share: float) -> None:
        """Refuse a share of the training tokens for queries that nobody writes, and the reverse: ValueError."""
        if (share > 0) != (self.per_passage > 0):
            raise ValueError(
                "shares.pseudo and pseudo_queries.per_passage need each other: give both, or neither (0, the default)"
            )


class PseudoQueries(NamedTuple):
    """What was written: (query, row of its passage) in the order of the rows, and what the training of it took."""

    pairs: list[tuple[Query, int]]
    summary: TrainingSummary


NONE = PseudoQueries([], TrainingSummary(0, 0.0, None, None))


class _Curveless:
    """Passes on what a training tells, but for its rows: the log of a system holds the curve of its own training."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self._progress.phase(f"pseudo-queries: {name}", total, unit)

    def advance(self, amount: int = 1) -> None:
        self._progress.advance(amount)

    def record(self, row: dict[str, float | int | str]) -> None:
        """Keep nothing."""


def write_pseudo_queries(
    name: str,
    corpus: Corpus,
    split: Split,
    settings: PseudoQuerySettings,
    *,
    dtype: str,
    seed: int,
    progress: Progress,
    checkpoints: Path | None = None,
    clock: Clock = time.perf_counter,
) -> PseudoQueries:
    """Teach a backbone to ask, and let it ask about every passage.

    Of several processes all train and the first writes for all, so that all learn from the same queries.

    Args:
        name: backbone as `harness.lm.backbone.load` takes it; what is loaded here is used for nothing else.
        corpus: the passages.
        split: the training pairs; without any the backbone asks as it comes.
        settings: how.
        dtype: number type of the weights when writing.
        seed: of the order of the training pairs and of what is drawn.
        progress: is told of training and writing, but not of the rows of the training's log.
        checkpoints: folder of the system's training. The writer's checkpoint and what it wrote are kept in a folder of
            their own in it: an interrupted system goes on with the same queries, and with none of this work done twice.
        clock: seconds.

    Returns:
        The queries, as many as `per_passage` asks for or, where some were equal, fewer; `NONE` where it is 0. Where
        they were kept, `earlier_s` of their summary holds the seconds of training and of writing.

    Raises:
        ConfigError, DependencyError, OfflineError: the backbone cannot be had or trained, or a passage is longer than
            it reads.
        StorageError: what is kept cannot be written.
    """
    if not settings.per_passage:
        return NONE
    progress = _Curveless(progress)
    progress.phase("load backbone")
    backbone = load(name)
    if settings.training.loss == "targets":
        backbone = backbone.restricted(_vocabulary(backbone, corpus, split))
    asked = [_prompt(backbone, passage, settings.passage_tokens) for passage in corpus]
    longest = max(map(len, asked), default=0) + settings.query_tokens
    refuse_longer(backbone, longest, "a passage with the longest pseudo-query")
    lessons = spend(_lessons(backbone, corpus, split, settings), settings.training.tokens, random.Random(seed))
    folder = checkpoints / TRAINING_FOLDER if checkpoints else None
    facts = {"settings": settings.model_dump(mode="json"), "dtype": dtype, "seed": seed}
    kept = _Kept(folder, _called(backbone, lessons, asked, facts))
    found = from_first(kept.load)
    if found is not None:
        return found
    summary = train(backbone, lessons, settings.training, seed=seed, progress=progress, checkpoints=folder, clock=clock)
    backbone = backbone.astype(dtype)

    def written() -> PseudoQueries:
        began = clock()
        pseudo = PseudoQueries(_write(backbone, corpus, asked, settings, seed=seed, progress=progress), summary)
        kept.save(pseudo, clock() - began)
        return pseudo

    return from_first(written)


def _write(
    backbone: Backbone,
    corpus: Corpus,
    asked: Sequence[Sequence[int]],
    settings: PseudoQuerySettings,
    *,
    seed: int,
    progress: Progress,
) -> list[tuple[Query, int]]:
    progress.phase("write", len(corpus), "passages")
    written = sampled(
        backbone,
        asked,
        copies=settings.per_passage,
        top_k=settings.top_k,
        max_tokens=settings.query_tokens,
        end=backbone.end,
        seed=seed,
        progress=progress,
    )
    return [
        (Query(f"{corpus.docids[row]}#{number}", text), row)
        for row, texts in enumerate(written)
        for number, text in enumerate(_distinct([backbone.decode(one.tokens) for one in texts]))
    ]


def _called(
    backbone: Backbone, lessons: Sequence[Example], asked: Sequence[Sequence[int]], facts: Mapping[str, Any]
) -> str:
    """Digest what decides what is written: the weights, what they are trained on, what they are shown, and `facts`."""
    shown = [Example(tuple(tokens), ()) for tokens in asked]
    vocabulary = None if backbone.vocabulary is None else backbone.vocabulary.tolist()
    return fingerprint(backbone.model, [*lessons, *shown], {**facts, "vocabulary": vocabulary})


class _Kept:
    """The queries written for one training, in the folder of the writer; without a folder nothing is kept."""

    def __init__(self, folder: Path | None, called: str) -> None:
        self._path = folder / _WRITTEN if folder else None
        self._called = called

    def load(self) -> PseudoQueries | None:
        """Return what `save` was given under the same name; None where there is none, or it is damaged."""
        if self._path is None:
            return None
        try:
            table = json.loads(self._path.read_text(encoding="utf-8"))
            if table["called"] != self._called:
                return None
            pairs = [(Query(qid, text), int(row)) for qid, text, row in table["queries"]]
            summary = TrainingSummary(**table["training"])
            # Those kept before the time of writing was told lack it.
            spent_s = summary.seconds + summary.evaluation_s + float(table.get("writing_s", 0.0))
            summary = replace(summary, earlier_s=spent_s)
        except (OSError, KeyError, TypeError, ValueError):
            return None  # a damaged one costs its time, not the training
        return PseudoQueries(pairs, summary)

    def save(self, written: PseudoQueries, writing_s: float) -> None:
        """Keep queries, with the seconds that writing them took; those of training are in their summary."""
        if self._path is None:
            return
        queries = [[query.qid, query.text, row] for query, row in written.pairs]
        took = {"training": asdict(written.summary), "writing_s": writing_s}
        write_json(self._path, {"called": self._called, **took, "queries": queries}, "the pseudo-queries")


def _lessons(backbone: Backbone, corpus: Corpus, split: Split, settings: PseudoQuerySettings) -> list[Example]:
    """Passage -> *query and the end of it*, for every training pair."""
    pairs = supervised_pairs(split, corpus)
    asked = backbone.encode_after(CUE, [_spaced(query.text) for query, _ in pairs])
    return [
        join(
            [
                Piece(_prompt(backbone, corpus[row], settings.passage_tokens), False),
                Piece([*tokens[: settings.query_tokens], backbone.end], True),
            ]
        )
        for (_, row), tokens in zip(pairs, asked, strict=True)
    ]


def _prompt(backbone: Backbone, passage: Passage, passage_tokens: int) -> list[int]:
    """Title, as far as there is one, passage and cue."""
    title = " ".join(passage.title.split())
    told = (TITLE.format(title=title) if title else "") + CONTENT.format(text=" ".join(passage.text.split()))
    passage_ids, cue = backbone.encode([told])[0], backbone.encode([CUE])[0]
    return [*passage_ids[:passage_tokens], *cue]


def _vocabulary(backbone: Backbone, corpus: Corpus, split: Split) -> np.ndarray:
    """List the tokens of the passages and the training queries, and the end: what a query may be made of."""
    found = {backbone.end}
    passages = (_spaced(text) for passage in corpus for text in (passage.title, passage.text))
    said = itertools.chain(passages, (_spaced(query.text) for query in split.queries))
    while texts := list(itertools.islice(said, 1024)):
        found.update(token for tokens in backbone.encode_after(CUE, texts) for token in tokens)
    return np.array(sorted(found))


def _spaced(text: str) -> str:
    """Return a text as it stands behind the cue: white space belongs to the start of what goes on."""
    return " " + " ".join(text.split())


def _distinct(texts: Sequence[str]) -> list[str]:
    """Return the texts that hold a word, each once, in order.

    >>> _distinct([" who was it? ", "", "Who  was it?", "when?"])
    ['who was it?', 'when?']
    """
    found: dict[str, str] = {}
    for text in (" ".join(t.split()) for t in texts):
        if text:
            found.setdefault(text.casefold(), text)
    return list(found.values())
