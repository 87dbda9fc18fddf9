"""Write a run folder of many systems and queries, as large as a page must bear: every first hit another passage."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.datasets import stored
from harness.types import Corpus, Dataset, Hit, Passage, Query, Split
from tests.unit.reports import sample_run as sample

NAME = "large/set"
SYSTEMS = {"bm25": "sparse", "dsi": "generative", "self-retrieval": "self-retrieval"} | {
    f"dense-{n}": "dense" for n in range(7)
}


def write_large(folder: Path, queries: int = 3000) -> Path:
    """Write ten systems that find `queries` x 11 different passages of 600 characters between them."""
    cells, results = [], []
    rng = np.random.default_rng(0)
    _store(folder / "large-set" / "data", queries)
    for number, (system, family) in enumerate(SYSTEMS.items()):
        at = f"large-set/{system}/0"
        key = {"dataset": NAME, "system": system, "family": family, "seed": 0}
        cells.append(key | {"registered": system, "folder": at, "fingerprint": "ab12"})
        ranks = rng.geometric(0.03 + 0.01 * number, queries)
        values = sample.measures_of(ranks)
        sample._json(folder / at / "status.json", sample._status("done"))
        sample._cell(folder / at, system, 0, {"RR@5": values["RR@5"]}, timed=100, ranks=ranks[:1])
        first = np.where(ranks == 1, np.arange(queries), np.arange(queries) + (number + 1) * queries)
        run = {f"query-{i:06d}": [Hit(f"passage-{docid:06d}", 1.0)] for i, docid in enumerate(first)}
        sample.write_trec(folder / at / "run.trec.gz", run, system)
        _per_query(folder / at, values["RR@5"])
        results += sample._result_rows(key | {"split": "test"}, {"all": np.arange(queries)}, values)
    sample._json(folder / "results.json", results)
    sample._json(folder / "significance.json", [])
    sample._json(folder / "experiment.json", sample._experiment("large", (NAME,), (0,), cells, queries))
    return folder


def _store(folder: Path, queries: int) -> None:
    filler = "of which much may be said in words that take room and are not alike in every place, "
    passages = (
        Passage(f"passage-{i:06d}", f"A title of usual length {i}", f"Passage {i}, {filler * 7}", "")
        for i in range(11 * queries)
    )
    asked = tuple(Query(f"query-{i:06d}", f"Which passage is it that says much of number {i}?") for i in range(queries))
    test = Split("test", asked, {f"query-{i:06d}": {f"passage-{i:06d}": 1} for i in range(queries)})
    empty = Split("train"), Split("dev")
    stored.save(Dataset(NAME, Corpus.from_passages(passages), *empty, test, sample._card(NAME, queries)), folder)


def _per_query(folder: Path, values: np.ndarray) -> None:
    from harness.store import CellFolder

    CellFolder(folder).write_per_query({"RR@5": {f"query-{i:06d}": float(v) for i, v in enumerate(values)}})
