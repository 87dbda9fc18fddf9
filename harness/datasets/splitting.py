"""Split the queries of a dataset anew, by hash: each for itself, or those of one document together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from harness.datasets import sampling
from harness.datasets.settings import Resplit
from harness.errors import ConfigError, DataError
from harness.types import Dataset, Query, Split


def resplit(dataset: Dataset, rule: Resplit) -> Dataset:
    """Pool the queries of all splits and deal them out again.

    A query that stands in several splits is pooled once, with the judgements of all, the highest grade of each passage.

    Raises:
        DataError: a query-id has two texts, or no query falls to the test split.
    """
    queries, qrels = _pooled(dataset)
    key_of = _documents_of(dataset, qrels) if rule.by == "document" else {qid: qid for qid in queries}
    parts = deal(queries.values(), qrels, lambda qid: f"split|{rule.seed}|{key_of[qid]}", rule.shares)
    if not parts["test"].queries:
        raise DataError(
            "a query for the test split",
            f"none of the {len(queries)} of {dataset.name} with {rule.shares[2]} as the share of test",
            "choose another seed or a larger share",
        )
    return replace(dataset, train=parts["train"], dev=parts["dev"], test=parts["test"])


def deal(
    queries: Iterable[Query],
    qrels: Mapping[str, Mapping[str, int]],
    key_of: Callable[[str], str],
    shares: tuple[float, float, float],
) -> dict[str, Split]:
    """Deal queries out to train, dev and test, each by the fraction that its key hashes to, in their given order.

    Args:
        queries: with ids of their own.
        qrels: qid -> docid -> grade.
        key_of: qid -> what is hashed.
        shares: of train, dev and test.
    """
    parts: dict[str, list[Query]] = {"train": [], "dev": [], "test": []}
    for query in queries:
        parts[_place(key_of(query.qid), shares)].append(query)
    return {name: Split(name, tuple(part), {q.qid: qrels[q.qid] for q in part}) for name, part in parts.items()}


def describe(rule: Resplit) -> str:
    """Say in the card how queries were split."""
    key = "query id" if rule.by == "query" else "document"
    whole = ""
    if rule.by == "document":
        whole = (
            "; queries that share a document with a relevant passage stay together, by the first name of all documents "
            "so connected"
        )
    return f"all queries anew: {dealt(f'split|{rule.seed}|<{key}>', rule.shares)}{whole}"


def dealt(key: str, shares: tuple[float, float, float]) -> str:
    """Say how `deal` deals by this key.

    >>> dealt("split|0|<query id>", (0.6, 0.1, 0.3))
    "SHA-256 of 'split|0|<query id>' as a fraction: below 0.6 train, below 0.7 dev, else test"
    """
    train, dev, _ = shares
    return f"SHA-256 of '{key}' as a fraction: below {train:g} train, below {train + dev:g} dev, else test"


def shares_of(text: str) -> tuple[float, float, float]:
    """Read "0.6,0.1,0.3".

    >>> shares_of("0.6, 0.1, 0.3")
    (0.6, 0.1, 0.3)

    Raises:
        ConfigError: these are not three numbers.
    """
    try:
        train, dev, test = map(float, text.split(","))
    except ValueError as error:
        raise ConfigError("three shares such as 0.6,0.1,0.3", repr(text), "correct --shares") from error
    return train, dev, test


def _pooled(dataset: Dataset) -> tuple[dict[str, Query], dict[str, dict[str, int]]]:
    queries: dict[str, Query] = {}
    qrels: dict[str, dict[str, int]] = {}
    for split in (dataset.train, dataset.dev, dataset.test):
        for query in split.queries:
            if queries.setdefault(query.qid, query) != query:
                raise DataError(
                    "one text and the same answers for each query-id",
                    f"two of {query.qid!r}, one of them in {split.name}",
                    "give one of the two another id",
                )
            judged = qrels.setdefault(query.qid, {})
            for docid, grade in split.qrels[query.qid].items():
                judged[docid] = max(grade, judged.get(docid, grade))
    return queries, qrels


def _place(key: str, shares: tuple[float, float, float]) -> str:
    train, dev, _ = shares
    at = sampling.fraction(key)
    return "train" if at < train else "dev" if at < train + dev else "test"


def _documents_of(dataset: Dataset, qrels: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    """Name for each query one document: the first by name of all that queries connect it with."""
    relevant = {qid: [docid for docid, grade in judged.items() if grade >= 1] for qid, judged in qrels.items()}
    judged = {docid for docids in relevant.values() for docid in docids}
    rows = sampling.rows_of(dataset.corpus, judged, "docid", "document")
    document_of: dict[str, str] = dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))
    parent: dict[str, str] = {}

    def root(name: str) -> str:
        while (above := parent.setdefault(name, name)) != name:
            parent[name] = name = parent[above]
        return name

    for docids in relevant.values():
        roots = sorted({root(document_of[docid]) for docid in docids})
        for other in roots[1:]:
            parent[other] = roots[0]
    return {qid: root(document_of[docids[0]]) for qid, docids in relevant.items()}
