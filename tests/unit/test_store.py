from __future__ import annotations

import errno
import json
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness import atomic, finished
from harness.errors import DataError, RunFolderError, StorageError
from harness.store import BeamRow, Cell, CellFolder, Comparison, ExperimentRecord, Result, RunFolder, Status, slug
from harness.types import Corpus, Dataset, Hit, Passage, Query, Split
from tests.unit.reports.sample_run import write_sample


def experiment(**changes: Any) -> ExperimentRecord:
    record: dict[str, Any] = {
        "format": 1,
        "name": "tiny",
        "title": "Tiny",
        "description": "",
        "fingerprint": "ab",
        "created": "2025-01-01T00:00:00+00:00",
        "harness_version": "0.1.0",
        "command": ["harness", "run", "tiny"],
        "config": {"k": 10},
        "split": "test",
        "depth": 100,
        "measures": ["RR@5"],
        "primary": "RR@5",
        "datasets": {"vital-articles/500": {"name": "vital-articles/500"}},
        "environment": {},
        "seeds": [0],
        "cells": [
            {
                "dataset": "vital-articles/500",
                "system": "bm25",
                "registered": "bm25",
                "family": "sparse",
                "seed": 0,
                "folder": "vital-articles-500/bm25/0",
                "fingerprint": "cd",
            }
        ],
        "notes": [],
    }
    return record | changes  # type: ignore[return-value]


RESULT: Result = {
    "dataset": "d",
    "split": "test",
    "system": "bm25",
    "family": "sparse",
    "seed": 0,
    "slice": "all",
    "measure": "RR@5",
    "value": 0.5,
    "ci_low": 0.25,
    "ci_high": 0.75,
    "n": 4,
}
STATUS: Status = {
    "format": 1,
    "state": "failed",
    "reason": "out of memory",
    "phase": "train",
    "fingerprint": "cd",
    "code": "ef",
    "started": "2025-01-01T00:00:00+00:00",
    "ended": "2025-01-01T00:01:00+00:00",
    "wall_s": 60.0,
    "exit_code": 1,
}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder(tmp_path / "run")


@pytest.fixture
def cell(folder: RunFolder) -> Cell:
    folder.write_experiment(experiment())
    return folder.cells()[0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("vital-articles/1k", "vital-articles-1k"), ("beir:../x y", "beir-..-x-y"), ("a_b.c-D", "a_b.c-D"), ("..", "-")],
)
def test_slug(name: str, expected: str) -> None:
    assert slug(name) == expected


def test_cells_carry_their_folder(folder: RunFolder, cell: Cell) -> None:
    assert cell == Cell(
        "vital-articles/500", "bm25", "bm25", "sparse", 0, folder.path / "vital-articles-500" / "bm25" / "0", "cd"
    )
    assert folder.data_folder(cell.dataset) == folder.path / "vital-articles-500" / "data"
    assert folder.report_folder == folder.path / "report"
    assert (folder.cell(cell).model, folder.cell(cell).log) == (cell.folder / "model", cell.folder / "cell.log")


def test_everything_written_comes_back(folder: RunFolder, cell: Cell) -> None:
    comparison: Comparison = {
        "dataset": "d",
        "split": "test",
        "seed": 0,
        "measure": "RR@5",
        "system": "a",
        "baseline": "b",
        "difference": -0.5,
        "p": 0.25,
        "p_holm": 0.5,
        "n": 4,
    }
    folder.write_results([RESULT])
    folder.write_significance([comparison])
    own = CellFolder(cell.folder)
    own.write_spec({"k": 10})
    own.write_status(STATUS)
    own.write_meter({"index_s": 1.5, "latency_ms": {"p50": 1, "p95": 2, "p99": 3, "mean": 1, "n": 9, "k": 10}})
    # As harness.reporter appends them.
    (own.path / "training.jsonl").write_text('{"tokens": 4096, "loss": 2.5}\n{"tokens": 8192, "loss": 2.0}\n')
    beams: list[BeamRow] = [
        {
            "beam_size": size,
            "n": 4,
            "measures": {"Success@1": 0.25, "RR@5": 1 / 3},
            "latency_ms": {"p50": 1.5, "p95": 2, "p99": 3, "mean": 1, "n": 4, "k": 10},
            "rss_peak_bytes": 10**9,
        }
        for size in (1, 100)
    ]
    beams[1]["counters"] = {"model_calls_per_query": 6.5, "mask_share": 0.125}
    own.write_beams(beams)
    own.write_per_query({"RR@5": {"q1": 1 / 3, "q 2": 0.0}, "R@10": {"q1": 1.0, "q 2": 0.0}})
    own.write_run({"q1": [Hit("d", 0.1)]}, "bm25")
    own.log.write_text("one\ntwo\nthree\n", encoding="utf-8")

    assert folder.experiment() == experiment()
    assert folder.results() == [RESULT]
    assert folder.significance() == [comparison]
    assert own.spec() == {"k": 10}
    assert folder.status(cell) == STATUS
    assert folder.meter(cell)["latency_ms"]["p99"] == 3
    assert folder.training(cell) == [{"tokens": 4096, "loss": 2.5}, {"tokens": 8192, "loss": 2.0}]
    assert folder.per_query(cell) == {"RR@5": {"q1": 1 / 3, "q 2": 0.0}, "R@10": {"q1": 1.0, "q 2": 0.0}}
    assert own.beams() == beams
    assert list(folder.per_query(cell)) == ["RR@5", "R@10"]
    assert folder.run(cell) == {"q1": [Hit("d", 0.1)]}
    assert folder.log_tail(cell, 2) == "two\nthree\n"
    assert not [p for p in folder.path.rglob("*") if p.name.endswith(".tmp")]


def test_what_a_cell_may_lack_is_empty(folder: RunFolder, cell: Cell) -> None:
    assert folder.status(cell) is None
    assert folder.meter(cell) == {}
    assert folder.training(cell) == []
    assert folder.cell(cell).beams() == []
    assert folder.log_tail(cell) == ""


def test_what_a_finished_run_must_have_is_asked_for(folder: RunFolder, cell: Cell) -> None:
    for read in (folder.results, folder.significance, lambda: folder.per_query(cell), lambda: folder.run(cell)):
        with pytest.raises(RunFolderError, match="no such file"):
            read()


def test_no_queries_is_an_empty_table(tmp_path: Path) -> None:
    CellFolder(tmp_path).write_per_query({})
    assert CellFolder(tmp_path).per_query() == {}


def test_figures_that_are_no_number_are_absent_from_json(tmp_path: Path) -> None:
    cell = CellFolder(tmp_path)
    cell.write_meter({"index_s": math.nan, "queries_per_s": math.inf, "index_bytes": np.int64(7)})  # type: ignore[typeddict-item]
    assert json.loads((tmp_path / "meter.json").read_text(encoding="utf-8")) == {"index_bytes": 7}
    with pytest.raises(ValueError, match="not JSON compliant"):
        cell.write_spec({"list": [math.nan]})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["meter.json"]


def test_a_training_log_cut_off_in_the_middle_keeps_its_whole_lines(tmp_path: Path) -> None:
    (tmp_path / "training.jsonl").write_bytes('{"loss": 1}\n{"note": "é'.encode()[:-1])
    assert CellFolder(tmp_path).training() == [{"loss": 1}]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "experiment.json"),
        ("[]", "a JSON object"),
        ('{"format": 1, "x": NaN}', "NaN, which is no JSON number"),
        ('{"format": 2}', "format 1, which this program reads[^$]*got format 2"),
        ("{}", "got format None"),
        ('{"format": 1}', "cells, command, config"),
    ],
)
def test_a_bad_experiment_is_named(folder: RunFolder, text: str, says: str) -> None:
    folder.path.mkdir()
    (folder.path / "experiment.json").write_text(text, encoding="utf-8")
    with pytest.raises(RunFolderError, match=says) as caught:
        folder.experiment()
    assert "experiment.json" in str(caught.value)


def test_a_folder_that_is_none_is_named(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="no such folder"):
        folder.experiment()
    folder.path.mkdir()
    with pytest.raises(RunFolderError, match=r"no experiment.json in it[^$]*harness run"):
        folder.cells()


def test_a_bad_cell_is_named(folder: RunFolder, cell: Cell) -> None:
    cell.folder.mkdir(parents=True)
    for name, read in (
        ("status.json", folder.status),
        ("meter.json", folder.meter),
        ("training.jsonl", folder.training),
        ("beams.json", lambda cell: folder.cell(cell).beams()),
        ("answers.json", lambda cell: folder.cell(cell).answers()),
        ("answers.jsonl", lambda cell: folder.cell(cell).answer_rows()),
    ):
        (cell.folder / name).write_text('{"format": 1,\n', encoding="utf-8")
        with pytest.raises(RunFolderError, match=name):
            read(cell)
    (cell.folder / "per_query.parquet").write_bytes(b"no table")
    with pytest.raises(RunFolderError, match=r"per_query.parquet"):
        folder.per_query(cell)
    (cell.folder / "run.trec.gz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"run.trec.gz"):
        folder.run(cell)
    (folder.path / "results.json").write_text("{}", encoding="utf-8")
    with pytest.raises(RunFolderError, match="a JSON list"):
        folder.results()


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (errno.ENOSPC, r"to write the results to[^$]*MB free[^$]*free some room"),
        (errno.EROFS, r"Read-only file system[^$]*make .* writable"),
        (errno.EACCES, "Permission denied"),
        (errno.EIO, "a folder on a working disk"),
    ],
)
@pytest.mark.parametrize("step", ["fsync", "write"])
def test_a_refused_write_leaves_the_old_file(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, code: int, says: str, step: str
) -> None:
    folder.write_results([RESULT])

    def refuse(*_: object, **__: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse) if step == "fsync" else patch.setattr(Path, "write_text", refuse)
        with pytest.raises(StorageError, match=says):
            folder.write_results([])
    assert folder.results() == [RESULT]
    assert [p.name for p in folder.path.iterdir()] == ["results.json"]


def test_a_real_full_disk_is_told(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    with (
        pytest.raises(StorageError, match=r"to write the run to[^$]*No space left[^$]*free some room"),
        atomic.replacing(tmp_path / "run", "the run"),
        Path("/dev/full").open("w", encoding="utf-8") as full,
    ):
        full.write("x" * 100_000)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    with pytest.raises(KeyboardInterrupt), atomic.replacing(path, "it") as temporary:
        temporary.write_text("half", encoding="utf-8")
        raise KeyboardInterrupt
    assert (path.read_text(encoding="utf-8"), len(list(tmp_path.iterdir()))) == ("old", 1)


def test_files_may_be_read_by_others(folder: RunFolder) -> None:
    folder.write_results([])
    plain = folder.path / "plain"
    plain.touch()
    assert (folder.path / "results.json").stat().st_mode == plain.stat().st_mode


def test_a_cell_has_a_result_only_as_it_is_planned(tmp_path: Path) -> None:
    run = RunFolder(write_sample(tmp_path / "run", queries=8, slices=False))
    problems = {cell.system: run.problem(cell) for cell in run.cells()}
    assert problems.pop("dsi-title").startswith("failed during train: ")
    assert set(problems.values()) == {""}
    changed = replace(next(iter(run.cells())), fingerprint="new")
    assert run.problem(changed) == finished.problem(run, changed) == "has only the result of other settings"
    assert run.problem(replace(changed, seed=9)) == "never finished"


DEEP = "[" * 200_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("status.json", '{"format": 1, "state": "done"}'),
        ("status.json", DEEP),
        ("spec.json", '{"format": 1}'),
        ("meter.json", DEEP),
    ],
)
def test_a_cell_without_its_keys_is_named(folder: RunFolder, cell: Cell, name: str, text: str) -> None:
    folder.write_experiment(experiment())
    own = folder.cell(cell)
    own.path.mkdir(parents=True, exist_ok=True)
    (own.path / name).write_text(text, encoding="utf-8")
    reads: dict[str, Callable[[], object]] = {
        "status.json": lambda: finished.problem(folder, cell),
        "spec.json": lambda: finished.spec(folder, cell),
        "meter.json": own.meter,
    }
    with pytest.raises(RunFolderError, match=name):
        reads[name]()


@pytest.mark.parametrize("cells", [[{"dataset": "d"}], ["bm25"], [None], {"a": 1}, 7])
def test_planned_cells_without_their_keys_are_refused(folder: RunFolder, cells: object) -> None:
    folder.write_experiment(experiment(cells=cells))
    for read in (folder.cells, lambda: finished.datasets(folder)):
        with pytest.raises(RunFolderError, match="complete files of a run"):
            read()


def test_what_warms_a_system_up_is_not_what_is_timed() -> None:
    queries = [Query(f"q{n}", text) for n, text in enumerate(("a", "b", "b", "c", "d"))]
    test, dev, train = (
        Split(name, tuple(some), {})
        for name, some in zip(("test", "dev", "train"), (queries[:3], queries[2:4], queries[4:]), strict=True)
    )
    dataset = Dataset("set", Corpus.from_passages([Passage("d", "", "text", "d")]), train, dev, test)
    assert finished.others(dataset, test.queries[:1], 2) == ("b", "c")
    assert finished.others(dataset, test.queries, 3) == ("c", "d", "a")
    assert finished.others(dataset, queries, 2) == ("a", "b")
