"""BM25 twice: bm25s (the fast one, by default with Lucene's formula) and rank_bm25 (the one many papers used).

Both index title and text, share one tokeniser, and return exactly the passages that hold at least one term of the
query; a query of nothing but stop words or unknown words has no hits. They differ in the formula:

bm25s, "lucene"     idf = ln(1 + (N - df + .5) / (df + .5)), never negative; tf / (tf + k1 (1 - b + b dl / avgdl))
rank_bm25, "okapi"  idf = ln((N - df + .5) / (df + .5)); where negative, `epsilon` times the mean idf of all terms;
                    the same tf part times (k1 + 1)

So on the same text and settings the two rank differently, most for terms that stand in over half of the passages,
and in rank_bm25 a matching passage may score zero or below.

Sources: Kamphuis et al., "Which BM25 Do You Mean?", ECIR 2020 (all variants of bm25s); Trotman et al.,
"Improvements to BM25 and Language Models Examined", ADCS 2014 (rank_bm25).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from baselines.saved import (
    load_docids,
    load_state,
    load_table,
    reading,
    save_docids,
    save_state,
    save_table,
    text_bytes,
    writing,
)
from baselines.tokens import Tokeniser, TokenSettings, corpus_texts, corpus_tokens
from harness.progress import SILENT, Progress
from harness.ranking import top_k
from harness.retriever import Footprint, System
from harness.types import Corpus, Hit, Split
from harness.validation import validated

Array = np.ndarray[Any, Any]
ENGINE = "bm25s"
TERMS = "terms.arrow"


class Bm25Settings(TokenSettings):
    """Settings of "bm25"; k1 and b are those of Anserini's baselines."""

    method: Literal["lucene", "robertson", "atire", "bm25l", "bm25+"] = "lucene"
    """Variant of the formula, by its name in bm25s."""
    k1: float = Field(default=0.9, ge=0)
    """How slowly repeated terms stop counting."""
    b: float = Field(default=0.4, ge=0, le=1)
    """How much long passages are held back, 0 to 1."""
    delta: float = Field(default=0.5, ge=0)
    """Lower bound on the weight of an occurrence; bm25l and bm25+ alone use it."""


class RankBm25Settings(TokenSettings):
    """Settings of "bm25-rank"; k1 and b as in "bm25", so that the formula is what differs."""

    variant: Literal["okapi", "plus", "l"] = "okapi"
    """Class of rank_bm25. Its "l" multiplies by the term frequency once more than the paper does."""
    k1: float = Field(default=0.9, ge=0)
    """How slowly repeated terms stop counting."""
    b: float = Field(default=0.4, ge=0, le=1)
    """How much long passages are held back, 0 to 1."""
    epsilon: float = Field(default=0.25, ge=0)
    """okapi: a term in over half of the passages weighs this share of the mean idf."""
    delta: float | None = Field(default=None, ge=0)
    """plus and l: lower bound on the weight of an occurrence; none: 1 for plus, 0.5 for l."""


class Bm25s:
    """BM25 with scores computed at indexing time (bm25s)."""

    def __init__(self, settings: Bm25Settings) -> None:
        self._settings = settings
        self._tokenise = Tokeniser(settings)
        self._docids = np.empty(0, object)
        # None where no passage holds a term: bm25s divides by the mean length, which is 0 then.
        self._engine: Any = None

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Compute the score of every term in every passage."""
        import bm25s

        terms = self._tokenise.numbered(corpus_texts(corpus, progress))
        progress.phase("score")
        self._docids = np.array(corpus.docids, object)
        self._engine = None
        if terms.vocabulary:
            self._engine = self._new_engine()
            given = bm25s.tokenization.Tokenized(terms, terms.vocabulary)
            self._engine.index(given, create_empty_token=False, show_progress=False)
            scores = self._engine.scores
            scores["indptr"] = scores["indptr"].astype(np.int64, copy=False)  # as bm25s' own sorting has it

    def _new_engine(self) -> Any:
        import bm25s

        chosen = self._settings
        # scipy sorts the same scores into columns with 8 bytes each beside them, where bm25s itself takes 40.
        return bm25s.BM25(k1=chosen.k1, b=chosen.b, delta=chosen.delta, method=chosen.method, csc_backend="scipy")

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Rank the passages that share a term with the query; repeated query terms count repeatedly."""
        return [self._search(terms, k) for terms in self._tokenise(queries)]

    def _search(self, terms: list[str], k: int) -> list[Hit]:
        vocabulary = self._engine.vocab_dict if self._engine else {}
        numbers = [vocabulary[term] for term in terms if term in vocabulary]
        if not numbers:
            return []
        starts, rows = self._engine.scores["indptr"], self._engine.scores["indices"]
        matching = np.zeros(len(self._docids), bool)
        for number in numbers:
            matching[rows[starts[number] : starts[number + 1]]] = True
        return best(self._engine.get_scores_from_ids(numbers), matching, self._docids, k)

    def save(self, folder: Path) -> None:
        """Write the settings, the docids and the index of bm25s (NumPy arrays and JSON)."""
        save_state(folder, BM25S.name, {"settings": self._settings.model_dump(), "empty": self._engine is None})
        save_docids(folder, self._docids.tolist())
        if self._engine is not None:
            with writing(folder, "the index of bm25"):
                self._engine.save(folder / ENGINE, show_progress=False)

    @classmethod
    def load(cls, folder: Path) -> Bm25s:
        """Read what `save` wrote.

        Raises:
            RunFolderError: a file is absent or damaged.
        """
        import bm25s

        state = load_state(folder, BM25S.name)
        retriever = cls(validated(Bm25Settings, state["settings"], str(folder)))
        retriever._docids = np.array(load_docids(folder), object)
        if not state["empty"]:
            with reading(folder, "the index of bm25s"):
                retriever._engine = bm25s.BM25.load(folder / ENGINE, show_progress=False)
        return retriever

    def footprint(self) -> Footprint:
        """Count the score matrix, the vocabulary (text and one number a term) and the docids."""
        docids = text_bytes(self._docids)
        if self._engine is None:
            return Footprint(docids, 0)
        held = [self._engine.scores[name] for name in ("data", "indices", "indptr")]
        if self._engine.nonoccurrence_array is not None:
            held.append(self._engine.nonoccurrence_array)
        vocabulary = text_bytes(self._engine.vocab_dict) + 4 * len(self._engine.vocab_dict)
        return Footprint(sum(array.nbytes for array in held) + vocabulary + docids, 0)


class RankBm25:
    """BM25 as rank_bm25 computes it: one Python dictionary a passage, every passage scored for every query."""

    def __init__(self, settings: RankBm25Settings) -> None:
        self._settings = settings
        self._tokenise = Tokeniser(settings)
        self._docids = np.empty(0, object)
        # None where no passage holds a term: rank_bm25 divides by the mean length and by the number of terms.
        self._engine: Any = None

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Count the terms of every passage."""
        self._build(corpus.docids, list(corpus_tokens(corpus, self._tokenise, progress)))

    def _build(self, docids: Sequence[str], tokens: list[list[str]]) -> None:
        import rank_bm25

        chosen = self._settings
        self._docids = np.array(docids, object)
        self._engine = None
        if not any(tokens):
            return
        if chosen.variant == "okapi":
            self._engine = rank_bm25.BM25Okapi(tokens, k1=chosen.k1, b=chosen.b, epsilon=chosen.epsilon)
            return
        make, usual = (rank_bm25.BM25Plus, 1.0) if chosen.variant == "plus" else (rank_bm25.BM25L, 0.5)
        delta = usual if chosen.delta is None else chosen.delta
        self._engine = make(tokens, k1=chosen.k1, b=chosen.b, delta=delta)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Rank the passages that share a term with the query, whatever the sign of their score."""
        return [self._search(terms, k) for terms in self._tokenise(queries)]

    def _search(self, terms: list[str], k: int) -> list[Hit]:
        if self._engine is None or not terms:
            return []
        wanted = set(terms)
        matching = np.array([not counts.keys().isdisjoint(wanted) for counts in self._engine.doc_freqs])
        return best(self._engine.get_scores(terms), matching, self._docids, k)

    def save(self, folder: Path) -> None:
        """Write the settings and the terms of every passage with their counts; `load` counts them again."""
        save_state(folder, RANK_BM25.name, {"settings": self._settings.model_dump()})
        counts = self._engine.doc_freqs if self._engine else [{}] * len(self._docids)
        columns = {
            "docid": pa.array(self._docids.tolist(), pa.string()),
            "terms": pa.array([list(count) for count in counts], pa.list_(pa.string())),
            "counts": pa.array([list(count.values()) for count in counts], pa.list_(pa.int32())),
        }
        save_table(folder / TERMS, pa.table(columns))

    @classmethod
    def load(cls, folder: Path) -> RankBm25:
        """Read what `save` wrote.

        Raises:
            RunFolderError: a file is absent or damaged.
        """
        state = load_state(folder, RANK_BM25.name)
        retriever = cls(validated(RankBm25Settings, state["settings"], str(folder)))
        table = load_table(folder / TERMS)
        # BM25 ignores where a term stands; what counts is that terms first appear in the same order as before,
        # because rank_bm25 adds their idf up in that order.
        tokens = [
            [term for term, count in zip(terms, counts, strict=True) for _ in range(count)]
            for terms, counts in zip(table["terms"].to_pylist(), table["counts"].to_pylist(), strict=True)
        ]
        retriever._build(table["docid"].to_pylist(), tokens)
        return retriever

    def footprint(self) -> Footprint:
        """Count rank_bm25's dictionaries as Python holds them, the text of each term once, and the docids."""
        docids = text_bytes(self._docids)
        if self._engine is None:
            return Footprint(docids, 0)
        tables = [*self._engine.doc_freqs, self._engine.idf, self._engine.doc_len]
        return Footprint(sum(map(sys.getsizeof, tables)) + text_bytes(self._engine.idf) + docids, 0)


def best(scores: Array, matching: Array, docids: Array, k: int) -> list[Hit]:
    """Return the `k` best of the matching rows, by the one tie rule.

    Args:
        scores: (corpus,) of any real dtype.
        matching: (corpus,) bool; false rows are no hits, whatever their score.
        docids: (corpus,) of str objects.
        k: how many hits, at least 1.
    """
    rows = np.flatnonzero(matching)
    return top_k(scores[rows], docids[rows].tolist(), k)


BM25S = System(
    name="bm25",
    family="sparse",
    summary="BM25 by bm25s with Lucene's formula (k1 0.9, b 0.4, English stop words, Snowball stems)",
    config=Bm25Settings,
    build=lambda settings, seed: Bm25s(settings),
    load=Bm25s.load,
)

RANK_BM25 = System(
    name="bm25-rank",
    family="sparse",
    summary="BM25 by rank_bm25, whose idf is not Lucene's; same terms, k1 and b as bm25",
    config=RankBm25Settings,
    build=lambda settings, seed: RankBm25(settings),
    load=RankBm25.load,
)
