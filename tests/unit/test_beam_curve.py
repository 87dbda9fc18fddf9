"""The beam curve of a run: an invented system whose figures are worked out by hand, and the two real ones."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from pydantic import BaseModel

from harness import beam_curve, cell, plan, scoring
from harness.datasets import stored
from harness.errors import ConfigError, RunFolderError, UnknownNameError
from harness.lock import locked
from harness.progress import Silent
from harness.reporter import Reporter
from harness.retriever import Footprint, System
from harness.store import Cell, CellFolder, RunFolder, Status
from harness.types import Corpus, Hit
from tests.e2e.trial import TEST_QUERIES, of, tiny
from tests.lm_models import tiny_folder

__all__ = ["tiny"]

STATUS = Status(
    format=1,
    state="done",
    reason=None,
    phase=None,
    fingerprint="",
    code="",
    started="",
    ended="",
    wall_s=1.0,
    exit_code=0,
)


def status_of(one: Cell) -> Status:
    """How a cell ended that is done as it was planned."""
    return {**STATUS, "fingerprint": one.fingerprint}


class Settings(BaseModel):
    """No settings."""


@dataclass
class Fake:
    """Finds the passage of "word7" at rank 3, of "word8" nothing at all, and of any other at rank 1."""

    beam_size: int = 5
    asked: list[tuple[int, str]] = field(default_factory=list)
    calls: int = 0

    def index(self, corpus: Corpus, *_: Any) -> None: ...

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        (query,) = queries
        self.asked.append((self.beam_size, query))
        self.calls = 10 * self.beam_size
        number = int(query.removeprefix("word"))
        order = {7: [0, 1, 7], 8: []}.get(number, [number])
        return [[Hit(f"d{i:02}", -float(rank)) for rank, i in enumerate(order[: min(k, self.beam_size)])]]

    def counters(self) -> Mapping[str, float]:
        return {"model_calls": self.calls, "mask_share": 0.25}

    def with_beam_size(self, beam_size: int) -> Fake:
        return Fake(beam_size, self.asked)

    def save(self, folder: Path) -> None:
        (folder / "fake").touch()

    def footprint(self) -> Footprint:
        return Footprint(0, 0)


FAKE = Fake()
SYSTEMS = {
    "fake": System("fake", "generative", "", Settings, lambda *_: Fake(), lambda _: FAKE),
    "plain": System("plain", "sparse", "", Settings, lambda *_: object(), lambda _: FAKE),  # type: ignore
}


class Told(Silent):
    """Remembers the phases."""

    def __init__(self) -> None:
        self.phases: list[tuple[str, int | None]] = []
        self.advanced = 0

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.phases.append((name, total))

    def advance(self, amount: int = 1) -> None:
        self.advanced += amount


def planned(out: Path, systems: Mapping[str, Any], **keys: Any) -> plan.Plan:
    """Write what a run of these systems has before its first cell."""
    found = plan.prepare(of(systems, measures=["nDCG@10", "RR@5"], **keys), out)
    for dataset in found.datasets.values():
        stored.save(dataset, RunFolder(out).data_folder(dataset.name))
    cells: Any = [{**vars(c), "folder": ""} for c in found.cells]
    record: Any = {
        **dict.fromkeys(("name", "title", "description", "fingerprint", "created", "harness_version"), ""),
        **{"format": 1, "command": [], "config": {}, "split": "test", "depth": 100, "primary": "RR@5", "notes": []},
        **{"measures": ["nDCG@10", "RR@5"], "datasets": {}, "environment": {}, "seeds": [0], "cells": cells},
    }
    out.mkdir(exist_ok=True)
    RunFolder(out).write_experiment(record)
    for one in found.cells:
        one.folder.mkdir(parents=True)
        CellFolder(one.folder).write_spec(plan.spec(found, one, threads=1))
    return found


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of the invented systems that is over."""
    monkeypatch.setattr(plan, "resolve", SYSTEMS.__getitem__)
    FAKE.asked.clear()
    for one in planned(tmp_path / "run", {"fake": {}, "plain": {}}).cells:
        (one.folder / "model").mkdir()
        CellFolder(one.folder).write_status(status_of(one))
    return tmp_path / "run"


def rows(curves: Sequence[beam_curve.Curve]) -> dict[int, Any]:
    ((_, found),) = curves
    return {row["beam_size"]: row for row in found}


def test_quality_is_over_all_queries_and_one_without_hits_counts_as_0(run: Path) -> None:
    found = rows(beam_curve.measure(run, sizes=[3, 1]))
    assert list(found) == [1, 3]
    assert found[1]["measures"] == pytest.approx(
        {"nDCG@10": 10 / 12, "RR@5": 10 / 12, "Success@1": 10 / 12, "Success@5": 10 / 12}
    )
    assert found[3]["measures"] == pytest.approx(
        {"nDCG@10": 10.5 / 12, "RR@5": (10 + 1 / 3) / 12, "Success@1": 10 / 12, "Success@5": 11 / 12}
    )


def test_every_query_is_asked_alone_after_the_warm_up_and_timed(run: Path) -> None:
    ticks = itertools.accumulate(itertools.chain.from_iterable((0.0, i / 1000) for i in itertools.count(1)))
    told = Told()
    found = rows(beam_curve.measure(run, sizes=[2], limit=3, progress=told, clock=lambda: next(ticks)))
    assert FAKE.asked == [(2, f"word{i}") for i in (8, 9, 5, 6, 7)]
    assert found[2]["n"] == 3
    assert found[2]["latency_ms"] == pytest.approx({"p50": 2, "p95": 2.9, "p99": 2.98, "mean": 2, "n": 3, "k": 100})
    assert found[2]["counters"] == {"model_calls_per_query": 20, "mask_share": 0.25}
    assert found[2]["rss_peak_bytes"] > 1_000_000
    assert told.phases == [("fake: load", None), ("fake: beam 2", 3)]
    assert told.advanced == 3


def test_rows_are_kept_in_the_cell_and_replaced(run: Path) -> None:
    beam_curve.measure(run, sizes=[1, 2])
    found = rows(beam_curve.measure(run, sizes=[4, 4], systems=["fake"], dataset="tiny"))
    folder = CellFolder(run / "tiny" / "fake" / "0")
    assert [row["beam_size"] for row in folder.beams()] == [4]
    assert folder.beams() == list(found.values())
    assert CellFolder(run / "tiny" / "plain" / "0").beams() == []


def test_threads_are_the_run_s_and_then_what_they_were(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    before = torch.get_num_threads()
    seen: list[int] = []

    def look(fake: Fake, _: int) -> Fake:
        seen.append(torch.get_num_threads())
        return fake

    monkeypatch.setattr(Fake, "with_beam_size", look)
    path = CellFolder(run / "tiny" / "fake" / "0")
    path.write_spec({**path.spec(), "threads": before + 1})
    beam_curve.measure(run, sizes=[1])
    assert (seen, torch.get_num_threads()) == ([before + 1], before)


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"sizes": []}, ConfigError, "none"),
        ({"sizes": [5, 0]}, ConfigError, "5, 0"),
        ({"limit": 0}, ConfigError, "limit"),
        ({"systems": ["fakes"]}, UnknownNameError, "use 'fake'"),
        ({"dataset": "small"}, UnknownNameError, "known: tiny"),
        ({"systems": ["fake", "plain"]}, ConfigError, "got plain"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_searched(
    run: Path, options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        beam_curve.measure(run, **options)
    assert FAKE.asked == []


def test_a_run_without_such_a_system_is_refused(tmp_path: Path, run: Path) -> None:
    with pytest.raises(RunFolderError, match="no such folder"):
        beam_curve.measure(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    status = CellFolder(run / "tiny" / "fake" / "0")
    status.write_status({**STATUS, "state": "failed", "reason": "no memory"})
    with pytest.raises(RunFolderError, match="got fake failed: no memory"):
        beam_curve.measure(run)
    (plain,) = planned(tmp_path / "other", {"plain": {}}).cells
    CellFolder(plain.folder).write_status(STATUS)
    (plain.folder / "model").mkdir()
    with pytest.raises(RunFolderError, match="plain has only the result of other settings"):
        beam_curve.measure(tmp_path / "other")
    CellFolder(plain.folder).write_status(status_of(plain))
    with pytest.raises(RunFolderError, match="plain, none of which has a beam"):
        beam_curve.measure(tmp_path / "other")


def test_a_run_that_is_being_written_is_left_alone(run: Path) -> None:
    with locked(run), pytest.raises(RunFolderError, match="to be free"):
        beam_curve.measure(run)
    assert FAKE.asked == []


def test_the_first_seed_that_is_done_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "resolve", SYSTEMS.__getitem__)
    out = tmp_path / "run"
    first, second = planned(out, {"fake": {}}, seeds=[3, 4]).cells
    CellFolder(first.folder).write_status({**STATUS, "state": "failed"})
    CellFolder(second.folder).write_status(status_of(second))
    (second.folder / "model").mkdir()
    ((measured, _),) = beam_curve.measure(out, sizes=[1])
    assert measured.seed == 4


def test_real_systems_do_with_their_own_beam_what_the_run_measured(tmp_path: Path) -> None:
    """Cells as the runner makes them; two beams for each: the one of the run, and one as wide as the corpus."""
    lm = {"backbone": tiny_folder(tmp_path / "lm"), "dtype": "float32"}
    lm["training"] = {"tokens": 1200, "frozen_layers": 0, "dtype": "float32"}  # type: ignore[assignment]
    systems = {
        "dsi": {**lm, "docid": "naive", "beam_size": 4},
        "self-retrieval": {**lm, "title_beams": 4, "passage_beams": 2},
    }
    out = tmp_path / "run"
    found = planned(out, systems)
    for one in found.cells:
        folder = CellFolder(one.folder)
        for task in (cell.index, cell.search):
            task(folder, folder.spec(), Reporter(io.StringIO()))  # type: ignore[arg-type]
        scoring.measure(folder, found.datasets["tiny"].test, ["nDCG@10", "RR@5", "Success@5"])
        folder.write_status(status_of(one))
    curves = beam_curve.measure(out, sizes=[4, 50])
    assert [curve.cell.system for curve in curves] == ["dsi", "self-retrieval"]
    for curve in curves:
        narrow, wide = curve.rows
        of_the_run = {m: fmean(v.values()) for m, v in CellFolder(curve.cell.folder).per_query().items()}
        assert {m: narrow["measures"][m] for m in of_the_run} == pytest.approx(of_the_run)
        assert narrow["n"] == wide["n"] == TEST_QUERIES
        assert narrow["measures"]["nDCG@10"] != wide["measures"]["nDCG@10"]
        assert narrow["counters"]["model_calls_per_query"] > 1
        assert 0 < narrow["counters"]["mask_share"] < 1
