"""What is done with a corpus of each size, each stage in a process: `python -m harness.bench.stages STAGE FOLDER`.

    load     read a set in BEIR layout, one passage a line, and write its card
    cut      the same, and cut its texts into passages of at most 100 words: what the stages below work on
    open     map the saved corpus and read one passage
    bm25     index with the system "bm25", and save
    search   load that index and search once

Peak memory counts the interpreter, its libraries and the touched pages of mapped files in. Other packages add stages: a
module of theirs calls `serve`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from harness.bench import synthetic
from harness.meter import PeakRss, folder_bytes, rss_bytes
from harness.progress import Progress
from harness.reporter import Reporter

STORED = "stored"
_MODEL = "bm25"


class Done(NamedTuple):
    """What a stage did: its seconds, libraries already imported; bytes it left on disk or read from there."""

    seconds: float
    disk_bytes: int
    search_ms: float | None = None


Stage = Callable[[Path, Progress], Done]
"""Works in the folder of one size."""


def serve(stages: Mapping[str, Stage]) -> None:
    """Do the stage the command line names in this process, and tell on standard output what it cost."""
    name, folder = sys.argv[1:]
    reporter = Reporter(sys.stdout)
    base = rss_bytes()
    with PeakRss() as peak:
        done = stages[name](Path(folder), reporter)
    measured = {**done._asdict(), "rss_base_bytes": base, "rss_peak_bytes": peak.peak_bytes}
    reporter.send({"measured": measured})


def corpus_file(folder: Path) -> Path:
    """Return the corpus that `cut` leaves in the folder of a size."""
    return folder / STORED / "corpus.arrow"


def _load(folder: Path, progress: Progress) -> Done:
    from harness import datasets

    start = time.perf_counter()
    datasets.load(str(folder / "passages"), progress=progress)
    return Done(time.perf_counter() - start, (folder / "passages" / "corpus.jsonl").stat().st_size)


def _cut(folder: Path, progress: Progress) -> Done:
    from harness import datasets
    from harness.datasets import stored

    settings = datasets.DatasetSettings(max_passage_words=synthetic.PASSAGE_WORDS)
    start = time.perf_counter()
    stored.save(datasets.load(str(folder / "texts"), settings, progress), folder / STORED)
    return Done(time.perf_counter() - start, corpus_file(folder).stat().st_size)


def _open(folder: Path, progress: Progress) -> Done:
    from harness.types import Corpus

    start = time.perf_counter()
    corpus = Corpus.open(corpus_file(folder))
    corpus[len(corpus) // 2]
    return Done(time.perf_counter() - start, corpus_file(folder).stat().st_size)


def _bm25(folder: Path, progress: Progress) -> Done:
    from harness import registry
    from harness.datasets.stored import open_folder

    system = registry.get("bm25")
    dataset = open_folder(folder / STORED)
    (folder / _MODEL).mkdir()
    start = time.perf_counter()
    retriever = system.build(system.config(), 0)
    retriever.index(dataset.corpus, dataset.train, dataset.dev, progress)
    retriever.save(folder / _MODEL)
    return Done(time.perf_counter() - start, folder_bytes(folder / _MODEL))


def _search(folder: Path, progress: Progress) -> Done:
    from harness import registry
    from harness.datasets.stored import open_folder

    system = registry.get("bm25")
    question = open_folder(folder / STORED).test.queries[0].text
    start = time.perf_counter()
    retriever = system.load(folder / _MODEL)
    loaded = time.perf_counter()
    retriever.search([question], 100)
    return Done(loaded - start, folder_bytes(folder / _MODEL), (time.perf_counter() - loaded) * 1e3)


if __name__ == "__main__":
    serve({"load": _load, "cut": _cut, "open": _open, "bm25": _bm25, "search": _search})
