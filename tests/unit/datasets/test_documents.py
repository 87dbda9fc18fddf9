"""Sampling documents: those with relevant passages first, the rest by hash, nested, judgements kept true."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest

from harness.datasets import sampling
from harness.errors import ConfigError
from harness.types import Dataset, Passage
from tests.unit.datasets.samples import dataset

GOLD = ["doc7", "doc13", "doc40"]


@pytest.fixture
def fifty() -> Dataset:
    """Fifty documents of two passages; three of them hold what three queries of three splits look for."""
    texts = [Passage(f"p{n}.{part}", "", "words", f"doc{n}") for n in range(50) for part in range(2)]
    return dataset(
        texts,
        train={"a": {"p7.0": 1, "p8.0": 0}},
        dev={"b": {"p13.1": 2, "p20.0": -1}},
        test={"c": {"p40.0": 1, "p7.0": 0}},
    )


def documents_of(found: Dataset) -> list[str]:
    return list(dict.fromkeys(found.corpus.table.column("document").to_pylist()))


def by_hash() -> list[str]:
    others = [f"doc{n}" for n in range(50) if f"doc{n}" not in GOLD]
    return sorted(others, key=lambda name: hashlib.sha256(f"document|{name}".encode()).hexdigest())


def test_gold_documents_are_kept_and_the_others_by_hash_in_corpus_order(fifty: Dataset) -> None:
    found, said = sampling.documents(fifty, 10)
    expected = {*GOLD, *by_hash()[:7]}
    assert documents_of(found) == [f"doc{n}" for n in range(50) if f"doc{n}" in expected]
    assert len(found.corpus) == 20
    assert said.startswith("10 of 50 documents: 3 with relevant passages")


def test_a_larger_sample_holds_a_smaller_one(fifty: Dataset) -> None:
    samples = [set(documents_of(sampling.documents(fifty, n)[0])) for n in (3, 4, 10, 30, 49, 50)]
    assert [len(sample) for sample in samples] == [3, 4, 10, 30, 49, 50]
    assert all(smaller < larger for smaller, larger in pairwise(samples))
    assert samples[0] == set(GOLD)


def test_judgements_of_passages_that_are_gone_are_dropped(fifty: Dataset) -> None:
    found, _ = sampling.documents(fifty, 3)
    assert found.train.qrels == {"a": {"p7.0": 1}}
    assert found.dev.qrels == {"b": {"p13.1": 2}}
    assert found.test.qrels == {"c": {"p40.0": 1, "p7.0": 0}}
    assert fifty.train.qrels == {"a": {"p7.0": 1, "p8.0": 0}}


@pytest.mark.parametrize("n", [None, 50, 51])
def test_all_documents_are_the_dataset_itself(fifty: Dataset, n: int | None) -> None:
    assert sampling.documents(fifty, n) == (fifty, "all 50 documents")


def test_less_room_than_gold_documents_is_refused(fifty: Dataset) -> None:
    with pytest.raises(ConfigError) as caught:
        sampling.documents(fifty, 2)
    assert "max_documents = 2; 3 documents hold relevant passages" in caught.value.got
    assert "at least 3" in caught.value.fix
