"""What is told of a dataset: every figure counted by hand, and hostile texts shown on one harmless line."""

from __future__ import annotations

import json

import pytest

from harness.datasets import DatasetSettings, inspect
from harness.datasets.finishing import finish
from harness.types import Dataset, Passage, Query, Split
from tests.unit.datasets.samples import dataset

PASSAGES = [
    Passage("a", "Bats", "Bats hear the moths.", "A"),
    Passage("b", "Bats", "bats hear the moths", "A"),
    Passage("c", "", " ", "C"),
    Passage("d", "Otters", "Otters hold hands while they sleep in the wide river.", "D"),
]


@pytest.fixture
def found() -> Dataset:
    given = dataset(
        PASSAGES,
        train={"t": {"d": 1}},
        test={"q": {"a": 2, "b": 1, "c": 0}, "r": {"d": 1}},
        texts={"t": "what HOLDS", "r": "hold hands while they sleep in the wide"},
    )
    asked = (Query("q", "what holds", ("an answer",)), given.test.queries[1])
    return finish(
        Dataset("small", given.corpus, given.train, given.dev, Split("test", asked, given.test.qrels), given.card),
        DatasetSettings(),
    )


def test_figures(found: Dataset) -> None:
    figures = inspect.examine(found)
    passages, queries = figures["passages"], figures["queries"]
    assert (passages["count"], passages["documents"], passages["empty"]) == (4, 3, 1)
    assert passages["words"] == {
        "mean": 4.5,
        "shortest": 0,
        "quarter": 0,
        "half": 4,
        "three_quarters": 4,
        "p95": 4,
        "longest": 10,
    }
    assert passages["titles"] == {"passages": 3, "different": 2, "most_frequent": [["Bats", 2]]}
    assert passages["duplicates"] == {"spare": 1, "texts": 1, "examples": [["a", "b"]]}
    assert list(queries) == ["train", "test"]
    assert (queries["test"]["count"], queries["test"]["without_answers"]) == (2, 1)
    assert queries["test"]["grades"] == {"2": 1, "1": 2, "0": 1}
    assert queries["test"]["relevant_a_query"] == 1.5
    assert queries["test"]["words"]["longest"] == 8
    assert figures["leaks"] == {
        "test_queries_in": {"train": {"count": 1, "examples": ["q"]}},
        "verbatim": {
            "train": {"whole": {"count": 0, "examples": []}, "copied": {"count": 0, "examples": []}},
            "test": {"whole": {"count": 0, "examples": []}, "copied": {"count": 1, "examples": [("r", "d")]}},
        },
    }
    assert figures["card"]["checksum"] == found.card["checksum"]
    assert figures["examples"]["queries"]["test"][0] == {
        "qid": "q",
        "text": "what holds",
        "answers": ["an answer"],
        "relevant": ["a", "b"],
    }
    json.dumps(figures)


def test_rows_for_people(found: Dataset) -> None:
    rows = dict(inspect.rows(inspect.examine(found)))
    assert rows["passages"] == "4 of 3 documents, 1 empty"
    assert rows["words a passage"].startswith("mean 4.5; shortest 0, 25 % 0, median 4,")
    assert rows["titles"] == "2 on 3 passages; most: Bats (2)"
    assert rows["same text again"] == "1 passages of 1 texts: a = b"
    assert rows["test queries"] == "2, 1 without reference answers"
    assert rows["test: judgements"] == "1 of grade 2, 2 of grade 1, 1 of grade 0; 1.50 relevant passages a query"
    assert rows["leak: test queries in train"] == "1 (q)"
    assert rows["test query copied from a passage"] == "1 (r and d)"
    assert rows["note"] == "1 of 2 test queries occur in train too (q)"
    assert rows["passage a"] == "[Bats] Bats hear the moths."
    assert rows["test query q"] == "what holds (answers: an answer) -> a, b"
    assert rows["checksum"] == found.card["checksum"]
    assert rows["protocol: chunking"] == "none: every text is one passage"


def test_a_corpus_without_queries_or_titles() -> None:
    figures = inspect.examine(finish(dataset([Passage("a", "", "x", "a")]), DatasetSettings()))
    assert figures["queries"] == figures["examples"]["queries"] == {}
    rows = dict(inspect.rows(figures))
    assert rows["titles"] == "0 on 0 passages"
    assert rows["same text again"] == "0 passages of 0 texts"


def test_no_text_moves_the_cursor_or_fills_the_screen() -> None:
    nasty = "\x1b[2J\x07 red\u202e\n" + "z" * 500
    given = dataset([Passage("a", nasty, nasty, "a")], test={"q": {"a": 1}}, texts={"q": nasty})
    for _, shown in inspect.rows(inspect.examine(finish(given, DatasetSettings()))):
        assert all(sign.isprintable() for sign in shown)
        assert len(shown) < 400
