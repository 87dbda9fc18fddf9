"""The measures against pytrec_eval (trec_eval's own code) and the formula of reciprocal rank, on random runs."""

from __future__ import annotations

import random

import pytest
import pytrec_eval

from harness.measures import DEFAULT, per_query
from harness.ranking import ranked
from harness.types import Hit, Run

TREC = {
    "Success@1": "success_1",
    "Success@5": "success_5",
    "Success@10": "success_10",
    "nDCG@10": "ndcg_cut_10",
    "R@10": "recall_10",
    "R@100": "recall_100",
}
DOCIDS = [f"d{number}" for number in range(150)]


def sample(seed: int, scores: int) -> tuple[Run, dict[str, dict[str, int]]]:
    """60 queries with graded judgements; `scores` distinct scores, all exact in 32 bits, so few means many ties."""
    rng = random.Random(seed)
    qrels = {f"q{n}": {d: rng.choice([0, 1, 1, 2]) for d in rng.sample(DOCIDS, rng.randint(1, 30))} for n in range(60)}
    run = {
        qid: ranked(Hit(docid, float(rng.randrange(scores))) for docid in rng.sample(DOCIDS, rng.randint(0, 100)))
        for qid in qrels
    }
    run["q0"] = []
    return run, qrels


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("scores", [1, 4, 10_000])
def test_same_values_as_trec_eval_given_the_real_scores(seed: int, scores: int) -> None:
    run, qrels = sample(seed, scores)
    ours = per_query(run, qrels, list(qrels), DEFAULT)
    given = {qid: {hit.docid: hit.score for hit in hits} for qid, hits in run.items() if hits}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, set(TREC.values())).evaluate(given)
    assert 0 < len(theirs) < len(qrels)
    for name, trec_name in TREC.items():
        expected = {qid: theirs[qid][trec_name] if qid in theirs else 0.0 for qid in qrels}
        assert ours[name] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("cut", [5, 10])
def test_reciprocal_rank_of_trec_eval_on_the_cut_list(cut: int) -> None:
    run, qrels = sample(7, 4)
    ours = per_query(run, qrels, list(qrels), [f"RR@{cut}"])[f"RR@{cut}"]
    given = {qid: {hit.docid: hit.score for hit in hits[:cut]} for qid, hits in run.items() if hits}
    theirs = pytrec_eval.RelevanceEvaluator(qrels, {"recip_rank"}).evaluate(given)
    assert ours == pytest.approx({q: theirs[q]["recip_rank"] if q in theirs else 0.0 for q in qrels}, abs=1e-12)
