from __future__ import annotations

import itertools
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError
from harness.significance import bootstrap, compare, holm, paired_randomisation


def test_bootstrap_of_a_coin_is_near_the_normal_interval() -> None:
    values = [0.0] * 700 + [1.0] * 300
    found = bootstrap(values, seed=0)
    half = 1.96 * (0.3 * 0.7 / 1000) ** 0.5
    assert found == pytest.approx((0.3 - half, 0.3 + half), abs=0.003)
    narrow = bootstrap(values, seed=0, level=0.5)
    assert found is not None
    assert narrow is not None
    assert found[0] < narrow[0] < 0.3 < narrow[1] < found[1]


def test_bootstrap_depends_on_the_seed_alone() -> None:
    values = [0.0, 0.2, 0.5, 1.0] * 5
    assert bootstrap(values, seed=1) == bootstrap(values, seed=1) != bootstrap(values, seed=2)


@pytest.mark.parametrize(
    ("values", "expected"), [([0.5] * 9, (0.5, 0.5)), ([0.0, 0.0], (0.0, 0.0)), ([1.0], None), ([], None)]
)
def test_bootstrap_where_nothing_varies(values: list[float], expected: tuple[float, float] | None) -> None:
    assert bootstrap(values, seed=0) == expected


def enumerated(differences: list[float]) -> float:
    """Specification: every pattern of signs, counted one by one."""
    observed = abs(sum(differences))
    sums = [
        abs(sum(map(float.__mul__, differences, signs)))
        for signs in itertools.product((1.0, -1.0), repeat=len(differences))
    ]
    return sum(total >= observed - 1e-9 for total in sums) / len(sums)


def test_randomisation_by_hand() -> None:
    # Differences 1, 1, 1, -1: 10 of 16 sign patterns have a sum of at least 2 in absolute value.
    assert paired_randomisation([1, 1, 1, 0], [0, 0, 0, 1], seed=0) == pytest.approx(10 / 16)
    assert paired_randomisation([1] * 8, [0] * 8, seed=0) == pytest.approx(2 / 2**8)
    # Queries on which both agree say nothing.
    assert paired_randomisation([1] * 8 + [0.5] * 50, [0] * 8 + [0.5] * 50, seed=0) == pytest.approx(2 / 2**8)


@given(st.lists(st.sampled_from([-1.0, -0.5, 0.0, 1 / 3, 0.5, 1.0]), min_size=1, max_size=8))
def test_small_samples_are_exact(differences: list[float]) -> None:
    assert paired_randomisation(differences, [0.0] * len(differences), seed=0) == pytest.approx(enumerated(differences))


def test_sampled_and_exact_agree() -> None:
    differences = [1.0, 1.0, 0.5, -0.5, 1 / 3, -1.0, 1.0, 0.25, 0.2, 1.0, -1 / 3, 0.5, 0.1]
    zeros = [0.0] * len(differences)
    exact = paired_randomisation(differences, zeros, seed=0, n_resamples=2**13)
    assert exact == pytest.approx(enumerated(differences))
    assert paired_randomisation(differences, zeros, seed=0, n_resamples=2**13 - 1) == pytest.approx(exact, abs=0.02)


def test_sampling_agrees_with_one_coin_a_query() -> None:
    rng = np.random.default_rng(5)
    differences = rng.choice([-1.0, -0.5, 0.0, 0.5, 1.0], size=300, p=[0.18, 0.1, 0.4, 0.1, 0.22])
    coins = rng.choice([-1.0, 1.0], size=(20_000, 300))
    plain = float(np.mean(np.abs(coins @ differences) >= abs(differences.sum()) - 1e-9))
    assert 0.05 < plain < 0.95
    assert paired_randomisation(list(differences), [0.0] * 300, seed=0) == pytest.approx(plain, abs=0.02)


def test_p_is_never_zero_and_two_sided() -> None:
    better, worse = [1.0] * 400, [0.0] * 400
    assert paired_randomisation(better, worse, seed=0) == pytest.approx(1 / 10_000)
    assert paired_randomisation(worse, better, seed=0) == pytest.approx(1 / 10_000)


def test_equal_systems_do_not_differ() -> None:
    assert paired_randomisation([0.1, 0.7] * 30, [0.1, 0.7] * 30, seed=0) == 1.0
    # Equal but for rounding: 1/2 - 1/3 against 1/6 leaves 3e-17.
    assert paired_randomisation([1 / 2 - 1 / 3] * 40, [1 / 6] * 40, seed=0) == 1.0
    assert paired_randomisation([1.0], [0.0], seed=0) == 1.0


@pytest.mark.parametrize(("a", "b"), [([1.0], []), ([], []), ([1.0, 0.0], [1.0])])
def test_unpaired_values_are_refused(a: list[float], b: list[float]) -> None:
    with pytest.raises(DataError, match="the same queries"):
        paired_randomisation(a, b, seed=0)


def test_holm_by_hand() -> None:
    # Steps 4 x .005, 3 x .01, 2 x .03, 1 x .04; the last may not fall below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


FAMILIES = {"bm25": "sparse", "dense": "dense", "sr": "self-retrieval", "oracle": "bracket", "dsi": "generative"}


def per_system(**means: float) -> dict[str, dict[str, dict[str, float]]]:
    """System -> one measure -> twenty queries of which the share `mean` is 1."""
    return {s: {"Success@1": {f"q{n}": float(n < mean * 20) for n in range(20)}} for s, mean in means.items()}


def test_baselines_meet_the_best_one_and_self_retrieval_meets_them_all() -> None:
    values = per_system(oracle=1.0, sr=0.8, bm25=0.3, dense=0.6, dsi=0.2)
    rows = compare(values, FAMILIES, dataset="d", split="test", seed=3)
    assert [(r["system"], r["baseline"]) for r in rows] == [
        ("sr", "bm25"),
        ("sr", "dense"),
        ("sr", "dsi"),
        ("bm25", "dense"),
        ("dsi", "dense"),
    ]
    assert rows[1] == {
        "dataset": "d",
        "split": "test",
        "seed": 3,
        "measure": "Success@1",
        "system": "sr",
        "baseline": "dense",
        "difference": pytest.approx(0.2),
        "p": pytest.approx(2 / 2**4),
        "p_holm": pytest.approx(2 / 2**4),
        "n": 20,
    }
    assert [r["difference"] for r in rows] == pytest.approx([0.5, 0.2, 0.6, -0.3, -0.4])
    holm_factors = [4 * 2 / 2**10, 2 / 2**4, 5 * 2 / 2**12, 2 * 2 / 2**6, 3 * 2 / 2**8]
    assert [r["p_holm"] for r in rows] == pytest.approx(holm_factors)


def test_each_measure_has_its_own_baseline_and_holm_runs_over_all() -> None:
    values = per_system(bm25=0.3, dense=0.6)
    values["bm25"]["RR@5"] = values["dense"]["Success@1"]
    values["dense"]["RR@5"] = values["bm25"]["Success@1"]
    rows = compare(values, FAMILIES, dataset="d", split="test", seed=0)
    assert [(r["measure"], r["system"], r["baseline"]) for r in rows] == [
        ("Success@1", "bm25", "dense"),
        ("RR@5", "dense", "bm25"),
    ]
    assert [r["p_holm"] for r in rows] == pytest.approx([2 * r["p"] for r in rows])


def test_of_equally_good_baselines_the_first_is_taken() -> None:
    rows = compare(per_system(dense=0.5, bm25=0.5), FAMILIES, dataset="d", split="test", seed=0)
    assert [(r["system"], r["baseline"], r["p"]) for r in rows] == [("bm25", "dense", 1.0)]


@pytest.mark.parametrize("values", [{}, per_system(bm25=0.5), per_system(sr=0.5, oracle=1.0)])
def test_nothing_to_compare_gives_no_rows(values: dict[str, dict[str, dict[str, float]]]) -> None:
    assert compare(values, FAMILIES, dataset="d", split="test", seed=0) == []


def test_systems_measured_on_other_queries_are_refused() -> None:
    values = per_system(bm25=0.3, dense=0.6)
    del values["bm25"]["Success@1"]["q7"]
    with pytest.raises(DataError, match=r"bm25 and dense[^$]*1 queries that only one"):
        compare(values, FAMILIES, dataset="d", split="test", seed=0)


def test_three_thousand_queries_take_a_moment() -> None:
    # 64 intervals and 56 tests make up a full comparison; this bound, ten times what one takes, keeps it in seconds.
    rng = np.random.default_rng(0)
    a, b = rng.choice([0, 1 / 5, 1 / 4, 1 / 3, 1 / 2, 1], size=(2, 3000)).tolist()
    bootstrap(a, 0)
    paired_randomisation(a, b, 0)
    start = time.process_time()
    bootstrap(a, 0)
    paired_randomisation(a, b, 0)
    assert time.process_time() - start < 0.6


@pytest.mark.parametrize("n_resamples", [2**5, 2**5 - 1])
def test_a_sum_of_zero_on_paper_is_no_evidence(n_resamples: int) -> None:
    differences = [-1 / 3, -0.7, 0.5, 1 / 3, 0.2]
    assert sum(differences) != 0
    assert paired_randomisation(differences, [0.0] * 5, seed=0, n_resamples=n_resamples) == 1.0
