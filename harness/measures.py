"""Measure a run query by query, by the names and the arithmetic of ir_measures.

ir_measures hands each measure to a provider, and its providers order ties differently (pytrec_eval: docid
descending over 32-bit scores; the MS MARCO script behind RR@k: docid ascending). So no score of a system reaches
them: each list is handed over with its ranks as scores, which are distinct and exact in 32 bits, and every measure
sees the order the run has.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from harness.errors import DataError, UnknownNameError
from harness.types import Hit, Qrels, Run

DEFAULT: tuple[str, ...] = (
    "Success@1",
    "Success@5",
    "Success@10",
    "RR@5",
    "RR@10",
    "nDCG@10",
    "R@10",
    "R@100",
)

_SPOKEN = {"Hits": "Success", "MRR": "RR", "Recall": "R"}
_LABELS = {formal: spoken for spoken, formal in _SPOKEN.items()}
_DESCRIPTIONS = {
    "Success": "share of queries with a relevant passage among the first {k}",
    "RR": "mean of 1 / rank of the first relevant passage, 0 below rank {k}",
    "nDCG": "discounted gain of the first {k}, relative to the best possible order",
    "R": "mean share of a query's relevant passages found among the first {k}",
}


def label(name: str) -> str:
    """Say a measure's name as people say it.

    >>> [label(name) for name in ("Success@1", "RR@5", "R@100", "nDCG@10")]
    ['Hits@1', 'MRR@5', 'Recall@100', 'nDCG@10']
    """
    head, at, cut = name.partition("@")
    return _LABELS.get(head, head) + at + cut


def known() -> list[tuple[str, str, str]]:
    """List name, label and one line for each measure that is computed unless an experiment names others."""
    return [(name, label(name), _describe(name)) for name in DEFAULT]


def parse(name: str) -> str:
    """Return the ir_measures name of a measure; spoken names (Hits@k, MRR@k, Recall@k) are understood.

    >>> parse("MRR@5"), parse("nDCG@10"), parse("Recall@20")
    ('RR@5', 'nDCG@10', 'R@20')

    Raises:
        UnknownNameError: ir_measures does not know it, or nothing installed computes it.
    """
    return repr(_measure(name))


def per_query(run: Run, qrels: Qrels, qids: Sequence[str], names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Compute measures for each query; a query without hits or without judgements counts as 0.

    Args:
        run: qid -> hits, best first. Their order counts, their scores do not. Queries outside `qids` are ignored.
        qrels: qid -> docid -> grade; relevant from 1.
        qids: the queries to measure, all of them.
        names: measures, as `parse` takes them.

    Returns:
        ir_measures name -> qid -> value, in the order of `names` and `qids`.

    Raises:
        UnknownNameError: a name is unknown.
        DataError: a docid stands twice in one list.
    """
    measures = [_measure(name) for name in names]
    values = {repr(measure): dict.fromkeys(qids, 0.0) for measure in measures}
    judged = {qid: dict(qrels[qid]) for qid in dict.fromkeys(qids) if qrels.get(qid)}
    ranks = {qid: _rank_scores(qid, run[qid]) for qid in judged if run.get(qid)}
    if not (measures and ranks):
        return values
    for together in _apart(measures):
        for metric in _pipeline().iter_calc(together, judged, ranks):
            values[repr(metric.measure)][metric.query_id] = float(metric.value)
    return values


def _apart(measures: Sequence[Any]) -> list[list[Any]]:
    """Let measures with parameters be computed alone, the plain ones together, which is more than twice as fast.

    pytrec_eval puts measures into calls by some of their parameters: nDCG@10 beside nDCG(gains={1: 5})@10 is given its
    gains.
    """
    plain = [measure for measure in measures if "(" not in repr(measure)]
    return [*([plain] if plain else []), *([measure] for measure in measures if "(" in repr(measure))]


def _rank_scores(qid: str, hits: Sequence[Hit]) -> dict[str, float]:
    scores = {hit.docid: float(len(hits) - row) for row, hit in enumerate(hits)}
    if len(scores) != len(hits):
        raise DataError(
            f"each docid once in the hits of query {qid!r}",
            f"{len(hits) - len(scores)} repeated",
            "check the run with harness.ranking.validate before measuring it",
        )
    return scores


def _measure(name: str) -> Any:
    import ir_measures

    head, at, cut = name.strip().partition("@")
    try:
        measure = ir_measures.parse_measure(_SPOKEN.get(head, head) + at + cut)
        supported = bool(_pipeline().supports(measure))
    except (ValueError, NameError, TypeError, AssertionError):  # what ir_measures raises for a name it cannot read
        supported = False
    if not supported or not _cut_is_positive(cut):
        raise UnknownNameError.of("measure", name, [*DEFAULT, *map(label, DEFAULT)])
    return measure


def _pipeline() -> Any:
    """Return what computes measures: all that ir_measures has but what cannot be trusted with any run.

    gdeval takes ids of queries for numbers; accuracy divides by zero where every hit of a query is relevant.
    """
    import ir_measures

    providers = [p for p in ir_measures.DefaultPipeline.providers if p.NAME not in ("gdeval", "accuracy")]
    return ir_measures.providers.FallbackProvider(providers)


def _cut_is_positive(cut: str) -> bool:
    return not cut or re.fullmatch(r"0*[1-9][0-9]*", cut) is not None


def _describe(name: str) -> str:
    head, _, cut = name.partition("@")
    return _DESCRIPTIONS[head].format(k=cut)
