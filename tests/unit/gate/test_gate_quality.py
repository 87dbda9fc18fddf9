"""Has a measure dropped? The test, its correction, and how often it is right."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from harness.errors import ConfigError
from harness.gate import quality
from harness.gate.quality import one_sided
from harness.gate.thresholds import Thresholds
from harness.gate.verdicts import Row, Verdict

QUERIES = 3_000
KEY = ("animals", "dense")


def pair(before: np.ndarray, now: np.ndarray) -> tuple[dict[str, float], dict[str, float]]:
    sides = ({f"q{i}": float(v) for i, v in enumerate(side)} for side in (before, now))
    return next(sides), next(sides)


def judged(before: np.ndarray, now: np.ndarray, **thresholds: float) -> Row:
    (row,) = quality.compare({KEY: {"Success@1": pair(before, now)}}, Thresholds(**thresholds))
    return row


def hits(share: float, rng: np.random.Generator, queries: int = QUERIES) -> np.ndarray:
    """Whether each query found its passage first."""
    return (rng.random(queries) < share).astype(float)


def lose(before: np.ndarray, lost: int, won: int = 0) -> np.ndarray:
    """Turn `lost` hits into misses and `won` misses into hits, spread over the queries."""
    now, found, missed = before.copy(), np.flatnonzero(before), np.flatnonzero(before == 0)
    now[found[:: max(1, len(found) // max(lost, 1))][:lost]] = 0
    now[missed[:won]] = 1
    return now


def churned(before: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Another run of a stochastic system of the same quality: so many queries are drawn anew."""
    fresh = rng.random(len(before)) < share
    return np.where(fresh, hits(before.mean(), rng, len(before)), before)


@pytest.mark.parametrize(
    ("losses", "p"),
    [
        ([1, 1, 1, 1, 1], 1 / 32),
        ([1, 1, 1, 1, 1, 0, 0], 1 / 32),
        ([1, 1, -1], 1 / 2),
        ([-1] * 5, 31 / 32),
        ([1], 1 / 2),
    ],
)
def test_one_sided_p_by_hand(losses: list[float], p: float) -> None:
    assert one_sided(losses) == pytest.approx(p)


def test_one_sided_p_is_the_binomial_one_where_all_changes_are_of_one_size() -> None:
    # 60 lost, 30 won: P(at least 60 of 90 coins) with 100,000 patterns sampled.
    expected = stats.binomtest(60, 90, alternative="greater").pvalue
    assert one_sided([1.0] * 60 + [-1.0] * 30, 99_999) == pytest.approx(expected, rel=0.3)


def test_two_points_on_3000_queries_fail() -> None:
    before = hits(0.6, np.random.default_rng(1))
    row = judged(before, lose(before, 60))
    assert row.verdict is Verdict.FAIL
    assert row.before == pytest.approx(before.mean())
    assert row.now == pytest.approx(before.mean() - 0.02)
    assert "dropped by 0.0200, more than 0.01" in row.reason


def test_two_points_fail_among_queries_that_change_both_ways_and_40_other_comparisons() -> None:
    # 5 % of the queries change: 105 lost, 45 won.
    rng = np.random.default_rng(2)
    before = hits(0.6, rng)
    others = {f"m{i}": pair(before, churned(before, 0.05, rng)) for i in range(40)}
    rows = quality.compare({KEY: {**others, "Success@1": pair(before, lose(before, 105, 45))}}, Thresholds())
    assert rows[-1].verdict is Verdict.FAIL
    assert not [row for row in rows[:-1] if row.verdict is Verdict.FAIL]


def test_an_identical_rerun_is_ok_to_the_last_digit() -> None:
    before = np.random.default_rng(3).random(QUERIES)
    # The baseline keeps 32 bits of each value, the run 64.
    row = judged(before.astype(np.float32), before)
    assert (row.verdict, row.reason, row.p) == (Verdict.OK, "the same", None)
    assert row.now == row.before


def test_a_stochastic_system_of_the_same_quality_passes_20_of_20() -> None:
    rng = np.random.default_rng(4)
    before = hits(0.6, rng)
    verdicts = [judged(before, churned(before, 0.05, rng)).verdict for _ in range(20)]
    assert Verdict.FAIL not in verdicts


def test_false_alarms_stay_below_alpha_where_every_drop_matters() -> None:
    # min_drop = 0 leaves significance alone: 200 reruns, 5 measures each, at most 5 % may fail in any of them.
    rng = np.random.default_rng(5)
    alarms = 0
    for _ in range(200):
        before = hits(0.5, rng, 400)
        pairs = {f"m{i}": pair(before, churned(before, 0.3, rng)) for i in range(5)}
        rows = quality.compare({KEY: pairs}, Thresholds(min_drop=0))
        alarms += any(row.verdict is Verdict.FAIL for row in rows)
    assert 1 <= alarms <= stats.binom.ppf(0.999, 200, 0.05)


def test_a_significant_drop_that_does_not_matter_warns() -> None:
    before = hits(0.6, np.random.default_rng(6))
    row = judged(before, lose(before, 15))
    assert row.verdict is Verdict.WARN
    assert "dropped by 0.0050, which is significant" in row.reason


def test_a_drop_of_exactly_min_drop_is_not_more_than_it() -> None:
    before = np.ones(QUERIES)
    assert judged(before, lose(before, 30)).verdict is Verdict.WARN
    assert judged(before, lose(before, 31)).verdict is Verdict.FAIL


def test_a_large_drop_that_may_be_chance_warns() -> None:
    before = hits(0.5, np.random.default_rng(7), 200)
    row = judged(before, lose(before, 23, 17))
    assert row.verdict is Verdict.WARN
    assert "that may be chance: p = " in row.reason


def test_a_drop_on_so_few_queries_that_nothing_could_be_significant_says_so() -> None:
    row = judged(np.ones(10), lose(np.ones(10), 4))
    assert row.verdict is Verdict.WARN
    assert row.reason.endswith("only 4 of 10 queries changed: too few to tell from chance")
    assert judged(np.ones(10), lose(np.ones(10), 5)).verdict is Verdict.FAIL


@pytest.mark.parametrize("before", [[1, 1, 1], [1, 0, 1], [0.5, 1, 1 / 3], [1]])
def test_a_total_loss_fails_however_few_queries_there_are(before: list[float]) -> None:
    row = judged(np.array(before), np.zeros(len(before)))
    assert row.verdict is Verdict.FAIL
    assert row.reason.endswith("wherever there was more than 0.01 to lose; too few queries for a test")
    # Ten queries are enough for one comparison, and too few for 60.
    lost = {f"m{i}": pair(np.ones(10), np.zeros(10)) for i in range(60)}
    assert {row.verdict for row in quality.compare({KEY: lost}, Thresholds())} == {Verdict.FAIL}


@pytest.mark.parametrize("now", [[0, 0, 1, 0], [0, 0, 0, 1], [0, 0.995, 0, 0], [0.4, 0.4, 0.4, 0.4]])
def test_what_is_left_or_won_on_so_few_queries_warns(now: list[float]) -> None:
    row = judged(np.array([1, 1, 1, 0.0]), np.array(now))
    assert row.verdict is Verdict.WARN
    assert "dropped by" in row.reason


def test_too_few_queries_are_told() -> None:
    assert quality.too_few([4], 0.05).endswith("5 would do")
    assert quality.too_few([5], 0.05) == quality.too_few([], 0.05) == quality.too_few([3, 9], 0.05) == ""
    assert quality.too_few([10] * 60, 0.05).startswith("10 queries are too few to test 60 comparisons")


def test_a_rise_is_ok_and_offers_to_be_kept() -> None:
    row = judged(np.zeros(100), np.ones(100))
    assert row.verdict is Verdict.OK
    assert "--update" in row.reason


def test_thresholds_decide() -> None:
    before = hits(0.6, np.random.default_rng(8))
    now = lose(before, 60)
    assert judged(before, now, min_drop=0.05).verdict is Verdict.WARN
    assert judged(np.ones(10), lose(np.ones(10), 4), alpha=0.1).verdict is Verdict.FAIL


def test_measures_that_did_not_change_are_not_counted_in_the_correction() -> None:
    before = np.ones(100)
    same = {f"m{i}": pair(before, before) for i in range(50)}
    rows = quality.compare({KEY: {**same, "Success@1": pair(before, lose(before, 8))}}, Thresholds())
    assert rows[-1].p == pytest.approx(1 / 256)
    changed = {f"m{i}": pair(before, lose(before, 1)) for i in range(49)}
    rows = quality.compare({KEY: {**changed, "Success@1": pair(before, lose(before, 8))}}, Thresholds())
    assert rows[-1].p == pytest.approx(50 / 256)


def test_many_comparisons_can_still_be_significant() -> None:
    # With 9,999 patterns the least one-sided p is 0.00005; 1,500 of them would be 0.075.
    rng = np.random.default_rng(9)
    before = hits(0.5, rng, 200)
    others = {f"m{i}": pair(before, lose(before, 1)) for i in range(1_499)}
    rows = quality.compare({KEY: {**others, "Success@1": pair(before, np.zeros(200))}}, Thresholds())
    assert rows[-1].verdict is Verdict.FAIL


def test_a_value_that_is_no_number_fails() -> None:
    row = judged(np.ones(3), np.array([1, np.nan, 1]))
    assert row.verdict is Verdict.FAIL
    assert "not a finite number" in row.reason


def test_an_alpha_below_which_nothing_could_fail_is_refused() -> None:
    """201 comparisons times the least p of a million patterns is more than 1e-4: a total loss would only warn."""
    before = np.ones(30)
    lost = {f"m{i}": pair(before, before * 0) for i in range(201)}
    with pytest.raises(ConfigError, match=r"an alpha above 0\.0001, as 201 comparisons changed"):
        quality.compare({KEY: lost}, Thresholds(alpha=1e-4))
    (row,) = quality.compare({KEY: {"m": lost["m0"]}}, Thresholds(alpha=1e-4))
    assert row.verdict is Verdict.FAIL
