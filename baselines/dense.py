"""Dense retrieval: a sentence encoder and FAISS; inner product of unit vectors, which is their cosine."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from baselines import vectors
from baselines.encoder import EMBEDDED, Encoder
from baselines.saved import AGAIN, load_docids, load_state, reading, save_docids, save_state, text_bytes, writing
from harness.errors import RunFolderError
from harness.progress import SILENT, Progress
from harness.ranking import ranked
from harness.retriever import Footprint, System
from harness.types import Corpus, Hit, Passage, Split
from harness.validation import validated

Array = np.ndarray[Any, Any]
VECTORS = "vectors.faiss"
ROWS = "vector_of_row.npy"
BATCHES_AT_ONCE = 16
"""Batches encoded in one call: enough texts to sort by length, few enough to report progress."""


class EncodingSettings(BaseModel):
    """What is encoded by what, and kept how."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    model: str = EMBEDDED
    """"embedded" (all-MiniLM-L6-v2, reads 256 tokens), a folder, or the id of a model on the Hugging Face hub."""
    query_prefix: str = ""
    """Put before each query: "query: " for E5, an instruction for BGE; a model that needs one is poor without."""
    passage_prefix: str = ""
    """Put before each passage: "passage: " for E5."""
    title_separator: str = ". "
    """Between a passage's title and its text."""
    index: vectors.Kind = "flat"
    """flat: exact. hnsw, ivf-pq: approximate, for corpora too large to compare with every passage."""
    batch_size: int = Field(default=32, ge=1)
    """Texts encoded together."""

    def passage_text(self, passage: Passage) -> str:
        """Join what the encoder reads of a passage."""
        parts = [part for part in (passage.title, passage.text) if part]
        return self.passage_prefix + self.title_separator.join(parts)


class DenseSettings(EncodingSettings):
    """Settings of "dense"."""

    normalise: bool = True
    """Make vectors unit length (cosine); false leaves them as the model gives them (MiniLM's are unit length)."""


class Dense:
    """Encodes each passage into one vector and returns those nearest to the query.

    Passages of the same title and text share one vector, so they tie exactly instead of differing by rounding.
    """

    def __init__(self, settings: DenseSettings, seed: int, encoder: Encoder | None = None) -> None:
        """Take the encoder that the settings name, or a given one, which is then the caller's to save."""
        self._settings = settings
        self._seed = seed
        self._docids: tuple[str, ...] = ()
        self._vector_of_row: Array = np.empty(0, np.int32)
        self._encoder = encoder
        self._index: Any = None
        self._groups = Groups(self._vector_of_row)

    def index(self, corpus: Corpus, train: Split, dev: Split, progress: Progress = SILENT) -> None:
        """Encode every passage once.

        Raises:
            ConfigError, DataError, OfflineError, DependencyError: the encoder or the kind of index cannot be had.
        """
        encoder = self._loaded()
        vector_of_row = array("i")
        chunks = self._encoded(corpus, encoder, vector_of_row, progress)
        self._index = vectors.build(self._settings.index, encoder.width, chunks, self._seed)
        self._docids = corpus.docids
        self._group(np.array(vector_of_row, np.int32))

    def _encoded(
        self, corpus: Corpus, encoder: Encoder, vector_of_row: array[int], progress: Progress
    ) -> Iterator[Array]:
        """Yield the vectors of texts not met before and append each row's vector number to `vector_of_row`."""
        size = self._settings.batch_size
        progress.phase("encode", len(corpus), "passages")
        met: dict[bytes, int] = {}
        fresh: list[str] = []
        told = 0
        for passage in corpus:
            text = self._settings.passage_text(passage)
            # A digest in place of the text: the corpus may be larger than memory.
            digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
            if digest not in met:
                met[digest] = len(met)
                fresh.append(text)
            vector_of_row.append(met[digest])
            if len(fresh) == size * BATCHES_AT_ONCE:
                yield encoder.encode(fresh, size)
                progress.advance(len(vector_of_row) - told)
                fresh, told = [], len(vector_of_row)
        if fresh:
            yield encoder.encode(fresh, size)
        progress.advance(len(vector_of_row) - told)

    def _loaded(self) -> Encoder:
        if self._encoder is None:
            self._encoder = Encoder(self._settings.model, self._settings.normalise)
        return self._encoder

    def _group(self, vector_of_row: Array) -> None:
        self._vector_of_row = vector_of_row
        self._groups = Groups(vector_of_row)

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Return the `k` passages of largest inner product; an empty query is encoded like any other."""
        if not queries:
            return []
        texts = [self._settings.query_prefix + query for query in queries]
        encoded = self._loaded().encode(texts, self._settings.batch_size)
        return [ranked(self._hits(found), k) for found in vectors.nearest(self._index, encoded, k)]

    def _hits(self, found: vectors.Nearest) -> Iterator[Hit]:
        for score, number in zip(found.scores.tolist(), found.numbers.tolist(), strict=True):
            for row in self._groups.rows(number):
                yield Hit(self._docids[row], score)

    def save(self, folder: Path) -> None:
        """Write vectors, docids and settings; the encoder is named, not copied.

        Raises:
            StorageError: the file system refused.
        """
        local = Path(self._settings.model).expanduser()
        model = str(local.resolve()) if self._settings.model != EMBEDDED and local.is_dir() else self._settings.model
        settings = {**self._settings.model_dump(), "model": model}
        save_state(folder, DENSE.name, {"settings": settings, "seed": self._seed})
        save_docids(folder, self._docids)
        vectors.save(self._index, folder / VECTORS)
        with writing(folder, "the vector numbers"):
            np.save(folder / ROWS, self._vector_of_row, allow_pickle=False)

    @classmethod
    def load(cls, folder: Path, encoder: Encoder | None = None) -> Dense:
        """Read what `save` wrote and load the encoder it names, or take the one that is given.

        Raises:
            RunFolderError: a file is absent or damaged, or the encoder gives vectors of another width.
            ConfigError, DataError, OfflineError, DependencyError: the encoder cannot be had.
        """
        state = load_state(folder, DENSE.name)
        dense = cls(validated(DenseSettings, state["settings"], str(folder)), int(state["seed"]), encoder)
        encoder = dense._loaded()
        dense._index = vectors.load(folder / VECTORS)
        if dense._index.d != encoder.width:
            raise RunFolderError(
                f"{encoder.width} numbers a vector, as the encoder gives", f"{dense._index.d} in {folder}", AGAIN
            )
        dense._docids = load_docids(folder)
        with reading(folder, "the vector numbers"):
            dense._group(np.load(folder / ROWS, allow_pickle=False))
        return dense

    def footprint(self) -> Footprint:
        """Count the FAISS index, the vector number of each passage and the docids; and the encoder's weights."""
        index_bytes = vectors.stored_bytes(self._index) + self._vector_of_row.nbytes + text_bytes(self._docids)
        return Footprint(index_bytes, self._loaded().parameter_bytes)


class Groups:
    """Vector number -> the rows that share it, in two arrays."""

    def __init__(self, vector_of_row: Array) -> None:
        """Turn round (rows,) int32 vector numbers, which count from 0 without gaps."""
        self._order = np.argsort(vector_of_row, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(np.bincount(vector_of_row))]).astype(np.int64)

    def rows(self, number: int) -> list[int]:
        """List the rows of a vector, ascending."""
        rows: list[int] = self._order[self._starts[number] : self._starts[number + 1]].tolist()
        return rows


DENSE = System(
    name="dense",
    family="dense",
    summary="all-MiniLM-L6-v2 (or any sentence encoder) and FAISS, exact cosine by default",
    config=DenseSettings,
    build=Dense,
    load=Dense.load,
)
