"""Choosing by hash is nested and the same everywhere; leaks are found whatever case and blanks."""

from __future__ import annotations

import hashlib

import pytest

from harness.datasets import sampling
from harness.types import Query, Split

SPLIT = Split("test", tuple(Query(f"q{n}", f"text {n}") for n in range(50)), {f"q{n}": {"d": 1} for n in range(50)})


def test_sample_takes_the_smallest_hashes_in_the_given_order() -> None:
    order = sorted((f"q{n}" for n in range(50)), key=lambda qid: hashlib.sha256(f"sample|{qid}".encode()).hexdigest())
    chosen = sampling.sample(SPLIT, 7)
    assert {query.qid for query in chosen.queries} == set(order[:7])
    assert [query.qid for query in chosen.queries] == sorted(order[:7], key=lambda qid: int(qid[1:]))
    assert set(chosen.qrels) == set(order[:7])


def test_sample_is_nested_and_ignores_the_order_of_queries() -> None:
    smaller, larger = (set(sampling.sample(SPLIT, n).queries) for n in (5, 20))
    assert smaller < larger
    turned = Split("test", SPLIT.queries[::-1], SPLIT.qrels)
    assert set(sampling.sample(turned, 20).queries) == larger


@pytest.mark.parametrize("n", [None, 50, 51])
def test_sample_of_all_is_the_split_itself(n: int | None) -> None:
    assert sampling.sample(SPLIT, n) is SPLIT


def test_fraction_is_even() -> None:
    parts = [int(sampling.fraction(str(n)) * 4) for n in range(4000)]
    assert [900 < parts.count(part) < 1100 for part in range(4)] == [True] * 4
