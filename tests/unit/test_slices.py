from __future__ import annotations

import pytest

from harness.errors import UnknownNameError
from harness.slices import slices
from harness.types import Corpus, Dataset, Passage, Query, Split


def split(name: str, gold: dict[str, dict[str, int]], texts: dict[str, str] | None = None) -> Split:
    return Split(name, tuple(Query(qid, (texts or {}).get(qid, f"text of {qid}")) for qid in gold), gold)


def dataset(train: Split, test: Split) -> Dataset:
    passages = [Passage(f"d{n}", "Title", f"The  Große\nSTRASSE number {n}", f"d{n}") for n in range(10)]
    return Dataset("tiny", Corpus.from_passages(passages), train, Split("dev"), test)


def test_verbatim_ignores_case_and_white_space() -> None:
    texts = {
        "t0": "the große strasse",
        "t1": "THE GROSSE\tstraße  Number 1",
        "t2": "große",
        "t3": "number",
        "t4": " number 4 ",
        "t5": "number 9",
        "t6": "title",
        "t7": "",
        "t8": "grosse  number",
        "t9": "  ",
    }
    test = split("test", {f"t{n}": {f"d{n}": 1} for n in range(10)}, texts)
    found = slices(dataset(Split("train"), test), test)
    assert found["all"] == [f"t{n}" for n in range(10)]
    assert found["verbatim"] == ["t0", "t1", "t2", "t3", "t4"]
    assert found["not verbatim"] == ["t5", "t6", "t7", "t8", "t9"]
    assert next(iter(found)) == "all"


def test_one_relevant_passage_is_enough_and_grade_zero_is_not() -> None:
    texts = dict.fromkeys((f"t{n}" for n in range(10)), "number 1")
    gold = {f"t{n}": {"d1": 1, "d2": 1} if n < 5 else {"d1": 0, "d2": 1} for n in range(10)}
    test = split("test", gold, texts)
    found = slices(dataset(Split("train"), test), test)
    assert found["verbatim"] == [f"t{n}" for n in range(5)]
    assert found["not verbatim"] == [f"t{n}" for n in range(5, 10)]


def test_gold_train_queries_are_counted_once_over_all_gold_passages() -> None:
    # d0: none; d1: a; d2: a, b; d3: a, b, c, d; d4: five others; the judgement of grade 0 counts nowhere.
    train_gold = {
        "a": {"d1": 1, "d2": 1, "d3": 1},
        "b": {"d2": 1, "d3": 2},
        "c": {"d3": 1, "d0": 0},
        "d": {"d3": 1},
        **{f"e{n}": {"d4": 1} for n in range(5)},
    }
    gold = {
        **{f"none{n}": {"d0": 1} for n in range(5)},
        **{f"one{n}": {"d1": 1, "d0": 1} for n in range(5)},
        **{f"two{n}": {"d1": 1, "d2": 1} for n in range(5)},
        "four": {"d3": 1},
        **{f"five{n}": {"d4": 1} for n in range(5)},
        "eight": {"d3": 1, "d4": 1},
    }
    test = split("test", gold)
    found = slices(dataset(split("train", train_gold), test), "test")
    assert found["gold train queries 0"] == [f"none{n}" for n in range(5)]
    assert found["gold train queries 1"] == [f"one{n}" for n in range(5)]
    assert found["gold train queries 2-4"] == [*(f"two{n}" for n in range(5)), "four"]
    assert found["gold train queries 5+"] == [*(f"five{n}" for n in range(5)), "eight"]


@pytest.mark.parametrize(
    ("n", "kept"),
    [
        (4, {"all"}),
        (5, {"all", "not verbatim", "gold train queries 0", "query words 1-4", "gold overlap 0-24%"}),
    ],
)
def test_slices_of_fewer_than_five_are_left_out(n: int, kept: set[str]) -> None:
    test = split("test", {f"t{i}": {"d0": 1} for i in range(n)})
    assert set(slices(dataset(Split("train"), test), test)) == kept


def test_no_queries_and_docids_outside_the_corpus() -> None:
    empty = Split("test")
    assert slices(dataset(Split("train"), empty), empty) == {"all": []}
    outside = split("test", {"t": {"gone": 1}})
    assert slices(dataset(Split("train"), outside), outside) == {"all": ["t"]}


def test_an_unknown_split_is_named() -> None:
    with pytest.raises(UnknownNameError, match="a known split"):
        slices(dataset(Split("train"), Split("test")), "tset")


def test_words_of_a_query_are_counted() -> None:
    counts = (0, 1, 4, 5, 8, 9, 12, 13, 40)
    texts = {f"t{n}.{i}": ", ".join(["number"] * n) for n in counts for i in range(5)}
    test = split("test", {qid: {"d1": 1} for qid in texts}, texts)
    found = slices(dataset(Split("train"), test), test)
    named = {name: [n for n in counts if f"t{n}.0" in qids] for name, qids in found.items() if "words" in name}
    assert named == {
        "query words 1-4": [0, 1, 4],
        "query words 5-8": [5, 8],
        "query words 9-12": [9, 12],
        "query words 13+": [13, 40],
    }


def test_overlap_counts_different_words_in_title_or_text_of_the_best_passage() -> None:
    # A passage holds: title, the, große (casefolded grosse), strasse, number, and its own number.
    shares = {
        "none of these": "0-24%",
        "": "0-24%",
        "number a b c d number": "0-24%",
        "number a b c": "25-49%",
        "NUMBER grosse, a b": "50-74%",
        "TITLE, number! strasse; a": "75-100%",
        "the number 2": "75-100%",
    }
    texts = {f"{n}.{i}": text for n, text in enumerate(shares) for i in range(5)}
    test = split("test", {qid: {"d1": 1, "d2": 1, "d3": 0} for qid in texts}, texts)
    found = slices(dataset(Split("train"), test), test)
    for n, share in enumerate(shares.values()):
        assert f"{n}.0" in found[f"gold overlap {share}"]
    outside = split("test", {f"t{n}": {"gone": 1} for n in range(5)}, {f"t{n}": "the number" for n in range(5)})
    assert len(slices(dataset(Split("train"), outside), outside)["gold overlap 0-24%"]) == 5
