"""Passages with the same text: found whatever case, blanks and punctuation; merged without losing a judgement."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.datasets import dedupe, sampling
from harness.types import Corpus, Passage
from tests.unit.datasets.samples import dataset, passages

TEXTS = {
    "a": "The cat sat.",
    "b": "A dog.",
    "c": "the  CAT, sat!",
    "d": "…",
    "e": " ",
    "f": "…",
    "g": "a dog",
    "h": "The cat sat on it.",
    "i": "«The cat – sat»",
}


def groups(corpus: Corpus) -> list[list[str]]:
    found = dedupe.doubles(corpus)
    return [[corpus[int(row)].docid for row in found.row[found.group == n]] for n in range(found.groups)]


def test_texts_are_the_same_but_for_case_blanks_and_punctuation() -> None:
    corpus = dataset(passages(TEXTS)).corpus
    assert sorted(groups(corpus)) == [["a", "c", "i"], ["b", "g"]]
    found = dedupe.doubles(corpus)
    assert (found.groups, found.spare) == (2, 3)


@pytest.mark.parametrize("texts", [{}, {"a": "x"}, {"a": "x", "b": "y"}, {"a": "", "b": ""}])
def test_nothing_is_found_where_nothing_is(texts: dict[str, str]) -> None:
    corpus = dataset(passages(texts)).corpus
    assert (dedupe.doubles(corpus).groups, dedupe.doubles(corpus).spare, groups(corpus)) == (0, 0, [])


@given(st.lists(st.sampled_from(["x", "y", "Z", "", "x.", "z"]), max_size=30))
def test_groups_are_those_of_a_plain_dictionary(texts: list[str]) -> None:
    expected: dict[str, list[str]] = {}
    for number, text in enumerate(texts):
        if words := dedupe.normal(text):
            expected.setdefault(words, []).append(str(number))
    corpus = dataset(passages({str(number): text for number, text in enumerate(texts)})).corpus
    assert sorted(groups(corpus)) == sorted(found for found in expected.values() if len(found) > 1)


def test_signs_that_belong_to_letters_are_no_punctuation() -> None:
    assert dedupe.normal("कि") != dedupe.normal("का")
    assert dedupe.normal("「東京」、大阪。") == "東京 大阪"
    assert dedupe.normal("$5") != dedupe.normal("5")


def first_by_hash(*names: str) -> str:
    return min(names, key=lambda name: hashlib.sha256(f"document|{name}".encode()).digest())


def test_the_one_kept_takes_over_the_judgements() -> None:
    before = dataset(passages(TEXTS), train={"q": {"g": 1, "b": 2}}, test={"r": {"a": 1, "c": 0, "h": 1}})
    after, gone = dedupe.merge(before)
    kept = first_by_hash("b", "g")
    assert gone == 3
    assert list(after.corpus.docids) == [docid for docid in TEXTS if docid not in {"c", "i"} | ({"b", "g"} - {kept})]
    assert after.train.qrels == {"q": {kept: 2}}
    assert after.test.qrels == {"r": {"a": 1, "h": 1}}
    assert before.test.qrels == {"r": {"a": 1, "c": 0, "h": 1}}


@pytest.mark.parametrize("gold", ["a", "c", "i"])
def test_a_relevant_document_is_kept_before_others(gold: str) -> None:
    after, _ = dedupe.merge(dataset(passages(TEXTS), test={"r": {gold: 1}}))
    assert after.test.qrels == {"r": {gold: 1}}
    assert {"a", "c", "i"} & set(after.corpus.docids) == {gold}


def test_of_one_document_the_first_passage_is_kept() -> None:
    texts = [Passage(f"d.{n}", "", "Same again.", "d") for n in range(3)]
    after, gone = dedupe.merge(dataset(texts, test={"q": {"d.2": 1}}))
    assert (after.corpus.docids, gone, after.test.qrels) == (("d.0",), 2, {"q": {"d.0": 1}})


def test_no_double_leaves_the_dataset_itself() -> None:
    before = dataset(passages({"a": "x", "b": "y"}))
    assert dedupe.merge(before) == (before, 0)


def test_merged_samples_stay_nested() -> None:
    texts = {f"d{n}": f"text {n % 9}" for n in range(60)}
    whole = dataset(passages(texts), test={"q": {"d33": 1}})
    kept = [set(dedupe.merge(sampling.documents(whole, n)[0])[0].corpus.docids) for n in range(1, 61)]
    assert all(smaller <= larger for smaller, larger in pairwise(kept))
    assert len(kept[-1]) == 9
