"""Folders in BEIR layout that are written here: loaded again, they are the same data; whole or not there at all."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets import DatasetSettings, convert, load
from harness.datasets.finishing import finish
from harness.errors import ConfigError, DataError, StorageError
from harness.types import Dataset, Passage, Query, Split
from tests.unit.datasets.samples import dataset, passages

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
IDS = st.text(st.characters(exclude_categories=["Cs", "Zs", "Zl", "Zp", "Cc"]), min_size=1, max_size=5).filter(
    lambda name: not any(sign.isspace() for sign in name)
)
GRADES = st.integers(-(2**31) + 1, 2**31 - 1)


@st.composite
def datasets(draw: st.DrawFn) -> Dataset:
    """Any dataset a source may return; queries may stand in several splits, in one order."""
    docids = draw(st.lists(IDS, min_size=1, max_size=6, unique=True))
    corpus = [Passage(docid, draw(TEXTS), draw(TEXTS), draw(IDS)) for docid in docids]
    qids = draw(st.lists(IDS, min_size=1, max_size=6, unique=True))
    queries = [Query(qid, draw(TEXTS), tuple(draw(st.lists(TEXTS, max_size=2)))) for qid in qids]
    splits = {}
    for name in ("train", "dev", "test"):
        chosen = [query for query in queries if name == "test" or draw(st.booleans())]
        qrels = {}
        for query in chosen:
            judged = draw(st.dictionaries(st.sampled_from(docids), GRADES, max_size=3))
            qrels[query.qid] = {**judged, draw(st.sampled_from(docids)): draw(st.integers(1, 3))}
        splits[name] = Split(name, tuple(chosen), qrels)
    card = dataset([]).card
    return Dataset("any", dataset(corpus).corpus, **splits, card=card)


@settings(deadline=None, max_examples=150)
@given(datasets())
def test_what_is_loaded_again_is_the_same(before: Dataset) -> None:
    described = finish(before, DatasetSettings())
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "new" / "any"
        convert.write(described, folder)
        after = load(str(folder))
    assert after.card["checksum"] == described.card["checksum"]
    assert list(after.corpus) == list(before.corpus)
    assert (after.train, after.dev, after.test) == (before.train, before.dev, before.test)


def test_a_set_without_queries_is_loaded_again_as_one(tmp_path: Path) -> None:
    before = finish(dataset(passages({"a": "x", "b": "y"})), DatasetSettings())
    convert.write(before, tmp_path / "any")
    after = load(str(tmp_path / "any"))
    assert (len(after.test), after.card["checksum"]) == (0, before.card["checksum"])


def small() -> Dataset:
    given = dataset(passages({"a": "x", "b": "y"}), test={"q": {"a": 2, "b": 0}}, texts={"q": "Ω?"})
    asked = Split("test", (Query("q", "Ω?", ("an answer",)),), given.test.qrels)
    return finish(Dataset("small", given.corpus, given.train, given.dev, asked, given.card), DatasetSettings())


def test_the_files_are_those_of_the_layout(tmp_path: Path) -> None:
    convert.write(small(), tmp_path / "small")
    files = {path.relative_to(tmp_path).as_posix(): path.read_text("utf-8") for path in tmp_path.rglob("*.*")}
    card = json.loads(files.pop("small/card.json"))
    assert card == small().card
    assert files == {
        "small/corpus.jsonl": '{"_id": "a", "title": "Title of a", "text": "x"}\n'
        '{"_id": "b", "title": "Title of b", "text": "y"}\n',
        "small/queries.jsonl": '{"_id": "q", "text": "Ω?", "metadata": {"answers": ["an answer"]}}\n',
        "small/qrels/test.tsv": "query-id\tcorpus-id\tscore\nq\ta\t2\nq\tb\t0\n",
    }
    assert (tmp_path / "small").stat().st_mode & 0o777 == 0o777 & ~_umask()


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_there_is_left_alone(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "there"
    if kind == "folder":
        place.mkdir()
    elif kind == "file":
        place.write_text("mine")
    else:
        place.symlink_to(tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="not there yet"):
        convert.write(small(), place)
    assert [path.name for path in tmp_path.iterdir()] == ["there"]
    assert kind != "file" or place.read_text() == "mine"


@pytest.mark.parametrize("docid", ["a b", "a\tb", "", "a\u00a0b"])
def test_an_id_the_layout_cannot_hold_leaves_nothing_behind(tmp_path: Path, docid: str) -> None:
    bad = dataset([Passage("fine", "", "x", "fine"), Passage(docid, "", "x", "x")], test={"q": {"fine": 1}})
    with pytest.raises(DataError, match="no white space"):
        convert.write(bad, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_refused_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert.os, "fsync", refuse)
    with pytest.raises(StorageError, match="No space left on device"):
        convert.write(small(), tmp_path / "deep" / "out")
    assert list((tmp_path / "deep").iterdir()) == []


def shared(train: list[str], test: list[str], text: str = "x") -> Dataset:
    def part(name: str, qids: list[str], said: str) -> Split:
        return Split(name, tuple(Query(qid, said) for qid in qids), {qid: {"a": 1} for qid in qids})

    corpus = dataset(passages({"a": "x"})).corpus
    return Dataset("s", corpus, part("train", train, "x"), Split("dev"), part("test", test, text), dataset([]).card)


def test_queries_of_two_splits_keep_the_order_of_both(tmp_path: Path) -> None:
    before = shared(["b", "d"], ["a", "b", "c", "d"])
    convert.write(before, tmp_path / "out")
    after = load(str(tmp_path / "out"))
    assert (after.train, after.test) == (before.train, before.test)


@pytest.mark.parametrize(
    ("given", "said"), [(shared(["a", "b"], ["b", "a"]), "different orders"), (shared(["a"], ["a"], "y"), "two of 'a'")]
)
def test_queries_that_one_file_cannot_hold(tmp_path: Path, given: Dataset, said: str) -> None:
    with pytest.raises(DataError, match=said):
        convert.write(given, tmp_path / "out")
    assert list(tmp_path.iterdir()) == []
