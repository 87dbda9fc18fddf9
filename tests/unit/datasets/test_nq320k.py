"""NQ320K in both layouts it is shipped in, with both readings of what one document is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import DatasetSettings, load
from harness.errors import DataError
from harness.types import Passage, Query
from tests.unit.datasets.golden import asked, passages, refuses

TEXTS = ["Cats purr.", *(f"Text {n}." for n in range(1, 11)), "Cats purr."]
"""The last document says the same as the first."""
MERGED = DatasetSettings(nq320k_documents="text-only")


def nci(folder: Path, **files: str | None) -> Path:
    content = {
        "NQ_doc_content": "".join(f"{n}\t\t\t{text}\t\t\ten\n" for n, text in enumerate(TEXTS)),
        # pandas quotes as CSV does where a text holds a quote.
        "nq_train_doc_newid": '"who ""purrs"""\t-81\t11\t3-0\nwho "reads\t-82\t5\t1-2\n',
        "nq_dev_doc_newid": "".join(f"text {n}?\t{n + 100}\t{n}\t{n}-1\n" for n in range(12)),
        **files,
    }
    return filled(folder, {f"{name}.tsv": text for name, text in content.items()})


def genret(folder: Path, **files: Any) -> Path:
    content = {
        "corpus_lite": TEXTS,
        "train": [["who purrs", 11], ["who reads", [5, 6]]],
        "dev": [[f"text {n}?", n] for n in range(12)],
        **files,
    }
    texts = {name: text if isinstance(text, str | None) else json.dumps(text) for name, text in content.items()}
    return filled(folder, {f"{name}.json": text for name, text in texts.items()})


def filled(folder: Path, files: dict[str, str | None]) -> Path:
    for name, text in files.items():
        if text is not None:
            (folder / name).write_text(text, encoding="utf-8")
    return folder


def test_golden_nci(tmp_path: Path) -> None:
    dataset = load(f"nq320k:{nci(tmp_path)}")
    assert passages(dataset) == (
        12,
        Passage("0", "", "Cats purr.", "0"),
        Passage("9", "", "Text 9.", "9"),
        Passage("11", "", "Cats purr.", "11"),
    )
    assert asked(dataset.test) == (12, Query("100", "text 0?"), Query("109", "text 9?"), Query("111", "text 11?"))
    assert dataset.test.qrels["111"] == {"11": 1}
    assert dataset.train.queries == (Query("-81", 'who "purrs"'), Query("-82", 'who "reads'))
    assert dataset.train.qrels == {"-81": {"11": 1}, "-82": {"5": 1}}
    assert dataset.card["protocol"]["collection"].startswith("title-dedup: documents as shipped")
    assert "NCI" in dataset.card["source"]
    assert len(dataset.dev) == 0


def test_golden_genret(tmp_path: Path) -> None:
    dataset = load(f"nq320k:{genret(tmp_path)}")
    assert passages(dataset) == (
        12,
        Passage("0", "", "Cats purr.", "0"),
        Passage("9", "", "Text 9.", "9"),
        Passage("11", "", "Cats purr.", "11"),
    )
    assert asked(dataset.test) == (
        12,
        Query("test-0", "text 0?"),
        Query("test-9", "text 9?"),
        Query("test-11", "text 11?"),
    )
    assert dataset.train.qrels == {"train-0": {"11": 1}, "train-1": {"5": 1, "6": 1}}
    assert "GenRet" in dataset.card["source"]


@pytest.mark.parametrize("write", [nci, genret])
def test_documents_with_the_same_text_are_one(write: Any, tmp_path: Path) -> None:
    dataset = load(f"nq320k:{write(tmp_path)}", MERGED)
    assert len(dataset.corpus) == 11
    assert list(dataset.test.qrels.values())[-1] == {"0": 1}
    assert next(iter(dataset.train.qrels.values())) == {"0": 1}
    assert dataset.card["protocol"]["collection"].startswith("text-only: ")
    assert "1 of 12 documents merged with one of the same text" in dataset.card["notes"]


NCI_BAD = {
    "documents: columns": ("NQ_doc_content", "0\t\t\tx\t\t\ten\n1\tx\n", "2 columns"),
    "documents: twice": ("NQ_doc_content", "0\t\t\tx\t\t\ten\n0\t\t\ty\t\t\ten\n", "0 again"),
    "documents: no number": ("NQ_doc_content", "0\t\t\tx\t\t\ten\n\t\t\ty\t\t\ten\n", "''"),
    "questions: columns": ("nq_dev_doc_newid", "x\t1\t0\t1\nx\t2\t1\n", "3 columns"),
    "questions: quote left open": ("nq_dev_doc_newid", 'x\t1\t0\t1\n"x\t2\t1\t1\n', "unexpected end"),
    "questions: unknown document": ("nq_dev_doc_newid", "x\t1\t0\t1\nx\t2\t99\t1\n", "'99', which no document has"),
    "questions: id twice": ("nq_dev_doc_newid", "x\t1\t0\t1\ny\t1\t1\t1\n", "first used in line 1"),
}


@pytest.mark.parametrize("case", NCI_BAD)
def test_bad_line_of_nci(case: str, tmp_path: Path) -> None:
    file, text, got = NCI_BAD[case]
    error = refuses(f"nq320k:{nci(tmp_path, **{file: text})}", DataError)
    assert got in error.got
    assert (error.file, error.line) == (tmp_path / f"{file}.tsv", 2)


GENRET_BAD = {
    "documents: no text": ("corpus_lite", '["x",\n3]', "a number"),
    "questions: no pair": ("dev", '[["x", 0],\n["y"]]', "a list"),
    "questions: no text": ("dev", '[["x", 0],\n[1, 1]]', "a number"),
    "questions: number in quotes": ("dev", '[["x", 0],\n["y", "1"]]', "'1'"),
    "questions: no number": ("dev", '[["x", 0],\n["y", []]]', "a list"),
    "questions: true": ("dev", '[["x", 0],\n["y", true]]', "true or false"),
    "questions: unknown document": ("dev", '[["x", 0],\n["y", 12]]', "'12', which no document has"),
    "questions: before the first": ("dev", '[["x", 0],\n["y", -1]]', "'-1', which no document has"),
}


@pytest.mark.parametrize("case", GENRET_BAD)
def test_bad_element_of_genret(case: str, tmp_path: Path) -> None:
    file, text, got = GENRET_BAD[case]
    error = refuses(f"nq320k:{genret(tmp_path, **{file: text})}", DataError)
    assert got in error.got
    assert (error.file, error.line) == (tmp_path / f"{file}.json", 2)


@pytest.mark.parametrize(
    ("write", "file"), [(nci, "nq_train_doc_newid"), (nci, "nq_dev_doc_newid"), (genret, "train"), (genret, "dev")]
)
def test_missing_file(write: Any, file: str, tmp_path: Path) -> None:
    error = refuses(f"nq320k:{write(tmp_path, **{file: None})}", DataError)
    assert error.file.stem == file
    assert ("NCI" if write is nci else "GenRet") in error.fix


def test_neither_layout_or_both(tmp_path: Path) -> None:
    error = refuses(f"nq320k:{tmp_path}", DataError)
    assert "NQ_doc_content.tsv: get it from" in error.fix and "corpus_lite.json: get it from" in error.fix
    nci(genret(tmp_path))
    assert refuses(f"nq320k:{tmp_path}", DataError).got == "both layouts in one folder"
