"""What runs in the process of one cell: `python -m harness.cell index|retune|search CELL_FOLDER`.

Two processes a cell: the first builds the index and saves it, the second loads what was saved and searches it, so
that memory and loading time are those of a searching program and nothing unsaved helps it. spec.json in the folder
says what to do. Events go to the parent through stdout; anything else that is printed goes to cell.log.
"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from harness import launch
from harness.errors import HarnessError, StorageError

if TYPE_CHECKING:
    from harness.plan import Spec
    from harness.reporter import Reporter
    from harness.retriever import Retriever, System, Tunable
    from harness.store import CellFolder, Meter
    from harness.types import Dataset, Run, Split

_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}


def index(folder: CellFolder, spec: Spec, progress: Reporter) -> None:
    """Build the index under the meter and save it."""
    from harness.meter import PeakRss, folder_bytes, reset_gpu_peak, rss_bytes
    from harness.plan import evaluated
    from harness.retriever import Resumable

    system, settings = declared(spec)
    meter: Meter = {"rss_base_bytes": rss_bytes(), "threads": spec["threads"]}
    dataset = _dataset(folder, spec)
    split = evaluated(dataset, spec["split"], spec["limit"])
    _seed(spec)
    launch.claim_device(os.environ)
    retriever = system.build(settings, spec["seed"])
    if system.sees_judgements:
        cast(Any, retriever).reveal(split)
    if isinstance(retriever, Resumable):
        retriever.keep_training_in(folder.path / spec["training"])
    _seed(spec)
    reset_gpu_peak()
    progress.phase("index")
    with PeakRss() as peak:
        started = time.perf_counter()
        # Choosing settings on the evaluated queries would be choosing on the test.
        dev = dataset.dev.head(0) if spec["split"] == "dev" else dataset.dev
        retriever.index(dataset.corpus, dataset.train, dev, progress)
        meter["index_s"] = time.perf_counter() - started
    if launch.follows(os.environ):
        return
    meter["rss_peak_bytes"] = {"index": peak.peak_bytes}
    progress.phase("save")
    meter["save_s"] = _save(retriever, folder.model)
    meter["model_bytes"] = folder_bytes(folder.model)
    _add_device(meter, retriever)
    if "gpu_peak_bytes" in meter:
        meter["gpu_peak_index_bytes"] = meter["gpu_peak_bytes"]
    _add_training(meter, retriever, progress.last_row)
    folder.write_meter(meter)


def retune(folder: CellFolder, spec: Spec, progress: Reporter) -> None:
    """Save the index that was taken over from an earlier cell again, with the settings of the search as they are now.

    A process of its own, so that nothing it leaves in memory is counted as the search's.
    """
    from harness.meter import folder_bytes

    system, settings = declared(spec)
    progress.phase("load")
    earlier = cast("Tunable", system.load(folder.earlier_model))
    progress.phase("save")
    table = settings.model_dump(mode="json")
    _save(earlier.with_settings(**{name: table[name] for name in system.of_search}), folder.model)
    folder.write_meter({**folder.meter(), "model_bytes": folder_bytes(folder.model)})


def search(folder: CellFolder, spec: Spec, progress: Reporter) -> None:
    """Load the saved index, search every query under the meter and write the run, which is empty without queries."""
    from harness.meter import PeakRss, reset_gpu_peak
    from harness.plan import evaluated
    from harness.ranking import validate

    system, _ = declared(spec)
    dataset = _dataset(folder, spec)
    split = evaluated(dataset, spec["split"], spec["limit"])
    meter = folder.meter()
    _seed(spec)
    reset_gpu_peak()
    with PeakRss() as peak:
        progress.phase("load")
        started = time.perf_counter()
        retriever = system.load(folder.model)
        meter["load_s"] = time.perf_counter() - started
        _seed(spec)
        run = _searched(retriever, split, spec, meter, progress) if len(split) else {}
    validate(run, dataset.corpus.row_of, spec["depth"])
    folder.write_run(run, spec["system"])
    meter["rss_peak_bytes"] = {**meter.get("rss_peak_bytes", {}), "search": peak.peak_bytes}
    footprint = retriever.footprint()
    meter["index_bytes"], meter["parameter_bytes"] = footprint.index_bytes, footprint.parameter_bytes
    if footprint.cache_bytes:
        meter["cache_bytes"] = footprint.cache_bytes
    _add_device(meter, retriever)
    folder.write_meter(meter)


def _searched(retriever: Retriever, split: Split, spec: Spec, meter: Meter, progress: Reporter) -> Run:
    """Time some queries one at a time, then search all of them in batches; the figures go into `meter`."""
    from harness.meter import Tally, percentiles, spans, throughput

    alone, before = chosen_alone(split, spec["latency_queries"], spec["latency_warmup"])
    progress.phase("latency", len(alone), "queries")
    for text in before:
        retriever.search([text], spec["depth"])
    meter["latency_samples_ms"] = spans(retriever.search, alone, spec["depth"], progress=progress)
    meter["latency_ms"] = percentiles(meter["latency_samples_ms"], spec["depth"])
    progress.phase("search", len(split), "queries")
    tally = Tally(retriever)
    texts = [query.text for query in split.queries]
    found = throughput(tally.search, texts, spec["depth"], spec["batch_size"], progress=progress)
    meter["search_s"], meter["queries_per_s"] = found.seconds, found.queries_per_s
    meter["batch_size"] = spec["batch_size"]
    if counters := tally.counters(len(split)):
        meter["counters"] = counters
    return {query.qid: hits for query, hits in zip(split.queries, found.hits, strict=True)}


def chosen_alone(split: Split, count: int, warmup: int) -> tuple[list[str], list[str]]:
    """Choose by hash the queries that are timed one at a time, and others that are searched before them, uncounted.

    The first ones of a split are often all about one document. Where a split has no others, some are searched twice.
    """
    from harness.datasets.sampling import sample

    timed = [query.text for query in sample(split, count).queries]
    more = [query.text for query in sample(split, count + warmup).queries if query.text not in timed]
    return timed, (more + timed)[:warmup]


def main() -> int:
    """Do one task of one cell; 0 where all went well, else 1 after telling the parent why."""
    task, path = sys.argv[1:]
    events = _private_stdout()
    _end_with_parent()
    from harness.reporter import Reporter
    from harness.store import CellFolder

    folder = CellFolder(Path(path))
    log = None if launch.follows(os.environ) else folder.path / "training.jsonl"
    reporter = Reporter(events, log)
    try:
        reporter.phase("load data" if task == "search" else "prepare")
        spec = cast("Spec", folder.spec())
        {"index": index, "retune": retune, "search": search}[task](folder, spec, reporter)
        reporter.send({"done": True})
    except BaseException as error:  # whatever a system raises, SystemExit included, is why its cell failed
        traceback.print_exc()
        reporter.send({"error": _explain(error)})
        return 1
    finally:
        sys.stdout.flush()
    return 0


def _private_stdout() -> Any:
    """Keep the pipe to the parent for events, and send all that is printed to where stderr goes: cell.log."""
    end = os.open(os.devnull, os.O_WRONLY) if launch.follows(os.environ) else os.dup(1)
    events = os.fdopen(end, "w", encoding="utf-8")
    os.dup2(2, 1)
    for stream in (sys.stdout, sys.stderr):
        cast(Any, stream).reconfigure(line_buffering=True, errors="backslashreplace")
    return events


def _end_with_parent() -> None:
    """Stop this process and its workers when the parent is gone; it holds the other end of stdin."""
    parent = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)

    def wait() -> None:
        os.read(parent, 1)
        if sys.platform != "win32" and os.getpgrp() == os.getpid():
            os.killpg(os.getpid(), signal.SIGKILL)
        os._exit(1)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _explain(error: BaseException) -> dict[str, Any]:
    if isinstance(error, StorageError):
        return {"reason": str(error), "storage": [error.expected, error.got, error.fix]}
    if isinstance(error, OSError) and error.errno in _NO_ROOM:
        fix = (
            "free some room or choose another output folder, then give the same command again: finished cells are kept"
        )
        return {"reason": str(error), "storage": ["to write the files of the cell", str(error), fix]}
    if isinstance(error, HarnessError):
        return {"reason": str(error)}
    if isinstance(error, MemoryError):
        return {
            "reason": f"out of memory: {error}" if str(error) else "out of memory: the allocator refused (MemoryError)"
        }
    return {"reason": f"{type(error).__name__}: {error}".removesuffix(": ")}


def declared(spec: Spec) -> tuple[System, Any]:
    """Return the system of a cell and its settings."""
    from harness.plan import resolve
    from harness.validation import validated

    system = resolve(spec["registered"])
    return system, validated(system.config, spec["settings"], "spec.json", ("systems", spec["system"]))


def _dataset(folder: CellFolder, spec: Spec) -> Dataset:
    from harness.datasets.stored import open_folder

    return open_folder(folder.path / spec["data"])


def _seed(spec: Spec) -> None:
    """Seed the global generators and set the threads; torch only where the system has imported it."""
    import numpy as np

    random.seed(spec["seed"])
    np.random.seed(spec["seed"] % 2**32)  # noqa: NPY002  (libraries that draw from the global generator)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(spec["seed"])
        torch.set_num_threads(spec["threads"])


def _save(retriever: Retriever, model: Path) -> float:
    """Save into a temporary folder that then becomes `model`; return the seconds it took."""
    part = model.with_name(model.name + ".part")
    part.mkdir()
    started = time.perf_counter()
    retriever.save(part)
    seconds = time.perf_counter() - started
    part.rename(model)
    return seconds


def _add_device(meter: Meter, retriever: Retriever) -> None:
    from harness.meter import gpu_peak_bytes

    peak = gpu_peak_bytes()
    meter["device"] = str(getattr(retriever, "device", "cpu" if not peak else "cuda"))
    if peak:
        meter["gpu_peak_bytes"] = max(peak, meter.get("gpu_peak_bytes", 0))


def _add_training(meter: Meter, retriever: Retriever, last_row: Mapping[str, float | int | str]) -> None:
    """Add how much was trained, from the system's own summary or else from the last row of its training log."""
    summary = getattr(retriever, "training_summary", None)
    found: Mapping[str, Any] = {}
    if callable(summary):
        found = summary()
    elif isinstance(summary, Mapping):
        found = summary
    elif "tokens" in last_row:
        found = {"train_tokens": last_row["tokens"]}
    if "train_tokens" in found:
        meter["train_tokens"] = int(found["train_tokens"])
    if "tokens_per_s" in found:
        meter["tokens_per_s"] = float(found["tokens_per_s"])
    if "earlier_s" in found:
        meter["earlier_s"] = float(found["earlier_s"])
        meter["index_s"] += meter["earlier_s"]
    if "dev_score" in found:
        meter["dev_score"], meter["dev_tokens"] = float(found["dev_score"]), int(found["dev_tokens"])
        meter["dev_s"] = float(found["dev_s"])


if __name__ == "__main__":
    code = 1
    with contextlib.suppress(BrokenPipeError):  # the parent is gone and nobody listens
        code = main()
    sys.stderr.flush()
    # All is written; a thread that a system left running must not keep the process.
    os._exit(code)
