"""From experiments on tiny models to the redrawn figures: the shapes of `capacity`, `reranking` and Table 9."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from harness import beam_curve, cli
from tests.e2e.trial import go, tiny  # noqa: F401 - `tiny` is a fixture
from tests.lm_models import tiny_folder

TRAINING = {"tokens": 400, "frozen_layers": 0, "dtype": "float32"}


def rows(file: Path) -> list[dict[str, str]]:
    return [row for row in csv.DictReader(file.read_text().splitlines()) if row["group"].startswith("measured here")]


@pytest.mark.slow
def test_experiments_of_tiny_models_fill_the_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    backbone = tiny_folder(tmp_path / "model")
    ours = {"backbone": backbone, "training": TRAINING, "dtype": "float32"}
    dsi = {**ours, "docid": "naive"}
    systems = {
        "bm25": {"system": "bm25"},
        "dsi": {"system": "dsi", **dsi},
        "judged-bm25": {"system": "self-rerank", "judge": ours, "depth": 5},
        "judged-dsi": {"system": "self-rerank", "first": "dsi", "first_settings": dsi, "judge": ours, "depth": 5},
    }
    models = {f"layers-{n}": {"system": "self-retrieval", **ours, "backbone": f"{backbone}#layers={n}"} for n in (1, 2)}
    for name, some in (("reranking", systems), ("capacity", models)):
        summary, _ = go(some, tmp_path / "runs" / name, name=name)
        assert summary.done == len(some)
    beam_curve.measure(tmp_path / "runs" / "reranking", sizes=(1, 10), limit=2)

    assert cli.main(["paper", "all", "--out", "out"]) == 0
    bars = {(row["Series"], row["At"]) for row in rows(tmp_path / "out" / "figure-3.csv")}
    assert bars == {(first, at) for first in ("bm25", "dsi") for at in ("own order", "self-assessment")}
    sizes = [row["At"] for row in rows(tmp_path / "out" / "figure-2.csv")]
    assert [at.partition(":")[0] for at in sizes] == ["layers-1", "layers-2"]
    assert sizes[0].partition(":")[2] != sizes[1].partition(":")[2]

    assert (
        cli.main(["paper", "table", "9", "--experiment", "reranking", "--run", "runs/reranking", "--out", "out"]) == 0
    )
    found = list(csv.DictReader((tmp_path / "out" / "table-9.csv").read_text().splitlines()))
    (ten,) = [row for row in found if (row["System"], row["Beam"]) == ("DSI-XL", "10")]
    assert ten["tiny system (measured here)"] == "dsi"
    assert float(ten["tiny Latency, s (measured here)"]) > 0
    for name in ("reranking", "capacity"):
        assert cli.main(["verify", f"runs/{name}"]) == 0
