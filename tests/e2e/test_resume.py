from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from harness import cli, runner
from harness.datasets import stored
from harness.datasets.stored import open_folder
from harness.errors import ConfigError, RunFolderError, StorageError
from harness.lock import NAME as LOCK
from harness.lock import locked
from harness.records import Cell
from harness.store import RunFolder
from tests.e2e.trial import SCRIPTED, Seen, cell, files, go, of, status, tiny
from tests.lm_models import tiny_folder

__all__ = ["tiny"]

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

    def test_a_run_stopped_while_it_stores_its_data_can_be_reported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stopped(*_: object) -> None:
            raise KeyboardInterrupt

        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(stored, "save", stopped)
            go({"oracle": {}}, tmp_path)
        assert (RunFolder(tmp_path).results(), RunFolder(tmp_path).significance()) == ([], [])
        assert cli.main(["report", str(tmp_path)]) == 0


class Killing(Seen):
    """Kills the process of a training once it has taken a few steps."""

    def event(self, cell: Cell, event: Mapping[str, Any]) -> None:
        super().event(cell, event)
        if event.get("record", {}).get("step") == 12:
            for process in psutil.Process().children():
                process.send_signal(signal.SIGKILL)


class TestTraining:
    """A training that is stopped goes on where it was."""

    def test_what_a_failed_cell_kept_is_found_by_the_same_cell_and_gone_once_it_is_done(self, tmp_path: Path) -> None:
        kept = cell(tmp_path, "keep").path.with_name("0.training")
        assert go({"keep": "keep"}, tmp_path)[0].failed == 1
        assert len(list(kept.glob("*/half"))) == 1
        assert go({"keep": "keep"}, tmp_path, fresh=True)[0].failed == 1
        assert go({"keep": {"system": SCRIPTED, "how": "keep", "when": "search"}}, tmp_path)[0].failed == 1
        assert len(list(kept.glob("*/half"))) == 1
        assert go({"keep": {"system": SCRIPTED, "how": "keep", "when": "search"}}, tmp_path)[0].done == 1
        assert not kept.exists()

    def test_what_an_interrupted_cell_kept_stays(self, tmp_path: Path) -> None:
        assert go({"keep": "keep"}, tmp_path)[0].failed == 1
        with pytest.raises(KeyboardInterrupt):
            runner.run(of({"keep": "keep"}), tmp_path, Seen(interrupt_at="keep"))
        assert go({"keep": "keep"}, tmp_path)[0].done == 1

    def test_what_is_measured_otherwise_goes_on_with_the_same_training(self, tmp_path: Path) -> None:
        assert go({"keep": "keep"}, tmp_path)[0].failed == 1
        assert go({"keep": "keep"}, tmp_path, limit=3)[0].done == 1

    @pytest.mark.slow
    def test_a_killed_training_ends_as_if_it_had_not_been_killed(self, tmp_path: Path) -> None:
        """The model is tiny, the processes are real."""
        training = {"tokens": 8_000, "batch_tokens": 128, "frozen_layers": 0, "dtype": "float32", "checkpoint_s": 0.0}
        own = {"docid": "naive", "dtype": "float32", "beam_size": 3}
        systems = {"dsi": {"backbone": tiny_folder(tmp_path / "tiny"), "training": training, **own}}
        whole, out = tmp_path / "whole", tmp_path / "stopped"
        assert go(systems, whole)[0].done == 1
        runner.run(of(systems), out, Killing())
        assert status(out, "dsi")["reason"].startswith("killed by SIGKILL")

        summary, seen = go(systems, out)
        assert summary.done == 1
        (phase,) = [e for e in seen.events["dsi"] if "resume" in e.get("phase", "")]
        assert phase["phase"].startswith("train, resume at ") and 0 < phase["total"] < 8_000 - 12 * 100
        rows, expected = cell(out, "dsi").training(), cell(whole, "dsi").training()
        assert [(r["step"], r["loss"]) for r in rows] == [(r["step"], r["loss"]) for r in expected]
        model = "model.safetensors"
        assert (cell(out, "dsi").model / model).read_bytes() == (cell(whole, "dsi").model / model).read_bytes()


class TestFolder:
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

    def test_a_path_that_is_no_utf_8_is_refused_as_a_folder_and_recorded_as_an_argument(self, tmp_path: Path) -> None:
        with pytest.raises(RunFolderError, match=r"run folder in UTF-8\n.*out-\\udce9"):
            go({"oracle": {}}, tmp_path / "out-\udce9")
        assert not list(tmp_path.iterdir())
        runner.run(of({"oracle": {}}), tmp_path, Seen(), command=["harness", "run", "caf\udce9.toml"])
        assert RunFolder(tmp_path).experiment()["command"] == ["harness", "run", "caf\\udce9.toml"]

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
