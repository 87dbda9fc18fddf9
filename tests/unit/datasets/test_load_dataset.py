"""Names of datasets: what is accepted, and what is said about the rest."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from harness.datasets import DatasetSettings, load, names, sources
from harness.errors import DataError, HarnessError, UnknownNameError


def test_names_are_listed_with_one_line_each() -> None:
    listed = dict(names())
    sizes = [f"vital-articles/{size}" for size in ("500", "1k", "2k", "5k", "10k")]
    assert list(listed) == [*sizes, *(source.form for source in sources.SOURCES)]
    assert all(source.form.startswith(f"{source.prefix}:") for source in sources.SOURCES)
    assert all(line and "\n" not in line for line in listed.values())


@pytest.mark.parametrize("name", ["vital-articles", "vital-articles/50", "vital-articels/500", "squad", "", "beir:"])
def test_unknown_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError) as caught:
        load(name)
    assert repr(name) in caught.value.got
    assert "vital-articles/500" in caught.value.fix
    assert "beir:PATH" in caught.value.fix


@pytest.mark.parametrize("name", ["beir:nowhere", "./nowhere", "/nowhere/at/all", "~/nowhere/at/all"])
def test_missing_folder(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        load(name)


@pytest.mark.parametrize("name", ["beir:" + "a" * 5000, "a" * 5000, "~no-such-user-at-all/data", "beir:a\0b"])
def test_impossible_path(name: str) -> None:
    with pytest.raises(HarnessError):
        load(name)


def test_relative_folder_without_prefix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "tiny set"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "text": "x"}')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "x"}')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1")
    monkeypatch.chdir(tmp_path)
    assert load("tiny set").name == "tiny set"
    monkeypatch.chdir(folder)
    assert load("beir:.").card == load(str(folder)).card


@pytest.mark.parametrize("bad", [{"max_passage_words": 0}, {"max_test_queries": 0}, {"max_words": 5}])
def test_settings_refuse_what_makes_no_sense(bad: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        DatasetSettings.model_validate(bad)


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        DatasetSettings().max_test_queries = 5  # type: ignore[misc]


def test_import_pulls_in_nothing_heavy() -> None:
    code = "import sys, harness.datasets; print([m for m in ('torch', 'pyarrow.parquet', 'numpy') if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "torch" not in loaded
    assert "parquet" not in loaded


def test_a_name_is_found_in_the_readers_own_folder_of_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine" / "tiny"
    (folder / "qrels").mkdir(parents=True)
    (folder / "corpus.jsonl").write_text('{"_id": "d", "title": "T", "text": "words"}\n')
    (folder / "queries.jsonl").write_text('{"_id": "q", "text": "words?"}\n')
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\nq\td\t1\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UnknownNameError, match="HARNESS_DATA"):
        load("tiny")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "mine"))
    assert load("tiny").name == load("beir:tiny").name == "tiny"
    with pytest.raises(UnknownNameError):
        load("smaller")
