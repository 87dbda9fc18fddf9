"""Leaks: test queries seen in training, whole relevant passages inside queries, queries copied from passages."""

from __future__ import annotations

from harness.datasets import leaks
from harness.datasets.leaks import Leak, Verbatim
from harness.types import Query, Split
from tests.unit.datasets.samples import dataset, passages

PASSAGES = {
    "long": "Otters hold hands while they sleep, so that none of them drifts away.",
    "short": "Bats hear.",
    "three": "Bats hear moths.",
}
QUESTIONS = {
    "holds": "Is it true: OTTERS hold hands, while they sleep so that none of them drifts away?",
    "two words": "do bats hear",
    "three words": "do bats hear moths?",
    "parts of words": "do wombats hear moths?",
    "copied": "hold hands while they sleep so that none",
    "seven words": "hold hands while they sleep so that",
    "equal": "Bats hear moths",
    "not relevant": "bats hear moths in the dark",
}
QRELS = {
    "holds": {"long": 1},
    "two words": {"short": 1},
    "three words": {"short": 2, "three": 1},
    "parts of words": {"three": 1},
    "copied": {"long": 1},
    "seven words": {"long": 1},
    "equal": {"three": 3},
    "not relevant": {"three": 0, "long": 1},
}


def test_repeated_queries_are_found_whatever_case_and_blanks() -> None:
    train = Split("train", (Query("t", "Straße  IN\nBerlin"),), {"t": {"d": 1}})
    test = Split("test", (Query("a", " strasse in berlin"), Query("b", "strasse berlin")), {})
    assert leaks.repeated(test, [train]) == ["a"]
    assert leaks.repeated(test, []) == []


def test_passages_in_queries_and_queries_in_passages() -> None:
    found = leaks.verbatim(dataset(passages(PASSAGES), dev=QRELS, texts=QUESTIONS))
    assert found["train"] == found["test"] == Verbatim([], [])
    assert found["dev"] == Verbatim(
        [Leak("holds", "long"), Leak("three words", "three"), Leak("equal", "three")], [Leak("copied", "long")]
    )


def test_only_what_leaks_is_noted() -> None:
    given = dataset(passages(PASSAGES), test=QRELS, texts=QUESTIONS)
    found = leaks.verbatim(given)["test"]
    assert list(found.notes(given.test)) == [
        "3 of 8 test queries hold a whole relevant passage (long in holds, three in three words, three in equal)"
    ]
    assert list(Verbatim([], found.copied).notes(given.test)) == []


def test_a_query_counts_once_however_many_passages_it_holds() -> None:
    texts = passages({"a": "one two three", "b": "two three four"})
    given = dataset(texts, test={"q": {"a": 1, "b": 1}}, texts={"q": "one two three four"})
    assert leaks.verbatim(given)["test"].whole == [Leak("q", "a")]


def test_three_names_stand_for_many() -> None:
    assert leaks.some(["a", "b", "c"]) == "a, b, c"
    assert leaks.some(["a", "b", "c", "d"]) == "a, b, c, …"
