"""Both BM25 systems against arithmetic done by hand and against figures taken on real sets with bm25s alone.

The hand-made corpus, stemming and stop words off, k1 = 0.9, b = 0.4 (title and text are indexed together):

    row  terms                          length   0.9 * (1 - 0.4 + 0.4 * length / 4)
    d1   cat sat mat                    3        0.81
    d2   cat cat dog                    3        0.81
    d3   dog bird fish fish fish fish   6        1.08        mean length 4, N = 3
"""

from __future__ import annotations

import json
from math import log
from pathlib import Path
from typing import Any

import pytest

from harness import registry
from harness.measures import per_query
from harness.types import Corpus, Passage, Split

CORPUS = Corpus.from_passages(
    [
        Passage("d1", "Cat", "sat, mat.", "d1"),
        Passage("d2", "", "cat cat dog", "d2"),
        Passage("d3", "Dog", "bird fish fish fish fish", "d3"),
    ]
)
PLAIN = {"stop_words": False, "stemming": False}
NONE = (Split("train"), Split("dev"))


def scores(name: str, query: str, **settings: Any) -> dict[str, float]:
    system = registry.get(name)
    retriever = system.build(system.config(**PLAIN, **settings), 0)
    retriever.index(CORPUS, *NONE)
    return {hit.docid: hit.score for hit in retriever.search([query], 10)[0]}


def test_lucene_in_bm25s() -> None:
    cat = log(1 + (3 - 2 + 0.5) / (2 + 0.5))  # in 2 of 3 passages
    fish = log(1 + (3 - 1 + 0.5) / (1 + 0.5))
    assert cat == pytest.approx(0.470004, abs=1e-6)
    assert scores("bm25", "cat") == pytest.approx({"d2": cat * 2 / (2 + 0.81), "d1": cat * 1 / (1 + 0.81)}, rel=1e-6)
    assert scores("bm25", "fish") == pytest.approx({"d3": fish * 4 / (4 + 1.08)}, rel=1e-6)
    assert scores("bm25", "fish")["d3"] == pytest.approx(0.772306, abs=1e-6)


def test_a_term_said_twice_in_the_query_counts_twice() -> None:
    once, twice = scores("bm25", "cat"), scores("bm25", "cat cat")
    assert twice == pytest.approx({docid: 2 * score for docid, score in once.items()}, rel=1e-6)


def test_okapi_in_rank_bm25() -> None:
    rare = log((3 - 1 + 0.5) / (1 + 0.5))  # sat, mat, bird, fish; cat and dog stand in 2 of 3 passages:
    common = log((3 - 2 + 0.5) / (2 + 0.5))
    assert common == pytest.approx(-0.510826, abs=1e-6)
    floor = 0.25 * (4 * rare + 2 * common) / 6
    expected = {"d2": floor * 2 * 1.9 / (2 + 0.81), "d1": floor * 1 * 1.9 / (1 + 0.81)}
    assert scores("bm25-rank", "cat") == pytest.approx(expected, rel=1e-9)
    assert scores("bm25-rank", "fish") == pytest.approx({"d3": rare * 4 * 1.9 / (4 + 1.08)}, rel=1e-9)
    assert scores("bm25-rank", "fish")["d3"] == pytest.approx(0.764228, abs=1e-5)


def test_plus_in_rank_bm25_leaves_out_passages_without_the_term() -> None:
    fish = log((3 + 1) / 1)
    assert scores("bm25-rank", "fish", variant="plus") == pytest.approx({"d3": fish * (1 + 4 * 1.9 / (4 + 1.08))})


def test_l_in_rank_bm25_multiplies_by_the_term_frequency_once_more() -> None:
    fish, spread = log((3 + 1) / (1 + 0.5)), 4 / (1 - 0.4 + 0.4 * 6 / 4)
    paper = fish * 1.9 * (spread + 0.5) / (0.9 + spread + 0.5)
    assert scores("bm25-rank", "fish", variant="l") == pytest.approx({"d3": 4 * paper})
    assert scores("bm25", "fish", method="bm25l") == pytest.approx({"d3": paper}, rel=1e-6)


def test_atire_in_bm25s_returns_what_matches_even_at_zero() -> None:
    assert scores("bm25", "cat", method="atire") == pytest.approx(
        {"d2": log(3 / 2) * 2 * 1.9 / 2.81, "d1": log(3 / 2) * 1.9 / 1.81}, rel=1e-6
    )
    assert scores("bm25", "cat", method="robertson") == {"d2": 0.0, "d1": 0.0}  # ln(1.5 / 2.5), cut at zero


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("xquad-en", {"Success@1": 0.939, "Success@5": 0.991, "nDCG@10": 0.972, "R@100": 0.997}),
        ("cranfield", {"Success@1": 0.706, "Success@5": 0.926, "nDCG@10": 0.390, "R@100": 0.733}),
    ],
)
def test_real_sets(shared_data: Path, name: str, expected: dict[str, float]) -> None:
    corpus, queries, qrels = read(shared_data / name)
    system = registry.get("bm25")
    retriever = system.build(system.config(), 0)
    retriever.index(corpus, *NONE)
    run = dict(zip(queries, retriever.search(list(queries.values()), 100), strict=True))
    measured = per_query(run, qrels, list(queries), list(expected))
    means = {measure: sum(values.values()) / len(queries) for measure, values in measured.items()}
    assert means == pytest.approx(expected, abs=0.005)


def read(folder: Path) -> tuple[Corpus, dict[str, str], dict[str, dict[str, int]]]:
    """Read passages, test queries and judgements; plainly, so that no loader stands between."""
    passages, queries = (
        [json.loads(line) for line in (folder / f"{part}.jsonl").read_text(encoding="utf-8").splitlines()]
        for part in ("corpus", "queries")
    )
    qrels: dict[str, dict[str, int]] = {}
    for line in (folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        qid, docid, grade = line.split("\t")
        qrels.setdefault(qid, {})[docid] = int(grade)
    corpus = Corpus.from_passages(Passage(p["_id"], p.get("title", ""), p["text"], p["_id"]) for p in passages)
    return corpus, {q["_id"]: q["text"] for q in queries if q["_id"] in qrels}, qrels
