"""Results kept in a file: what goes in, what is replaced, and how it is shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import kept
from harness.errors import RunFolderError
from harness.store import RunFolder
from reports.kept import markdown
from tests.unit.reports.sample_run import write_sample


@pytest.fixture
def run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    write_sample(folder)
    return folder


def test_finished_cells_are_kept_with_their_fingerprints(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "docs" / "kept.json"
    cells = kept.keep(run, file)
    folder = RunFolder(run)
    done = [c for c in folder.cells() if (s := folder.status(c)) and s["state"] == "done"]
    assert len(cells) == len(done) < len(folder.cells())
    assert [c["fingerprint"] for c in kept.read(file)] == [c["fingerprint"] for c in cells]
    assert {c["fingerprint"] for c in cells} == {c.fingerprint for c in done}
    rows = [row for cell in cells for row in cell["results"]]
    assert all(row["system"] == cell["system"] for cell in cells for row in cell["results"])
    assert len(rows) == len([r for r in folder.results() if any(r["system"] == c.system for c in done)])


def test_a_cell_replaces_the_older_one_and_leaves_the_others(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    first = kept.keep(run, file)
    record = json.loads(file.read_text())
    record["cells"][0]["fingerprint"] = "old"
    record["cells"][1]["system"] = "elsewhere"
    file.write_text(json.dumps(record))
    again = kept.keep(run, file)
    assert len(again) == len(first) + 1
    assert "old" not in {c["fingerprint"] for c in again}
    assert "elsewhere" in {c["system"] for c in again}


def test_two_experiments_keep_their_rows_apart(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    first = kept.keep(run, file)
    record = json.loads((run / "experiment.json").read_text())
    (run / "experiment.json").write_text(json.dumps({**record, "name": "another"}))
    assert len(kept.keep(run, file)) == 2 * len(first)


def test_tables_show_scores_and_fingerprints(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    cells = kept.keep(run, file)
    text = markdown(file)
    for cell in cells:
        assert cell["fingerprint"][:8] in text
        (value,) = [r["value"] for r in cell["results"] if (r["slice"], r["measure"]) == ("all", "Success@1")]
        assert f"{value:.3f}" in text
    record = json.loads(file.read_text())
    record["cells"][1]["checksum"] = "another"
    file.write_text(json.dumps(record))
    assert markdown(file).count("data another") == 1  # a table of its own


def test_what_was_not_kept_by_this_program_is_refused(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    file.write_text('{"format": 99, "cells": []}')
    with pytest.raises(RunFolderError, match="format"):
        kept.keep(run, file)
