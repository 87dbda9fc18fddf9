"""The nouns of the field: Passage, Corpus, Query, Qrels, Split, Dataset, Hit, Run, Answer.

Everything is immutable. A corpus is an Arrow table, so three million passages can stay
memory-mapped on disk; a `Passage` object exists only while somebody looks at it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

Qrels = Mapping[str, Mapping[str, int]]
"""qid -> docid -> grade (relevant from 1)."""


class Passage(NamedTuple):
    """One retrievable text.

    `document` groups the passages of one source document; where a document is one passage, it equals `docid`.
    """

    docid: str
    title: str
    text: str
    document: str


class Query(NamedTuple):
    """One question; `answers` are reference answer strings where the data set has them."""

    qid: str
    text: str
    answers: tuple[str, ...] = ()


class Hit(NamedTuple):
    """One retrieved passage; a larger `score` is better. `title` and `text` are filled where a person reads them."""

    docid: str
    score: float
    title: str = ""
    text: str = ""


Run = Mapping[str, Sequence[Hit]]
"""qid -> hits, best first."""


class Answer(NamedTuple):
    """What a system says to a question, read from a passage.

    text: empty where the system refuses to answer. docid: the best passage it was read from; None: from none.
    logprob: sum of the log-probabilities of the tokens that were written, natural logarithm; comparable within one
    system alone.
    """

    text: str
    docid: str | None
    logprob: float


CORPUS_SCHEMA = pa.schema([(name, pa.string()) for name in Passage._fields])


class Corpus:
    """An ordered, immutable collection of passages; a passage's position is its `row`."""

    def __init__(self, table: pa.Table) -> None:
        """Wrap a table with the columns docid, title, text, document (all string, no nulls)."""
        self.table = table.select(list(Passage._fields))

    @classmethod
    def from_passages(cls, passages: Iterable[Passage]) -> Corpus:
        """Copy passages into an Arrow table, in order."""
        columns = list(zip(*passages, strict=True)) or [()] * len(Passage._fields)
        return cls(pa.table([pa.array(c, pa.string()) for c in columns], schema=CORPUS_SCHEMA))

    @classmethod
    def open(cls, path: Path) -> Corpus:
        """Memory-map a file written by `save`; costs no memory until passages are read."""
        with pa.memory_map(str(path)) as source:
            return cls(pa.ipc.open_file(source).read_all())

    def save(self, path: Path) -> None:
        """Write an Arrow IPC file that `open` maps."""
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, self.table.schema) as writer:
            writer.write_table(self.table)

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __getitem__(self, row: int) -> Passage:
        return Passage(*(self.table.column(name)[row].as_py() for name in Passage._fields))

    def __iter__(self) -> Iterator[Passage]:
        for batch in self.table.to_batches(max_chunksize=1024):
            yield from map(Passage, *(batch.column(name).to_pylist() for name in Passage._fields))

    @cached_property
    def docids(self) -> tuple[str, ...]:
        """All docids, in row order."""
        return tuple(self.table.column("docid").to_pylist())

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """docid -> row."""
        return {docid: row for row, docid in enumerate(self.docids)}


@dataclass(frozen=True)
class Split:
    """Queries with their judgements; every query has at least one relevant passage in the corpus."""

    name: str
    queries: tuple[Query, ...] = ()
    qrels: Qrels = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.queries)

    def head(self, n: int | None) -> Split:
        """Keep the first `n` queries (None: all) and their judgements."""
        kept = self.queries[:n]
        return Split(self.name, kept, {q.qid: self.qrels[q.qid] for q in kept if q.qid in self.qrels})


@dataclass(frozen=True)
class Dataset:
    """One corpus and the splits that search it.

    `card` is JSON-serialisable provenance: source, licence, counts, protocol (chunking, sampling, split rule)
    and `checksum`, the SHA-256 over passages, queries and judgements.
    """

    name: str
    corpus: Corpus
    train: Split
    dev: Split
    test: Split
    card: Mapping[str, Any] = field(default_factory=dict)

    def split(self, name: str) -> Split:
        """Return the split called train, dev or test."""
        splits = {s.name: s for s in (self.train, self.dev, self.test)}
        with contextlib.suppress(KeyError):
            return splits[name]
        from harness.errors import UnknownNameError

        raise UnknownNameError.of("split", name, splits)
