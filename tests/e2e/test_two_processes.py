"""Data-parallel training over two processes (gloo, on processors) gives the weights that one process gives."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from tests.lm_models import tiny_folder

ROOT = Path(__file__).resolve().parents[2]


def run(module: str, path: Path, processes: int) -> None:
    launch = ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "--module"]
    done = subprocess.run(
        [sys.executable, "-m", *(launch if processes > 1 else []), module, str(path)],
        cwd=ROOT,
        env=os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def trained(path: Path, processes: int) -> tuple[str, dict[str, torch.Tensor]]:
    run("tests.e2e.train_on_processes", path, processes)
    with safe_open(path, "pt") as file:
        return file.metadata()["processes"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    alone, one = trained(tmp_path / "one.safetensors", 1)
    together, two = trained(tmp_path / "two.safetensors", 2)
    assert (alone, together) == ("1", "2")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5, msg=name)


@pytest.mark.slow
def test_two_processes_learn_from_the_same_pseudo_queries(tmp_path: Path) -> None:
    tiny_folder(tmp_path / "model")
    run("tests.e2e.ask_on_processes", tmp_path, 2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert {row for _, _, row in first} == {0, 1, 2, 3}


@pytest.mark.slow
def test_two_processes_agree_or_both_stop(tmp_path: Path) -> None:
    tiny_folder(tmp_path / "model")
    run("tests.e2e.agree_on_processes", tmp_path, 2)
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first == second
    assert (first["first"], first["shared"]) == ("", "")
    assert "another one or none in process 1" in first["second"]
    assert "finite gradient" in first["diverged"]
