"""Measure from outside: peak memory, latency one query at a time, throughput in batches, bytes on disk."""

from __future__ import annotations

import contextlib
import math
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, cast

from harness.errors import ConfigError, DataError
from harness.progress import SILENT, Progress
from harness.records import Counters, LatencyMs
from harness.types import Hit

if TYPE_CHECKING:
    from harness.retriever import Retriever

Search = Callable[[Sequence[str], int], Sequence[Sequence[Hit]]]
"""`Retriever.search`: queries, k -> hits of each query."""

Clock = Callable[[], float]
"""Seconds since some fixed moment."""

_SHARES = ("search_share", "mask_share")
_SAMPLE_S = 0.02
_PROC = Path("/proc/self")


class PeakRss:
    """Measure the largest resident memory of this process inside a `with` block.

    On Linux the kernel keeps the peak (VmHWM), which is set back on entry, so no moment is missed. Where that is
    refused, a thread looks every 20 ms and may miss a short peak. Resident memory includes the touched pages of
    memory-mapped files. Blocks must not be nested: the inner one would set the outer one's peak back.

    Attributes:
        peak_bytes: the peak, once the block has ended; the resident memory of the moment on entry.
        source: "VmHWM" or "sampled", which way it was measured.
    """

    def __init__(self, proc: Path = _PROC) -> None:
        self.peak_bytes = 0
        self.source = ""
        self._proc = proc
        self._stop = threading.Event()
        self._sampler: threading.Thread | None = None

    def __enter__(self) -> PeakRss:
        self.peak_bytes = rss_bytes()
        if _reset_high_water(self._proc):
            self.source = "VmHWM"
            return self
        self.source = "sampled"
        self._stop.clear()
        self._sampler = threading.Thread(target=self._sample, name="peak-rss", daemon=True)
        self._sampler.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._sampler is not None:
            self._stop.set()
            self._sampler.join()
            self._sampler = None
            self.peak_bytes = max(self.peak_bytes, rss_bytes())
        else:
            self.peak_bytes = _high_water_bytes(self._proc) or max(self.peak_bytes, rss_bytes())

    def _sample(self) -> None:
        while not self._stop.wait(_SAMPLE_S):
            self.peak_bytes = max(self.peak_bytes, rss_bytes())


class Tally:
    """Searches, and adds up what a generative system counts in each batch."""

    def __init__(self, retriever: Retriever) -> None:
        self._retriever = retriever
        self._counters: Callable[[], Mapping[str, float]] | None = getattr(retriever, "counters", None)
        self._sums: dict[str, float] = {}
        self._weights: dict[str, float] = {}

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """Search one batch."""
        hits = self._retriever.search(queries, k)
        if self._counters is not None:
            for name, value in self._counters().items():
                # A share is averaged over queries; everything else is a total.
                weight = len(queries) if name in _SHARES else 1
                self._sums[name] = self._sums.get(name, 0.0) + float(value) * weight
                self._weights[name] = self._weights.get(name, 0.0) + weight
        return hits

    def counters(self, queries: int) -> Counters:
        """Return totals over the whole search; model calls per query; what was not counted is absent."""
        found: dict[str, float] = {
            name: self._sums[name] for name in ("invalid_docids", "dead_beams") if name in self._sums
        }
        if "model_calls" in self._sums:
            found["model_calls_per_query"] = self._sums["model_calls"] / queries
        for share in _SHARES:
            if share in self._sums:
                found[share] = self._sums[share] / self._weights[share]
        return cast(Counters, found)


class Throughput(NamedTuple):
    """Hits of each query, and how fast they came. `queries_per_s` is infinite where the clock saw no time pass."""

    hits: list[list[Hit]]
    queries_per_s: float
    seconds: float


def latencies(
    search: Search,
    queries: Sequence[str],
    k: int,
    *,
    clock: Clock = time.perf_counter,
    progress: Progress = SILENT,
) -> LatencyMs:
    """Time each query asked alone, in milliseconds.

    Args:
        search: what answers them.
        queries: at least one; every one is timed once, in order.
        k: hits to ask for.
        clock: seconds.
        progress: advanced by one for each timed query.

    Returns:
        p50, p95, p99 (NumPy's "linear" percentiles), mean, the number `n` of queries, and `k`.

    Raises:
        DataError: no queries, or `search` does not answer each with one list.
    """
    return percentiles(spans(search, queries, k, clock=clock, progress=progress), k)


def spans(
    search: Search,
    queries: Sequence[str],
    k: int,
    *,
    clock: Clock = time.perf_counter,
    progress: Progress = SILENT,
) -> list[float]:
    """Time each query asked alone, as `latencies` does, and return the milliseconds of each, in order."""
    _need_queries(queries)
    spans_ms = []
    for query in queries:
        start = clock()
        _answer(search, [query], k)
        spans_ms.append((clock() - start) * 1e3)
        progress.advance()
    return spans_ms


def percentiles(spans_ms: Sequence[float], k: int) -> LatencyMs:
    """Sum up what `spans` measured, at least one query asked for `k` hits."""
    import numpy as np

    p50, p95, p99 = (float(p) for p in np.percentile(spans_ms, [50, 95, 99], method="linear"))
    return LatencyMs(p50=p50, p95=p95, p99=p99, mean=float(np.mean(spans_ms)), n=len(spans_ms), k=k)


def throughput(
    search: Search,
    queries: Sequence[str],
    k: int,
    batch_size: int,
    *,
    clock: Clock = time.perf_counter,
    progress: Progress = SILENT,
) -> Throughput:
    """Answer all queries in batches and time the whole.

    Args:
        search: what answers them.
        queries: at least one.
        k: hits to ask for.
        batch_size: queries handed over at once, at least 1; the last batch may be smaller.
        clock: seconds.
        progress: advanced by the size of each batch.

    Raises:
        ConfigError: `batch_size` is below 1.
        DataError: no queries, or `search` does not answer each with one list.
    """
    if batch_size < 1:
        raise ConfigError("a batch size of at least 1", str(batch_size), "set batch_size to 1 or more")
    _need_queries(queries)
    hits: list[list[Hit]] = []
    seconds = 0.0
    for first in range(0, len(queries), batch_size):
        batch = queries[first : first + batch_size]
        start = clock()
        answers = _answer(search, batch, k)
        # Only the search counts, not what shows the progress.
        seconds += clock() - start
        hits.extend(list(answer) for answer in answers)
        progress.advance(len(batch))
    return Throughput(hits, len(queries) / seconds if seconds > 0 else math.inf, seconds)


def rss_bytes() -> int:
    """Return the resident memory of this process now."""
    import psutil

    return int(psutil.Process().memory_info().rss)


def reset_gpu_peak() -> None:
    """Forget the GPU's peak so far; does nothing unless torch is imported and uses CUDA."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def gpu_peak_bytes() -> int | None:
    """Return the most GPU memory torch held at once; None unless torch is imported and uses CUDA.

    Never imports torch itself: a system that does not use it must not pay for it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available() or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


def folder_bytes(path: Path) -> int:
    """Return the size of all regular files below `path`; links are not followed."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            file = Path(folder, name)
            if file.is_file() and not file.is_symlink():
                total += file.stat().st_size
    return total


def _answer(search: Search, queries: Sequence[str], k: int) -> Sequence[Sequence[Hit]]:
    answers = search(queries, k)
    if len(answers) != len(queries):
        raise DataError(
            f"one list of hits for each of {len(queries)} queries",
            f"{len(answers)} lists",
            "make the system's search return a list, possibly empty, for every query",
        )
    return answers


def _need_queries(queries: Sequence[str]) -> None:
    if not queries:
        raise DataError("at least one query to time", "none", "choose a split that has queries")


def _reset_high_water(proc: Path) -> bool:
    """Set the kernel's peak back to the memory of the moment; say whether that worked and the peak can be read."""
    try:
        (proc / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return _high_water_bytes(proc) is not None


def _high_water_bytes(proc: Path) -> int | None:
    with contextlib.suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB$", (proc / "status").read_text(encoding="ascii"), re.MULTILINE)
        return int(found[1]) * 1024 if found else None
    return None
