"""Choose by hash, so that every machine chooses the same and more always includes less; find leaks between splits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from harness.types import Split


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
    return f"the {kept} of {total} test queries with the smallest SHA-256 of 'sample|<query id>'"


def leaks(test: Split, seen: Iterable[Split]) -> list[str]:
    """Return the qids of the test queries whose text also occurs in one of the `seen` splits.

    Texts are compared case-folded and with white space squeezed.
    """
    known = {_normal(query.text) for split in seen for query in split.queries}
    return [query.qid for query in test.queries if _normal(query.text) in known]


def _sample_key(qid: str) -> tuple[bytes, str]:
    return hashlib.sha256(f"sample|{qid}".encode()).digest(), qid


def _normal(text: str) -> str:
    return " ".join(text.casefold().split())
