from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import child, cli, datasets, display, experiment, runner
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import open_folder
from harness.errors import RunFolderError, StorageError
from harness.experiment import Experiment
from harness.lock import NAME as LOCK
from harness.progress import SILENT
from harness.records import Cell
from harness.runner import Summary
from harness.store import CellFolder, RunFolder
from harness.types import Corpus, Dataset
from tests.e2e.trial import HERE, LOAD, SCRIPTED, TEST_QUERIES, Seen, cell, files, go, load, of, status, tiny
from tests.encoder_models import Told

__all__ = ["tiny"]

FAILING = {
    "raise": "ValueError: this was bound to happen",
    "refuse": "expected longer passages\n     got short ones\n      do choose another dataset",
    "memory-error": "out of memory: the allocator refused (MemoryError)",
    "kill": "killed by SIGKILL (often the kernel's out-of-memory killer)",
    "exit": "the process ended early, with exit code 0",
}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Summary, Seen]:
    out = tmp_path_factory.mktemp("runs") / "trial"
    broken: dict[str, Any] = {how: how for how in FAILING}
    broken["unknown-docid"] = {"system": SCRIPTED, "how": "unknown-docid"}
    broken["eat"] = {"system": SCRIPTED, "how": "eat-in-worker", "when": "search"}
    systems = {**broken, "print": "print", "train": "train", "oracle": {}, "random": {}}
    summary, seen = go(systems, out, limits={"memory_gb": 0.35, "time_s": 60})
    return out, summary, seen


class TestOneRun:
    """One run with systems that work among systems that fail."""

    def test_the_others_finish(self, ran: tuple[Path, Summary, Seen]) -> None:
        out, summary, seen = ran
        assert summary == Summary(out, done=4, failed=7, reused=0)
        assert [system for system, state, _ in seen.ended if state == "done"] == ["print", "train", "oracle", "random"]
        assert seen.began == [c.system for c in seen.cells] == [system for system, _, _ in seen.ended]

    @pytest.mark.parametrize("system", FAILING)
    def test_reasons_name_what_happened(self, ran: tuple[Path, Summary, Seen], system: str) -> None:
        found = status(ran[0], system)
        assert (found["state"], found["reason"], found["phase"]) == ("failed", FAILING[system], "scripted")
        assert found["exit_code"] == {"kill": -9, "exit": 0}.get(system, 1)

    def test_memory_of_workers_counts(self, ran: tuple[Path, Summary, Seen]) -> None:
        found = status(ran[0], "eat")
        assert found["reason"].startswith("out of memory: used 0.")
        assert found["reason"].endswith(" GiB of the 0.35 GiB allowed")
        assert found["phase"] == "latency"

    def test_unknown_docids_are_refused(self, ran: tuple[Path, Summary, Seen]) -> None:
        found = status(ran[0], "unknown-docid")
        assert "'nowhere'" in found["reason"]
        assert found["phase"] == "search"

    def test_the_log_keeps_the_traceback(self, ran: tuple[Path, Summary, Seen]) -> None:
        assert "in _raise" in cell(ran[0], "raise").log_tail()

    def test_what_is_printed_goes_to_the_log_alone(self, ran: tuple[Path, Summary, Seen]) -> None:
        out, _, seen = ran
        log = cell(out, "print").log.read_bytes()
        for text in (b"forged", b"not an event", b"\xff\xfe raw bytes", b"from C", b"from a worker"):
            assert text in log
        assert {"phase": "forged"} not in seen.events["print"]

    def test_events_tell_phases_progress_and_training(self, ran: tuple[Path, Summary, Seen]) -> None:
        events = ran[2].events["train"]
        phases = [e["phase"] for e in events if "phase" in e]
        assert phases == ["prepare", "index", "scripted", "save", "load data", "load", "latency", "search"]
        scripted = events.index({"phase": "scripted", "total": 10, "unit": "steps"})
        assert events[scripted + 1] == {"advance": 10}
        assert [e["record"]["loss"] for e in events if "record" in e] == [2.0, 1.0]
        assert events[-2:] == [{"phase": "search", "total": 12, "unit": "queries"}, {"advance": 12}]

    def test_training_is_logged_and_summed_up(self, ran: tuple[Path, Summary, Seen]) -> None:
        folder = cell(ran[0], "train")
        assert folder.training() == [{"tokens": 100, "loss": 2.0}, {"tokens": 250, "loss": 1.0}]
        assert folder.meter()["train_tokens"] == 250
        assert "tokens_per_s" not in folder.meter()
        assert "train_tokens" not in cell(ran[0], "random").meter()

    def test_the_meter_has_every_figure_that_was_measured(self, ran: tuple[Path, Summary, Seen]) -> None:
        meter = cell(ran[0], "train").meter()
        assert min(meter[key] for key in ("index_s", "save_s", "load_s", "search_s", "queries_per_s")) > 0
        assert (meter["latency_ms"]["n"], meter["latency_ms"]["k"], meter["batch_size"]) == (5, 100, 32)
        assert len(meter["latency_samples_ms"]) == 5
        assert (meter["index_bytes"], meter["parameter_bytes"]) == (100, 7)
        assert meter["model_bytes"] == sum(len(b) for b in files(cell(ran[0], "train").model).values())
        assert meter["rss_peak_bytes"].keys() == {"index", "search"}
        assert min(meter["rss_peak_bytes"].values()) >= meter["rss_base_bytes"] * 0.9 > 2**20
        assert meter["threads"] == child.usable_cores()
        assert "gpu_peak_bytes" not in meter

    def test_counters_are_totals_or_per_query(self, ran: tuple[Path, Summary, Seen]) -> None:
        # one batch of 12 queries, of which the system counts 10 calls and 1 invalid docid
        assert cell(ran[0], "train").meter()["counters"] == {
            "invalid_docids": 1.0,
            "dead_beams": 0.0,
            "model_calls_per_query": pytest.approx(10 / 12),
            "mask_share": 0.25,
        }
        assert "counters" not in cell(ran[0], "oracle").meter()

    def test_results_are_those_of_the_hits(self, ran: tuple[Path, Summary, Seen]) -> None:
        out, _, seen = ran
        rows = {(r["system"], r["slice"], r["measure"]): r for r in RunFolder(out).results()}
        assert {system for system, _, _ in rows} == {"print", "train", "oracle", "random"}
        assert rows["oracle", "all", "Success@1"]["value"] == 1.0
        # Gold passages are d05 … d16; the scripted list begins d19, d18, d17, d16: ranks 4 … 15, each once.
        row = rows["train", "all", "RR@5"]
        assert row["value"] == pytest.approx((1 / 4 + 1 / 5) / 12)
        assert (row["n"], row["split"], row["family"], row["seed"], row["dataset"]) == (12, "test", "sparse", 0, "tiny")
        assert row["ci_low"] <= row["value"] <= row["ci_high"]
        assert rows["train", "all", "Success@10"]["value"] == pytest.approx(7 / 12)
        assert seen.scores["train"] is not None
        assert seen.scores["train"]["RR@5"] == row["value"]
        assert seen.scores["raise"] is None

    def test_slices_have_intervals_for_the_primary_measure(self, ran: tuple[Path, Summary, Seen]) -> None:
        rows = [r for r in RunFolder(ran[0]).results() if r["slice"] == "verbatim" and r["system"] == "train"]
        assert {r["measure"] for r in rows if "ci_low" in r} == {"RR@5"}
        assert len(rows) == 8

    def test_significance_compares_finished_systems(self, ran: tuple[Path, Summary, Seen]) -> None:
        rows = RunFolder(ran[0]).significance()
        assert {(r["system"], r["baseline"]) for r in rows} == {("train", "print")}
        assert {(r["difference"], r["p"], r["n"]) for r in rows} == {(0.0, 1.0, 12)}

    def test_the_record_says_what_was_run(self, ran: tuple[Path, Summary, Seen]) -> None:
        record = RunFolder(ran[0]).experiment()
        assert (record["name"], record["command"], record["primary"]) == ("trial", ["harness", "run"], "RR@5")
        assert record["config"]["systems"]["train"] == {
            "system": SCRIPTED,
            "how": "train",
            "when": "index",
            "words": [],
            "last": True,
        }
        assert record["datasets"]["tiny"]["checksum"] == load("tiny", DatasetSettings()).card["checksum"]
        assert record["cells"][0]["folder"] == "tiny/raise/0"
        assert RunFolder(ran[0]).cells() == ran[2].cells

    def test_the_dataset_is_stored(self, ran: tuple[Path, Summary, Seen]) -> None:
        found = open_folder(ran[0] / "tiny" / "data")
        assert (len(found.corpus), len(found.test)) == (20, TEST_QUERIES)

    def test_nothing_is_left_over(self, ran: tuple[Path, Summary, Seen]) -> None:
        left = [p.name for p in ran[0].rglob("*") if p.suffix in {".part", ".old", ".tmp"} or p.name == LOCK]
        assert left == []
        assert not [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]


def test_time_limit(tmp_path: Path) -> None:
    go({"sleep": "sleep"}, tmp_path, limits={"time_s": 2})
    found = status(tmp_path, "sleep")
    assert found["reason"] == "past its time limit of 2 s"
    assert 2 <= found["wall_s"] < 10


def test_dev_queries_are_withheld_when_they_are_evaluated(tmp_path: Path) -> None:
    assert go({"dev": "dev"}, tmp_path, split="dev")[0].done == 1


def test_a_cell_ends_with_its_parent(tmp_path: Path) -> None:
    go({"sleep": "sleep"}, tmp_path, limits={"time_s": 0.01})
    command = [sys.executable, "-m", "harness.cell", "index", str(cell(tmp_path, "sleep").path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "env": {**os.environ, "PYTHONPATH": str(HERE)}}
    with subprocess.Popen(command, start_new_session=True, **pipes) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        while b"scripted" not in process.stdout.readline():
            assert process.poll() is None
        process.stdin.close()
        assert process.wait(timeout=10) != 0


@pytest.mark.parametrize("how", ["wrong-order", "too-few-lists"])
def test_lists_a_retriever_may_not_return_fail_the_cell(how: str, tmp_path: Path) -> None:
    assert go({how: how}, tmp_path)[0].failed == 1


def test_threads_left_running_do_not_hold_the_cell(tmp_path: Path) -> None:
    assert go({"linger": "linger"}, tmp_path, limits={"time_s": 30})[0].done == 1


def test_reading_the_data_is_told_and_a_foreign_folder_is_refused_before(tiny: None, tmp_path: Path) -> None:
    chosen, told = of({"oracle": {}}), Told()
    plan = runner.prepared(chosen, tmp_path / "out", told)
    assert told.phases == [("read", None, "passages")]
    assert runner.run(chosen, tmp_path / "out", Seen(), plan=plan).done == 1
    other = Experiment.from_table({"name": "other", "datasets": {"tiny": {}}, "systems": {"oracle": {}}}, "other.toml")
    silent = Told()
    with pytest.raises(RunFolderError, match="trial"):
        runner.prepared(other, tmp_path / "out", silent)
    assert silent.phases == []


def test_a_measure_that_breaks_costs_its_cell_whose_model_and_hits_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = runner.measure

    def breaking(folder: CellFolder, *rest: Any) -> None:
        if "well" in str(folder.path):
            raise ZeroDivisionError("float division by zero")
        measure(folder, *rest)

    monkeypatch.setattr(runner, "measure", breaking)
    assert go({"well": "well", "oracle": {}}, tmp_path)[0] == Summary(tmp_path, done=1, failed=1, reused=0)
    found = status(tmp_path, "well")
    assert (found["phase"], found["reason"]) == ("measure", "ZeroDivisionError: float division by zero")
    assert (cell(tmp_path, "well").model / "state.json").is_file()
    assert len(cell(tmp_path, "well").run()) == TEST_QUERIES


def test_a_full_disk_while_measuring_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise StorageError("to write per_query.parquet", "no space left on device", "free some space")

    monkeypatch.setattr(runner, "measure", full)
    with pytest.raises(StorageError):
        go({"well": "well", "oracle": {}}, tmp_path)


@pytest.fixture
def corpora(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref[Corpus]]:
    """The corpora that were read, without keeping them."""
    seen: list[weakref.ref[Corpus]] = []

    def remembering(*given: Any) -> Dataset:
        found = load(*given)
        seen.append(weakref.ref(found.corpus))
        return found

    monkeypatch.setattr(datasets, "load", remembering)
    return seen


class Looking(Seen):
    """An observer that looks, as each cell starts, which corpora are still in memory."""

    def __init__(self, corpora: list[weakref.ref[Corpus]]) -> None:
        super().__init__()
        self._corpora = corpora
        self.alive: list[bool] = []

    def __enter__(self) -> Looking:
        return self

    def __exit__(self, *_: object) -> None: ...

    def started(self, cell: Cell) -> None:
        gc.collect()
        self.alive.append(any(corpus() is not None for corpus in self._corpora))


def test_corpora_are_no_longer_in_memory_once_they_are_stored(
    tmp_path: Path, corpora: list[weakref.ref[Corpus]], monkeypatch: pytest.MonkeyPatch
) -> None:
    looking, chosen = Looking(corpora), of({"oracle": {}})
    runner.run(chosen, tmp_path / "run", looking)
    handed = [runner.prepared(chosen, tmp_path / "handed", SILENT)]
    runner.run(chosen, tmp_path / "handed", looking, plan=handed.pop())
    monkeypatch.setattr(display, "for_stream", lambda *_: looking)
    cli._measure(chosen, tmp_path / "typed", False, [])
    assert len(corpora) == 3
    assert looking.alive == [False, False, False]


def test_smoke_runs_on_the_packaged_articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load", LOAD)
    seen = Seen()
    summary = runner.run(experiment.load("smoke"), tmp_path / "smoke", seen)
    assert (summary.done, summary.failed) == (3, 0)
    floor, found, ceiling = (seen.scores[system] for system in ("random", "bm25", "oracle"))
    assert floor and found and ceiling
    assert floor["RR@5"] < 0.1
    assert 0.5 < found["RR@5"] < ceiling["RR@5"] == 1.0
