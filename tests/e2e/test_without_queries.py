"""A set without queries is indexed, trained on and searched; nothing is evaluated, and the report says so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import cli
from harness.store import CellFolder, RunFolder


@pytest.fixture
def texts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of texts, called as a relative path from the current folder."""
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "cats.md").write_text("# Cats\n\nCats purr and sleep.\n")
    (folder / "dogs.txt").write_text("Dogs bark at night.\n")
    monkeypatch.chdir(tmp_path)
    return folder


def test_a_set_without_queries(texts: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["run", "smoke", "--dataset", f"texts:{texts.name}"]
    assert cli.main(command) == 0
    assert "3 done, 0 failed" in capfd.readouterr().out
    run = tmp_path / "runs" / "smoke"
    assert (RunFolder(run).results(), RunFolder(run).significance()) == ([], [])
    cell = CellFolder(run / "notes" / "bm25" / "0")
    assert cell.model.is_dir()
    assert cell.run() == {}
    assert not {"latency_ms", "latency_samples_ms", "search_s", "queries_per_s", "counters"} & cell.meter().keys()
    assert {"index_s", "load_s", "index_bytes"} <= cell.meter().keys()

    report = (run / "report" / "report.md").read_text()
    assert "Nothing was evaluated on notes, because the set has no queries. bm25 can be searched" in report
    assert "nothing was evaluated, because the set has no queries" in (run / "report" / "index.html").read_text()
    (quality,) = re.findall(r"^\| sparse \| \[bm25\]\(\S+\) \| ([– |]*) \|$", report, re.MULTILINE)
    assert set(quality) == {"–", "|", " "}
    assert "Latency" not in report

    assert cli.main(["search", str(run), "who barks at night?"]) == 0
    assert "dogs: Dogs bark at night." in capfd.readouterr().out
    assert cli.main(command) == 0
    assert "3 done (3 reused), 0 failed" in capfd.readouterr().out


def test_a_split_without_queries_is_still_refused_where_another_has_some(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "faq.csv"
    table.write_text("text,q\nCats purr.,Who purrs?\n")
    out = ["--out", str(tmp_path / "run")]
    assert cli.main(["run", "smoke", "--dataset", f"table:{table}?query=q", "--set", "split=dev", *out]) == 2
    assert "queries in the split 'dev'" in capfd.readouterr().err
    assert not (tmp_path / "run").exists()
