"""Passages that say the same: find them, and merge them without losing a judgement."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from harness.datasets import sampling
from harness.progress import SILENT, Progress
from harness.types import Corpus, Dataset, Split

if TYPE_CHECKING:
    import numpy as np

_BATCH = 1024


class Doubles(NamedTuple):
    """The passages of a corpus whose text another one has too.

    row: (m,) rows of the corpus, ascending within a group. group: (m,) number of the group, ascending from 0.
    """

    row: np.ndarray
    group: np.ndarray

    @property
    def groups(self) -> int:
        """How many different texts there are among them."""
        return int(self.group[-1]) + 1 if len(self.group) else 0

    @property
    def spare(self) -> int:
        """How many passages would go if each text stayed once."""
        return len(self.row) - self.groups


def normal(text: str) -> str:
    """Fold case; write punctuation and white space as single blanks.

    >>> normal("The U.S.A. –  it's BIG!")
    'the u s a it s big'
    """
    return " ".join(_punctuation().sub(" ", text.casefold()).split())


def doubles(corpus: Corpus, progress: Progress = SILENT) -> Doubles:
    """Find passages whose texts are equal but for case, white space and punctuation; titles are not compared.

    Texts without words are equal to none. A passage costs 16 bytes meanwhile.
    """
    import numpy as np

    digests = np.frombuffer(b"".join(_digests(corpus, progress)), np.dtype([("high", "<u8"), ("low", "<u8")]))
    order = np.lexsort((digests["low"], digests["high"]))
    high, low = digests["high"][order], digests["low"][order]
    same = (high[1:] == high[:-1]) & (low[1:] == low[:-1]) & ((high[1:] | low[1:]) != 0)
    double, first = (np.zeros(len(order), bool) for _ in range(2))
    double[1:], first[:-1] = same, same
    double |= first
    first[1:] &= ~same
    return Doubles(order[double], np.cumsum(first)[double] - 1)


def merge(dataset: Dataset, progress: Progress = SILENT) -> tuple[Dataset, int]:
    """Keep one passage of each text that several have; it takes over the judgements of those that go.

    The one kept is of the document that `sampling.documents` would keep first, so that a larger sample still holds
    what a smaller one holds; within a document, the first. Where a query judged several, the highest grade stays.

    Returns:
        The dataset, and how many passages went.
    """
    import numpy as np

    corpus = dataset.corpus
    found = doubles(corpus, progress)
    if not found.spare:
        return dataset, 0
    names = corpus.table.column("document").take(pa.array(found.row)).combine_chunks()
    gold = sampling.gold_documents(dataset)
    ordinary = np.array([name not in gold for name in names.to_pylist()])
    order = np.lexsort((found.row, sampling.hashes(names), ordinary, found.group))
    starts = np.searchsorted(found.group, np.arange(found.groups))
    chosen = found.row[order][starts][found.group]
    stays = np.ones(len(corpus), bool)
    stays[found.row[chosen != found.row]] = False
    gone = _judged_doubles(dataset, found.row, chosen)
    train, dev, test = (_passed_on(split, gone) for split in (dataset.train, dataset.dev, dataset.test))
    kept = Corpus(corpus.table.filter(pa.array(stays)))
    return replace(dataset, corpus=kept, train=train, dev=dev, test=test), found.spare


def describe(setting: str) -> str:
    """Say in the card what was merged."""
    if setting == "none":
        return "none"
    return (
        "of passages equal but for case, white space and punctuation (titles not compared) one stays, that of the "
        "document sampling would keep first; it takes over the judgements of the others"
    )


@cache
def _punctuation() -> re.Pattern[str]:
    """Match runs of punctuation; \\W would match the vowel signs of Hindi too.

    Of the basic plane: a class that goes beyond it is searched ten times slower, and there is nothing but dead scripts.
    """
    signs = (chr(point) for point in range(0x10000))
    found = "".join(re.escape(sign) for sign in signs if unicodedata.category(sign).startswith("P"))
    return re.compile(f"[{found}]+")


def _digests(corpus: Corpus, progress: Progress) -> Iterator[bytes]:
    progress.phase("compare texts", len(corpus), "passages")
    for chunk in corpus.table.column("text").chunks:
        for start in range(0, len(chunk), _BATCH):
            texts = chunk.slice(start, _BATCH).to_pylist()
            yield b"".join(map(_digest, texts))
            progress.advance(len(texts))


def _digest(text: str) -> bytes:
    """Digest a text in 128 bits; all of them 0 for one without words."""
    words = normal(text)
    return hashlib.blake2b(words.encode(), digest_size=16).digest() if words else bytes(16)


def _judged_doubles(dataset: Dataset, row: Iterable[int], chosen: Iterable[int]) -> Mapping[str, str]:
    """Map the docid of each judged passage that goes to that of the one that stays."""
    from pyarrow import compute

    splits = (dataset.train, dataset.dev, dataset.test)
    judged = {docid for split in splits for found in split.qrels.values() for docid in found}
    docids = dataset.corpus.table.column("docid")
    going, staying = (docids.take(pa.array(rows)) for rows in (row, chosen))
    wanted = compute.is_in(going, value_set=pa.array(list(judged), pa.string()))
    pairs = (column.filter(wanted).to_pylist() for column in (going, staying))
    return {old: new for old, new in zip(*pairs, strict=True) if old != new}


def _passed_on(split: Split, gone: Mapping[str, str]) -> Split:
    qrels: dict[str, dict[str, int]] = {}
    for qid, judged in split.qrels.items():
        mine = qrels[qid] = {}
        for docid, grade in judged.items():
            name = gone.get(docid, docid)
            mine[name] = max(grade, mine.get(name, grade))
    return replace(split, qrels=qrels)
