"""The official release of Self-Retrieval, in the shapes that its scripts read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import load
from harness.errors import DataError
from harness.types import Passage, Query
from tests.unit.datasets.golden import asked, passages, refuses

DOCS: list[Any] = [
    {"wikipedia_id": "7", "title": "Cats", "chunks": ["Cats purr.", "They sleep."]},
    *({"wikipedia_id": str(n), "title": f"T{n}", "chunks": [f"Text {n}."]} for n in range(10, 19)),
    {"wikipedia_id": 20, "title": "Number", "chunks": ["Numbered."]},
]


def context(document: Any, chunk: Any, **more: Any) -> dict[str, Any]:
    return {"wikipedia_id": document, "chunk_id": chunk, "title": "t", "paragraph_id": 1, **more}


def example(qid: str | None, query: str, answers: Any) -> dict[str, Any]:
    row = {"id": qid, "query": query, "answers": answers}
    return row if qid is not None else {key: value for key, value in row.items() if key != "id"}


TEST: list[Any] = [
    example("q1", "who purrs", [{"answer": "cats", "context": [context("7", 0)]}]),
    *(example(f"q{n}", f"text {n}?", [{"answer": str(n), "context": [context(str(n), 0)]}]) for n in range(10, 19)),
    example("last", "number?", {"answer": "20", "context": [context("20", 0), context("7", 1)]}),
]
TRAIN: list[Any] = [
    example(None, "who sleeps", [{"answer": "they", "context": [context("7", 1)]}]),
    example(
        "t2",
        "mixed",
        [
            {"answer": "a", "context": [context("7", 0, contain=True), context("10", 0)]},
            {"answer": "a", "context": [context("404", 3)]},
            {"answer": "cannot extract answer", "context": [context("11", 0, neg=True)]},
        ],
    ),
    example("t3", "nothing known", []),
]


def write(folder: Path, **files: Any) -> Path:
    content = {"docs": json.dumps(DOCS), "train": lines(TRAIN), "test": lines(TEST), **files}
    for name, text in content.items():
        if text is not None:
            (folder / f"{name}.json").write_text(text, encoding="utf-8")
    return folder


def lines(rows: list[Any]) -> str:
    return "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)


def test_golden(tmp_path: Path) -> None:
    dataset = load(f"release:{write(tmp_path)}")
    assert passages(dataset) == (
        12,
        Passage("7.0", "Cats", "Cats purr.", "7"),
        Passage("17.0", "T17", "Text 17.", "17"),
        Passage("20.0", "Number", "Numbered.", "20"),
    )
    assert asked(dataset.test) == (
        11,
        Query("q1", "who purrs", ("cats",)),
        Query("q18", "text 18?", ("18",)),
        Query("last", "number?", ("20",)),
    )
    assert dataset.test.qrels["last"] == {"20.0": 1, "7.1": 1}
    assert dataset.train.queries == (
        Query("train-1", "who sleeps", ("they",)),
        Query("t2", "mixed", ("a", "cannot extract answer")),
    )
    assert dataset.train.qrels["t2"] == {"10.0": 1}
    assert len(dataset.dev) == 0
    assert dataset.card["notes"] == [
        "train: 1 of 3 queries left out (no relevant passage)",
        "train: 1 judgements of documents that docs.json does not hold left out",
    ]


BAD_TEST = {
    "no JSON": ("nonsense", "Expecting value"),
    "no query": ({"id": "q", "answers": []}, "no field 'query'"),
    "no answers": ({"id": "q", "query": "x"}, "null"),
    "answers of strings": (example("q", "x", ["cats"]), "a list"),
    "no answer": (example("q", "x", [{"context": []}]), "no field 'answer'"),
    "no context": (example("q", "x", [{"answer": "a"}]), "null"),
    "chunk_id no number": (example("q", "x", [{"answer": "a", "context": [context("7", "0")]}]), "'0'"),
    "chunk beyond": (example("q", "x", [{"answer": "a", "context": [context("7", 2)]}]), "document '7', which has 2"),
    "chunk before": (example("q", "x", [{"answer": "a", "context": [context("7", -1)]}]), "chunk_id -1"),
    "no document": (example("q", "x", [{"answer": "a", "context": [context(None, 0)]}]), "wikipedia_id"),
    "id twice": (TEST[0], "first used in line 1"),
}


@pytest.mark.parametrize("case", BAD_TEST)
def test_bad_example(case: str, tmp_path: Path) -> None:
    row, got = BAD_TEST[case]
    error = refuses(f"release:{write(tmp_path, test=lines([TEST[0], row]))}", DataError)
    assert got in error.got
    assert (error.file, error.line) == (tmp_path / "test.json", 2)


BAD_DOCS = {
    "no object": ("x", "'x'"),
    "no id": ({"title": "x", "chunks": []}, "no field 'wikipedia_id'"),
    "no title": ({"wikipedia_id": "1", "chunks": []}, "no field 'title'"),
    "chunks no list": ({"wikipedia_id": "1", "title": "x", "chunks": "y"}, "'y'"),
    "chunks no strings": ({"wikipedia_id": "1", "title": "x", "chunks": [1]}, "a number"),
    "twice": (DOCS[0], "'7' again"),
}


@pytest.mark.parametrize("case", BAD_DOCS)
def test_bad_document(case: str, tmp_path: Path) -> None:
    document, got = BAD_DOCS[case]
    error = refuses(f"release:{write(tmp_path, docs=json.dumps([DOCS[0], document], indent=1))}", DataError)
    assert got in error.got
    assert error.file == tmp_path / "docs.json"
    # json.dumps writes the first document in lines 2 to 9.
    assert error.line == 10


@pytest.mark.parametrize("missing", ["docs", "train", "test"])
def test_missing_file(missing: str, tmp_path: Path) -> None:
    error = refuses(f"release:{write(tmp_path, **{missing: None})}", DataError)
    assert error.file == tmp_path / f"{missing}.json"
    assert "README of the Self-Retrieval release" in error.fix


def test_no_test_question_is_left(tmp_path: Path) -> None:
    error = refuses(f"release:{write(tmp_path, test=lines([example('q', 'x', [])]))}", DataError)
    assert error.got == "no test query; test: 1 of 1 queries left out (no relevant passage)"
    assert refuses(f"release:{write(tmp_path, docs='[]')}", DataError).got == "an empty corpus"
