"""How fast the classic systems answer: 20 queries over 400 made-up passages, one call."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from harness import registry
from harness.retriever import Retriever
from harness.types import Corpus, Passage, Split

PASSAGES, QUERIES, WORDS = 400, 20, 3000


@cache
def texts() -> tuple[list[str], list[str]]:
    """Draw passages of 40 words and queries of 6, by Zipf's law as in real text."""
    random = np.random.default_rng(11)
    weights = 1 / np.arange(1, WORDS + 1)
    vocabulary = np.array([f"w{number:x}" for number in range(WORDS)])

    def draw(length: int, how_many: int) -> list[str]:
        rows = random.choice(vocabulary, size=(how_many, length), p=weights / weights.sum())
        return [" ".join(row) for row in rows]

    return draw(40, PASSAGES), draw(6, QUERIES)


@cache
def indexed(name: str) -> Retriever:
    system = registry.get(name)
    retriever = system.build(system.config(), 0)
    corpus = Corpus.from_passages(Passage(f"d{n:03}", f"title {n}", text, f"d{n}") for n, text in enumerate(texts()[0]))
    retriever.index(corpus, Split("train"), Split("dev"))
    return retriever


@pytest.mark.benchmark(group="search")
@pytest.mark.parametrize("name", ["bm25", "bm25-rank", "dense"])
def test_search(benchmark: Any, name: str) -> None:
    retriever = indexed(name)
    hits = benchmark.pedantic(retriever.search, args=(texts()[1], 10), rounds=10, warmup_rounds=1)
    assert [len(one) for one in hits] == [10] * QUERIES
