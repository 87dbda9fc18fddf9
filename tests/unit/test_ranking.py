from __future__ import annotations

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import ConfigError, DataError
from harness.ranking import ranked, top_k, validate
from harness.types import Hit

SCORES = st.sampled_from([0.0, -1.0, 1.0, 1.0 + 1e-12, 2.5])
DOCIDS = st.sampled_from(["a", "B", "10", "9", "é", "z", "𝄞"])


def order(hits: list[Hit]) -> list[str]:
    return [hit.docid for hit in hits]


def test_score_descending_then_docid_descending() -> None:
    hits = [Hit("a", 1.0), Hit("c", 1.0), Hit("b", 2.0), Hit("10", 1.0), Hit("9", 1.0)]
    assert order(ranked(hits)) == ["b", "c", "a", "9", "10"]
    assert order(ranked(hits, 2)) == ["b", "c"]


def test_docids_compare_by_code_point_as_strcmp_does_on_utf8() -> None:
    docids = ["a", "Z", "é", "\uffff", "𝄞"]
    by_bytes = sorted(docids, key=lambda docid: docid.encode(), reverse=True)
    assert order(ranked(Hit(docid, 0.0) for docid in docids)) == by_bytes == ["𝄞", "\uffff", "é", "a", "Z"]


def test_scores_that_differ_only_beyond_32_bits_are_no_tie() -> None:
    low, high = 1.0, 1.0 + 1e-12
    assert np.float32(low) == np.float32(high)
    assert order(ranked([Hit("z", low), Hit("a", high)])) == ["a", "z"]
    assert order(top_k(np.array([low, high]), ["z", "a"], 1)) == ["a"]


def test_order_keeps_titles_and_arguments() -> None:
    hits = [Hit("a", 1.0, "title", "text"), Hit("b", 2.0)]
    assert ranked(hits) == [Hit("b", 2.0), Hit("a", 1.0, "title", "text")]
    assert order(hits) == ["a", "b"]


def test_nan_is_refused() -> None:
    with pytest.raises(DataError, match="NaN for docid 'bad'"):
        ranked([Hit("ok", 1.0), Hit("bad", math.nan)])
    with pytest.raises(DataError, match="NaN for docid 'bad'"):
        top_k(np.array([1.0, math.nan]), ["ok", "bad"], 1)


@pytest.mark.parametrize("k", [0, -1])
def test_k_below_one_is_refused(k: int) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        ranked([], k)
    with pytest.raises(ConfigError, match="at least 1"):
        top_k(np.zeros(1), ["a"], k)


@given(st.dictionaries(DOCIDS, SCORES), st.integers(1, 9))
def test_top_k_is_the_head_of_the_full_order(scores: dict[str, float], k: int) -> None:
    hits = [Hit(docid, score) for docid, score in scores.items()]
    assert top_k(np.array(list(scores.values()), dtype=float), list(scores), k) == ranked(hits, k)


def test_top_k_looks_at_every_tie_at_the_cut() -> None:
    docids = [f"d{number:04}" for number in range(5000)]
    random.Random(0).shuffle(docids)
    scores = np.zeros(5000, dtype=np.float32)
    scores[docids.index("d0000")] = 1
    assert order(top_k(scores, docids, 4)) == ["d0000", "d4999", "d4998", "d4997"]


def test_top_k_beyond_the_corpus_integers_and_an_untouched_array() -> None:
    scores = np.array([1, 3, 2])
    assert top_k(scores, ["a", "b", "c"], 10) == [Hit("b", 3.0), Hit("c", 2.0), Hit("a", 1.0)]
    assert scores.tolist() == [1, 3, 2]
    assert top_k(np.zeros(0), [], 3) == []
    assert {type(hit.score) for hit in top_k(np.zeros(3, dtype=np.float32), ["a", "b", "c"], 2)} == {float}


def test_top_k_refuses_scores_of_another_length() -> None:
    with pytest.raises(DataError, match="3 docids"):
        top_k(np.zeros(2), ["a", "b", "c"], 1)


GOOD = [Hit("c", 2.0), Hit("b", 1.0), Hit("a", 1.0)]


@pytest.mark.parametrize("docids", [["a", "b", "c"], {"a", "b", "c"}, {"a": 0, "b": 1, "c": 2}])
def test_a_good_run_passes(docids: list[str]) -> None:
    validate({"q": GOOD, "nothing": []}, docids, 3)


@pytest.mark.parametrize(
    ("hits", "says"),
    [
        ([*GOOD, Hit("d", 0.0)], "at most 3 hits in the hits of query 'q'"),
        ([GOOD[0], GOOD[0]], "'c' twice"),
        ([Hit("unknown", 1.0)], "'unknown'"),
        ([Hit("a", math.nan)], "nan for docid 'a'"),
        ([Hit("a", math.inf)], "inf for docid 'a'"),
        ([Hit("a", 1.0), Hit("b", 2.0)], "'a' \\(1.0\\) at rank 1 before 'b' \\(2.0\\)"),
        ([Hit("c", 2.0), Hit("a", 1.0), Hit("b", 1.0)], "'a' \\(1.0\\) at rank 2 before 'b'"),
    ],
)
def test_a_bad_run_is_refused(hits: list[Hit], says: str) -> None:
    with pytest.raises(DataError, match=says):
        validate({"good": GOOD, "q": hits}, {"a", "b", "c", "d"}, 3)
