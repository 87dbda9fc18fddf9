"""Folders in BEIR layout: what is read, what is left out aloud, and every way a file can be bad."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import DatasetSettings, load
from harness.errors import DataError
from harness.types import Dataset, Passage, Query

HEADER = "query-id\tcorpus-id\tscore\n"
CORPUS: list[dict[str, Any]] = [
    {"_id": "d1", "title": "Cats", "text": "Cats purr. They sleep all day."},
    {"_id": "d2", "text": "Dogs bark."},
    {"_id": "d3", "title": None, "text": "Fish swim.", "document": "sea"},
]
QUERIES: list[dict[str, Any]] = [
    {"_id": "q1", "text": "who purrs", "metadata": {"answers": ["Cats", "cats"]}},
    {"_id": "q2", "text": "who barks", "metadata": {}},
    {"_id": "q3", "text": "who swims", "metadata": None},
]


def write(folder: Path, **files: str | bytes) -> Path:
    """Write a small good set into `folder`; keywords replace what a file holds (`test`: qrels/test.tsv)."""
    content: dict[str, str | bytes] = {
        "corpus": "".join(json.dumps(row) + "\n" for row in CORPUS),
        "queries": "".join(json.dumps(row) + "\n" for row in QUERIES),
        "train": HEADER + "q2\td2\t1\n",
        "test": HEADER + "q1\td1\t2\nq1\td2\t0\nq3\td3\t1\n",
    } | files
    (folder / "qrels").mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        path = folder / (f"{name}.jsonl" if name in ("corpus", "queries") else f"qrels/{name}.tsv")
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def fails(folder: Path) -> DataError:
    with pytest.raises(DataError) as caught:
        load(str(folder))
    error = caught.value
    assert error.expected and error.got and error.fix
    assert re.search(r"expected .*\n +got .*\n +do ", str(error))
    return error


def test_reads_passages_queries_and_judgements(tmp_path: Path) -> None:
    dataset = load(f"beir:{write(tmp_path / 'pets')}")
    assert dataset.name == "pets"
    assert list(dataset.corpus) == [
        Passage("d1", "Cats", "Cats purr. They sleep all day.", "d1"),
        Passage("d2", "", "Dogs bark.", "d2"),
        Passage("d3", "", "Fish swim.", "sea"),
    ]
    assert dataset.test.queries == (Query("q1", "who purrs", ("Cats", "cats")), Query("q3", "who swims"))
    assert dataset.test.qrels == {"q1": {"d1": 2, "d2": 0}, "q3": {"d3": 1}}
    assert dataset.train.queries == (Query("q2", "who barks"),)
    assert len(dataset.dev) == 0
    assert dataset.card["passages"] == dataset.card["documents"] == 3
    assert dataset.card["queries"] == {"train": 1, "dev": 0, "test": 2}
    assert dataset.card["notes"] == []
    assert re.fullmatch("[0-9a-f]{64}", dataset.card["checksum"])
    json.dumps(dict(dataset.card))


def test_line_ends_byte_order_marks_and_blank_lines_change_nothing(tmp_path: Path) -> None:
    plain = write(tmp_path / "a" / "set")
    other = write(tmp_path / "b" / "set")
    for path in [*other.glob("*.jsonl"), *other.glob("qrels/*")]:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n\r\n \r\n"))
    assert load(str(plain)).card == load(str(other)).card


def test_document_line_ends_inside_unicode_text_are_not_line_ends(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three"
    folder = write(tmp_path, corpus=corpus_of(text))
    assert load(str(folder)).corpus[0].text == text


def corpus_of(text: str) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in [CORPUS[0] | {"text": text}, *CORPUS[1:]])


def test_last_line_needs_no_line_end_and_other_qrels_are_ignored(tmp_path: Path) -> None:
    folder = write(tmp_path, test=HEADER + "q1\td1\t1", all="nonsense")
    assert load(str(folder)).test.qrels == {"q1": {"d1": 1}}


def test_query_without_relevant_passage_is_left_out_and_said(tmp_path: Path) -> None:
    folder = write(tmp_path, test=HEADER + "q1\td1\t1\nq1\td3\t-1\nq3\td3\t0\n")
    dataset = load(str(folder))
    assert dataset.test.qrels == {"q1": {"d1": 1, "d3": -1}}
    assert dataset.card["notes"] == [
        "test: 1 of 2 queries left out (no relevant passage)",
        "1 of 3 queries are in no split",
    ]


def test_query_id_equal_to_a_docid_is_kept(tmp_path: Path) -> None:
    queries = '{"_id": "d1", "text": "who"}\n{"_id": "q2", "text": "what"}\n'
    folder = write(tmp_path, queries=queries, test=HEADER + "d1\td1\t1\n")
    assert load(str(folder)).test.qrels == {"d1": {"d1": 1}}


def test_texts_without_words_are_counted(tmp_path: Path) -> None:
    folder = write(tmp_path, corpus=corpus_of(" \n"))
    assert "1 of 3 passages have no text" in load(str(folder)).card["notes"]


def test_leaks_and_samples_are_said(tmp_path: Path) -> None:
    queries = '{"_id": "q1", "text": "Who  PURRS"}\n{"_id": "q2", "text": "who purrs "}\n{"_id": "q3", "text": "x"}\n'
    folder = write(tmp_path, queries=queries)
    assert load(str(folder)).card["notes"] == ["1 of 2 test queries occur in train too (q1)"]
    sampled = load(str(folder), DatasetSettings(max_test_queries=1))
    assert len(sampled.test) == len(sampled.test.qrels) == 1
    assert sampled.card["protocol"]["sample"].startswith("the 1 of 2 test queries")
    assert sampled.card["checksum"] != load(str(folder)).card["checksum"]


def test_cutting_passes_grades_to_every_passage(tmp_path: Path) -> None:
    dataset = load(str(write(tmp_path)), DatasetSettings(max_passage_words=4))
    assert [tuple(p) for p in dataset.corpus] == [
        ("d1.0", "Cats", "Cats purr.", "d1"),
        ("d1.1", "Cats", "They sleep all day.", "d1"),
        ("d2.0", "", "Dogs bark.", "d2"),
        ("d3.0", "", "Fish swim.", "sea"),
    ]
    assert dataset.test.qrels == {"q1": {"d1.0": 2, "d1.1": 2, "d2.0": 0}, "q3": {"d3.0": 1}}
    assert "inherits" in dataset.card["protocol"]["judgements"]


def second(line: str) -> Callable[[str], str]:
    """Make a corpus whose second line is `line`."""
    return lambda text: text.splitlines()[0] + "\n" + line + "\n" + "\n".join(text.splitlines()[2:]) + "\n"


BAD_RECORDS = {
    "broken JSON": ('{"_id": "d2", "text": "x"', r"delimiter at column \d+"),
    "not an object": ('["d2", "x"]', "a list"),
    "a number": ("17", "a number"),
    "no _id": ('{"text": "x"}', "no field '_id'"),
    "null _id": ('{"_id": null, "text": "x"}', "'_id': null"),
    "numeric _id": ('{"_id": 2, "text": "x"}', "'_id': a number"),
    "no text": ('{"_id": "d2"}', "no field 'text'"),
    "text not a string": ('{"_id": "d2", "text": ["x"]}', "'text': a list"),
    "empty _id": ('{"_id": "", "text": "x"}', "''"),
    "blank in _id": ('{"_id": "d 2", "text": "x"}', "'d 2'"),
    "tab in _id": ('{"_id": "d\\t2", "text": "x"}', r"'d\\t2'"),
    "line end in _id": ('{"_id": "d2\\n", "text": "x"}', r"'d2\\n'"),
    "no-break space in _id": ('{"_id": "d\\u00a02", "text": "x"}', r"'d\\xa02'"),
    "NUL": ('{"_id": "d2", "text": "ab\\u0000"}', "NUL character at position 2 of 'text'"),
    "lone surrogate": ('{"_id": "d2", "text": "a\\ud800"}', r"'\\ud800'\) at position 1 of 'text'"),
    "deep nesting": ("[" * 100_000, "cannot be read"),
    "endless number": ('{"_id": ' + "1" * 5000 + "}", "cannot be read"),
    "duplicate id": (None, r"'\w1' again, first used in line 1"),
}


@pytest.mark.parametrize("file", ["corpus", "queries"])
@pytest.mark.parametrize("case", BAD_RECORDS)
def test_bad_record(tmp_path: Path, file: str, case: str) -> None:
    line, got = BAD_RECORDS[case]
    rows = {"corpus": CORPUS, "queries": QUERIES}[file]
    good = "".join(json.dumps(row) + "\n" for row in rows)
    bad = second(json.dumps({"_id": rows[0]["_id"], "text": "x"}) if line is None else line)(good)
    error = fails(write(tmp_path, **{file: bad}))
    assert re.search(got, error.got), error.got
    assert (error.file, error.line) == (tmp_path / f"{file}.jsonl", 2)
    assert str(error).startswith(f"{tmp_path / file}.jsonl:2\n")


@pytest.mark.parametrize(
    ("record", "got"),
    [
        ('{"_id": "d2", "text": "x", "title": 5}', "'title': a number"),
        ('{"_id": "d2", "text": "x", "document": ""}', "''"),
        ('{"_id": "d2", "text": "x", "document": true}', "'document': true or false"),
    ],
)
def test_bad_passage(tmp_path: Path, record: str, got: str) -> None:
    error = fails(write(tmp_path, corpus=second(record)("\n".join(json.dumps(row) for row in CORPUS))))
    assert (error.got, error.line) == (got, 2)


@pytest.mark.parametrize("answers", ['"x"', "[1]", '{"a": "b"}'])
def test_bad_answers(tmp_path: Path, answers: str) -> None:
    record = f'{{"_id": "q2", "text": "x", "metadata": {{"answers": {answers}}}}}'
    error = fails(write(tmp_path, queries=second(record)("\n".join(json.dumps(row) for row in QUERIES))))
    assert error.expected == "metadata.answers to be a list of strings"
    assert error.line == 2


def test_broken_line_is_counted_with_blank_ones(tmp_path: Path) -> None:
    corpus = "\n".join(f'{{"_id": "d{n}", "text": "x"}}' for n in range(1, 16)) + "\n\n{broken\n"
    assert fails(write(tmp_path, corpus=corpus)).line == 17


BAD_QRELS = {
    "missing header": ("q1\td1\t1\n", 1, r"'q1\\td1\\t1'"),
    "header with blanks": ("query-id corpus-id score\nq1\td1\t1\n", 1, "query-id corpus-id score"),
    "two columns": (HEADER + "q1\td1\n", 2, "2 columns"),
    "blanks for tabs": (HEADER + "q1 d1 1\n", 2, "1 column:"),
    "four columns": (HEADER + "q1\t0\td1\t1\n", 2, "4 columns"),
    "unknown passage": (HEADER + "q1\td1\t1\nq1\td9\t1\n", 3, "the corpus-id 'd9', which no passage has"),
    "unknown query": (HEADER + "q1\td1\t1\nq9\td1\t1\n", 3, "the query-id 'q9', which no query has"),
    "decimal grade": (HEADER + "q1\td1\t1.0\n", 2, "'1.0'"),
    "worded grade": (HEADER + "q1\td1\tyes\n", 2, "'yes'"),
    "underscored grade": (HEADER + "q1\td1\t1_0\n", 2, "'1_0'"),
    "foreign digit": (HEADER + "q1\td1\t١\n", 2, "'١'"),
    "no grade": (HEADER + "q1\td1\t\n", 2, "''"),
    "huge grade": (HEADER + "q1\td1\t2147483648\n", 2, "'2147483648'"),
    "empty qid": (HEADER + "\td1\t1\n", 2, "''"),
    "blank in docid": (HEADER + "q1\td 1\t1\n", 2, "'d 1'"),
    "two grades": (HEADER + "q1\td1\t1\nq1\td1\t2\n", 3, "grade 2 for q1 d1, after grade 1"),
}


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("case", BAD_QRELS)
def test_bad_judgement(tmp_path: Path, split: str, case: str) -> None:
    content, line, got = BAD_QRELS[case]
    error = fails(write(tmp_path, **{split: content}))
    assert re.search(got, error.got), error.got
    assert (error.file, error.line) == (tmp_path / "qrels" / f"{split}.tsv", line)


@pytest.mark.parametrize("content", ["", HEADER, HEADER + "q1\td1\t0\n"])
def test_no_test_queries(tmp_path: Path, content: str) -> None:
    error = fails(write(tmp_path, test=content))
    assert error.got.startswith("no test query")
    assert error.file == tmp_path / "qrels" / "test.tsv"


@pytest.mark.parametrize("content", ["", "\n \n", b"\xef\xbb\xbf"])
def test_empty_corpus(tmp_path: Path, content: str | bytes) -> None:
    error = fails(write(tmp_path, corpus=content))
    assert (error.got, error.file) == ("an empty corpus", tmp_path / "corpus.jsonl")


@pytest.mark.parametrize(
    ("content", "line", "got"),
    [
        (b'{"_id": "d1", "text": "x"}\n{"_id": "d2", "text": "caf\xe9"}\n', 2, "0xe9 at offset 53"),
        (b'\xef\xbb\xbf{"_id": "d1", "text": "\xff"}\n', 1, "0xff at offset 26"),
        (b'{"_id": "d1", "text": "x"}\n{"_id": "d2", \x00}\n', 2, "NUL byte at offset 41"),
        ('{"_id": "d1", "text": "x"}'.encode("utf-16"), 1, "0xff at offset 0"),
        (b'{"_id": "d1", "text": "\xed\xa0\x80"}', 1, "0xed at offset 23"),
    ],
)
def test_not_utf8(tmp_path: Path, content: bytes, line: int, got: str) -> None:
    error = fails(write(tmp_path, corpus=content))
    assert got in error.got
    assert (error.file, error.line) == (tmp_path / "corpus.jsonl", line)


@pytest.mark.parametrize("missing", ["corpus.jsonl", "queries.jsonl", "qrels/test.tsv"])
def test_missing_file(tmp_path: Path, missing: str) -> None:
    folder = write(tmp_path)
    (folder / missing).unlink()
    error = fails(folder)
    assert (error.got, error.file) == ("no such file", tmp_path / missing)


def test_folder_where_a_file_should_be(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "queries.jsonl").unlink()
    (folder / "queries.jsonl").mkdir()
    assert fails(folder).file == tmp_path / "queries.jsonl"


def test_not_a_folder(tmp_path: Path) -> None:
    assert fails(write(tmp_path) / "corpus.jsonl").got == "a file"
    assert fails(tmp_path / "nothing").got == "no such folder"


def counts(dataset: Dataset) -> tuple[int, ...]:
    return (len(dataset.corpus), len(dataset.train), len(dataset.dev), len(dataset.test))


@pytest.mark.shared_data
@pytest.mark.parametrize("name", ["boolq", "cranfield", "pubmedqa", "squad-dev", "xquad-en"])
def test_real_set_has_the_sizes_of_its_readme(shared_data: Path, name: str) -> None:
    readme = (shared_data / name / "README.md").read_text(encoding="utf-8")
    said = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \|$", readme, re.MULTILINE))
    dataset = load(f"beir:{shared_data / name}")
    assert counts(dataset) == tuple(int(said[what]) for what in ("passages", "train", "dev", "test"))
    judged = sum(len(j) for s in (dataset.train, dataset.dev, dataset.test) for j in s.qrels.values())
    assert judged == int(said["judgements"])
    assert dataset.card["notes"] == []
