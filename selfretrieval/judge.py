"""From what was written and what the model says of it to scores: the paper's product, or the weighted evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from selfretrieval import score
from selfretrieval.assess import Assessment
from selfretrieval.evidence import Evidence, log_odds
from selfretrieval.generate import Candidate, Title
from selfretrieval.memory import Floats
from selfretrieval.settings import SelfRetrievalSettings

_PROBABILITY = {"mean": "p_reject", "first": "first_reject"}


class Verdict(NamedTuple):
    """A candidate and what the model says of it.

    judged: whether it was read, or left among those ranked below. assessment: None where there is none. likelihood:
    mean log-probability of the question's tokens behind it, 0 where there is none.
    """

    candidate: Candidate
    judged: bool
    assessment: Assessment | None
    likelihood: float


class Judged(NamedTuple):
    """One candidate and how its score came about.

    score: title_score * passage_score (their logarithm where that is too small for a number of its own), or with a
    log-linear ranking the weighted sum of the evidence.
    """

    candidate: Candidate
    assessment: Assessment | None
    title_score: float
    passage_score: float
    evidence: Evidence
    score: float
    judged: bool


def likeliest(titles: Sequence[Title], candidates: Sequence[Candidate], count: int | None) -> list[int]:
    """Choose at most `count` candidates of each question (None: all) by log P(title) + log P(passage | title)."""
    places: dict[int, list[int]] = {}
    for place, candidate in enumerate(candidates):
        places.setdefault(candidate.row, []).append(place)
    mine = {row: [t.logprob for t in titles if t.row == row] for row in places}

    def unlikely(place: int) -> float:
        candidate = candidates[place]
        return -(mine[candidate.row][candidate.title] + candidate.logprob)

    return sorted(place for group in places.values() for place in sorted(group, key=unlikely)[:count])


def combine(
    settings: SelfRetrievalSettings, titles: Sequence[Title], verdicts: Sequence[Verdict], prior: Floats
) -> list[Judged]:
    """Score the candidates of one question; those that were not judged come below all others.

    Args:
        settings: say how.
        titles: of the question.
        verdicts: on its candidates.
        prior: see `Memory`; may be empty.
    """
    title_scores = score.title_scores([t.score for t in titles], settings.tau)
    under = [v.candidate.title for v in verdicts]
    rejected = [_rejected(v, settings) for v in verdicts]
    if settings.assessment:
        accepted = [1 - p for p in rejected]
        passage_scores = score.passage_scores(accepted, under, settings.delta, per_title=settings.softmax_per_title)
    else:
        passage_scores = score.generation_scores([v.candidate.score for v in verdicts], under)
    prior = prior if settings.candidates == "written" else prior[:0]  # what was not written has none
    evidence = [_evidence(v, titles[v.candidate.title], p, prior) for v, p in zip(verdicts, rejected, strict=True)]
    if settings.ranking == "paper":
        scores = _products(settings, titles, verdicts, title_scores[under] * passage_scores)
    else:
        scores = [e.score(settings.weights) for e in evidence]
    scores = _below(scores, [v.judged for v in verdicts])
    return [
        Judged(v.candidate, v.assessment, float(title_scores[t]), float(s), e, total, v.judged)
        for v, t, s, e, total in zip(verdicts, under, passage_scores, evidence, scores, strict=True)
    ]


def _products(
    settings: SelfRetrievalSettings, titles: Sequence[Title], verdicts: Sequence[Verdict], scores: Floats
) -> list[float]:
    """Return S_T * S_P of each candidate as it is ranked by: where they round to 0, their logarithms keep the order."""
    under = [v.candidate.title for v in verdicts]
    title_logs = score.title_scores([t.score for t in titles], settings.tau, share=score.log_softmax)
    if settings.assessment:
        accepted, per_title = [1 - _rejected(v, settings) for v in verdicts], settings.softmax_per_title
        logs = score.passage_scores(accepted, under, settings.delta, per_title=per_title, share=score.log_softmax)
    else:
        logs = score.generation_logs([v.candidate.score for v in verdicts], under)
    ranks: list[float] = score.ranked_by(scores, title_logs[under] + logs).tolist()
    return ranks


def rejection(found: Assessment, settings: SelfRetrievalSettings) -> float:
    """Return the probability of the refusal that counts: of all its tokens (the paper), or of its first."""
    return float(getattr(found, _PROBABILITY[settings.assessment_score]))


def _rejected(verdict: Verdict, settings: SelfRetrievalSettings) -> float:
    """Return the probability of the refusal: 1 for a passage nobody read."""
    return 1.0 if verdict.assessment is None else rejection(verdict.assessment, settings)


def _evidence(verdict: Verdict, title: Title, p_reject: float, prior: Floats) -> Evidence:
    candidate = verdict.candidate
    return Evidence(
        title=title.logprob,
        title_mean=title.score,
        passage=candidate.logprob,
        prior=float(prior[candidate.entry]) if len(prior) else 0.0,
        acceptance=log_odds(p_reject) if verdict.assessment else 0.0,
        likelihood=verdict.likelihood,
    )


def _below(scores: Sequence[float], judged: Sequence[bool]) -> list[float]:
    """Move the scores of unjudged candidates, in their order, below those of the judged."""
    least = min((s for s, j in zip(scores, judged, strict=True) if j), default=0.0)
    most = max((s for s, j in zip(scores, judged, strict=True) if not j), default=0.0)
    return [s if j else s - most + least - 1.0 for s, j in zip(scores, judged, strict=True)]
