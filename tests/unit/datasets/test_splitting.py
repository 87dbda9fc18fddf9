"""Splitting queries anew: by hash with shares and a seed, each for itself or those of one document together."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from harness.datasets import sampling, splitting
from harness.datasets.settings import Resplit
from harness.errors import ConfigError, DataError
from harness.types import Dataset, Passage, Split
from tests.unit.datasets.samples import dataset, passages


def hundred() -> Dataset:
    docids = {f"d{n}": "x" for n in range(100)}
    judged = {f"q{n}": {f"d{n}": 1} for n in range(100)}
    part = [dict(list(judged.items())[a:b]) for a, b in ((0, 20), (20, 40), (40, 100))]
    return dataset(passages(docids), train=part[0], dev=part[1], test=part[2])


def qids(split: Split) -> list[str]:
    return [query.qid for query in split.queries]


def test_each_query_falls_where_its_hash_does() -> None:
    found = splitting.resplit(hundred(), Resplit(seed=5, shares=(0.5, 0.2, 0.3)))
    at = {f"q{n}": sampling.fraction(f"split|5|q{n}") for n in range(100)}
    assert qids(found.train) == [qid for qid, place in at.items() if place < 0.5]
    assert qids(found.dev) == [qid for qid, place in at.items() if 0.5 <= place < 0.7]
    assert qids(found.test) == [qid for qid, place in at.items() if place >= 0.7]
    for split in (found.train, found.dev, found.test):
        assert split.qrels == {qid: {qid.replace("q", "d"): 1} for qid in qids(split)}
    assert [split.name for split in (found.train, found.dev, found.test)] == ["train", "dev", "test"]


def test_another_seed_is_another_split_and_the_same_seed_the_same() -> None:
    first, again, other = (splitting.resplit(hundred(), Resplit(seed=seed)) for seed in (0, 0, 1))
    assert first.test == again.test
    assert first.test != other.test


def test_the_order_and_split_queries_come_from_decide_nothing() -> None:
    given = hundred()
    turned = Dataset("t", given.corpus, given.test, given.train, given.dev)
    first, second = (splitting.resplit(each, Resplit()) for each in (given, turned))
    assert set(qids(first.test)) == set(qids(second.test))


@given(st.lists(st.tuples(st.integers(0, 14), st.integers(0, 14)), min_size=1, max_size=30), st.integers(0, 3))
def test_queries_that_share_a_document_stay_together(pairs: list[tuple[int, int]], seed: int) -> None:
    texts = [Passage(f"p{n}.{part}", "", "x", f"doc{n}") for n in range(15) for part in range(2)]
    judged = {f"q{n}": {f"p{a}.0": 1, f"p{b}.1": 1, f"p{(a + 1) % 15}.0": 0} for n, (a, b) in enumerate(pairs)}
    assume(_has_test(pairs, seed))
    rule = Resplit(by="document", seed=seed, shares=(0.3, 0.3, 0.4))
    found = splitting.resplit(dataset(texts, test=judged), rule)
    split_of = {qid: split.name for split in (found.train, found.dev, found.test) for qid in qids(split)}
    assert len(split_of) == len(pairs)
    for n, (a, b) in enumerate(pairs):
        for m, (c, d) in enumerate(pairs[:n]):
            if {a, b} & {c, d}:
                assert split_of[f"q{n}"] == split_of[f"q{m}"]
    # The name that decides is the first of all that are connected, found here by growing sets.
    for qid, name in split_of.items():
        key = min(f"doc{n}" for n in _connected(pairs, pairs[int(qid[1:])]))
        at = sampling.fraction(f"split|{seed}|{key}")
        assert name == ("train" if at < 0.3 else "dev" if at < 0.6 else "test")


def _connected(pairs: list[tuple[int, int]], start: tuple[int, int]) -> set[int]:
    found = set(start)
    while grown := {n for pair in pairs if found & set(pair) for n in pair} - found:
        found |= grown
    return found


def _has_test(pairs: list[tuple[int, int]], seed: int) -> bool:
    keys = {min(f"doc{n}" for n in _connected(pairs, pair)) for pair in pairs}
    return any(sampling.fraction(f"split|{seed}|{key}") >= 0.6 for key in keys)


def test_a_query_of_several_splits_is_pooled_once() -> None:
    texts = passages({"d": "x", "e": "y"})
    given = dataset(texts, train={"q": {"d": 1, "e": 2}}, test={"q": {"d": 2}})
    found = splitting.resplit(given, Resplit(shares=(0.0, 0.0, 1.0)))
    assert (len(found.train), len(found.test)) == (0, 1)
    assert found.test.qrels == {"q": {"d": 2, "e": 2}}


def test_two_texts_of_one_id_are_refused() -> None:
    given = dataset(passages({"d": "x"}), train={"q": {"d": 1}}, test={"q": {"d": 1}}, texts={"q": "one"})
    other = dataset(passages({"d": "x"}), test={"q": {"d": 1}}, texts={"q": "two"})
    mixed = Dataset("m", given.corpus, given.train, given.dev, other.test)
    with pytest.raises(DataError, match="two of 'q'"):
        splitting.resplit(mixed, Resplit())


def test_no_query_for_the_test_split_is_refused() -> None:
    given = dataset(passages({"d": "x"}), test={"q": {"d": 1}})
    with pytest.raises(DataError, match="none of the 1 of sample"):
        splitting.resplit(given, Resplit(shares=(0.5, 0.499999999, 0.000000001)))


@pytest.mark.parametrize("text", ["0.5", "0.5,0.5", "a,b,c", "", "0.1,0.2,0.3,0.4"])
def test_shares_are_three_numbers(text: str) -> None:
    with pytest.raises(ConfigError, match=r"0\.6,0\.1,0\.3"):
        splitting.shares_of(text)


def test_the_card_tells_how() -> None:
    assert splitting.describe(Resplit(seed=3)) == (
        "all queries anew: SHA-256 of 'split|3|<query id>' as a fraction: below 0.6 train, below 0.7 dev, else test"
    )
    assert "stay together" in splitting.describe(Resplit(by="document"))
