"""Cut a split into slices that tell lookup from understanding.

- "verbatim": the query's text stands word for word in a relevant passage, so matching strings is enough.
- "gold train queries n": how many training queries lead to one of the query's relevant passages; 0 means that
  nothing the system was trained on pointed there.
- "query words n": how many words the query has.
- "gold overlap n%": how many of the query's different words stand in a relevant passage, its title included; of several
  passages the one with most. Words are compared without regard to case, and no word is left out as too frequent. In
  scripts without blanks a word is what stands between punctuation marks, so there the slice says little.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from harness.types import Corpus, Dataset, Passage, Query, Split

SMALLEST = 5
"""Slices of fewer queries are left out: their means say nothing."""

ALL = "all"
VERBATIM = "verbatim"
NOT_VERBATIM = "not verbatim"
SEEN = (("0", 0, 0), ("1", 1, 1), ("2-4", 2, 4), ("5+", 5, None))
LENGTHS = (("1-4", 0, 4), ("5-8", 5, 8), ("9-12", 9, 12), ("13+", 13, None))
"""Name, fewest and most words; a query of none counts with the shortest."""
OVERLAPS = (("0-24%", 0.25), ("25-49%", 0.5), ("50-74%", 0.75), ("75-100%", None))
"""Name, and the share of words it stays below."""

_WORD = re.compile(r"\w+")


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
    found |= {_length_name(name): [] for name, _, _ in LENGTHS} | {_overlap_name(name): [] for name, _ in OVERLAPS}
    for query in chosen.queries:
        gold = [docid for docid, grade in chosen.qrels.get(query.qid, {}).items() if grade > 0]
        found[ALL].append(query.qid)
        found[VERBATIM if _verbatim(query.text, gold, dataset.corpus) else NOT_VERBATIM].append(query.qid)
        found[_bucket(len(set().union(*(seen.get(docid, ()) for docid in gold))))].append(query.qid)
        found[_length(query)].append(query.qid)
        found[_overlap(query.text, gold, dataset.corpus)].append(query.qid)
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


def _length(query: Query) -> str:
    count = len(_WORD.findall(query.text))
    return next(_length_name(name) for name, _, high in LENGTHS if high is None or count <= high)


def _length_name(name: str) -> str:
    return f"query words {name}"


def _overlap(text: str, gold: list[str], corpus: Corpus) -> str:
    share = overlap(text, [corpus[corpus.row_of[docid]] for docid in gold if docid in corpus.row_of])
    return next(_overlap_name(name) for name, below in OVERLAPS if below is None or share < below)


def overlap(text: str, passages: Sequence[Passage]) -> float:
    """Return the largest share (0 to 1) of the different words of a query that a passage holds; 0 where there are none.

    >>> overlap("The red fox", [Passage("d", "Foxes", "the FOX is red, or not", "d")])
    1.0
    """
    wanted = set(_WORD.findall(text.casefold()))
    held = (set(_WORD.findall(f"{passage.title} {passage.text}".casefold())) for passage in passages)
    return max((len(wanted & words) / len(wanted) for words in held), default=0.0) if wanted else 0.0


def _overlap_name(name: str) -> str:
    return f"gold overlap {name}"
