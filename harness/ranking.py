"""Order hits by the one tie rule of trec_eval: score descending, then docid descending (code points).

trec_eval itself compares scores as 32-bit floats. Here scores are compared as given (64-bit), the run file keeps
all their digits, and the measures are computed from the order of the list, so no tool downstream reorders a run.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from harness.errors import ConfigError, DataError
from harness.types import Hit, Run

if TYPE_CHECKING:
    import numpy as np

_FIX_SCORES = "make the system's search return one finite number for every hit"


def ranked(hits: Iterable[Hit], k: int | None = None) -> list[Hit]:
    """Return the hits best first, at most `k` of them (None: all).

    >>> [h.docid for h in ranked([Hit("a", 1.0), Hit("c", 1.0), Hit("b", 2.0)])]
    ['b', 'c', 'a']

    Raises:
        DataError: a score is NaN, which has no place in an order. Infinite scores are ordered; `validate` refuses them.
        ConfigError: `k` is below 1.
    """
    _check_k(k)
    given = list(hits)
    for hit in given:
        if math.isnan(hit.score):
            raise DataError("scores that can be ordered", f"NaN for docid {hit.docid!r}", _FIX_SCORES)
    return sorted(given, key=_rank_key, reverse=True)[:k]


def top_k(scores: np.ndarray[Any, Any], docids: Sequence[str], k: int) -> list[Hit]:
    """Return the `k` best rows of a score array as hits; the same order as `ranked`, without sorting everything.

    Rows that tie at the cut are all looked at, so which of them are kept is decided by docid, never by row.
    Takes time linear in the corpus and memory for one copy of `scores`.

    Args:
        scores: (corpus,) of any real dtype; row i belongs to `docids[i]`.
        docids: docid of each row.
        k: how many hits, at least 1; may exceed the corpus.

    Raises:
        DataError: lengths differ, or a score is NaN.
        ConfigError: `k` is below 1.
    """
    import numpy as np

    _check_k(k)
    scores = np.asarray(scores)
    if scores.shape != (len(docids),):
        raise DataError(
            f"one score for each of the {len(docids)} docids",
            f"an array of shape {scores.shape}",
            "score every passage of the corpus exactly once",
        )
    if np.isnan(scores).any():
        first = docids[int(np.isnan(scores).argmax())]
        raise DataError("scores that can be ordered", f"NaN for docid {first!r}", _FIX_SCORES)
    if k >= len(docids):
        return ranked(Hit(docid, float(score)) for docid, score in zip(docids, scores, strict=True))
    cut = np.partition(scores, len(docids) - k)[len(docids) - k]
    above = [Hit(docids[row], float(scores[row])) for row in np.flatnonzero(scores > cut).tolist()]
    # A sparse system may give half the corpus the same score: keep the largest docids without sorting all of them.
    tied = heapq.nlargest(k - len(above), (docids[row] for row in np.flatnonzero(scores == cut).tolist()))
    return ranked(above) + [Hit(docid, float(cut)) for docid in tied]


def validate(run: Run, corpus_docids: Collection[str], k: int) -> None:
    """Check that every list of a run is what `Retriever.search` promises.

    Args:
        run: qid -> hits, best first.
        corpus_docids: every docid of the corpus; a set or mapping (such as `corpus.row_of`) is used as it is.
        k: most hits a query may have.

    Raises:
        DataError: more than `k` hits, a docid twice or outside the corpus, a score NaN or infinite, a wrong order.
    """
    _check_k(k)
    known = corpus_docids if isinstance(corpus_docids, AbstractSet | Mapping) else frozenset(corpus_docids)
    for qid, hits in run.items():
        _validate_one(qid, hits, known, k)


def _validate_one(qid: str, hits: Sequence[Hit], known: Collection[str], k: int) -> None:
    where = f"in the hits of query {qid!r}"
    if len(hits) > k:
        raise DataError(f"at most {k} hits {where}", f"{len(hits)}", "cut the list at k in the system's search")
    seen: set[str] = set()
    for hit in hits:
        if not math.isfinite(hit.score):
            raise DataError(f"finite scores {where}", f"{hit.score} for docid {hit.docid!r}", _FIX_SCORES)
        if hit.docid in seen:
            raise DataError(
                f"each docid once {where}", f"{hit.docid!r} twice", "merge duplicates in the system's search"
            )
        if hit.docid not in known:
            raise DataError(
                f"only docids of the corpus {where}",
                repr(hit.docid),
                "map what the system generates to docids of the indexed corpus, and drop what maps to none",
            )
        seen.add(hit.docid)
    for rank, (better, worse) in enumerate(itertools.pairwise(hits), start=1):
        if _rank_key(better) < _rank_key(worse):
            raise DataError(
                f"score descending, ties by docid descending, {where}",
                f"{better.docid!r} ({better.score!r}) at rank {rank} before {worse.docid!r} ({worse.score!r})",
                "return the hits through harness.ranking.ranked or top_k",
            )


def _rank_key(hit: Hit) -> tuple[float, str]:
    return hit.score, hit.docid


def _check_k(k: int | None) -> None:
    if k is not None and k < 1:
        raise ConfigError("a cut-off k of at least 1", str(k), "ask for at least one hit")
