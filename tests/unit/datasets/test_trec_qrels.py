"""Judgements in TREC's layout beside passages and queries in BEIR's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.datasets import load
from harness.errors import DataError
from harness.types import Dataset

QRELS = "q1 0 d1 2\nq1 Q0 d2 -1\nq2\t0\td2   1\n"


def write(folder: Path, **qrels: str) -> Path:
    """Write two passages and two queries, and a file of judgements for each keyword (`test_trec`: qrels/test.trec)."""
    (folder / "qrels").mkdir()
    (folder / "corpus.jsonl").write_text("".join(json.dumps({"_id": d, "text": d}) + "\n" for d in ("d1", "d2")))
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": q, "text": q}) + "\n" for q in ("q1", "q2")))
    for name, text in qrels.items():
        (folder / "qrels" / name.replace("_", ".")).write_text(text)
    return folder


def judged(folder: Path) -> Dataset:
    return load(str(folder))


@pytest.mark.parametrize("name", ["test_tsv", "test_trec", "test_qrels", "test_txt"])
def test_the_first_line_tells_the_layout_whatever_the_file_is_called(tmp_path: Path, name: str) -> None:
    found = judged(write(tmp_path, **{name: QRELS}))
    assert found.test.qrels == {"q1": {"d1": 2, "d2": -1}, "q2": {"d2": 1}}
    assert found.card["protocol"]["split_rule"] == f"as given by the files in qrels: {name.replace('_', '.')}"


def test_both_layouts_give_the_same_dataset(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
    beir = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t-1\nq2\td2\t1\n"
    one, other = judged(write(tmp_path / "a", test_txt=beir)), judged(write(tmp_path / "b", test_tsv=QRELS))
    assert one.card["checksum"] == other.card["checksum"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("q1\td1\t1\n", 1, "four columns 'qid 0 docid grade'"),
        ("q1 0 d1 relevant\n", 1, r"'query-id\tcorpus-id\tscore'"),
        ("query-id corpus-id 0 score\n", 1, "the header"),
        ("q1 0 d1 1 x\n", 1, "the header"),
        (QRELS + "q1 d1 1\n", 4, "4 columns separated by white space"),
        (QRELS + "q1 0 d1 1.0\n", 4, "a grade that is an integer"),
        (QRELS + "q1 0 d1 1\n", 4, "one grade for a query and a passage"),
        (QRELS + "q9 0 d1 1\n", 4, "which no query has"),
        (QRELS + "q1 0 d9 1\n", 4, "which no passage has"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, text: str, line: int, said: str) -> None:
    with pytest.raises(DataError) as caught:
        judged(write(tmp_path, test_trec=text))
    assert (caught.value.file, caught.value.line) == (tmp_path / "qrels" / "test.trec", line)
    assert said in str(caught.value)


def test_two_files_of_one_split_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"qrels/test\.tsv, qrels/test\.trec"):
        judged(write(tmp_path, test_tsv=QRELS, test_trec=QRELS))
    # Judgements of a split that nobody asks for may be called anything.
    (tmp_path / "qrels" / "test.tsv").rename(tmp_path / "qrels" / "all.tsv")
    assert len(judged(tmp_path).test) == 2
