"""Say how sure a figure is: bootstrap intervals, paired randomisation tests, Holm's correction.

A query's value is the unit of observation (Smucker, Allan and Carterette, CIKM 2007). Everything random takes a seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from harness.errors import DataError
from harness.records import Comparison

BOOTSTRAP_RESAMPLES = 2_000
PERMUTATIONS = 9_999
_BATCH = 100
"""Resamples held in memory at once: 100 x 3,000 queries x 8 bytes = 2.4 MB."""

_EQUAL = 1e-12
"""Values closer than this are equal on paper: 1/2 - 1/3 and 1/6 differ by 3e-17."""

_SUM_DECIMALS = 9
"""Sums equal on paper differ in their last digits; unrounded, ties with the observed sum would be lost."""

NEVER_BASELINES = frozenset({"self-retrieval", "bracket"})
"""Families that others are compared with themselves, or that only bound the scores."""

Values = Mapping[str, Mapping[str, Mapping[str, float]]]
"""system -> measure -> qid -> value."""


def bootstrap(values: Sequence[float], seed: int, level: float = 0.95) -> tuple[float, float] | None:
    """Return the percentile bootstrap interval of the mean.

    The percentile interval is defined for every sample; BCa is not where nearly all values are equal, which
    success at one often is.

    Args:
        values: one per query, in any order.
        seed: of the resampling.
        level: coverage, between 0 and 1.

    Returns:
        (low, high); equal to the value where all values are the same; None for fewer than two values.
    """
    if len(values) < 2:
        return None
    if min(values) == max(values):
        return values[0], values[0]
    import numpy as np
    from scipy import stats

    interval = stats.bootstrap(
        (np.asarray(values, dtype=float),),
        np.mean,
        n_resamples=BOOTSTRAP_RESAMPLES,
        batch=_BATCH,
        confidence_level=level,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(seed),
    ).confidence_interval
    return float(interval.low), float(interval.high)


def paired_randomisation(a: Sequence[float], b: Sequence[float], seed: int, n_resamples: int = PERMUTATIONS) -> float:
    """Test whether two systems differ: two-sided sign-flip test on the mean of the paired differences.

    Exact where there are at most `n_resamples` sign patterns of the non-zero differences. Otherwise sampled, and
    p = (1 + patterns at least as extreme) / (1 + n_resamples), so p is never 0. Queries with equal absolute
    difference are interchangeable: how many of them turn positive is a binomial draw, which gives the same
    distribution as one coin a query, some hundred times faster (measures take few distinct values).

    Args:
        a, b: values of the same queries in the same order; at least one.
        seed: of the sampled patterns.
        n_resamples: how many patterns to sample.

    Raises:
        DataError: lengths differ, or there is no query.
    """
    if len(a) != len(b) or not a:
        raise DataError(
            "values of the same queries, at least one",
            f"{len(a)} and {len(b)}",
            "measure both systems on the same split",
        )
    import numpy as np

    differences = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    differences = differences[np.abs(differences) > _EQUAL]
    if len(differences) < 2:
        return 1.0
    exact = len(differences) < 64 and 2 ** len(differences) <= n_resamples
    return _exact(differences) if exact else _sampled(differences, seed, n_resamples)


def _exact(differences: Any) -> float:
    import numpy as np
    from scipy import stats

    def total(flipped: Any, axis: int) -> Any:
        return np.round(np.sum(flipped, axis=axis), _SUM_DECIMALS)

    test = stats.permutation_test(
        (differences,), total, permutation_type="samples", n_resamples=np.inf, batch=_BATCH, vectorized=True
    )
    return float(test.pvalue)


def _sampled(differences: Any, seed: int, n_resamples: int) -> float:
    import numpy as np
    from scipy import stats

    sizes, copies = np.unique(np.abs(differences), return_counts=True)
    positive = np.array([np.count_nonzero(differences == size) for size in sizes])
    rng = np.random.default_rng(seed)

    def flip(size: tuple[int, int]) -> Any:
        return rng.binomial(copies, 0.5, size=size)

    def distance(turned_positive: Any, axis: int) -> Any:
        return np.round(np.abs(np.sum(sizes * (2 * turned_positive - copies), axis=axis)), _SUM_DECIMALS)

    test = stats.monte_carlo_test(
        positive, flip, distance, vectorized=True, n_resamples=n_resamples, batch=_BATCH, alternative="greater"
    )
    return float(test.pvalue)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values for how many there are (Holm 1979), keeping their order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p)
    largest = 0.0
    for step, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - step) * p[index]))
        adjusted[index] = largest
    return adjusted


def compare(values: Values, families: Mapping[str, str], *, dataset: str, split: str, seed: int) -> list[Comparison]:
    """Compare every system with the best baseline of each measure, within one dataset x split x seed.

    The baseline of a measure is the system with the best mean whose family is not in `NEVER_BASELINES` (of equal
    ones the first). Every other system but the brackets is compared with it, and Self-Retrieval, whose claim is
    the question, with every baseline. Holm's correction runs over all rows.

    Args:
        values: system -> measure -> qid -> value, all systems on the same queries; those that failed left out.
        families: system -> family.
        dataset, split, seed: what the rows are about; the seed also seeds the tests.

    Returns:
        Rows by measure, then in the order of `values`; empty where there is nothing to compare.

    Raises:
        DataError: two systems were measured on different queries.
    """
    compared = [system for system in values if families[system] != "bracket"]
    eligible = [system for system in compared if families[system] not in NEVER_BASELINES]
    rows: list[Comparison] = []
    for measure in _measures(values, compared):
        having = {system: values[system][measure] for system in compared if values[system].get(measure)}
        means = {system: fmean(having[system].values()) for system in eligible if system in having}
        if not means:
            continue
        best = max(means, key=means.__getitem__)
        rows += [
            _row(system, baseline, having, measure=measure, dataset=dataset, split=split, seed=seed)
            for system in having
            for baseline in (means if families[system] in NEVER_BASELINES else [best])
            if system != baseline
        ]
    for row, adjusted in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = adjusted
    return rows


def _measures(values: Values, systems: Sequence[str]) -> list[str]:
    return list(dict.fromkeys(measure for system in systems for measure in values[system]))


def _row(
    system: str,
    baseline: str,
    values: Mapping[str, Mapping[str, float]],
    *,
    measure: str,
    dataset: str,
    split: str,
    seed: int,
) -> Comparison:
    ours, theirs = values[system], values[baseline]
    if ours.keys() != theirs.keys():
        raise DataError(
            f"{system} and {baseline} to be measured on the same queries of {dataset}",
            f"{len(ours.keys() ^ theirs.keys())} queries that only one of them has",
            "run both again on the same split",
        )
    a, b = list(ours.values()), [theirs[qid] for qid in ours]
    p = paired_randomisation(a, b, seed)
    return Comparison(
        dataset=dataset,
        split=split,
        seed=seed,
        measure=measure,
        system=system,
        baseline=baseline,
        difference=fmean(a) - fmean(b),
        p=p,
        p_holm=p,
        n=len(a),
    )
