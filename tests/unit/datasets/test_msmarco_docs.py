"""MS MARCO documents: the samples of Ultron, packed or not."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from harness.datasets import DatasetSettings, load
from harness.errors import DataError
from harness.types import Dataset, Passage, Query
from tests.unit.datasets.golden import asked, passages, refuses

DOCS = "".join(f"D{n}\thttp://x/{n}\t{f'Title {n}' if n % 2 else ''}\tBody of {n}.\n" for n in range(14))
CLICKED = (0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12)


def write(folder: Path, *, packed: bool = False, **files: str | None) -> Path:
    content = {
        "docs": DOCS,
        "doctrain-queries": "".join(f"{n}\ttrain {n}\n" for n in CLICKED),
        "doctrain-qrels": "".join(f"{n} 0 D{n} 1\n" for n in CLICKED),
        "docdev-queries": "".join(f"{n + 100}\tdev {n}\n" for n in range(14)),
        "docdev-qrels": "".join(f"{n + 100} 0 D{n} 1\n" for n in range(13)),
        **{name.replace("_", "-"): text for name, text in files.items()},
    }
    for name, text in content.items():
        if text is not None and packed:
            (folder / f"msmarco-{name}.tsv.gz").write_bytes(gzip.compress(text.encode()))
        elif text is not None:
            (folder / f"msmarco-{name}.tsv").write_text(text, encoding="utf-8")
    return folder


def sample(folder: Path, which: str) -> Dataset:
    return load(f"msmarco-docs:{folder}", DatasetSettings.model_validate({"msmarco_documents": which}))


@pytest.mark.parametrize("packed", [False, True])
def test_golden(packed: bool, tmp_path: Path) -> None:
    dataset = load(f"msmarco-docs:{write(tmp_path, packed=packed)}")
    assert passages(dataset) == (
        11,
        Passage("D0", "", "Body of 0.", "D0"),
        Passage("D10", "", "Body of 10.", "D10"),
        Passage("D12", "", "Body of 12.", "D12"),
    )
    assert dataset.corpus[1].title == "Title 1"
    assert asked(dataset.test) == (11, Query("100", "dev 0"), Query("110", "dev 10"), Query("112", "dev 12"))
    assert asked(dataset.train)[0] == 11
    assert dataset.test.qrels["110"] == {"D10": 1}
    assert len(dataset.dev) == 0
    assert dataset.card["protocol"]["collection"].startswith("top: the documents that a training query clicked")
    # Query 113 has no judgement; 109 and 111 are about documents that no training query clicked.
    assert dataset.card["notes"] == ["test: 3 of 14 queries left out (no relevant passage)"]


def test_all_documents(tmp_path: Path) -> None:
    dataset = sample(write(tmp_path), "all")
    assert (len(dataset.corpus), len(dataset.test)) == (14, 13)


def test_the_random_sample_is_read_from_its_file(tmp_path: Path) -> None:
    write(tmp_path)
    error = refuses(f"msmarco-docs:{tmp_path}", DataError, DatasetSettings(msmarco_documents="rand"))
    assert error.file == tmp_path / "msmarco-docids.rand.300k.txt"
    assert "WebUltron" in error.fix
    error.file.write_text("D13\nD9\nD2 \n")
    dataset = sample(tmp_path, "rand")
    assert dataset.corpus.docids == ("D2", "D9", "D13")
    assert [query.qid for query in dataset.test.queries] == ["102", "109"]
    assert [query.qid for query in dataset.train.queries] == ["2"]


BAD = {
    "three columns": ("docs", "D0\tu\tt\tb\nD1\tu\tt\n", "3: "),
    "blank in docid": ("docs", "D0\tu\tt\tb\nD 1\tu\tt\tb\n", "'D 1'"),
    "query without text": ("docdev_queries", "100\tx\n101\n", "1: '101'"),
    "qid twice": ("docdev_queries", "100\tx\n100\ty\n", "first used in line 1"),
    "grade": ("docdev_qrels", "100 0 D0 1\n101 0 D1 x\n", "'x'"),
    "three columns in qrels": ("doctrain_qrels", "1 0 D1 1\n2 0 D2\n", "3 columns"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_line(case: str, tmp_path: Path) -> None:
    file, text, got = BAD[case]
    error = refuses(f"msmarco-docs:{write(tmp_path, **{file: text})}", DataError)
    assert got in error.got
    assert (error.file, error.line) == (tmp_path / f"msmarco-{file.replace('_', '-')}.tsv", 2)


@pytest.mark.parametrize("file", ["docs", "doctrain-queries", "doctrain-qrels", "docdev-queries", "docdev-qrels"])
def test_missing_file(file: str, tmp_path: Path) -> None:
    error = refuses(f"msmarco-docs:{write(tmp_path, **{file: None})}", DataError)
    assert error.expected == f"msmarco-{file}.tsv or msmarco-{file}.tsv.gz"
    assert "MS MARCO's page" in error.fix


def test_a_document_twice_and_an_archive_cut_off(tmp_path: Path) -> None:
    assert "'D0' 2 times" in refuses(f"msmarco-docs:{write(tmp_path, docs=DOCS + DOCS)}", DataError).got
    (tmp_path / "msmarco-docs.tsv").unlink()
    (tmp_path / "msmarco-docs.tsv.gz").write_bytes(gzip.compress(DOCS.encode())[:-20])
    assert refuses(f"msmarco-docs:{tmp_path}", DataError).file == tmp_path / "msmarco-docs.tsv.gz"
