"""Write a dataset as a folder in BEIR layout, whole or not at all; loaded again it has the same checksum."""

from __future__ import annotations

import graphlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from harness.atomic import new_folder, refuse_existing
from harness.datasets.checks import QRELS_HEADER
from harness.errors import DataError
from harness.progress import SILENT, Progress
from harness.types import Corpus, Dataset, Query

_STEP = 4096


def write(dataset: Dataset, folder: Path, progress: Progress = SILENT) -> None:
    """Write corpus.jsonl, queries.jsonl, qrels/{train,dev,test}.tsv and card.json into a new folder.

    A train or dev split without queries gets no qrels file. The folder appears under its name once it is whole.

    Raises:
        ConfigError: there is something of that name.
        DataError: an id or the order of the queries cannot be written in this layout.
        StorageError: the disk is full or may not be written.
    """
    refuse_existing(folder)
    queries = _in_order(dataset)
    with new_folder(folder, f"the dataset {dataset.name}") as new:
        _lines(new / "corpus.jsonl", _passages(dataset.corpus, progress))
        _lines(new / "queries.jsonl", map(_query, queries))
        (new / "qrels").mkdir()
        for split in (dataset.train, dataset.dev, dataset.test):
            if split.queries or split is dataset.test:
                _lines(new / "qrels" / f"{split.name}.tsv", _judgements(split.qrels))
        card = json.dumps(dict(dataset.card), ensure_ascii=False, indent=2)
        _lines(new / "card.json", [card])


def _lines(path: Path, lines: Iterable[str]) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(f"{line}\n" for line in lines)
        file.flush()
        os.fsync(file.fileno())


def _passages(corpus: Corpus, progress: Progress) -> Iterator[str]:
    progress.phase("write", len(corpus), "passages")
    for row, (docid, title, text, document) in enumerate(corpus, start=1):
        record = {"_id": _plain(docid), "title": title, "text": text}
        yield _json(record if document == docid else {**record, "document": _plain(document)})
        if row % _STEP == 0:
            progress.advance(_STEP)


def _query(query: Query) -> str:
    record: dict[str, Any] = {"_id": _plain(query.qid), "text": query.text}
    return _json({**record, "metadata": {"answers": list(query.answers)}} if query.answers else record)


def _judgements(qrels: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    yield QRELS_HEADER
    for qid, judged in qrels.items():
        for docid, grade in judged.items():
            yield f"{qid}\t{docid}\t{grade}"


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)


def _plain(name: str) -> str:
    """Return an id, or refuse one that the columns of a qrels file cannot hold."""
    if not name or any(character.isspace() for character in name):
        raise DataError("ids that are not empty and hold no white space", repr(name[:60]), "rename it in the source")
    return name


def _in_order(dataset: Dataset) -> Iterable[Query]:
    """Put the queries of all splits into one order that is the order of each split, as they share one file."""
    splits = (dataset.train, dataset.dev, dataset.test)
    queries: dict[str, Query] = {}
    shared = False
    for query in (query for split in splits for query in split.queries):
        shared = shared or query.qid in queries
        if queries.setdefault(query.qid, query) != query:
            raise DataError("one text for each query-id", f"two of {query.qid!r}", "rename one of the two")
    if not shared:
        return queries.values()
    after = graphlib.TopologicalSorter(dict.fromkeys(queries, ()))
    for split in splits:
        for before, query in pairwise(split.queries):
            after.add(query.qid, before.qid)
    try:
        return [queries[qid] for qid in after.static_order()]
    except graphlib.CycleError as error:
        got = f"splits that have {error.args[1][0]!r} and {error.args[1][1]!r} in different orders"
        raise DataError("one order of the queries for all splits", got, "give queries ids of their own") from error
