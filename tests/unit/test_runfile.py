from __future__ import annotations

import gzip
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import DataError, StorageError
from harness.ranking import ranked
from harness.runfile import read_first, read_trec, write_trec
from harness.types import Hit

# Lone surrogates are no text: neither UTF-8 nor Arrow can hold them.
IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
SCORES = st.floats(allow_nan=False, allow_infinity=False)


def test_lines_are_what_trec_eval_reads(tmp_path: Path) -> None:
    path = tmp_path / "run.trec.gz"
    write_trec(path, {"q1": [Hit("d2", 1.5), Hit("d1", 0.1)], "q2": []}, "bm25")
    assert gzip.decompress(path.read_bytes()).decode() == "q1 Q0 d2 1 1.5 bm25\nq1 Q0 d1 2 0.1 bm25\n"


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = {"q": [Hit("d", 1.0)]}
    write_trec(tmp_path / "one.gz", run, "t")
    write_trec(tmp_path / "two.gz", run, "t")
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


@given(run=st.dictionaries(IDS, st.dictionaries(IDS, SCORES, min_size=1, max_size=5), max_size=4))
def test_every_id_and_every_digit_comes_back(
    run: dict[str, dict[str, float]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "run.trec.gz"
    given = {qid: ranked(Hit(docid, score) for docid, score in hits.items()) for qid, hits in run.items()}
    write_trec(path, given, "tag")
    assert read_trec(path) == given


def test_white_space_in_ids_does_not_shift_columns(tmp_path: Path) -> None:
    path = tmp_path / "run.trec"
    write_trec(tmp_path / "run.trec.gz", {"what is it": [Hit("50%\u2028\tNew York", 1.0)]}, "my system")
    path.write_bytes(gzip.decompress((tmp_path / "run.trec.gz").read_bytes()))
    assert path.read_text(encoding="utf-8") == ("what%20is%20it Q0 50%25%E2%80%A8%09New%20York 1 1.0 my%20system\n")
    assert read_trec(path) == {"what is it": [Hit("50%\u2028\tNew York", 1.0)]}


def test_numpy_scores_are_written_as_numbers(tmp_path: Path) -> None:
    score = np.float32(0.1)
    write_trec(tmp_path / "r.gz", {"q": [Hit("d", score)]}, "t")  # type: ignore[arg-type]
    assert read_trec(tmp_path / "r.gz")["q"][0].score == 0.10000000149011612


def test_a_foreign_file_is_ordered_by_score_not_by_rank(tmp_path: Path) -> None:
    path = tmp_path / "foreign.run"
    path.write_text("q 0 low 1 0.5 x\nq\t0\thigh\t2\t9\tx\nq 0 tied 3 9.0 x\n", encoding="utf-8")
    assert [hit.docid for hit in read_trec(path)["q"]] == ["tied", "high", "low"]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("q Q0 d 1 1.0", "six columns"),
        ("q Q0 d 1 high t", "a finite score"),
        ("q Q0 d 1 nan t", "a finite score"),
        ("q Q0 first 2 0.5 t", "'first' again"),
        ("", "six columns"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "run.trec"
    path.write_text(f"q Q0 first 1 1.0 t\n{line}\n", encoding="utf-8")
    with pytest.raises(DataError, match=says) as caught:
        read_trec(path)
    assert (caught.value.file, caught.value.line) == (path, 2)


def test_damaged_and_absent_files_are_named(tmp_path: Path) -> None:
    path = tmp_path / "run.trec.gz"
    with pytest.raises(DataError, match="No such file"):
        read_trec(path)
    write_trec(path, {"q": [Hit(f"d{n}", 1.0 / n) for n in range(1, 200)]}, "t")
    whole = path.read_bytes()
    for damaged in (whole[:-20], b"no gzip", whole[:40] + b"\0\0\0\0" + whole[44:]):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match="a readable run file") as caught:
            read_trec(path)
        assert caught.value.file == path


@pytest.mark.parametrize(("qid", "hit"), [("", Hit("d", 1.0)), ("q", Hit("", 1.0)), ("q", Hit("d", math.nan))])
def test_what_cannot_be_read_back_is_not_written(tmp_path: Path, qid: str, hit: Hit) -> None:
    path = tmp_path / "run.trec.gz"
    with pytest.raises(DataError, match="a qid, a docid and a finite score"):
        write_trec(path, {qid: [hit]}, "t")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StorageError, match="the run of bm25"):
        write_trec(tmp_path / "file" / "run.trec.gz", {}, "bm25")


def test_best_hits_are_read_alone(tmp_path: Path) -> None:
    path = tmp_path / "run.trec.gz"
    run = {"a b": [Hit("d 2%", 2.0), Hit("d1", 1.0)], "q2": [Hit(f"d{n}", float(-n)) for n in range(12)], "q3": []}
    write_trec(path, run, "tag with blanks")
    assert read_first(path) == {"a b": "d 2%", "q2": "d0"}


def test_best_hits_of_a_file_of_another_shape_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.trec.gz"
    path.write_bytes(gzip.compress(b"q Q0 d 1 0.5 tag\nq Q0 d\n"))
    with pytest.raises(DataError, match="six columns") as caught:
        read_first(path)
    assert caught.value.line == 2
