"""A small dataset in memory for tests of what is done to datasets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.datasets.stored import gather
from harness.types import Dataset, Passage, Query, Split

Judged = Mapping[str, Mapping[str, int]]


def split(name: str, qrels: Judged, texts: Mapping[str, str] | None = None) -> Split:
    """Make a split whose queries are asked as `texts` says, or by their ids."""
    return Split(name, tuple(Query(qid, (texts or {}).get(qid, qid)) for qid in qrels), qrels)


def dataset(
    passages: Sequence[Passage],
    *,
    train: Judged | None = None,
    dev: Judged | None = None,
    test: Judged | None = None,
    texts: Mapping[str, str] | None = None,
    name: str = "sample",
) -> Dataset:
    """Make a dataset as a source returns it."""
    protocol = {"split_rule": "as given", "judgements": "as given"}
    card = {"source": "a test", "licence": "none", "description": "a sample", "protocol": protocol, "notes": []}
    given = {"train": train or {}, "dev": dev or {}, "test": test or {}}
    splits = {part: split(part, qrels, texts) for part, qrels in given.items()}
    return Dataset(name, gather(passages), **splits, card=card)


def passages(texts: Mapping[str, str]) -> list[Passage]:
    """Make passages docid -> text, each a document of its own."""
    return [Passage(docid, f"Title of {docid}", text, docid) for docid, text in texts.items()]
