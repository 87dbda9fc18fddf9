from __future__ import annotations

import mmap
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from harness.cell import chosen_alone
from harness.datasets.sampling import sample
from harness.errors import ConfigError, DataError
from harness.meter import (
    PeakRss,
    folder_bytes,
    gpu_peak_bytes,
    latencies,
    percentiles,
    reset_gpu_peak,
    rss_bytes,
    spans,
    throughput,
)
from harness.types import Hit, Query, Split

MB = 10**6
LINUX = sys.platform == "linux"


class Steps:
    """A clock whose n-th measured span is the n-th of the given seconds; one second passes between spans."""

    def __init__(self, *spans_s: float) -> None:
        self._ticks = iter([tick for n, span in enumerate(spans_s) for tick in (100.0 * n, 100.0 * n + span)])

    def __call__(self) -> float:
        return next(self._ticks)


class Recorder:
    """A search that remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], int]] = []

    def __call__(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        self.asked.append((list(queries), k))
        return [[Hit(query, 1.0)] for query in queries]


class Counter:
    def __init__(self) -> None:
        self.amounts: list[int] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        raise AssertionError("phases belong to the caller")

    def advance(self, amount: int = 1) -> None:
        self.amounts.append(amount)

    def record(self, row: dict[str, float | int | str]) -> None:
        raise AssertionError("rows belong to the caller")


def allocate_and_free(megabytes: int, keep_s: float = 0.0) -> None:
    """Touch fresh pages: an allocator may hand out memory that the process already holds."""
    with mmap.mmap(-1, megabytes * MB) as block:
        np.frombuffer(block, np.uint8)[:] = 1
        time.sleep(keep_s)


@pytest.mark.skipif(not LINUX, reason="only Linux keeps a peak that can be set back")
def test_the_kernel_sees_a_short_peak_and_forgets_the_one_before() -> None:
    base = rss_bytes()
    with PeakRss() as high:
        allocate_and_free(200)
    with PeakRss() as low:
        allocate_and_free(1)
    assert high.source == low.source == "VmHWM"
    assert base + 190 * MB < high.peak_bytes < base + 260 * MB
    assert low.peak_bytes < high.peak_bytes - 150 * MB


def test_sampling_sees_a_peak_that_stays_and_can_be_used_again(tmp_path: Path) -> None:
    peak = PeakRss(proc=tmp_path / "refused")
    for _ in range(2):
        base = rss_bytes()
        with peak:
            allocate_and_free(100, keep_s=0.15)
        assert peak.source == "sampled"
        assert base + 90 * MB < peak.peak_bytes < base + 160 * MB


def test_a_kernel_that_takes_the_order_but_shows_no_peak_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "clear_refs").touch()
    (tmp_path / "status").write_text("VmRSS:\t 1 kB\n", encoding="ascii")
    with PeakRss(proc=tmp_path) as peak:
        pass
    assert peak.source == "sampled"
    (tmp_path / "status").write_text("VmHWM:\t  2048 kB\n", encoding="ascii")
    with PeakRss(proc=tmp_path) as peak:
        pass
    assert (peak.source, peak.peak_bytes) == ("VmHWM", 2048 * 1024)
    assert (tmp_path / "clear_refs").read_text(encoding="ascii") == "5"


def test_the_block_may_fail() -> None:
    with pytest.raises(KeyError), PeakRss() as peak:
        raise KeyError
    assert peak.peak_bytes > 0


def test_latencies_by_hand() -> None:
    search, progress = Recorder(), Counter()
    found = latencies(search, ["a", "b", "c", "d"], 7, clock=Steps(0.010, 0.020, 0.030, 0.140), progress=progress)
    # Linear percentiles of 10, 20, 30, 140: p50 halfway between 20 and 30; p95 at 2.85, p99 at 2.97 steps.
    assert found == {
        "p50": pytest.approx(25),
        "p95": pytest.approx(30 + 0.85 * 110),
        "p99": pytest.approx(30 + 0.97 * 110),
        "mean": pytest.approx(50),
        "n": 4,
        "k": 7,
    }
    assert search.asked == [(["a"], 7), (["b"], 7), (["c"], 7), (["d"], 7)]
    assert progress.amounts == [1, 1, 1, 1]


def test_the_spans_of_each_query_are_what_latencies_sum_up() -> None:
    found = spans(Recorder(), ["a", "b", "c", "d"], 7, clock=Steps(0.010, 0.020, 0.030, 0.140))
    assert found == [pytest.approx(ms) for ms in (10, 20, 30, 140)]
    assert percentiles(found, 7) == latencies(
        Recorder(), ["a", "b", "c", "d"], 7, clock=Steps(0.010, 0.020, 0.030, 0.140)
    )


def test_throughput_by_hand() -> None:
    search, progress = Recorder(), Counter()
    found = throughput(search, ["a", "b", "c", "d", "e"], 3, 2, clock=Steps(0.5, 1.0, 0.5), progress=progress)
    assert found.hits == [[Hit(name, 1.0)] for name in "abcde"]
    assert (found.seconds, found.queries_per_s) == (2.0, 2.5)
    assert search.asked == [(["a", "b"], 3), (["c", "d"], 3), (["e"], 3)]
    assert progress.amounts == [2, 2, 1]


def test_a_clock_that_stands_still_gives_no_finite_rate() -> None:
    assert throughput(Recorder(), ["a"], 1, 1, clock=lambda: 5.0).queries_per_s == float("inf")


def test_real_clock_runs() -> None:
    assert latencies(Recorder(), ["a", "b"], 1)["p50"] >= 0
    assert throughput(Recorder(), ["a", "b"], 1, 8).seconds > 0


@pytest.mark.parametrize(
    "measure", [lambda search, queries: latencies(search, queries, 1), lambda s, q: throughput(s, q, 1, 4)]
)
def test_no_queries_and_lost_answers_are_refused(measure: Callable[[object, list[str]], object]) -> None:
    with pytest.raises(DataError, match="at least one query"):
        measure(Recorder(), [])
    with pytest.raises(DataError, match="one list of hits for each"):
        measure(lambda queries, k: [], ["a"])


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(ConfigError, match="batch size"):
        throughput(Recorder(), ["a"], 1, 0)


@pytest.mark.parametrize(
    ("available", "initialised", "expected"), [(True, True, 123), (True, False, None), (False, False, None)]
)
def test_gpu_peak_is_absent_unless_torch_uses_one(
    monkeypatch: pytest.MonkeyPatch, available: bool, initialised: bool, expected: int | None
) -> None:
    calls: list[str] = []
    cuda = SimpleNamespace(
        is_available=lambda: available,
        is_initialized=lambda: initialised,
        max_memory_allocated=lambda: 123,
        reset_peak_memory_stats=lambda: calls.append("reset"),
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    reset_gpu_peak()
    assert gpu_peak_bytes() == expected
    assert calls == (["reset"] if initialised else [])


def test_gpu_peak_does_not_import_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    reset_gpu_peak()
    assert gpu_peak_bytes() is None
    assert "torch" not in sys.modules


def test_folder_bytes_counts_regular_files_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 10)
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "b").write_bytes(b"x" * 5)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path)
    assert folder_bytes(tmp_path) == 15
    assert folder_bytes(tmp_path / "absent") == 0


def test_queries_timed_alone_are_chosen_by_hash_and_others_warm_up() -> None:
    """The first ones of a split are often about one document: neither they nor the timed ones may warm its cache."""
    split = Split("test", tuple(Query(f"q{i}", f"text {i}") for i in range(40)), {f"q{i}": {"d": 1} for i in range(40)})
    timed, before = chosen_alone(split, 6, 3)
    assert (len(timed), len(before)) == (6, 3)
    assert not {*timed} & {*before}
    assert timed == [query.text for query in sample(split, 6).queries] != [f"text {i}" for i in range(6)]
    alone, again = chosen_alone(split.head(2), 6, 3)
    assert (alone, again) == (["text 0", "text 1"], ["text 0", "text 1"])
