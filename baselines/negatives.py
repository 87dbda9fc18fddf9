"""Hard negatives: passages that rank high for a training query and are wrong; and batches that hold no false ones."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from harness.answer_match import normalised
from harness.lm.examples import supervised_pairs
from harness.progress import SILENT, Progress
from harness.types import Corpus, Hit, Passage, Query, Split

Search = Callable[[Sequence[str], int], list[list[Hit]]]
Item = TypeVar("Item")
QUERIES_AT_ONCE = 64


class Lesson(NamedTuple):
    """One training pair and what is wrong for its query.

    query: text of the query. gold: row of the right passage. negatives: rows of wrong ones, highest ranked first.
    shown: digests of the texts of `gold` and `negatives`. right: digests of all texts that are right for the query.
    """

    query: str
    gold: int
    negatives: tuple[int, ...]
    shown: frozenset[bytes]
    right: frozenset[bytes]


class _Known(NamedTuple):
    """What is known of one query text, over all queries that read the same."""

    docids: set[str]
    texts: set[bytes]
    answers: set[str]


def mined(
    split: Split, corpus: Corpus, search: Search, *, count: int, depth: int, progress: Progress = SILENT
) -> list[Lesson]:
    """Search for every training query once and keep the highest-ranked passages that are wrong.

    A passage is wrong if it is not judged relevant (at any grade), its text is no copy of a relevant one's or of
    another negative's (but for case and white space), and it holds none of the query's reference answers. Queries
    of the same text share their judgements and answers.

    Args:
        split: the training queries; its pairs are those of `supervised_pairs`.
        corpus: where the passages are.
        search: (queries, k) -> hits, best first; "wrong" is looked for among its `depth` first.
        count: negatives a pair; where fewer are found, fewer.
        depth: hits looked at, at least 1.
        progress: told about the phase.

    Returns:
        A lesson for each pair, in the order of the pairs.
    """
    pairs = supervised_pairs(split, corpus)
    if not pairs:
        progress.phase("no training pairs, nothing to train")
        return []
    known = _known(split, corpus, [query for query, _ in pairs])
    progress.phase("mine negatives", len(known), "queries")
    wrong: dict[str, tuple[int, ...]] = {}
    for texts in _slices(list(known) if count else [], QUERIES_AT_ONCE):
        for text, hits in zip(texts, search(texts, depth), strict=True):
            wrong[text] = _wrong(hits, corpus, known[text], count)
        progress.advance(len(texts))
    return [_lesson(query.text, row, wrong.get(query.text, ()), corpus, known[query.text]) for query, row in pairs]


def _known(split: Split, corpus: Corpus, queries: Iterable[Query]) -> dict[str, _Known]:
    known: dict[str, _Known] = {}
    for query in queries:
        one = known.setdefault(query.text, _Known(set(), set(), set()))
        docids = {docid for docid, grade in split.qrels.get(query.qid, {}).items() if grade >= 1}
        one.texts.update(_digest(corpus[corpus.row_of[docid]].text) for docid in docids - one.docids)
        one.docids.update(docids)
        one.answers.update(filter(None, map(normalised, query.answers)))
    return known


def _wrong(hits: Sequence[Hit], corpus: Corpus, known: _Known, count: int) -> tuple[int, ...]:
    rows: list[int] = []
    met = set(known.texts)
    for hit in hits:
        if len(rows) == count:
            break
        if hit.docid in known.docids:
            continue
        row = corpus.row_of[hit.docid]
        passage = corpus[row]
        digest = _digest(passage.text)
        if digest not in met and not _holds(passage, known.answers):
            met.add(digest)
            rows.append(row)
    return tuple(rows)


def _holds(passage: Passage, answers: Iterable[str]) -> bool:
    """Say whether a normalised answer stands in the passage as whole words."""
    words = f" {normalised(f'{passage.title} {passage.text}')} "
    return any(f" {answer} " in words for answer in answers)


def _lesson(query: str, gold: int, negatives: tuple[int, ...], corpus: Corpus, known: _Known) -> Lesson:
    shown = frozenset(_digest(corpus[row].text) for row in (gold, *negatives))
    return Lesson(query, gold, negatives, shown, frozenset(known.texts))


def _digest(text: str) -> bytes:
    """Tell texts apart by 16 bytes instead of keeping them; case and white space do not count."""
    return hashlib.blake2b(" ".join(text.casefold().split()).encode(), digest_size=16).digest()


def _slices(items: list[Item], size: int) -> list[list[Item]]:
    return [items[start : start + size] for start in range(0, len(items), size)]


def shuffled(lessons: Sequence[Lesson], size: int, rng: random.Random) -> list[list[Lesson]]:
    """Deal lessons into batches in random order."""
    return _slices(rng.sample(lessons, len(lessons)), size)


def unmixed(lessons: Sequence[Lesson], size: int, rng: random.Random) -> list[list[Lesson]]:
    """Deal lessons in random order into batches in which every passage may serve as a negative for the others.

    No passage of one lesson is right for the query of another, and all have equally many negatives; a lesson that
    does not fit waits for a later batch, so the last batches may be small.
    """
    left = rng.sample(lessons, len(lessons))
    dealt: list[list[Lesson]] = []
    while left:
        batch: list[Lesson] = []
        later: list[Lesson] = []
        shown: set[bytes] = set()
        right: set[bytes] = set()
        for place, lesson in enumerate(left):
            if len(batch) == size:
                later += left[place:]
                break
            alike = not batch or len(lesson.negatives) == len(batch[0].negatives)
            if alike and shown.isdisjoint(lesson.right) and right.isdisjoint(lesson.shown):
                batch.append(lesson)
                shown |= lesson.shown
                right |= lesson.right
            else:
                later.append(lesson)
        dealt.append(batch)
        left = later
    return dealt
