"""Choose queries and documents by hash, so that every machine chooses the same and more always includes less."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from harness.errors import ConfigError
from harness.records import CUT
from harness.types import Corpus, Dataset, Split

if TYPE_CHECKING:
    import numpy as np

_SLICE = 4096
"""Documents that are Python objects at a time."""


def fraction(key: str) -> float:
    """Map a string to [0, 1): the first 48 bits of its SHA-256, evenly spread and the same everywhere.

    >>> round(fraction("abc"), 6)
    0.728395
    """
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:6], "big") / 2**48


def sample(split: Split, n: int | None) -> Split:
    """Keep the `n` queries (None: all) with the smallest SHA-256 of `sample|<qid>`, in their given order.

    The choice is nested: a larger `n` keeps every query that a smaller one keeps.
    """
    if n is None or n >= len(split):
        return split
    by_hash = sorted((query.qid for query in split.queries), key=_sample_key)
    chosen = set(by_hash[:n])
    queries = tuple(query for query in split.queries if query.qid in chosen)
    return Split(split.name, queries, {query.qid: split.qrels[query.qid] for query in queries})


def describe(kept: int, total: int) -> str:
    """Say in the card which test queries were kept."""
    if kept == total:
        return f"all {total} test queries"
    return f"{CUT}{kept} of {total} test queries with the smallest SHA-256 of 'sample|<query id>'"


def documents(dataset: Dataset, n: int | None) -> tuple[Dataset, str]:
    """Keep `n` documents (None: all) with all their passages, in their given order.

    First those that hold a relevant passage (grade from 1) of a query of any split, then those with the smallest
    SHA-256 of `document|<document>`: with the same queries, a larger `n` keeps every document that a smaller one keeps.
    Judgements of passages that go are dropped.

    Returns:
        The dataset, and what the card says.

    Raises:
        ConfigError: more than `n` documents hold relevant passages.
    """
    from pyarrow import compute

    every = compute.unique(dataset.corpus.table.column("document"))
    if n is None or n >= len(every):
        return dataset, f"all {len(every)} documents"
    gold = pa.array(sorted(gold_documents(dataset)), pa.string())
    if len(gold) > n:
        got = f"max_documents = {n}; {len(gold)} documents hold relevant passages of the queries of all splits"
        fix = f"choose at least {len(gold)}, or fewer test queries with max_test_queries"
        raise ConfigError("room for every document with a relevant passage", got, fix)
    others = every.filter(compute.invert(compute.is_in(every, value_set=gold)))
    first = hashes(others).argsort(kind="stable")[: n - len(gold)]
    kept = pa.concat_arrays([gold, others.take(pa.array(first))])
    table = dataset.corpus.table
    corpus = Corpus(table.filter(compute.is_in(table.column("document"), value_set=kept)))
    said = (
        f"{n} of {len(every)} documents: {len(gold)} with relevant passages of the queries of any split, "
        "the others with the smallest SHA-256 of 'document|<document>'"
    )
    return _judged_within(replace(dataset, corpus=corpus)), said


def gold_documents(dataset: Dataset) -> set[str]:
    """Collect the documents that hold a relevant passage (grade from 1) of a query of any split."""
    relevant = {
        docid
        for split in (dataset.train, dataset.dev, dataset.test)
        for judged in split.qrels.values()
        for docid, grade in judged.items()
        if grade >= 1
    }
    return set(rows_of(dataset.corpus, relevant, "document").column("document").to_pylist())


def rows_of(corpus: Corpus, docids: Collection[str], *columns: str) -> pa.Table:
    """Pick these columns of the passages with these docids, in corpus order, without a Python object for any other."""
    from pyarrow import compute

    wanted = pa.array(list(docids), pa.string())
    mask = compute.is_in(corpus.table.column("docid"), value_set=wanted)
    return corpus.table.select(list(columns)).filter(mask)


def hashes(names: pa.Array) -> np.ndarray:
    """Return the (n,) uint64 first 64 bits of the SHA-256 of `document|<name>`."""
    import numpy as np

    found = [np.zeros(0, np.uint64)]
    for start in range(0, len(names), _SLICE):
        slice_ = names.slice(start, _SLICE).to_pylist()
        digests = b"".join(hashlib.sha256(f"document|{name}".encode()).digest()[:8] for name in slice_)
        found.append(np.frombuffer(digests, ">u8").astype(np.uint64))
    return np.concatenate(found)


def _judged_within(dataset: Dataset) -> Dataset:
    """Drop the judgements of passages that the corpus does not hold."""
    splits = (dataset.train, dataset.dev, dataset.test)
    judged = {docid for split in splits for found in split.qrels.values() for docid in found}
    kept = set(rows_of(dataset.corpus, judged, "docid").column("docid").to_pylist())

    def within(split: Split) -> Split:
        qrels = {q: {d: grade for d, grade in found.items() if d in kept} for q, found in split.qrels.items()}
        return replace(split, qrels=qrels)

    train, dev, test = map(within, splits)
    return replace(dataset, train=train, dev=dev, test=test)


def _sample_key(qid: str) -> tuple[bytes, str]:
    return hashlib.sha256(f"sample|{qid}".encode()).digest(), qid
