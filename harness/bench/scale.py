"""How the cost of a corpus grows: time, bytes on disk and peak memory of each stage against the number of passages.

Each stage of each size is a process of its own, so that its peak memory is its own; see `harness.bench.stages`. The
corpora are made up by `harness.bench.synthetic` in a temporary folder, of which nothing stays.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NotRequired, TypedDict, cast

from harness.bench import synthetic
from harness.bench.stages import corpus_file
from harness.errors import ConfigError, StorageError
from harness.pace import duration
from harness.progress import SILENT, Progress
from harness.reporter import event_of

SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000)
MAPPED = 3_000_000
LIMIT_BYTES = 6_000_000_000
"""Resident memory that a million passages may take."""

STAGES: Mapping[str, str] = dict.fromkeys(("load", "cut", "open", "bm25", "search"), "harness.bench.stages")
"""Stage -> module that serves it, in the order they need each other."""

_ROOM_BYTES, _MAPPED_BYTES = 4_000, 1_000
"""Disk a passage may take in all stages together, and in a mapped file."""


class Row(TypedDict):
    """One stage of one size. rss_base_bytes: before it began; rss_peak_bytes: its most. search_ms: of one search."""

    passages: int
    stage: str
    seconds: float
    passages_per_s: float
    bytes_per_passage: float
    rss_base_bytes: int
    rss_peak_bytes: int
    search_ms: NotRequired[float]


class _Task(NamedTuple):
    """One process: a stage of a size and the module that serves it."""

    passages: int
    stage: str
    module: str


def run(
    source: synthetic.Source,
    sizes: Sequence[int] = SIZES,
    *,
    mapped: int = 0,
    stages: Mapping[str, str] = STAGES,
    progress: Progress = SILENT,
) -> list[Row]:
    """Measure every stage at `sizes` passages, and `open` alone at `mapped` (0: not).

    Args:
        source: what the corpora are mixed from.
        sizes: numbers of passages, ascending.
        mapped: passages of one more corpus that is only written and mapped.
        stages: as `STAGES`, maybe with those of other modules behind.
        progress: told about each process and what it tells.

    Raises:
        StorageError: too little room in the temporary folder.
        ConfigError: a process failed.
    """
    tasks = [_Task(size, stage, module) for size in sizes for stage, module in stages.items()]
    tasks += [_Task(mapped, "open", stages["open"])] if mapped else []
    _need_room(max(_ROOM_BYTES * max(sizes), _MAPPED_BYTES * mapped))
    rows: list[Row] = []
    with _termination_interrupts():
        for size in sizes:
            with _prepared(size, progress) as folder:
                synthetic.write(source, folder, size, progress=progress)
                _measure(tasks, len(stages), rows, folder, progress)
        if mapped:
            with _prepared(mapped, progress) as folder:
                corpus_file(folder).parent.mkdir()
                synthetic.write_corpus(source, corpus_file(folder), mapped, progress=progress)
                _measure(tasks, 1, rows, folder, progress)
    return rows


def summarise(rows: Sequence[Row]) -> dict[str, Any]:
    """Return the figures of `harness bench scale --json`."""
    within = all(row["rss_peak_bytes"] <= LIMIT_BYTES for row in rows)
    words = synthetic.PASSAGE_WORDS
    return {"rows": [dict(r) for r in rows], "limit_bytes": LIMIT_BYTES, "within": within, "passage_words": words}


@contextlib.contextmanager
def _prepared(passages: int, progress: Progress) -> Iterator[Path]:
    """Give a folder for one size that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="harness-scale-") as name:
        progress.phase(f"{passages:,} passages, write", passages, "passages")
        yield Path(name)


def _measure(tasks: Sequence[_Task], count: int, rows: list[Row], folder: Path, progress: Progress) -> None:
    """Do the next `count` of the tasks; `rows` holds what came before and takes what is measured."""
    for task in tasks[len(rows) : len(rows) + count]:
        left_s = _left_s(rows, tasks[len(rows) :])
        known = "" if left_s is None else f", about {duration(left_s)} left in all"
        label = f"[{len(rows) + 1}/{len(tasks)}{known}] {task.passages:,} passages, {task.stage}"
        rows.append(_row(task, _in_process(task, folder, _Relay(label, progress))))


def _row(task: _Task, measured: Mapping[str, Any]) -> Row:
    row: Row = {
        "passages": task.passages,
        "stage": task.stage,
        "seconds": measured["seconds"],
        "passages_per_s": task.passages / measured["seconds"],
        "bytes_per_passage": measured["disk_bytes"] / task.passages,
        "rss_base_bytes": measured["rss_base_bytes"],
        "rss_peak_bytes": measured["rss_peak_bytes"],
    }
    return row if measured["search_ms"] is None else {**row, "search_ms": measured["search_ms"]}


def _left_s(rows: Sequence[Row], tasks: Sequence[_Task]) -> float | None:
    """Estimate the seconds of the tasks from the latest row of each stage, as time grows with the passages.

    None where a stage was not measured yet.
    """
    pace = {row["stage"]: row["seconds"] / row["passages"] for row in rows}
    if any(task.stage not in pace for task in tasks):
        return None
    return sum(pace[task.stage] * task.passages for task in tasks)


class _Relay:
    """Takes the events of a process and tells them on under a label."""

    def __init__(self, label: str, progress: Progress) -> None:
        self._label, self._progress = label, progress
        self.measured: dict[str, Any] | None = None
        progress.phase(label)

    def hear(self, line: bytes) -> None:
        """Take one line; what is no event, such as the notice of a library, is passed over."""
        event = event_of(line)
        if event is None:
            return
        self.measured = event.get("measured", self.measured)
        if "phase" in event:
            self._progress.phase(f"{self._label}: {event['phase']}", event["total"], event["unit"])
        elif "advance" in event:
            self._progress.advance(event["advance"])


def _in_process(task: _Task, folder: Path, relay: _Relay) -> dict[str, Any]:
    command = [sys.executable, "-P", "-m", task.module, task.stage, str(folder)]
    errors = folder / "errors.txt"
    with errors.open("wb") as stream:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=stream)
    with cast(Any, process.stdout) as lines:
        try:
            for line in lines:
                relay.hear(line)
            code = process.wait()
        except BaseException:
            process.kill()
            process.wait()
            raise
    if code or relay.measured is None:
        raise _failed(task, code, errors.read_text(encoding="utf-8", errors="replace"))
    return relay.measured


def _failed(task: _Task, code: int, said: str) -> ConfigError:
    last = (said.strip().splitlines() or [f"exit code {code}"])[-1]
    return ConfigError(
        f"the stage {task.stage!r} to end well at {task.passages:,} passages",
        f"killed by signal {-code}, as happens when memory runs out" if code < 0 else last,
        "free some memory and disk, or choose smaller --sizes",
    )


def _need_room(wanted: int) -> None:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < wanted:
        raise StorageError(
            f"{wanted / 1e9:.3g} GB of room in the temporary folder {folder}",
            f"{free / 1e9:.3g} GB",
            "free some, set the environment variable TMPDIR to another folder, or choose smaller --sizes",
        )


@contextlib.contextmanager
def _termination_interrupts() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that the temporary folder goes; only possible in the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
