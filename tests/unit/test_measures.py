from __future__ import annotations

import math

import numpy as np
import pytest

from harness.errors import DataError, UnknownNameError
from harness.measures import DEFAULT, known, label, parse, per_query
from harness.types import Hit, Run


def run_of(**docids: str) -> Run:
    """qid="a b c" -> hits in this order, all with the same score."""
    return {qid: [Hit(docid, 0.0) for docid in listed.split()] for qid, listed in docids.items()}


def test_hand_computed_values() -> None:
    qrels = {"q": {"x": 2, "y": 1, "z": 1, "not": 0}}
    run = run_of(q="not a x b y c d e f g z")
    values = {name: by_qid["q"] for name, by_qid in per_query(run, qrels, ["q"], DEFAULT).items()}
    dcg = 2 / math.log2(4) + 1 / math.log2(6)
    ideal = 2 / math.log2(2) + 1 / math.log2(3) + 1 / math.log2(4)
    assert values == {
        "Success@1": 0.0,
        "Success@5": 1.0,
        "Success@10": 1.0,
        "RR@5": pytest.approx(1 / 3),
        "RR@10": pytest.approx(1 / 3),
        "nDCG@10": pytest.approx(dcg / ideal),
        "R@10": pytest.approx(2 / 3),
        "R@100": 1.0,
    }
    assert list(values) == list(DEFAULT)


def test_reciprocal_rank_is_cut() -> None:
    qrels = {"q": {"x": 1}}
    values = per_query(run_of(q="a b c d e x"), qrels, ["q"], ["RR@5", "RR@10"])
    assert values == {"RR@5": {"q": 0.0}, "RR@10": {"q": pytest.approx(1 / 6)}}


def test_queries_without_hits_or_judgements_count_as_zero() -> None:
    qrels = {"found": {"x": 1}, "empty": {"x": 1}, "missing": {"x": 1}, "unjudged": {}}
    qids = ["missing", "found", "empty", "unjudged", "unknown"]
    run = {**run_of(found="x", unjudged="x", unknown="x", outside="x"), "empty": []}
    for by_qid in per_query(run, qrels, qids, DEFAULT).values():
        assert by_qid == {"missing": 0.0, "found": 1.0, "empty": 0.0, "unjudged": 0.0, "unknown": 0.0}
        assert list(by_qid) == qids


def test_no_run_at_all_and_no_measures() -> None:
    assert per_query({}, {"q": {"x": 1}}, ["q"], ["RR@5"]) == {"RR@5": {"q": 0.0}}
    assert per_query(run_of(q="x"), {"q": {"x": 1}}, ["q"], []) == {}


def test_a_query_whose_id_is_a_docid_is_not_dropped() -> None:
    values = per_query(run_of(x="x a"), {"x": {"x": 1}}, ["x"], DEFAULT)
    assert {by_qid["x"] for by_qid in values.values()} == {1.0}


@pytest.mark.parametrize("gap", [0.0, 1e-12, -1e-12])
@pytest.mark.parametrize("gold", ["a", "z"])
def test_the_order_of_the_list_decides_whatever_the_scores(gap: float, gold: str) -> None:
    # In 32 bits all three gaps are ties: pytrec_eval alone would put "z" first, the MS MARCO script "a".
    assert np.float32(1.0) == np.float32(1.0 + gap)
    run = {"q": [Hit(gold, 1.0 + gap), Hit("m", 1.0)]}
    values = per_query(run, {"q": {gold: 1}}, ["q"], ["Success@1", "RR@5", "nDCG@10"])
    assert {by_qid["q"] for by_qid in values.values()} == {1.0}
    reverse = {"q": [Hit("m", 1.0 + gap), Hit(gold, 1.0)]}
    values = per_query(reverse, {"q": {gold: 1}}, ["q"], ["Success@1", "RR@5", "nDCG@10"])
    assert [by_qid["q"] for by_qid in values.values()] == [0.0, 0.5, pytest.approx(1 / math.log2(3))]


def test_a_docid_twice_is_refused() -> None:
    with pytest.raises(DataError, match="each docid once in the hits of query 'q'"):
        per_query(run_of(q="x x"), {"q": {"x": 1}}, ["q"], ["RR@5"])


def test_arguments_stay_as_they_are() -> None:
    run, qrels = run_of(q="b a"), {"q": {"a": 1}}
    per_query(run, qrels, ["q"], DEFAULT)
    assert (run, qrels) == (run_of(q="b a"), {"q": {"a": 1}})


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Hits@1", "Success@1"),
        ("MRR@5", "RR@5"),
        ("Recall@100", "R@100"),
        ("RR", "RR"),
        ("MRR", "RR"),
        (" nDCG@10 ", "nDCG@10"),
        ("AP@100", "AP@100"),
        ("P(rel=2)@5", "P(rel=2)@5"),
        *((name, name) for name in DEFAULT),
    ],
)
def test_parse(name: str, expected: str) -> None:
    assert parse(name) == expected


@pytest.mark.parametrize(
    "name", ["", "Hit@5", "nDCG@", "nDCG@0", "nDCG@-1", "nDCG@1.5", "Success", "RR@@5", "__import__('os')", "a b"]
)
def test_an_unknown_measure_is_named_with_its_neighbours(name: str) -> None:
    with pytest.raises(UnknownNameError, match=r"a known measure[^$]*nDCG@10"):
        parse(name)


@pytest.mark.parametrize("name", ["ERR@10", "nDCG(dcg='exp-log2')@10"])
def test_what_only_gdeval_computes_is_refused(name: str) -> None:
    with pytest.raises(UnknownNameError):  # it takes ids of queries for numbers: 0 for all, or a fault at the very end
        parse(name)


def test_what_divides_by_zero_where_all_hits_are_relevant_is_refused() -> None:
    with pytest.raises(UnknownNameError):
        parse("Accuracy")


def test_measures_do_not_change_each_other() -> None:
    """The gains of one measure, or which docids count, decide nothing of another, in whichever order they are named."""
    qrels = {"q": {"x": 1, "y": 2, "z": 0}}
    run = run_of(q="not x z a y")
    names = [
        "nDCG(gains={1: 9, 2: 1})@10",
        "nDCG@10",
        "nDCG(judged_only=True)@10",
        "nDCG",
        "P(rel=2)@5",
        "P@5",
        *(f"{name}@5" for name in ("AP", "Success", "R", "RR")),
        *("AP", "RR", "Rprec", "Bpref", "NumRet", "NumQ", "NumRel", "SetP", "SetR", "SetF", "SetF(beta=2.0)"),
        "NumRet(rel=2)",
    ]
    alone = {measure: found for name in names for measure, found in per_query(run, qrels, ["q"], [name]).items()}
    assert per_query(run, qrels, ["q"], names) == alone
    assert per_query(run, qrels, ["q"], names[::-1]) == alone
    assert alone[parse(names[0])] != alone["nDCG@10"]


def test_spoken_names_are_computed_under_their_formal_name() -> None:
    assert per_query(run_of(q="a x"), {"q": {"x": 1}}, ["q"], ["Hits@5", "MRR@5"]) == {
        "Success@5": {"q": 1.0},
        "RR@5": {"q": 0.5},
    }


def test_labels_parse_back() -> None:
    assert [parse(label(name)) for name in DEFAULT] == list(DEFAULT)
    assert [entry[:2] for entry in known()][:4] == [
        ("Success@1", "Hits@1"),
        ("Success@5", "Hits@5"),
        ("Success@10", "Hits@10"),
        ("RR@5", "MRR@5"),
    ]
    assert known()[3][2] == "mean of 1 / rank of the first relevant passage, 0 below rank 5"
