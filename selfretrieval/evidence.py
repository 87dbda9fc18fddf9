"""A log-linear ranking of candidates: an addition to the paper, set beside its S = S_T * S_P.

    score(p) = sum over the kinds of evidence of weight * value

The weights may be fitted on dev queries as a conditional logit: they maximise the log-probability that a softmax over
a question's candidates gives to its relevant ones, with a Gaussian prior on the standardised weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

Floats = npt.NDArray[np.float64]
ENOUGH = 10
"""Questions a fit needs, each with a relevant and another candidate; with fewer the weights stay as they are."""


class Weights(BaseModel):
    """What each kind of evidence counts; the default is the chain rule, log P(title) + log P(passage | title)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    title: float = 1.0
    """Log-probability of the title given the question."""
    title_mean: float = 0.0
    """The same a token, which is the paper's title score before the softmax."""
    passage: float = 1.0
    """Log-probability of what was written of the passage, given question and title."""
    prior: float = 0.0
    """Log-probability of the same without the question: -1 beside passage = 1 gives pointwise mutual information."""
    acceptance: float = 0.0
    """Log-odds that the model would answer from the passage rather than refuse."""
    likelihood: float = 0.0
    """Log-probability a token of the question, given title and passage."""


class Evidence(NamedTuple):
    """What speaks for one candidate; the fields are those of `Weights`, 0 where it was not measured."""

    title: float
    title_mean: float
    passage: float
    prior: float
    acceptance: float
    likelihood: float

    def score(self, weights: Weights) -> float:
        """Return the weighted sum."""
        return float(sum(value * getattr(weights, name) for name, value in self._asdict().items()))


class Question(NamedTuple):
    """The candidates of one question, and which of them are relevant."""

    evidence: Sequence[Evidence]
    relevant: Sequence[bool]


def log_odds(p_reject: float) -> float:
    """Return log((1 - p) / p), bounded where p is next to 0 or 1."""
    p = min(max(p_reject, 1e-6), 1 - 1e-6)
    return float(np.log1p(-p) - np.log(p))


def telling(questions: Sequence[Question]) -> list[Question]:
    """Keep the questions that have a relevant candidate and another one: those a fit can learn from."""
    return [q for q in questions if any(q.relevant) and not all(q.relevant)]


def fit(questions: Sequence[Question], weights: Weights, strength: float = 0.1) -> Weights:
    """Fit the weights; where too few questions tell anything, return `weights`.

    Args:
        questions: those without a relevant candidate, or without any other, are left out (`telling`).
        weights: returned as they are where fewer than `ENOUGH` questions are left.
        strength: of the prior, a question.
    """
    from scipy.optimize import minimize

    asked = telling(questions)
    tables, gold = [np.array(q.evidence, dtype=np.float64) for q in asked], [np.array(q.relevant) for q in asked]
    if len(tables) < ENOUGH:
        return weights
    scale = np.concatenate([t - t.mean(axis=0) for t in tables]).std(axis=0)
    told = scale > 1e-9  # evidence that is the same for all candidates of each question tells nothing
    tables = [t[:, told] / scale[told] for t in tables]

    def loss(w: Floats) -> tuple[float, Floats]:
        value, slope = strength * len(tables) * float(w @ w) / 2, strength * len(tables) * w
        for table, good in zip(tables, gold, strict=True):
            each = table @ w
            every, right = np.logaddexp.reduce(each), np.logaddexp.reduce(each[good])
            value += float(every - right)
            slope = slope + np.exp(each - every) @ table - np.exp(each[good] - right) @ table[good]
        return value, slope

    found = minimize(loss, np.zeros(int(told.sum())), jac=True, method="L-BFGS-B").x
    names = [name for name, tells in zip(Evidence._fields, told, strict=True) if tells]
    fitted = dict.fromkeys(Evidence._fields, 0.0) | dict(zip(names, (found / scale[told]).tolist(), strict=True))
    return Weights(**fitted)
