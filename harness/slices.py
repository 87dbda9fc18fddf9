"""Cut a split into slices that tell lookup from understanding.

- "verbatim": the query's text stands word for word in a relevant passage, so matching strings is enough.
- "gold train queries n": how many training queries lead to one of the query's relevant passages; 0 means that
  nothing the system was trained on pointed there.
"""

from __future__ import annotations

from collections.abc import Mapping

from harness.types import Corpus, Dataset, Split

SMALLEST = 5
"""Slices of fewer queries are left out: their means say nothing."""

ALL = "all"
VERBATIM = "verbatim"
NOT_VERBATIM = "not verbatim"
SEEN = (("0", 0, 0), ("1", 1, 1), ("2-4", 2, 4), ("5+", 5, None))


def slices(dataset: Dataset, split: Split | str) -> dict[str, list[str]]:
    """Return slice -> qids in the order of the split; "all" first and always there.

    Args:
        dataset: the corpus and the training queries.
        split: the queries to cut, or the name of the dataset's split.
    """
    chosen = dataset.split(split) if isinstance(split, str) else split
    seen = _train_queries_of(dataset.train)
    found: dict[str, list[str]] = {ALL: [], VERBATIM: [], NOT_VERBATIM: []}
    found |= {_seen_name(name): [] for name, _, _ in SEEN}
    for query in chosen.queries:
        gold = [docid for docid, grade in chosen.qrels.get(query.qid, {}).items() if grade > 0]
        found[ALL].append(query.qid)
        found[VERBATIM if _verbatim(query.text, gold, dataset.corpus) else NOT_VERBATIM].append(query.qid)
        found[_bucket(len(set().union(*(seen.get(docid, ()) for docid in gold))))].append(query.qid)
    return {name: qids for name, qids in found.items() if name == ALL or len(qids) >= SMALLEST}


def _train_queries_of(train: Split) -> Mapping[str, set[str]]:
    queries: dict[str, set[str]] = {}
    for query in train.queries:
        for docid, grade in train.qrels.get(query.qid, {}).items():
            if grade > 0:
                queries.setdefault(docid, set()).add(query.qid)
    return queries


def _verbatim(text: str, gold: list[str], corpus: Corpus) -> bool:
    wanted = _squeezed(text)
    rows = (corpus.row_of[docid] for docid in gold if docid in corpus.row_of)
    return bool(wanted) and any(wanted in _squeezed(corpus[row].text) for row in rows)


def _squeezed(text: str) -> str:
    return " ".join(text.casefold().split())


def _bucket(count: int) -> str:
    return next(_seen_name(name) for name, low, high in SEEN if count >= low and (high is None or count <= high))


def _seen_name(name: str) -> str:
    return f"gold train queries {name}"
