"""Datasets on disk: a memory-mapped corpus, queries and judgements in Parquet, the card in JSON, one checksum."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pyarrow as pa

from harness.errors import RunFolderError, StorageError
from harness.progress import SILENT, Progress
from harness.types import CORPUS_SCHEMA, Corpus, Dataset, Passage, Query, Split

_BATCH_ROWS = 4096
# An Arrow string array holds less than 2**31 bytes; a batch of this many characters stays far below.
_BATCH_CHARACTERS = 2**26
_QUERIES = pa.schema(
    [("split", pa.string()), ("qid", pa.string()), ("text", pa.string()), ("answers", pa.list_(pa.string()))]
)
_QRELS = pa.schema([("split", pa.string()), ("qid", pa.string()), ("docid", pa.string()), ("grade", pa.int32())])


_WATCHER: ContextVar[Progress] = ContextVar("watcher", default=SILENT)
"""Who is told while passages are gathered: every source does it, and none of them has to pass the watcher on."""


@contextlib.contextmanager
def watched(progress: Progress) -> Iterator[None]:
    """Tell `progress` how many passages `gather` has taken in, inside the block."""
    token = _WATCHER.set(progress)
    try:
        yield
    finally:
        _WATCHER.reset(token)


def gather(passages: Iterable[Passage]) -> Corpus:
    """Copy a stream of passages into a corpus, batch by batch, so that few are Python objects at a time."""
    batches, progress = [], _WATCHER.get()
    for columns in _columns(passages):
        batches.append(pa.record_batch(columns, schema=CORPUS_SCHEMA))
        progress.advance(batches[-1].num_rows)
    return Corpus(pa.Table.from_batches(batches, schema=CORPUS_SCHEMA))


def checksum(dataset: Dataset, progress: Progress = SILENT) -> str:
    """Compute the SHA-256 (hex) over passages, queries and judgements of all splits.

    One compact JSON array a line: passages in corpus order, then per split (train, dev, test) its queries in order and
    its judgements sorted by qid and docid.
    """
    digest = hashlib.sha256()
    for row in _canonical(dataset, progress):
        digest.update(json.dumps(row, separators=(",", ":")).encode() + b"\n")
    return digest.hexdigest()


def save(dataset: Dataset, folder: Path) -> None:
    """Write corpus.arrow, queries.parquet, qrels.parquet and card.json into `folder`, made where missing.

    Each file appears under its name only once it is whole. Grades must fit 32 bits.

    Raises:
        StorageError: the disk is full or may not be written.
    """
    from pyarrow import parquet

    splits = (dataset.train, dataset.dev, dataset.test)
    queries = [(s.name, q.qid, q.text, list(q.answers)) for s in splits for q in s.queries]
    qrels = [(s.name, qid, docid, g) for s in splits for qid, judged in s.qrels.items() for docid, g in judged.items()]
    named = _QUERIES.with_metadata({"dataset": dataset.name})
    card = json.dumps(dict(dataset.card), indent=2) + "\n"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _whole(folder / "corpus.arrow", dataset.corpus.save)
        _whole(folder / "queries.parquet", lambda path: parquet.write_table(_table(queries, named), path))
        _whole(folder / "qrels.parquet", lambda path: parquet.write_table(_table(qrels, _QRELS), path))
        _whole(folder / "card.json", lambda path: path.write_text(card, encoding="utf-8"))
    except OSError as error:
        raise StorageError(
            f"to write the dataset into {folder}", str(error), "free some space or choose another folder"
        ) from error


def open_folder(folder: Path) -> Dataset:
    """Open what `save` wrote; the corpus is memory-mapped and costs no memory until it is read.

    Raises:
        RunFolderError: a file is missing or cannot be read.
    """
    from pyarrow import parquet

    try:
        corpus = Corpus.open(folder / "corpus.arrow")
        queries = parquet.read_table(folder / "queries.parquet")
        qrels = parquet.read_table(folder / "qrels.parquet").cast(_QRELS)
        card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
        name = (queries.schema.metadata or {})[b"dataset"].decode()
        queries = queries.cast(_QUERIES)
        if not isinstance(card, dict):
            raise ValueError("card.json holds no JSON object")
    except (OSError, ValueError, KeyError) as error:
        raise RunFolderError(
            "a dataset folder with corpus.arrow, queries.parquet, qrels.parquet and card.json",
            f"{folder}: {error}",
            "run the experiment again with a fresh run folder",
        ) from error
    splits = {split: _split(split, queries, qrels) for split in ("train", "dev", "test")}
    return Dataset(name, corpus, **splits, card=card)


def _columns(passages: Iterable[Passage]) -> Iterator[list[pa.Array]]:
    rows: list[Passage] = []
    characters = 0
    for passage in passages:
        rows.append(passage)
        characters += sum(map(len, passage))
        if len(rows) >= _BATCH_ROWS or characters >= _BATCH_CHARACTERS:
            yield [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]
            rows, characters = [], 0
    if rows:
        yield [pa.array(column, pa.string()) for column in zip(*rows, strict=True)]


def _canonical(dataset: Dataset, progress: Progress) -> Iterator[list[Any]]:
    for row, passage in enumerate(dataset.corpus, start=1):
        yield ["passage", *passage]
        if row % _BATCH_ROWS == 0:
            progress.advance(_BATCH_ROWS)
    for split in (dataset.train, dataset.dev, dataset.test):
        for query in split.queries:
            yield ["query", split.name, query.qid, query.text, list(query.answers)]
        for qid in sorted(split.qrels):
            for docid, grade in sorted(split.qrels[qid].items()):
                yield ["judgement", split.name, qid, docid, grade]


def _table(rows: list[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    return pa.table([pa.array(c, field.type) for c, field in zip(columns, schema, strict=True)], schema=schema)


def _whole(path: Path, write: Callable[[Path], Any]) -> None:
    part = path.with_name(path.name + ".part")
    try:
        write(part)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _split(name: str, queries: pa.Table, qrels: pa.Table) -> Split:
    from pyarrow import compute

    found = queries.filter(compute.equal(queries["split"], name)).select(["qid", "text", "answers"])
    judged = qrels.filter(compute.equal(qrels["split"], name)).select(["qid", "docid", "grade"])
    by_query: dict[str, dict[str, int]] = {}
    for qid, docid, grade in zip(*(column.to_pylist() for column in judged.columns), strict=True):
        by_query.setdefault(qid, {})[docid] = grade
    rows = zip(*(column.to_pylist() for column in found.columns), strict=True)
    return Split(name, tuple(Query(qid, text, tuple(answers)) for qid, text, answers in rows), by_query)
