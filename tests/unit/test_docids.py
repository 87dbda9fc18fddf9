"""Identifiers of DSI are unique, short, and near for near passages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_info, threadpool_limits

from baselines import docids
from harness.errors import ConfigError


@given(st.integers(1, 300), st.integers(2, 12))
def test_naive_codes_are_unique_and_equally_long(count: int, radix: int) -> None:
    codes = docids.naive(count, radix)
    assert len(set(codes)) == count
    assert len({len(c) for c in codes}) == 1
    assert radix ** (len(codes[0]) - 1) <= max(count - 1, 1)
    assert [sum(s * radix**p for p, s in enumerate(reversed(c))) for c in codes] == list(range(count))


@pytest.mark.parametrize("count", [1, 5, 10, 11, 120])
def test_semantic_codes_are_unique_and_no_prefix_of_each_other(count: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(count, 4)).astype(np.float32)
    codes = docids.semantic(vectors, 5, seed=0)
    assert len(set(codes)) == count
    assert all(max(c) < 5 for c in codes)
    assert not any(a != b and b[: len(a)] == a for a in codes for b in codes)


def test_semantic_codes_follow_clusters() -> None:
    rng = np.random.default_rng(0)
    centres = np.array([[10, 0], [0, 10], [-10, -10]], dtype=np.float32)
    vectors = np.repeat(centres, 4, axis=0) + rng.normal(scale=0.1, size=(12, 2)).astype(np.float32)
    codes = docids.semantic(vectors, 3, seed=0)
    assert [len({c[0] for c in codes[i : i + 4]}) for i in (0, 4, 8)] == [1, 1, 1]
    assert len({c[0] for c in codes}) == 3


def test_identical_vectors_still_get_codes_of_their_own() -> None:
    codes = docids.semantic(np.ones((30, 3), dtype=np.float32), 4, seed=0)
    assert len(set(codes)) == 30


def test_random_codes_are_the_naive_ones_in_another_order() -> None:
    assert sorted(docids.shuffled(50, 10, 0)) == sorted(docids.naive(50, 10)) != docids.shuffled(50, 10, 0)


def test_radix_is_checked() -> None:
    with pytest.raises(ConfigError, match="radix"):
        docids.naive(5, 1)


def test_no_more_than_two_threads_add_up_centres(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sums come to the same in either order; of three the last bits depend on which thread is done first."""
    seen: list[int] = []
    fit = KMeans.fit_predict

    def watched(self: KMeans, vectors: np.ndarray) -> np.ndarray:
        seen.extend(pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "openmp")
        labels: np.ndarray = fit(self, vectors)
        return labels

    monkeypatch.setattr(KMeans, "fit_predict", watched)
    with threadpool_limits(4, user_api="openmp"):
        docids.semantic(np.random.default_rng(0).normal(size=(40, 4)).astype(np.float32), 5, seed=0)
    assert seen
    assert max(seen) <= 2
