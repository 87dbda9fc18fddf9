"""What a causal model is trained on: token sequences of which some spans bear the loss.

Also how a budget of tokens is spent: each view gets a share, goes through its examples in a fresh random
order an epoch, and what does not fit any more is left out, so that two systems see equally many tokens.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from harness.datasets.chunking import sentences
from harness.types import Corpus, Query, Split

MIN_WORDS, MAX_WORDS = 5, 50
"""A sentence is memorised if it has more words than the first and fewer than the second (Tang et al. 2024)."""


class Example(NamedTuple):
    """One training sequence; `spans` are the half-open token ranges the model must produce."""

    tokens: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


class Piece(NamedTuple):
    """A run of tokens that is either context or target."""

    tokens: Sequence[int]
    target: bool


def join(pieces: Sequence[Piece]) -> Example:
    """Lay pieces end to end; neighbouring targets become one span.

    >>> join([Piece([5, 6], False), Piece([7], True), Piece([8, 9], True), Piece([1], False)])
    Example(tokens=(5, 6, 7, 8, 9, 1), spans=((2, 5),))
    """
    tokens: list[int] = []
    spans: list[tuple[int, int]] = []
    for piece in pieces:
        start = len(tokens)
        tokens.extend(piece.tokens)
        if piece.target and len(tokens) > start:
            if spans and spans[-1][1] == start:
                start = spans.pop()[0]
            spans.append((start, len(tokens)))
    return Example(tuple(tokens), tuple(spans))


def everything(example: Example) -> Example:
    """Return the example with all of its tokens as targets but the first, which nothing foretells.

    >>> everything(Example((5, 6, 7), ((2, 3),)))
    Example(tokens=(5, 6, 7), spans=((1, 3),))
    """
    return example._replace(spans=((1, len(example.tokens)),))


def spend(examples: Sequence[Example], budget_tokens: int, rng: random.Random) -> list[Example]:
    """Draw examples epoch by epoch, each epoch shuffled, while they fit into the budget.

    Returns them in drawing order; at least one epoch's order is begun unless nothing fits. An epoch in which
    nothing fits any more ends the drawing.
    """
    if not examples:
        return []
    chosen: list[Example] = []
    left = budget_tokens
    smallest = min(len(e.tokens) for e in examples)
    for example in _forever(examples, rng):
        if left < smallest:
            return chosen
        if len(example.tokens) <= left:
            chosen.append(example)
            left -= len(example.tokens)
    return chosen


def spend_shares(
    pools: Mapping[str, Sequence[Example]], shares: Mapping[str, float], budget_tokens: int, rng: random.Random
) -> dict[str, list[Example]]:
    """Divide a budget over the views that have examples, in proportion to their shares, and spend each part."""
    wanted = _wanted(pools, shares)
    total = sum(wanted.values())
    return {name: spend(pools[name], int(budget_tokens * share / total), rng) for name, share in wanted.items()}


def budget_of_passes(
    pools: Mapping[str, Sequence[Example]], shares: Mapping[str, float], view: str, passes: float
) -> float:
    """Return the tokens of a budget whose part for `view` goes `passes` times through its examples.

    Infinite where the view has no part in any budget.
    """
    wanted = _wanted(pools, shares)
    if view not in wanted:
        return math.inf
    return passes * sum(len(e.tokens) for e in pools[view]) * sum(wanted.values()) / wanted[view]


def _wanted(pools: Mapping[str, Sequence[Example]], shares: Mapping[str, float]) -> dict[str, float]:
    """Return the shares of the views that have examples to spend a share on."""
    return {name: share for name, share in shares.items() if share > 0 and pools.get(name)}


def memorable(text: str) -> list[str]:
    """List the sentences of a passage that are memorised: more than 5 and fewer than 50 words (section 3.1)."""
    return [s for s in sentences(text) if MIN_WORDS < len(s.split()) < MAX_WORDS]


def _forever(examples: Sequence[Example], rng: random.Random) -> Iterator[Example]:
    while True:
        yield from rng.sample(examples, len(examples))


def relevant_rows(split: Split, qid: str, corpus: Corpus) -> set[int]:
    """Return the rows of the passages that are relevant to a query, at any grade."""
    return {corpus.row_of[docid] for docid, grade in split.qrels.get(qid, {}).items() if grade >= 1}


def supervised_pairs(split: Split, corpus: Corpus) -> list[tuple[Query, int]]:
    """List (query, row of a gold passage) in query order; of graded passages only those of the highest grade."""
    pairs: list[tuple[Query, int]] = []
    for query in split.queries:
        grades = {d: g for d, g in split.qrels.get(query.qid, {}).items() if g >= 1}
        best = max(grades.values(), default=0)
        pairs.extend((query, corpus.row_of[d]) for d, g in grades.items() if g == best)
    return pairs
