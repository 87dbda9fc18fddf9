"""Tables as corpora: their columns, the questions in them, and every way a row can be bad."""

from __future__ import annotations

import csv
import gzip
import json
import re
from pathlib import Path
from typing import Any

import pytest

from harness.datasets import DatasetSettings, load
from harness.errors import ConfigError, DataError, UnknownNameError
from harness.types import Dataset, Passage, Query

ROWS = [{"key": f"k{n}", "name": f"Name {n}", "body": f'Body "{n}",\nline two'} for n in range(1, 13)]
NAMED = "?text=body&title=name&docid=key"


def written(path: Path, rows: list[dict[str, Any]] = ROWS) -> Path:
    """Write a table of the kind that its name says."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
        table.writeheader()
        table.writerows(rows)
    return path


def columns(**named: str) -> DatasetSettings:
    return DatasetSettings.model_validate({"columns": named})


def golden(dataset: Dataset) -> None:
    assert len(dataset.corpus) == 12
    assert dataset.corpus[0] == Passage("k1", "Name 1", 'Body "1",\nline two', "k1")
    assert dataset.corpus[9] == Passage("k10", "Name 10", 'Body "10",\nline two', "k10")
    assert dataset.corpus[11] == Passage("k12", "Name 12", 'Body "12",\nline two', "k12")
    assert [len(split) for split in (dataset.train, dataset.dev, dataset.test)] == [0, 0, 0]


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".jsonl"])
def test_golden(tmp_path: Path, ending: str) -> None:
    path = written(tmp_path / f"faq{ending}")
    dataset = load(f"table:{path}{NAMED}")
    golden(dataset)
    assert dataset.name == "faq"
    assert dataset.card["source"] == f"the table faq{ending} (docid from 'key', title from 'name', text from 'body')"
    golden(load(f"table:{path}", columns(text="body", title="name", docid="key")))
    golden(load(f"table:{path}?text=body", columns(text="nothing", title="name", docid="key")))
    packed = tmp_path / f"faq{ending}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    path.unlink()
    again = load(f"table:{packed}{NAMED}")
    golden(again)
    assert (again.name, again.card["checksum"]) == ("faq", dataset.card["checksum"])


def test_usual_names_need_not_be_given(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_bytes(b"\xef\xbb\xbfid,title,text,query\r\nx,T,one,ignored\r\n\r\n,,,\r\ny,,two,\r\n")
    dataset = load(f"table:{path}")
    assert list(dataset.corpus) == [Passage("x", "T", "one", "x"), Passage("y", "", "two", "y")]
    assert len(dataset.test) == 0
    path.write_text("text\nfirst\nsecond\n")
    assert [tuple(passage) for passage in load(f"table:{path}").corpus] == [
        ("1", "", "first", "1"),
        ("2", "", "second", "2"),
    ]


def test_columns_that_only_later_rows_have_are_read(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"_id": "a", "text": "one"},
        {"_id": "b", "title": "T", "text": "two", "ask": "which?"},
    ]
    dataset = load(f"table:{written(tmp_path / 'x.jsonl', rows)}?query=ask")
    assert list(dataset.corpus) == [Passage("a", "", "one", "a"), Passage("b", "T", "two", "b")]
    assert [query.text for query in dataset.test.queries] == ["which?"]


@pytest.mark.parametrize("ending", ["jsonl", "ndjson", "NDJSON"])
def test_rows_of_objects_name_their_own_columns(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"faq.{ending}"
    path.write_text('{"text": "one", "_id": "o"}\n{"text": "two", "title": "Two", "_id": "t"}\n', encoding="utf-8")
    assert [(p.docid, p.title) for p in load(f"table:{path}").corpus] == [("o", ""), ("t", "Two")]


def test_a_document_may_have_several_rows_and_ids_may_be_numbers(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [{"id": 7, "text": "a", "of": "D"}, {"id": 8, "text": "b", "title": "T", "of": None}]
    dataset = load(f"table:{written(tmp_path / 'x.jsonl', rows)}?document=of")
    assert list(dataset.corpus) == [Passage("7", "", "a", "D"), Passage("8", "T", "b", "8")]


def test_questions_of_rows_become_test_queries(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"id": "a", "text": "Cats purr.", "q": "Who purrs?", "said": ["Cats"]},
        {"id": "b", "text": "Dogs bark.", "q": "", "said": []},
        {"id": "c", "text": "Lions purr too.", "q": "who  PURRS?", "said": ["Lions", "Cats"]},
        {"id": "d", "text": "Fish swim.", "q": "Who swims?", "said": None},
    ]
    dataset = load(f"table:{written(tmp_path / 'faq.jsonl', rows)}?query=q&answers=said")
    assert dataset.test.queries == (Query("q-a", "Who purrs?", ("Cats", "Lions")), Query("q-d", "Who swims?"))
    assert dataset.test.qrels == {"q-a": {"a": 1, "c": 1}, "q-d": {"d": 1}}
    assert dataset.card["queries"] == {"train": 0, "dev": 0, "test": 2}
    assert dataset.card["protocol"]["split_rule"] == "all are test queries"
    rows = [{"text": "Cats purr.", "q": "Who purrs?", "said": "Cats"}]
    assert load(f"table:{written(tmp_path / 'faq.csv', rows)}?query=q&answers=said").test.queries == (
        Query("q-1", "Who purrs?", ("Cats",)),
    )


def test_long_fields_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.csv"
    path.write_text('text\n"' + "word " * 100_000 + '"\n')
    assert len(load(f"table:{path}").corpus[0].text) == 500_000


BAD = {
    "no such column": ("a,text\n1,2\n", "?title=b", 2, r"the column 'b' \(title\)", "'a', 'text'"),
    "no column of texts": ("a,b\n1,2\n", "", 2, "the column 'text'", "'a', 'b'"),
    "no row": ("text\n", "", None, "at least one row", "none"),
    "empty": ("", "", None, "at least one row", "none"),
    "a column twice": ("text,text\n1,2\n", "", 1, "a name of its own for each column", "'text' twice"),
    "too few fields": ("a,text\n1,2\n3\n", "", 3, "2 fields", "1 field"),
    "too many fields": ('a,text\n"1\n1",2\n3,4,5\n', "", 4, "2 fields", "3 fields"),
    "an open quote": ('text\nx\n"y\nz\n', "", 3, "fields separated as in CSV", "unexpected end of data"),
    "text behind a quote": ('text\n"y"z\n', "", 2, "fields separated as in CSV", "expected after"),
    "the same id": ("id,text\na,1\nb,2\na,3\n", "", 4, "a docid of its own", "'a' again, first used in line 2"),
    "an empty id": ("id,text\n,1\n", "", 2, "a docid that is not empty", "''"),
    "a blank in an id": ("id,text\na b,1\n", "", 2, "a docid that is not empty", "'a b'"),
    "no question at all": ("q,text\n,1\n", "?query=q", None, "a question in the column 'q'", "none in any row"),
    "NUL": ("text\na\0\n", "", 2, "a text file in UTF-8", "NUL byte at offset 6"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_table(tmp_path: Path, case: str) -> None:
    content, named, line, expected, got = BAD[case]
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        load(f"table:{path}{named}")
    assert re.match(expected, caught.value.expected), caught.value.expected
    assert got in caught.value.got
    assert (caught.value.file, caught.value.line) == (path, line)


@pytest.mark.parametrize(
    ("row", "named", "got"),
    [
        ('{"text": 5}', "", "'text': a number"),
        ('{"text": null}', "", "'text': null"),
        ('{"text": "x", "id": true}', "", "'id': true or false"),
        ('{"text": "x", "id": 1.5}', "", "'id': a number"),
        ('{"text": "x", "title": ["y"]}', "", "'title': a list"),
        ('{"text": "x", "q": {}}', "?query=q", "'q': an object"),
        ('{"text": "x", "q": "y", "a": [1]}', "?query=q&answers=a", "something else"),
        ('{"text": "x", "q": "y", "a": 1}', "?query=q&answers=a", "something else"),
        ('{"text": "a\\ud800"}', "", r"half a surrogate pair ('\ud800') at position 1 of 'text'"),
    ],
)
def test_bad_value(tmp_path: Path, row: str, named: str, got: str) -> None:
    path = tmp_path / "x.jsonl"
    first = {"text": "x", "title": "t", "q": "z", "a": "z"} | ({"id": "1"} if '"id"' in row else {})
    path.write_text(json.dumps(first) + "\n" + row + "\n")
    with pytest.raises(DataError) as caught:
        load(f"table:{path}{named}")
    assert caught.value.got == got
    assert (caught.value.file, caught.value.line) == (path, 2)


def test_names_that_cannot_be_used(tmp_path: Path) -> None:
    path = written(tmp_path / "x.csv", [{"text": "a", "b=c": "T"}])
    assert load(f"table:{path}?title=b=c").corpus[0].title == "T"
    with pytest.raises(UnknownNameError, match="'docid'"):
        load(f"table:{path}?docids=b")
    with pytest.raises(UnknownNameError, match="'grade'"):
        load(f"table:{path}", columns(grade="b"))
    for bad in ("?title", "?title=", "?a&title=b"):
        with pytest.raises(ConfigError, match="the name of a column"):
            load(f"table:{path}{bad}")
    with pytest.raises(DataError, match="no such file"):
        load(f"table:{tmp_path / 'y.csv'}")
    with pytest.raises(DataError, match="a file of another kind"):
        load(f"table:{tmp_path / 'y.xlsx'}")
    with pytest.raises(DataError, match="texts:"):
        load(f"table:{tmp_path}")


def test_a_question_mark_in_the_name_of_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "what?.csv", [{"body": "a"}])
    assert load(f"table:{path}", columns(text="body")).corpus[0].text == "a"
    assert load(f"table:{path}?text=body").corpus[0].text == "a"


def test_a_damaged_packed_table(tmp_path: Path) -> None:
    whole = gzip.compress(b"text\n" + b"".join(b"line %d\n" % n for n in range(1000)))
    path = tmp_path / "x.csv.gz"
    for raw in (whole[:-20], b"no gzip", whole[:100] + b"\xff" * 50 + whole[150:]):
        path.write_bytes(raw)
        with pytest.raises(DataError, match="a whole archive") as caught:
            load(f"table:{path}")
        assert caught.value.file == path


def test_a_table_is_found_in_the_readers_own_folder_of_datasets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    written(tmp_path / "mine" / "faq.csv")
    monkeypatch.setenv("HARNESS_DATA", str(tmp_path / "mine"))
    golden(load(f"table:faq.csv{NAMED}"))
