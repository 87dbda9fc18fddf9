"""What is saved comes back exactly, memory-mapped; a damaged folder is refused."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets.stored import checksum, gather, open_folder, save
from harness.errors import RunFolderError, StorageError
from harness.types import Corpus, Dataset, Passage, Query, Split

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
GRADES = st.integers(-(2**31), 2**31 - 1)
PASSAGES = st.lists(st.builds(Passage, WORDS, WORDS, WORDS, WORDS), max_size=8)


@st.composite
def splits(draw: st.DrawFn, name: str) -> Split:
    queries = draw(st.lists(st.builds(Query, WORDS, WORDS, st.lists(WORDS, max_size=3).map(tuple)), max_size=4))
    qrels = draw(st.dictionaries(WORDS, st.dictionaries(WORDS, GRADES, min_size=1, max_size=3), max_size=4))
    return Split(name, tuple(queries), qrels)


def small(**changes: object) -> Dataset:
    passages = [Passage("d1", "T", "one", "d1"), Passage("d2", "", "two", "d1")]
    parts: dict[str, object] = {
        "corpus": Corpus.from_passages(passages),
        "train": Split("train"),
        "dev": Split("dev"),
        "test": Split("test", (Query("q", "?", ("a", "b")),), {"q": {"d2": 1, "d1": 0}}),
    }
    return Dataset("a/b", card={"notes": ["n"]}, **(parts | changes))  # type: ignore[arg-type]


@settings(max_examples=60, deadline=None)
@given(WORDS, PASSAGES, splits("train"), splits("dev"), splits("test"))
def test_round_trip(name: str, passages: list[Passage], train: Split, dev: Split, test: Split) -> None:
    card = {"name": name, "protocol": {"sample": None}, "notes": ["ü"], "passages": len(passages)}
    before = Dataset(name, gather(passages), train, dev, test, card)
    with tempfile.TemporaryDirectory() as folder:
        save(before, Path(folder) / "new" / "data")
        after = open_folder(Path(folder) / "new" / "data")
        assert (after.name, list(after.corpus), after.card) == (name, passages, card)
        assert (after.train, after.dev, after.test) == (train, dev, test)
        assert checksum(after) == checksum(before)


def test_opening_maps_the_corpus_instead_of_reading_it(tmp_path: Path) -> None:
    passages = (Passage(f"d{n}", "", "x" * 1000, f"d{n}") for n in range(5000))
    save(small(corpus=gather(passages)), tmp_path)
    before = pa.total_allocated_bytes()
    dataset = open_folder(tmp_path)
    assert pa.total_allocated_bytes() - before < 100_000
    assert dataset.corpus[4999].text == "x" * 1000


def test_gather_makes_batches_of_bounded_size() -> None:
    corpus = gather(Passage(f"d{n}", "", "x", f"d{n}") for n in range(10_000))
    assert corpus.docids == tuple(f"d{n}" for n in range(10_000))
    assert max(len(chunk) for chunk in corpus.table.column("text").chunks) <= 4096


def test_files_hold_the_columns_of_the_contract(tmp_path: Path) -> None:
    save(small(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "card.json",
        "corpus.arrow",
        "qrels.parquet",
        "queries.parquet",
    ]
    queries, qrels = pq.read_table(tmp_path / "queries.parquet"), pq.read_table(tmp_path / "qrels.parquet")
    assert queries.to_pylist() == [{"split": "test", "qid": "q", "text": "?", "answers": ["a", "b"]}]
    assert qrels.to_pylist() == [
        {"split": "test", "qid": "q", "docid": "d2", "grade": 1},
        {"split": "test", "qid": "q", "docid": "d1", "grade": 0},
    ]
    assert qrels.schema.field("grade").type == pa.int32()
    assert json.loads((tmp_path / "card.json").read_text()) == {"notes": ["n"]}


def test_checksum_is_of_the_documented_lines() -> None:
    import hashlib

    lines = (
        b'["passage","d1","T","one","d1"]\n["passage","d2","","two","d1"]\n["query","test","q","?",["a","b"]]\n'
        b'["judgement","test","q","d1",0]\n["judgement","test","q","d2",1]\n'
    )
    assert checksum(small()) == hashlib.sha256(lines).hexdigest()


@pytest.mark.parametrize(
    "change",
    [
        {"corpus": Corpus.from_passages([Passage("d1", "T", "one", "d1"), Passage("d2", "", "two", "d2")])},
        {"test": Split("test", (Query("q", "?", ("a",)),), {"q": {"d2": 1, "d1": 0}})},
        {"test": Split("test", (Query("q", "?", ("a", "b")),), {"q": {"d2": 2, "d1": 0}})},
        {"dev": Split("dev", (Query("p", "?"),), {})},
    ],
)
def test_checksum_sees_every_change(change: dict[str, object]) -> None:
    assert checksum(small(**change)) != checksum(small())


@pytest.mark.parametrize("name", ["corpus.arrow", "queries.parquet", "qrels.parquet", "card.json"])
@pytest.mark.parametrize("damage", ["missing", "cut", "other"])
def test_damaged_folder(tmp_path: Path, name: str, damage: str) -> None:
    save(small(), tmp_path)
    path = tmp_path / name
    if damage == "missing":
        path.unlink()
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-9])
    elif name == "card.json":
        path.write_text('"not an object"')
    elif name == "corpus.arrow":
        table = pa.table({"x": [1]})
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)
    else:
        pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(RunFolderError, match=r"corpus\.arrow, queries\.parquet"):
        open_folder(tmp_path)


def test_refused_write_is_told_and_leaves_no_part(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="choose another folder"):
        save(small(), tmp_path / "file" / "data")
    (tmp_path / "data" / "qrels.parquet").mkdir(parents=True)
    with pytest.raises(StorageError):
        save(small(), tmp_path / "data")
    assert not list(tmp_path.rglob("*.part"))
