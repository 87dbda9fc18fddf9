from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import child, datasets, experiment, runner
from harness.datasets.settings import DatasetSettings
from harness.datasets.stored import checksum, open_folder
from harness.errors import ConfigError, RunFolderError, StorageError
from harness.experiment import Experiment
from harness.lock import NAME as LOCK
from harness.lock import locked
from harness.records import Cell
from harness.runner import Summary
from harness.store import CellFolder, RunFolder
from harness.types import Corpus, Dataset, Passage, Query, Split

HERE = Path(__file__).parent
SCRIPTED = "broken_systems:SYSTEM"
TEST_QUERIES = 12
LOAD = datasets.load


@pytest.fixture(scope="module", autouse=True)
def tiny() -> Any:
    """A dataset of 20 passages that every name loads, and the scripted systems on the import path."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(HERE))
        patch.setattr(datasets, "load", load)
        yield


def load(name: str, settings: DatasetSettings) -> Dataset:
    corpus = Corpus.from_passages(
        Passage(f"d{i:02}", f"title {i}", f"text about word{i}", f"d{i:02}")
        for i in range(settings.max_passage_words or 20)
    )
    found = Dataset(name, corpus, split("train", 0, 5), split("dev", 0, 2), split("test", 5, 5 + TEST_QUERIES))
    return replace(found, card={"name": name, "checksum": checksum(found)})


def split(name: str, first: int, end: int) -> Split:
    rows = range(first, end)
    queries = tuple(Query(f"{name}{i}", f"word{i}") for i in rows)
    return Split(name, queries, {f"{name}{i}": {f"d{i:02}": 1} for i in rows})


def of(systems: Mapping[str, Mapping[str, Any] | str], **keys: Any) -> Experiment:
    """An experiment; a text in place of a system's table is what the scripted system does."""
    tables = {k: {"system": SCRIPTED, "how": v} if isinstance(v, str) else v for k, v in systems.items()}
    table = {"name": "trial", "latency": {"queries": 5}, "datasets": {"tiny": {}}, "systems": tables, **keys}
    return Experiment.from_table(table, "trial.toml")


class Seen:
    """An observer that remembers."""

    def __init__(self, interrupt_at: str = "") -> None:
        self.cells: list[Cell] = []
        self.began: list[str] = []
        self.events: dict[str, list[dict[str, Any]]] = {}
        self.ended: list[tuple[str, str, bool]] = []
        self.scores: dict[str, dict[str, float] | None] = {}
        self._interrupt_at = interrupt_at

    def planned(self, cells: Sequence[Cell]) -> None:
        self.cells = list(cells)

    def started(self, cell: Cell) -> None:
        self.began.append(cell.system)

    def event(self, cell: Cell, event: Mapping[str, Any]) -> None:
        self.events.setdefault(cell.system, []).append(dict(event))
        if cell.system == self._interrupt_at and event.get("phase") == "scripted":
            raise KeyboardInterrupt

    def finished(self, cell: Cell, status: Mapping[str, Any], scores: Mapping[str, float] | None, reused: bool) -> None:
        self.ended.append((cell.system, status["state"], reused))
        self.scores[cell.system] = None if scores is None else dict(scores)


def go(
    systems: Mapping[str, Mapping[str, Any] | str], out: Path, fresh: bool = False, **keys: Any
) -> tuple[Summary, Seen]:
    seen = Seen()
    return runner.run(of(systems, **keys), out, seen, fresh=fresh, command=["harness", "run"]), seen


def cell(out: Path, system: str) -> CellFolder:
    return CellFolder(out / "tiny" / system / "0")


def status(out: Path, system: str) -> Any:
    return cell(out, system).status()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


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


SYSTEMS: Mapping[str, Any] = {"well": "well", "raise": "raise", "oracle": {}}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("first") / "trial"
    go(SYSTEMS, out)
    return out


@pytest.fixture
def out(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "trial"))


class TestAgain:
    """What a second run keeps, adds and makes again; the first holds two systems that work and one that fails."""

    def test_finished_cells_are_reused_without_a_process(self, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(runner, "run_child", None)
        before, results = files(out / "tiny"), RunFolder(out).results()
        summary, seen = go({"well": "well", "oracle": {}}, out)
        assert (summary.done, summary.failed, summary.reused) == (0, 0, 2)
        assert seen.ended == [("well", "done", True), ("oracle", "done", True)]
        assert seen.began == []
        assert seen.scores["oracle"] is not None
        assert seen.scores["oracle"]["RR@5"] == 1.0
        assert files(out / "tiny") == before
        assert RunFolder(out).results() == results

    def test_failed_cells_are_tried_again(self, out: Path) -> None:
        summary, seen = go(SYSTEMS, out)
        assert seen.ended == [("well", "done", True), ("raise", "failed", False), ("oracle", "done", True)]
        assert (summary.done, summary.failed, summary.reused) == (0, 1, 2)

    def test_fresh_makes_all_again(self, out: Path) -> None:
        cell(out, "oracle").write_status({**status(out, "oracle"), "started": "long ago"})
        summary, seen = go({"oracle": {}}, out, fresh=True)
        assert (summary.done, summary.reused, seen.began) == (1, 0, ["oracle"])
        assert status(out, "oracle")["started"] != "long ago"

    def test_adding_a_system_keeps_the_others(self, out: Path) -> None:
        before = files(out / "tiny" / "well")
        summary, _ = go({"random": {}, "oracle": {}}, out)
        assert (summary.done, summary.reused) == (1, 1)
        assert files(out / "tiny" / "well") == before
        assert {r["system"] for r in RunFolder(out).results()} == {"random", "oracle"}
        assert [c.system for c in RunFolder(out).cells()] == ["random", "oracle"]
        assert go({"well": "well", "random": {}}, out)[0].reused == 2

    def test_changed_settings_make_that_cell_again(self, out: Path) -> None:
        changed = {"well": {"system": SCRIPTED, "when": "search"}, "oracle": {}}
        _, seen = go(changed, out)
        assert seen.ended == [("well", "done", False), ("oracle", "done", True)]

    def test_limit_evaluates_the_first_queries(self, out: Path) -> None:
        go({"oracle": {}}, out, limit=3)
        rows = RunFolder(out).results()
        assert {r["n"] for r in rows} == {3}
        assert {r["value"] for r in rows} == {1.0}
        assert list(cell(out, "oracle").run()) == ["test5", "test6", "test7"]
        assert RunFolder(out).experiment()["config"]["limit"] == 3

    def test_another_corpus_is_stored_and_searched(self, out: Path) -> None:
        go({"well": "well"}, out, datasets={"tiny": {"max_passage_words": 17}})
        assert len(open_folder(out / "tiny" / "data").corpus) == 17
        # The list begins with d16 now: ranks 1 … 12.
        assert RunFolder(out).results()[0]["value"] == pytest.approx(1 / 12)

    def test_damaged_cells_are_made_again(self, out: Path) -> None:
        (cell(out, "well").path / "per_query.parquet").write_bytes(b"PAR1")
        (cell(out, "oracle").path / "status.json").write_text("{", encoding="utf-8")
        _, seen = go({"well": "well", "oracle": {}}, out)
        assert seen.began == ["well", "oracle"]
        assert status(out, "oracle")["state"] == "done"

    def test_what_a_killed_run_left_is_tidied_up(self, out: Path) -> None:
        made, waiting = cell(out, "well").path, cell(out, "oracle").path
        shutil.copytree(made, made.with_name("0.part"))
        waiting.rename(waiting.with_name("0.old"))
        assert go({"well": "well", "oracle": {}}, out)[0].reused == 2
        assert [p.name for p in [*made.parent.iterdir(), *waiting.parent.iterdir()]] == ["0", "0"]

    def test_other_sources_are_noted(self, out: Path) -> None:
        found = status(out, "oracle")
        cell(out, "oracle").write_status({**found, "code": "other"})
        go({"oracle": {}}, out)
        assert any("oracle on tiny (seed 0)" in note for note in RunFolder(out).experiment()["notes"])

    def test_a_typo_leaves_everything_as_it_was(self, out: Path) -> None:
        before = files(out)
        for systems in ({"oracle": {"settng": 1}}, {"orcale": {}}):
            with pytest.raises(ConfigError):
                go(systems, out)
        with pytest.raises(ConfigError):
            go({"oracle": {}}, out, measures=["RR@5", "RQ@5"])
        assert files(out) == before

    def test_another_experiment_or_format_is_refused(self, out: Path) -> None:
        with pytest.raises(RunFolderError, match="'trial'"):
            go({"oracle": {}}, out, name="other")
        record = json.loads((out / "experiment.json").read_text(encoding="utf-8"))
        (out / "experiment.json").write_text(json.dumps({**record, "format": 99}), encoding="utf-8")
        before = files(out)
        with pytest.raises(RunFolderError, match="99"):
            go({"oracle": {}}, out)
        assert files(out) == before

    def test_interrupting_keeps_what_was_there(self, out: Path) -> None:
        before = files(out / "tiny")
        with pytest.raises(KeyboardInterrupt):
            runner.run(of({"oracle": {}, "well": "well"}), out, Seen(interrupt_at="well"), fresh=True)
        after = files(out / "tiny")
        assert {k: v for k, v in after.items() if "oracle" not in k} == {
            k: v for k, v in before.items() if "oracle" not in k
        }
        assert {r["system"] for r in RunFolder(out).results()} == {"oracle", "well"}
        assert not [p for p in psutil.Process().children(recursive=True) if p.status() != psutil.STATUS_ZOMBIE]
        assert go({"oracle": {}, "well": "well"}, out)[0].reused == 2


class TestFolder:
    def test_time_limit(self, tmp_path: Path) -> None:
        go({"sleep": "sleep"}, tmp_path, limits={"time_s": 2})
        found = status(tmp_path, "sleep")
        assert found["reason"] == "past its time limit of 2 s"
        assert 2 <= found["wall_s"] < 10

    def test_a_full_disk_ends_the_run(self, tmp_path: Path) -> None:
        with pytest.raises(StorageError, match="No space left"):
            go({"full": "no-room", "oracle": {}}, tmp_path)
        assert not (tmp_path / "tiny" / "full" / "0").exists()
        assert RunFolder(tmp_path).results() == []

    def test_a_folder_with_other_things_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.tex").write_text("years of work", encoding="utf-8")
        with pytest.raises(RunFolderError, match="other things"):
            go({"oracle": {}}, tmp_path)
        with pytest.raises(RunFolderError, match="a file"):
            go({"oracle": {}}, tmp_path / "thesis.tex")
        assert list(files(tmp_path)) == ["thesis.tex"]

    def test_dev_queries_are_withheld_when_they_are_evaluated(self, tmp_path: Path) -> None:
        assert go({"dev": "dev"}, tmp_path, split="dev")[0].done == 1

    def test_a_locked_folder_is_refused(self, tmp_path: Path) -> None:
        with locked(tmp_path), pytest.raises(RunFolderError, match=f"process {os.getpid()}"):
            go({"oracle": {}}, tmp_path)
        assert not list(tmp_path.iterdir())

    def test_the_lock_of_a_dead_process_is_taken_over(self, tmp_path: Path) -> None:
        script = "import os, pathlib, sys, harness.lock as l\nwith l.locked(pathlib.Path(sys.argv[1])): os._exit(0)"
        subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
        assert (tmp_path / LOCK).exists()
        with locked(tmp_path):
            assert (tmp_path / LOCK).read_text(encoding="utf-8") == f"{os.getpid()}\n"
        assert not (tmp_path / LOCK).exists()

    def test_a_cell_ends_with_its_parent(self, tmp_path: Path) -> None:
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


def test_smoke_runs_on_the_packaged_articles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets, "load", LOAD)
    seen = Seen()
    summary = runner.run(experiment.load("smoke"), tmp_path / "smoke", seen)
    assert (summary.done, summary.failed) == (3, 0)
    floor, found, ceiling = (seen.scores[system] for system in ("random", "bm25", "oracle"))
    assert floor and found and ceiling
    assert floor["RR@5"] < 0.1
    assert 0.5 < found["RR@5"] < ceiling["RR@5"] == 1.0
