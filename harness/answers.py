"""Let the trained systems of a run answer in words: Exact Match, F1 and latency (Table 5, Tang et al. 2024).

Nothing is trained. Each system is loaded once and answers, one at a time, the first queries the run was evaluated on
that have reference answers, in this process and with the run's number of threads. So that times can be set beside
those of the run, do it on the machine of the run.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, NamedTuple, cast

from harness import finished
from harness.answer_match import exact_match, token_f1
from harness.errors import DataError
from harness.meter import Clock, PeakRss, latencies
from harness.progress import SILENT, Progress
from harness.records import AnswerRow, AnswersRecord, Cell, LatencyMs
from harness.retriever import Answering
from harness.significance import bootstrap, compare
from harness.store import RunFolder

if TYPE_CHECKING:
    from harness.records import Comparison
    from harness.types import Answer, Hit, Qrels, Query

LIMIT = 100
"""Queries asked unless more are wanted: a language model takes about a second for each."""

WARMUP = 2
"""Queries asked before any is timed."""

ANSWERING = finished.Ability(Answering, "answer in words", "answers in words", "self-retrieval or reader")


class Answered(NamedTuple):
    """One system and how well it answered."""

    cell: Cell
    record: AnswersRecord


class _Questions(NamedTuple):
    """What is asked, the judgements of the passages, and what is asked `before` the clock runs."""

    split: str
    queries: tuple[Query, ...]
    qrels: Qrels
    before: tuple[str, ...]


def measure(
    folder: Path,
    *,
    systems: Sequence[str] | None = None,
    dataset: str | None = None,
    limit: int | None = LIMIT,
    progress: Progress = SILENT,
    clock: Clock = time.perf_counter,
) -> list[Answered]:
    """Ask every system of a run that answers, and write answers.json and answers.jsonl beside its other files.

    A cell's files replace those of an earlier call; cells measured before an interruption are kept. Systems that
    answered the same queries, now or earlier, are compared in answer_significance.json.

    Args:
        folder: the run folder; of each system its first seed that is done is asked.
        systems: labels; None: all systems that are done and answer.
        dataset: None: all datasets of the run that have reference answers.
        limit: only so many of the evaluated queries that have reference answers, from the first; None: all.
        progress: told a phase for each system, in queries.
        clock: seconds.

    Raises:
        ConfigError: a limit below 1; a system was named that does not answer.
        DataError: the queries have no reference answers.
        UnknownNameError: the run has no such system or dataset.
        RunFolderError: no run, none of its systems can be asked, or another process is writing it.
        StorageError: the file system refused.
    """
    from harness.lock import locked

    finished.check_limit(limit)
    run = RunFolder(folder)
    cells = finished.able(run, finished.pick(run, systems, dataset), ANSWERING, named=bool(systems))
    asked = _questions(run, cells, limit)
    with locked(folder):
        found = [
            _ask(run, cell, asked[cell.dataset], progress=progress, clock=clock)
            for cell in cells
            if cell.dataset in asked
        ]
        kept = [row for row in run.answer_significance() if row["dataset"] not in asked]
        fresh = [row for name, questions in asked.items() for row in _compared(run, name, questions)]
        run.write_answer_significance([*kept, *fresh])
    return found


def listed(found: Sequence[Answered]) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return heads and rows that say how well systems answered."""
    rows = [
        (
            *(cell.dataset, cell.system),
            *(f"{share:.3f}" for share in (record["exact_match"], record["f1"], record["gold_passage"])),
            *(f"{record['latency_ms']['p50']:.0f}", str(record["n"])),
        )
        for cell, record in found
    ]
    return ("dataset", "system", "exact match", "F1", "gold passage", "p50 ms", "queries"), rows


def _questions(run: RunFolder, cells: Sequence[Cell], limit: int | None) -> dict[str, _Questions]:
    """Return what is asked on each dataset; one without reference answers is left out, unless all are."""
    from harness.datasets import stored
    from harness.plan import evaluated

    asked = {}
    for cell in {cell.dataset: cell for cell in cells}.values():
        spec = finished.spec(run, cell)
        dataset = stored.open_folder(run.data_folder(cell.dataset))
        split = evaluated(dataset, spec["split"], spec["limit"])
        queries = tuple(query for query in split.queries if query.answers)[:limit]
        if queries:
            before = finished.others(dataset, queries, WARMUP)
            asked[cell.dataset] = _Questions(split.name, queries, split.qrels, before)
    if not asked:
        names = ", ".join(dict.fromkeys(cell.dataset for cell in cells))
        fix = 'choose a dataset whose queries have them (BEIR layout: {"metadata": {"answers": ["…"]}})'
        raise DataError(f"reference answers on the evaluated queries of {names}", "none", fix)
    return asked


def _ask(run: RunFolder, cell: Cell, asked: _Questions, *, progress: Progress, clock: Clock) -> Answered:
    """Ask one system under the meter and write what it said."""
    with finished.threads(finished.spec(run, cell)["threads"]):
        progress.phase(f"{cell.system}: load")
        trained = cast(Answering, finished.load(run, cell))
        texts = [query.text for query in asked.queries]
        for text in asked.before:
            trained.answer([text])
        said: list[Answer] = []

        def ask(queries: Sequence[str], _: int) -> list[list[Hit]]:
            given = trained.answer(queries)
            said.extend(given)
            return [[] for _ in given]

        progress.phase(f"{cell.system}: answer", len(texts), "queries")
        with PeakRss() as peak:
            latency_ms = latencies(ask, texts, 1, clock=clock, progress=progress)
    rows = [_row(query, answer, asked.qrels) for query, answer in zip(asked.queries, said, strict=True)]
    record = _record(rows, latency_ms, peak.peak_bytes, cell.seed)
    run.cell(cell).write_answers(record, rows)
    return Answered(cell, record)


def _row(query: Query, answer: Answer, qrels: Qrels) -> AnswerRow:
    relevant = answer.docid is not None and qrels.get(query.qid, {}).get(answer.docid, 0) >= 1
    return AnswerRow(
        qid=query.qid,
        question=query.text,
        answer=answer.text,
        docid=answer.docid,
        logprob=answer.logprob,
        references=list(query.answers),
        exact_match=exact_match(answer.text, query.answers),
        f1=token_f1(answer.text, query.answers),
        gold_passage=float(relevant),
    )


def _record(rows: Sequence[AnswerRow], latency_ms: LatencyMs, rss_peak_bytes: int, seed: int) -> AnswersRecord:
    matches, shares = [row["exact_match"] for row in rows], [row["f1"] for row in rows]
    record = AnswersRecord(
        n=len(rows),
        exact_match=fmean(matches),
        f1=fmean(shares),
        gold_passage=fmean(row["gold_passage"] for row in rows),
        refused=fmean(not row["answer"] for row in rows),
        latency_ms=latency_ms,
        rss_peak_bytes=rss_peak_bytes,
    )
    if interval := bootstrap(matches, seed):
        record["exact_match_low"], record["exact_match_high"] = interval
    if interval := bootstrap(shares, seed):
        record["f1_low"], record["f1_high"] = interval
    return record


def _compared(run: RunFolder, dataset: str, asked: _Questions) -> list[Comparison]:
    """Compare the systems of a dataset that answered exactly these queries."""
    qids = [query.qid for query in asked.queries]
    values: dict[str, dict[str, dict[str, float]]] = {}
    families: dict[str, str] = {}
    cells = finished.pick(run, dataset=dataset)
    for cell in cells:
        # What a system answered with other settings, or before it failed, is not what it answers.
        rows = [] if run.problem(cell) else run.cell(cell).answer_rows()
        if [row["qid"] for row in rows] == qids:
            values[cell.system] = {
                "exact_match": {row["qid"]: row["exact_match"] for row in rows},
                "f1": {row["qid"]: row["f1"] for row in rows},
            }
            families[cell.system] = cell.family
    return compare(values, families, dataset=dataset, split=asked.split, seed=cells[0].seed)
