"""Data-parallel training over two processes (gloo, on processors) gives the weights that one process gives."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

ROOT = Path(__file__).resolve().parents[2]


def trained(path: Path, processes: int) -> tuple[str, dict[str, torch.Tensor]]:
    launch = ["torch.distributed.run", "--nproc-per-node", str(processes), "--standalone", "--module"]
    done = subprocess.run(
        [sys.executable, "-m", *(launch if processes > 1 else []), "tests.e2e.train_on_processes", str(path)],
        cwd=ROOT,
        env=os.environ | {"ACCELERATE_USE_CPU": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    with safe_open(path, "pt") as file:
        return file.metadata()["processes"], {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path) -> None:
    alone, one = trained(tmp_path / "one.safetensors", 1)
    together, two = trained(tmp_path / "two.safetensors", 2)
    assert (alone, together) == ("1", "2")
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, rtol=1e-3, atol=1e-5, msg=name)
