"""A cell whose index two processes build: one tells and saves, both train, and the search is alone."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from harness import launch
from harness.errors import ConfigError
from tests.e2e.trial import cell, go, status, tiny  # noqa: F401 - `tiny` is a fixture
from tests.lm_models import tiny_folder

TWO = shlex.join([sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"])


@pytest.mark.slow
def test_two_processes_build_one_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(launch.VARIABLE, TWO)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "1")
    training = {"tokens": 800, "frozen_layers": 0, "dtype": "float32", "batch_tokens": 512, "checkpoint_s": 0.0}
    table = {"system": "dsi", "backbone": tiny_folder(tmp_path / "model"), "docid": "naive", "dtype": "float32"}
    summary, seen = go({"dsi": {**table, "training": training}}, tmp_path / "run")
    log = cell(tmp_path / "run", "dsi").log.read_text(errors="replace")
    assert summary.done == 1, log[-3000:]
    rows = cell(tmp_path / "run", "dsi").training()
    assert [row["step"] for row in rows] == list(range(len(rows)))
    assert cell(tmp_path / "run", "dsi").meter()["train_tokens"] == rows[-1]["tokens"]
    assert [event["phase"] for event in seen.events["dsi"] if "phase" in event].count("index") == 1
    assert len(cell(tmp_path / "run", "dsi").run()) == 12


def test_only_the_index_is_built_by_several(tmp_path: Path) -> None:
    given = {launch.VARIABLE: "accelerate launch --config_file 'my file.yaml'"}
    started = launch.command("index", tmp_path, given)
    assert started == [
        "accelerate",
        "launch",
        "--config_file",
        "my file.yaml",
        "-m",
        "harness.cell",
        "index",
        str(tmp_path),
    ]
    for task, environment in (("search", given), ("index", {})):
        assert launch.command(task, tmp_path, environment) == [
            sys.executable,
            "-P",
            "-m",
            "harness.cell",
            task,
            str(tmp_path),
        ]
    assert launch.environment(Path("my file.yaml"))[launch.VARIABLE] == given[launch.VARIABLE]


def test_what_several_gpus_need_is_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path))
    (tmp_path / "kilt").mkdir()
    found = list(launch.missing(["kilt:kilt/nq", "nq320k:nq320k"], 8))
    assert found[0] == "3 of 8 GPUs"
    assert found[-1] == "no data for nq320k:nq320k"
    assert "no data for kilt:kilt/nq" not in found
    assert not any("GPUs" in each for each in launch.missing([], 3))


def test_what_cannot_be_started_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for given, said in (("no-such-program run", "no-such-program"), ("accelerate 'launch", "close its quotes")):
        monkeypatch.setenv(launch.VARIABLE, given)
        with pytest.raises(ConfigError, match=said):
            go({"oracle": {}}, tmp_path / "run")
        assert not (tmp_path / "run").exists()
    # What lies beside this Python is found without its environment being activated.
    launch.check({launch.VARIABLE: Path(sys.executable).name, "PATH": ""})
    assert launch.search_path({"PATH": "/one"}).split(os.pathsep) == ["/one", str(Path(sys.executable).parent)]
