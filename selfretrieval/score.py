r"""The final score S = S_T * S_P (section 3.3, Tang et al. 2024).

    S_T(t) = softmax over the titles of exp(title score) / tau          title score: length-normalised log-probability
    S_P(p) = softmax over the passages of (1 - p_reject) / delta        p_reject: see `selfretrieval.assess`
    S(p)   = S_T(title of p) * S_P(p)                                   tau = delta = 0.4

The paper takes the second softmax "over the passages". The released scripts take it title by title, which
gives a title with one passage a factor of 1 and one with ten passages about 0.1 each; here it runs over all
passages of the question unless `per_title` is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Share = Callable[[npt.ArrayLike], Floats]
"""What each of several values is worth beside the others: `softmax` or `log_softmax`."""
TAU = 0.4
DELTA = 0.4


def softmax(values: npt.ArrayLike) -> Floats:
    """Return exp(values) divided by their sum.

    >>> softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    array = np.asarray(values, dtype=np.float64)
    powers = np.exp(array - array.max(initial=-np.inf)) if array.size else array
    result: Floats = powers / powers.sum() if array.size else array
    return result


def log_softmax(values: npt.ArrayLike) -> Floats:
    """Return the logarithms of `softmax`, those of what it rounds to 0 included.

    >>> softmax([0.0, -800.0]).tolist(), log_softmax([0.0, -800.0]).tolist()
    ([1.0, 0.0], [0.0, -800.0])
    """
    array = np.asarray(values, dtype=np.float64)
    shifted = array - array.max(initial=-np.inf) if array.size else array
    result: Floats = shifted - np.log(np.exp(shifted).sum()) if array.size else array
    return result


def title_scores(logprobs: Sequence[float], tau: float = TAU, *, share: Share = softmax) -> Floats:
    """Return S_T of the titles of one question, given their length-normalised log-probabilities.

    share: `softmax`, or `log_softmax` for log S_T.
    """
    return share(np.exp(np.asarray(logprobs, dtype=np.float64)) / tau)


def passage_scores(
    acceptance: Sequence[float],
    titles: Sequence[int],
    delta: float = DELTA,
    *,
    per_title: bool = False,
    share: Share = softmax,
) -> Floats:
    """Return S_P of the passages of one question.

    Args:
        acceptance: 1 - p_reject of each passage, in 0..1.
        titles: the title each passage stands under.
        delta: temperature.
        per_title: take the softmax over the passages of each title, as the released scripts do.
        share: `softmax`, or `log_softmax` for log S_P.
    """
    values = np.asarray(acceptance, dtype=np.float64) / delta
    if not per_title:
        return share(values)
    groups = np.asarray(titles)
    scores = np.zeros(len(values))
    for title in np.unique(groups):
        scores[groups == title] = share(values[groups == title])
    return scores


def ranked_by(scores: npt.ArrayLike, logs: npt.ArrayLike) -> Floats:
    """Return each product S_T * S_P, or where it is too small for a number of its own its logarithm, below all others.

    Args:
        scores: the products, 0..1.
        logs: log S_T + log S_P of each.

    >>> ranked_by([0.5, 0.0, 0.0], [-0.69, -900.0, -800.0]).tolist()
    [0.5, -900.0, -800.0]
    """
    products = np.asarray(scores, dtype=np.float64)
    chosen: Floats = np.where(products < np.finfo(np.float64).tiny, logs, products)
    return chosen


def generation_scores(logprobs: Sequence[float], titles: Sequence[int]) -> Floats:
    """Return what stands for S_P without assessment (Table 4): each passage's probability over the best of its title.

    So the best passage of every title scores 1 and titles keep the order of S_T. Probabilities of different titles
    are not comparable: one passage may need ten tokens to be unique and another none.

    >>> generation_scores([0.0, -1.0, -1.0], [0, 1, 1]).tolist()
    [1.0, 1.0, 1.0]
    """
    scores: Floats = np.exp(generation_logs(logprobs, titles))
    return scores


def generation_logs(logprobs: Sequence[float], titles: Sequence[int]) -> Floats:
    """Return the logarithms of `generation_scores`."""
    values, groups = np.asarray(logprobs, dtype=np.float64), np.asarray(titles)
    logs = np.zeros(len(values))
    for title in np.unique(groups):
        mine = groups == title
        logs[mine] = values[mine] - values[mine].max()
    return logs
