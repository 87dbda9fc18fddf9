"""Search the trained systems of a run again with other beam sizes: quality against latency (Table 9, Tang et al. 2024).

Nothing is trained. Each system is loaded once and searches the queries the run was evaluated on, one at a time, with
every size, in this process and with the run's number of threads. So that times can be set beside those of the run,
do it on the machine of the run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

from harness import finished
from harness.errors import ConfigError
from harness.meter import Clock, PeakRss, Tally, latencies
from harness.progress import SILENT, Progress
from harness.records import BeamRow, Cell
from harness.retriever import Beamed, Retriever
from harness.store import RunFolder

if TYPE_CHECKING:
    from harness.plan import Spec
    from harness.types import Corpus, Hit, Split

SIZES = (1, 2, 5, 10, 20, 50, 100)
"""Beam sizes from greedy search to the widest of the paper's Table 9."""

MEASURES = ("Success@1", "Success@5", "RR@5")
"""Measured whatever the run measures."""

WARMUP = 2
"""Queries asked before any is timed."""

BEAMED = finished.Ability(Beamed, "search with a beam", "has a beam", "generative or self-retrieval")


class Curve(NamedTuple):
    """One system with each beam size, narrowest first."""

    cell: Cell
    rows: tuple[BeamRow, ...]


def measure(
    folder: Path,
    *,
    sizes: Sequence[int] = SIZES,
    systems: Sequence[str] | None = None,
    dataset: str | None = None,
    limit: int | None = None,
    progress: Progress = SILENT,
    clock: Clock = time.perf_counter,
) -> list[Curve]:
    """Measure every system of a run that can change its beam, and write beams.json beside its other files.

    Sizes are searched from the narrowest up: what a wide beam leaves in memory does not count for a narrower one.
    A cell's rows replace those of an earlier call; cells measured before an interruption are kept.

    Args:
        folder: the run folder; of each system its first seed that is done is measured.
        sizes: beam sizes, at least 1 each; may exceed what there is to find.
        systems: labels; None: all systems that are done and search with a beam.
        dataset: None: all datasets of the run.
        limit: only so many of the evaluated queries, from the first; None: all.
        progress: told a phase for each system and size, in queries.
        clock: seconds.

    Raises:
        ConfigError: no sizes, or a number below 1; a system was named that has no beam.
        UnknownNameError: the run has no such system or dataset.
        RunFolderError: no run, none of its systems can be measured, or another process is writing it.
        StorageError: the file system refused.
    """
    from harness.lock import locked

    _check(sizes, limit)
    run = RunFolder(folder)
    cells = finished.able(run, finished.pick(run, systems, dataset), BEAMED, named=bool(systems))
    with locked(folder):
        return [_curve(run, cell, sorted(set(sizes)), limit, progress=progress, clock=clock) for cell in cells]


def _check(sizes: Sequence[int], limit: int | None) -> None:
    if not sizes or min(sizes) < 1:
        got = ", ".join(map(str, sizes)) or "none"
        raise ConfigError("beam sizes of at least 1", got, "give sizes such as 1, 10, 100")
    finished.check_limit(limit)


def _curve(
    run: RunFolder, cell: Cell, sizes: Sequence[int], limit: int | None, *, progress: Progress, clock: Clock
) -> Curve:
    spec = finished.spec(run, cell)
    asked = _Questions.of(run, spec, limit)
    with finished.threads(spec["threads"]):
        progress.phase(f"{cell.system}: load")
        trained = cast(Beamed, finished.load(run, cell))
        rows = []
        for size in sizes:
            progress.phase(f"{cell.system}: beam {size}", len(asked.split), "queries")
            rows.append(asked.search(trained.with_beam_size(size), size, progress, clock))
    run.cell(cell).write_beams(rows)
    return Curve(cell, tuple(rows))


class _Questions(NamedTuple):
    """What is asked and what counts: the evaluated queries, hits asked for, measures by their ir_measures names.

    before: searched before the clock runs.
    """

    corpus: Corpus
    split: Split
    before: tuple[str, ...]
    depth: int
    measures: tuple[str, ...]

    @classmethod
    def of(cls, run: RunFolder, spec: Spec, limit: int | None) -> _Questions:
        from harness.datasets import stored
        from harness.plan import evaluated

        dataset = stored.open_folder(run.data_folder(spec["dataset"]))
        split = evaluated(dataset, spec["split"], spec["limit"]).head(limit)
        names = dict.fromkeys([*run.experiment()["measures"], *MEASURES])
        before = finished.others(dataset, split.queries, WARMUP)
        return cls(dataset.corpus, split, before, spec["depth"], tuple(names))

    def search(self, retriever: Retriever, size: int, progress: Progress, clock: Clock) -> BeamRow:
        """Search with one beam size under the meter."""
        texts = [query.text for query in self.split.queries]
        for text in self.before:
            retriever.search([text], self.depth)
        tally = Tally(retriever)
        hits: list[list[Hit]] = []

        def ask(queries: Sequence[str], k: int) -> list[list[Hit]]:
            found = tally.search(queries, k)
            hits.extend(found)
            return found

        with PeakRss() as peak:
            latency_ms = latencies(ask, texts, self.depth, clock=clock, progress=progress)
        row = BeamRow(
            beam_size=size,
            n=len(texts),
            measures=self._quality(hits),
            latency_ms=latency_ms,
            rss_peak_bytes=peak.peak_bytes,
        )
        counters = tally.counters(len(texts))
        if counters:
            row["counters"] = counters
        return row

    def _quality(self, hits: Sequence[list[Hit]]) -> dict[str, float]:
        """Average each measure over all queries; one without hits counts as 0."""
        from harness.measures import per_query
        from harness.ranking import validate

        qids = [query.qid for query in self.split.queries]
        run = dict(zip(qids, hits, strict=True))
        validate(run, self.corpus.row_of, self.depth)
        values = per_query(run, self.split.qrels, qids, self.measures)
        return {name: fmean(by_qid.values()) for name, by_qid in values.items()}
