"""What gives a test away: its queries among those trained on, a relevant passage inside a query, a query inside one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from harness.datasets import sampling
from harness.datasets.dedupe import normal
from harness.progress import SILENT, Progress
from harness.types import Dataset, Split

PASSAGE_WORDS = 3
"""A passage of fewer words inside a query says nothing."""
QUERY_WORDS = 8
"""A query of fewer words may stand in a passage by chance, as names and set phrases do."""


class Leak(NamedTuple):
    """A query and the relevant passage whose words it has, all of them in their order."""

    qid: str
    docid: str


class Verbatim(NamedTuple):
    """What one split has word for word, one entry a query.

    whole: the query holds the whole relevant passage, which is a leak: nobody asks like that. copied: the query, of at
    least `QUERY_WORDS` words, stands in the passage. That is none, only easy; reports show such queries apart.
    """

    whole: list[Leak]
    copied: list[Leak]

    def notes(self, split: Split) -> Iterator[str]:
        """Say in the card what leaks; nothing where nothing does."""
        if self.whole:
            examples = some([f"{docid} in {qid}" for qid, docid in self.whole])
            yield f"{len(self.whole)} of {len(split)} {split.name} queries hold a whole relevant passage ({examples})"


def repeated(test: Split, seen: Iterable[Split]) -> list[str]:
    """Return the qids of the test queries whose text also occurs in one of the `seen` splits.

    Texts are compared case-folded and with white space squeezed.
    """
    known = {_squeezed(query.text) for split in seen for query in split.queries}
    return [query.qid for query in test.queries if _squeezed(query.text) in known]


def verbatim(dataset: Dataset, progress: Progress = SILENT) -> dict[str, Verbatim]:
    """Compare every query with its relevant passages, whole words without case and punctuation; by split.

    Passages are read one after the other; of a query, the first of each kind in corpus order counts.
    """
    asked: dict[str, list[tuple[Split, str, str]]] = {}
    for split in (dataset.train, dataset.dev, dataset.test):
        for query in split.queries:
            for docid in (docid for docid, grade in split.qrels[query.qid].items() if grade >= 1):
                asked.setdefault(docid, []).append((split, query.qid, query.text))
    found = {split.name: Verbatim([], []) for split in (dataset.train, dataset.dev, dataset.test)}
    seen: set[tuple[str, str, bool]] = set()
    gold = sampling.rows_of(dataset.corpus, asked, "docid", "text")
    progress.phase("look for leaks", len(gold), "passages")
    for batch in gold.to_batches(max_chunksize=1024):
        for docid, text in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            passage = normal(text)
            for split, qid, question in asked[docid]:
                for whole in _kinds(normal(question), passage):
                    if (split.name, qid, whole) not in seen:
                        seen.add((split.name, qid, whole))
                        (found[split.name].whole if whole else found[split.name].copied).append(Leak(qid, docid))
        progress.advance(batch.num_rows)
    return found


def some(names: list[str]) -> str:
    """Show the first three."""
    return ", ".join(names[:3]) + (", …" if len(names) > 3 else "")


def _kinds(query: str, passage: str) -> Iterator[bool]:
    """Yield True where the query holds the passage, False where it is copied from it; both without punctuation."""
    if passage.count(" ") + 1 >= PASSAGE_WORDS and f" {passage} " in f" {query} ":
        yield True
    elif query.count(" ") + 1 >= QUERY_WORDS and f" {query} " in f" {passage} ":
        yield False


def _squeezed(text: str) -> str:
    return " ".join(text.casefold().split())
