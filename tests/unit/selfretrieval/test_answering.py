"""Answers of Self-Retrieval on a tiny random model, against plain forward passes over the whole text."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from harness.errors import ConfigError
from harness.lm.greedy import Written
from harness.retriever import Answering
from harness.types import Passage
from selfretrieval import SelfRetriever, answer, prompts
from tests.lm_models import logprobs_after, tiny_folder
from tests.unit.selfretrieval.test_self_retriever import CORPUS, QUERIES, built

TOKENS = 9


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def retriever(folder: str) -> SelfRetriever:
    """Trained until its answers differ."""
    training = {"tokens": 15_000, "frozen_layers": 0, "dtype": "float32", "learning_rate": 1e-2, "batch_tokens": 256}
    return built(folder, answer_tokens=TOKENS, training={**training, "freeze_embeddings": False})


def passage_of(docid: str) -> Passage:
    return CORPUS[CORPUS.row_of[docid]]


def likeliest(retriever: SelfRetriever, query: str, passage: Passage) -> tuple[str, float]:
    """What is written behind the whole text, token by token, and its log-probability."""
    backbone = retriever.parts.backbone
    assert backbone.vocabulary is not None
    text = (
        f"Question: {' '.join(query.split())}\n\n Related document title:"
        f"{prompts.title_of(passage.title, passage.text)}\n Related document content: {passage.text}\n\n Final answer:"
    )
    tokens, written, total = backbone.encode([text])[0], list[int](), 0.0
    while len(written) < TOKENS:
        step = logprobs_after(backbone, [*tokens, *written])[backbone.vocabulary]
        total += step.max() - np.logaddexp.reduce(step)
        token = int(backbone.vocabulary[step.argmax()])
        if token == backbone.end:
            break
        written.append(token)
    return backbone.decode(written).strip(), total


@pytest.mark.parametrize("changes", [{}, {"candidates": "all"}])
@pytest.mark.parametrize("query", QUERIES)
def test_the_answer_is_what_follows_its_own_best_passage(
    retriever: SelfRetriever, query: str, changes: dict[str, Any]
) -> None:
    assert isinstance(retriever, Answering)
    asked = retriever.with_settings(**changes)
    (found,) = asked.answer([query])
    (hits,) = asked.search([query], 1)
    assert found.docid == hits[0].docid
    text, total = likeliest(retriever, query, passage_of(hits[0].docid))
    assert found.text == text
    assert found.logprob == pytest.approx(total, abs=2e-3)


def test_batches_change_no_answer(retriever: SelfRetriever) -> None:
    together = retriever.answer(QUERIES)
    assert [a[:2] for a in together] == [retriever.answer([query])[0][:2] for query in QUERIES]
    assert len({a.text for a in together}) > 1
    assert retriever.answer([]) == []


@pytest.mark.parametrize("changes", [{"titles": False}, {"assessment": False}, {"reach": "any sentence"}])
def test_every_way_of_searching_can_be_answered_from(folder: str, changes: dict[str, Any]) -> None:
    other = built(folder, answer_tokens=TOKENS, **changes)
    for found, hits in zip(other.answer(QUERIES), other.search(QUERIES, 1), strict=True):
        assert found.docid == hits[0].docid


def test_the_answer_goes_on_from_the_cache_and_is_counted(retriever: SelfRetriever) -> None:
    retriever.search(QUERIES[:1], 1)
    searched = retriever.counters()["model_calls"]
    retriever.answer(QUERIES[:1])
    assert 1 < retriever.counters()["model_calls"] - searched <= TOKENS + 1


def refusing(
    monkeypatch: pytest.MonkeyPatch, retriever: SelfRetriever, times: int, cut: int | None = None
) -> list[list[tuple[int, ...]]]:
    """Let the first passages be refused, cut short if asked for; return the rows of those that are tried."""
    refusal = tuple(retriever.parts.backbone.encode_after(prompts.ANSWER, [prompts.REJECT])[0])[:cut]
    tried: list[list[tuple[int, ...]]] = []
    write = answer._write

    def instead(lattice: Any, candidates: Any, *more: Any) -> list[Written]:
        tried.append([c.items for c in candidates])
        written = write(lattice, candidates, *more)
        return [Written(refusal, -1.5, cut is None) for _ in written] if len(tried) <= times else written

    monkeypatch.setattr(answer, "_write", instead)
    return tried


def test_a_refusal_is_an_empty_text_of_the_best_passage(
    retriever: SelfRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = refusing(monkeypatch, retriever, 1)
    found = retriever.answer(QUERIES)
    assert [a.text for a in found] == ["", "", ""]
    assert [a.docid for a in found] == [hits[0].docid for hits in retriever.search(QUERIES, 1)]
    assert {a.logprob for a in found} == {-1.5}
    assert len(tried) == 1


@pytest.mark.parametrize("cut", [1, 5])
def test_a_refusal_that_is_cut_short_is_one(
    retriever: SelfRetriever, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    tried = refusing(monkeypatch, retriever, 1, cut)
    found = retriever.answer(QUERIES)
    assert [a.text for a in found] == ["", "", ""]
    assert len(tried) == 1
    text = retriever.parts.backbone.decode(retriever.parts.backbone.encode([prompts.REJECT])[0][:5]).strip()
    ended = Written(tuple(retriever.parts.backbone.encode([f" {text}"])[0]), -1.0, True)
    monkeypatch.setattr(answer, "_write", lambda lattice, candidates, *_: [ended for _ in candidates])
    assert {a.text for a in retriever.answer(QUERIES)} == {text}  # what ends there says so itself


def test_after_a_refusal_the_next_passage_is_tried_and_a_copy_is_none(
    retriever: SelfRetriever, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = retriever.with_settings(answer_candidates=100)
    (hits,) = several.search(["twice"], 100)
    passages = list(dict.fromkeys((hit.title, hit.text) for hit in hits))
    assert len(passages) == len(hits) - 1  # two are copies
    tried = refusing(monkeypatch, several, 2)
    (found,) = several.answer(["twice"])
    assert found.docid is not None
    assert (passage_of(found.docid).title, passage_of(found.docid).text) == passages[2]
    assert found.text == likeliest(several, "twice", passage_of(found.docid))[0]
    assert len(tried) == 3
    tried = refusing(monkeypatch, several, 100)
    (refused,) = several.answer(["twice"])
    assert (refused.text, refused.docid, len(tried)) == ("", hits[0].docid, len(passages))


def test_settings_out_of_range_are_refused(retriever: SelfRetriever) -> None:
    with pytest.raises(ConfigError, match="answer_candidates"):
        retriever.with_settings(answer_candidates=0)
