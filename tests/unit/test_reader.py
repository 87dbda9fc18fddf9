"""The dense reader on a tiny random model: what it is trained on, what it reads, and that it is the dense search."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from baselines.dense import Dense, DenseSettings
from baselines.reader import DenseReader, ReaderSettings
from harness import registry
from harness.answer_match import token_f1
from harness.errors import DataError
from harness.lm.examples import Example
from harness.retriever import Answering, Resumable
from harness.types import Corpus, Passage, Query, Split
from tests.lm_models import logprobs_after, tiny_folder

CORPUS = Corpus.from_passages(
    [
        Passage("a.0", "Paris", "Paris lies on the river Seine.", "a"),
        Passage("b.0", "Rome", "Rome is the  capital of Italy.", "b"),
        Passage("c.0", "", "Nobody gave this one a title.", "c"),
        Passage("d.0", "Oslo", "Oslo is cold in winter.", "d"),
    ]
)
TRAIN = Split(
    "train",
    (
        Query("q1", "Which river?", ("the Seine", "Seine")),
        Query("q2", "no answer here"),
        Query("q3", "cold?", ("Oslo",)),
    ),
    {"q1": {"a.0": 1}, "q2": {"b.0": 1}, "q3": {"d.0": 1, "c.0": 2}},
)
NOBODY = Split("dev")
QUERIES = ["Which river flows through Paris?", "", "capital of Italy"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def built(folder: str, train: Split = TRAIN, **changes: Any) -> DenseReader:
    training = {"tokens": 1200, "frozen_layers": 0, "dtype": "float32", "learning_rate": 3e-3}
    given = {"backbone": folder, "training": training, "dtype": "float32", "answer_tokens": 8, **changes}
    reader = DenseReader(ReaderSettings.model_validate(given))
    reader.index(CORPUS, train, NOBODY)
    return reader


@pytest.fixture(scope="module")
def reader(folder: str) -> DenseReader:
    return built(folder)


def shown(reader: DenseReader, example: Example) -> str:
    """An example as text, what is learned between stars."""
    backbone = reader._ready().backbone
    (start, end), tokens = example.spans[0], example.tokens
    return f"{backbone.decode(tokens[:start])}*{backbone.decode(tokens[start:end])}*{backbone.decode(tokens[end:])}"


def examples(reader: DenseReader) -> list[str]:
    found = reader._examples(reader._ready().backbone, CORPUS, TRAIN, random.Random(0))
    return [shown(reader, example) for example in found]


def test_it_learns_the_first_answer_behind_the_gold_passage(reader: DenseReader) -> None:
    assert examples(reader) == [
        "Question: Which river?\n\n Document title: Paris\n Document content: Paris lies on the river Seine."
        "\n\n Final answer:* the Seine<end>*",
        "Question: cold?\n\n Document title:\n Document content: Nobody gave this one a title."
        "\n\n Final answer:* Oslo<end>*",
    ]


def test_with_more_passages_the_gold_one_stands_among_others(folder: str) -> None:
    wide = built(folder, passages=3)
    first, second = examples(wide)
    assert (first.count("Document title:"), second.count("Document title:")) == (3, 3)
    assert first.count("river Seine") == second.count("Nobody gave") == 1
    wider = built(folder, passages=50)
    assert [text.count("Document title:") for text in examples(wider)] == [4, 4]
    assert len(wider.answer(QUERIES)) == 3


def test_search_is_that_of_dense(reader: DenseReader) -> None:
    dense = Dense(DenseSettings(), 0)
    dense.index(CORPUS, NOBODY, NOBODY)
    assert reader.search(QUERIES, 3) == dense.search(QUERIES, 3)


def test_an_answer_is_the_likeliest_text_behind_the_best_passage(reader: DenseReader) -> None:
    backbone = reader._ready().backbone
    assert backbone.vocabulary is not None
    for query, answer in zip(QUERIES, reader.answer(QUERIES), strict=True):
        (best,) = reader.search([query], 1)[0]
        passage = CORPUS[CORPUS.row_of[best.docid]]
        title = f" {passage.title}" if passage.title else ""
        prompt = (
            f"Question: {query}\n\n Document title:{title}\n"
            f" Document content: {' '.join(passage.text.split())}\n\n Final answer:"
        )
        tokens, written = backbone.encode([prompt])[0], []
        while len(written) < 8:
            step = logprobs_after(backbone, [*tokens, *written])[backbone.vocabulary]
            token = int(backbone.vocabulary[step.argmax()])
            if token == backbone.end:
                break
            written.append(token)
        assert answer.text == backbone.decode(written).strip()
        assert answer.docid == best.docid
        assert answer.logprob < 0


def test_batches_change_no_answer(folder: str, reader: DenseReader) -> None:
    assert [reader.answer([query])[0].text for query in QUERIES] == [a.text for a in reader.answer(QUERIES)]
    assert reader.answer([]) == []


def test_it_learns_to_answer(folder: str) -> None:
    """What it was shown often enough it says."""
    one = Split("train", TRAIN.queries[:1], {"q1": {"a.0": 1}})
    training = {"tokens": 12_000, "frozen_layers": 0, "freeze_embeddings": False, "dtype": "float32"}
    trained = built(folder, one, answer_tokens=16, training={**training, "learning_rate": 1e-2, "batch_tokens": 256})
    assert trained.answer(["Which river?"])[0].text == "the Seine"
    assert 11_000 < trained.training_summary()["train_tokens"] <= 12_000


def test_dev_answers_choose_the_weights_and_a_checkpoint_is_kept(folder: str, tmp_path: Path) -> None:
    """Dev queries without answers are left out: of two one counts."""
    training = {"tokens": 3000, "frozen_layers": 0, "dtype": "float32", "dev_evaluations": 2, "checkpoint_s": 0.0}
    reader = DenseReader(ReaderSettings.model_validate({"backbone": folder, "training": training, "dtype": "float32"}))
    assert isinstance(reader, Resumable)
    reader.keep_training_in(tmp_path / "kept")
    dev = Split("dev", (Query("q8", "x"), Query("q9", "Which river?", ("Seine",))), {"q8": {}, "q9": {"a.0": 1}})
    reader.index(CORPUS, TRAIN, dev)
    found = reader._evaluation(dev, reader._ready())
    assert found is not None
    assert [query.qid for query in found.queries] == ["q9"]
    (answer,) = reader.answer(["Which river?"])
    assert found.score() == token_f1(answer.text, ("Seine",)) == reader.training_summary()["dev_score"]
    assert list((tmp_path / "kept").iterdir())
    assert reader._evaluation(NOBODY, reader._ready()) is None


def test_without_answers_nothing_is_trained_and_without_trimming_nothing_is_left_out(folder: str) -> None:
    plain = built(folder, Split("train", TRAIN.queries[1:2], {"q2": {"b.0": 1}}), trim_vocabulary=False)
    assert plain.training_summary() == {}
    assert plain._ready().backbone.vocabulary is None
    assert len(plain.answer(QUERIES)) == 3


def test_saved_and_loaded(reader: DenseReader, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    reader.save(tmp_path)
    loaded = DenseReader.load(tmp_path)
    assert loaded.answer(QUERIES) == reader.answer(QUERIES)
    assert loaded.search(QUERIES, 4) == reader.search(QUERIES, 4)
    assert loaded.footprint() == reader.footprint()
    assert AutoModelForCausalLM.from_pretrained(tmp_path).config.model_type == "llama"


def test_footprint_is_more_than_that_of_dense(reader: DenseReader) -> None:
    dense, own = reader._dense.footprint(), reader.footprint()
    assert own.index_bytes > dense.index_bytes
    assert own.parameter_bytes == dense.parameter_bytes + reader._ready().backbone.parameter_bytes


def test_it_is_registered_and_answers() -> None:
    system = registry.get("dense-reader")
    assert isinstance(system.build(system.config(), 0), Answering)
    with pytest.raises(ValidationError):
        system.config(passages=0)
    with pytest.raises(DataError, match="call index or load"):
        DenseReader().answer(["x"])
