"""Has a measure dropped? Paired differences, a one-sided randomisation test, and a least drop that matters.

The unit is the query: its value in the baseline minus its value in the run. FAIL takes both a mean drop above
`min_drop` and significance; one of the two alone is WARN. Where there are so few queries that nothing could be
significant, FAIL takes a drop above `min_drop` on every query that has so much to lose: a total loss never passes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.errors import ConfigError
from harness.gate.measured import Key
from harness.gate.thresholds import Thresholds
from harness.gate.verdicts import Row, Verdict, failure
from harness.significance import PERMUTATIONS, holm, paired_randomisation

SEED = 0
"""Of the test: the same run and the same baseline always give the same verdict."""

DECIMALS = 6
"""Differences are compared so far: the baseline's values are 32-bit floats, exact to seven digits."""

MOST_PERMUTATIONS = 1_000_000
"""Takes some seconds a comparison; enough for 1,000 comparisons at alpha = 0.005."""

Paired = Mapping[str, tuple[Mapping[str, float], Mapping[str, float]]]
"""measure -> (qid -> value in the baseline, qid -> value in the run)."""


@dataclass(frozen=True)
class _Pair:
    """One measure of one system: each query's value in the baseline, and what it lost (gains are negative)."""

    key: Key
    measure: str
    values: tuple[float, ...]
    losses: tuple[float, ...]

    @property
    def before(self) -> float:
        return fmean(self.values)

    @property
    def drop(self) -> float:
        # Rounded, so that a drop of exactly `min_drop` is not more than it by the last digit of a float.
        return round(fmean(self.losses), 9)

    @property
    def changed(self) -> int:
        return sum(loss != 0 for loss in self.losses)

    def lost_everywhere(self, least: float) -> bool:
        """Tell whether every query with more than `least` to lose lost more than that, and none won."""
        found = zip(self.values, self.losses, strict=True)
        return all(loss > least if value > least else loss >= 0 for value, loss in found)


def compare(cells: Mapping[Key, Paired], thresholds: Thresholds) -> list[Row]:
    """Judge every measure of every cell.

    Holm's correction runs over the pairs in which at least one query changed. Where none did, no outcome of the test
    could be significant, and such a pair need not be counted (Tarone, Biometrics 1990): nine systems that are the same
    to the last digit do not make the gate blind to the tenth.

    Args:
        cells: (dataset, system) -> its measures; both sides of a measure on the same queries, at least one.
        thresholds: `min_drop` and `alpha` count.

    Returns:
        Rows in the order of `cells` and their measures; a measure with a value that is no number is FAIL.

    Raises:
        ConfigError: alpha is so small that with this many comparisons nothing could fail.
    """
    rows: list[Row] = []
    pairs: list[_Pair] = []
    for key, measures in cells.items():
        for measure, (before, now) in measures.items():
            if all(map(math.isfinite, now.values())):
                pairs.append(_pair(key, measure, before, now))
            else:
                rows.append(failure(*key, measure, "a query's value is not a finite number"))
    moved = [pair for pair in pairs if pair.changed]
    resamples = _resamples(len(moved), thresholds.alpha)
    raw = [one_sided(pair.losses, resamples) for pair in moved]
    p = {id(pair): adjusted for pair, adjusted in zip(moved, holm(raw), strict=True)}
    return rows + [_judge(pair, p.get(id(pair)), len(moved), thresholds) for pair in pairs]


def too_few(queries: Sequence[int], alpha: float) -> str:
    """Say that a gate has too few queries for any test to fail it when everything drops; empty where it has enough.

    Args:
        queries: of each measure of each system, how many it is compared on.
        alpha: chance of a false alarm.

    >>> too_few([5, 5], 0.05)
    '5 queries are too few to test 2 comparisons at alpha = 0.05: only a drop on every query fails; 6 would do'
    >>> too_few([6, 6], 0.05)
    ''
    """
    tests, most = len(queries), max(queries, default=0)
    if not _blind(tests, most, alpha):
        return ""
    enough = next(n for n in itertools.count(most + 1) if not _blind(tests, n, alpha))
    told = f"{most} queries are too few to test {tests} comparisons at alpha = {alpha:g}"
    return f"{told}: only a drop on every query fails; {enough} would do"


def _blind(tests: int, queries: int, alpha: float) -> bool:
    """Tell whether no test of so many queries can be significant: all their signs are one pattern of 2 ** queries."""
    return tests * 0.5**queries >= alpha


def one_sided(losses: Sequence[float], n_resamples: int = PERMUTATIONS) -> float:
    """Test whether queries lost more than they won: one-sided sign-flip test on the mean.

    Under the null hypothesis the signs are fair coins, so the distribution is symmetric and the one-sided p value is
    half the two-sided one, or what is left of 1.

    >>> one_sided([1, 1, 1, 1])
    0.0625
    >>> one_sided([-1, -1, -1, -1])
    0.9375
    """
    half = paired_randomisation(losses, [0.0] * len(losses), SEED, n_resamples) / 2
    return half if fmean(losses) > 0 else 1 - half


def _resamples(tests: int, alpha: float) -> int:
    """Sample enough patterns that the least p value, times the number of tests, is a tenth of alpha or less.

    Raises:
        ConfigError: so many would be needed that even a total loss could not fail.
    """
    least = tests / (2 * (MOST_PERMUTATIONS + 1))
    if least >= alpha:
        expected = f"an alpha above {least:.2g}, as {tests} comparisons changed"
        raise ConfigError(expected, f"{alpha:g}", "raise alpha: below it nothing could ever fail")
    return min(max(PERMUTATIONS, math.ceil(5 * tests / alpha)), MOST_PERMUTATIONS)


def _pair(key: Key, measure: str, before: Mapping[str, float], now: Mapping[str, float]) -> _Pair:
    losses = tuple(round(before[qid] - now[qid], DECIMALS) for qid in before)
    return _Pair(key, measure, tuple(before.values()), losses)


def _judge(pair: _Pair, p: float | None, tests: int, thresholds: Thresholds) -> Row:
    verdict, reason = _verdict(pair, 1.0 if p is None else p, tests, thresholds)
    return Row(*pair.key, pair.measure, verdict, reason, pair.before, pair.before - pair.drop, p, "score")


def _verdict(pair: _Pair, p: float, tests: int, thresholds: Thresholds) -> tuple[Verdict, str]:
    drop, least = pair.drop, thresholds.min_drop
    significant = p < thresholds.alpha
    if drop > least and significant:
        return Verdict.FAIL, f"dropped by {drop:.4f}, more than {least:g}; p = {p:.2g}"
    if drop > least and _blind(tests, len(pair.losses), thresholds.alpha) and pair.lost_everywhere(least):
        told = f"dropped by {drop:.4f}, wherever there was more than {least:g} to lose"
        return Verdict.FAIL, f"{told}; too few queries for a test"
    if drop > least:
        return Verdict.WARN, f"dropped by {drop:.4f}, more than {least:g}, but {_why_not(pair, p, tests, thresholds)}"
    if significant:
        return Verdict.WARN, f"dropped by {drop:.4f}, which is significant (p = {p:.2g}) but no more than {least:g}"
    if -drop > least:
        return Verdict.OK, f"rose by {-drop:.4f}: --update would keep that"
    return Verdict.OK, f"{pair.changed} of {len(pair.losses)} queries changed" if pair.changed else "the same"


def _why_not(pair: _Pair, p: float, tests: int, thresholds: Thresholds) -> str:
    """Say why a drop is not significant: it may be chance, or so few queries changed that nothing could be."""
    if _blind(tests, pair.changed, thresholds.alpha):
        return f"only {pair.changed} of {len(pair.losses)} queries changed: too few to tell from chance"
    return f"that may be chance: p = {p:.2g}"
