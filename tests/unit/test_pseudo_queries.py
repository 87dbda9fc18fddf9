"""Pseudo-queries: what the backbone writes for passages, and that DSI and Self-Retrieval learn from it."""

from __future__ import annotations

import gc
import itertools
import json
import weakref
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest

from baselines.dsi import Dsi, DsiSettings
from harness.errors import ConfigError
from harness.lm import pseudo_queries
from harness.lm.backbone import Backbone, load
from harness.lm.pseudo_queries import (
    NONE,
    TRAINING_FOLDER,
    PseudoQueries,
    PseudoQuerySettings,
    write_pseudo_queries,
)
from harness.lm.training import TrainingSummary
from harness.progress import SILENT, Progress
from harness.types import Corpus, Passage, Query, Split
from harness.validation import validated
from selfretrieval import SelfRetriever, prompts
from selfretrieval.settings import SelfRetrievalSettings
from tests.lm_models import Kept, tiny_folder

WORDS = ("river", "tower", "ocean", "engine", "castle")
CORPUS = Corpus.from_passages(
    Passage(f"d{i}", word.title(), f"This {word} is very old and it has been described before.", f"d{i}")
    for i, word in enumerate(WORDS)
)
TRAIN = Split(
    "train",
    tuple(Query(f"q{i}", f"which {word}?") for i, word in enumerate(WORDS[:3])),
    {f"q{i}": {f"d{i}": 1} for i in range(3)},
)
FAST = {"frozen_layers": 0, "freeze_embeddings": False, "dtype": "float32", "learning_rate": 1e-2, "batch_tokens": 256}


class Phases(Kept):
    def __init__(self) -> None:
        super().__init__()
        self.phases: list[str] = []

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self.phases.append(name)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def written(folder: str, seed: int = 0, progress: Progress = SILENT, **changes: Any) -> PseudoQueries:
    given = {"per_passage": 3, "query_tokens": 12, "training": {"tokens": 600, **FAST}, **changes}
    settings = PseudoQuerySettings.model_validate(given)
    return write_pseudo_queries(folder, CORPUS, TRAIN, settings, dtype="float32", seed=seed, progress=progress)


def test_every_passage_is_asked_about_and_each_query_counts_once(folder: str) -> None:
    pairs, summary = written(folder)
    assert [row for _, row in pairs] == sorted(row for _, row in pairs)
    asked = [(query.text.casefold(), row) for query, row in pairs]
    assert len(set(asked)) == len(asked) <= 3 * len(CORPUS)
    assert {row for _, row in pairs} == set(range(len(CORPUS)))
    assert len({query.qid for query, _ in pairs}) == len(pairs)
    assert 450 < summary.tokens <= 600


def test_the_seed_decides_what_is_written(folder: str) -> None:
    assert written(folder).pairs == written(folder).pairs != written(folder, seed=1).pairs


def test_a_writer_asks_what_it_was_taught_to_ask(folder: str) -> None:
    """Taught for long, and with nothing left to chance, it asks the training question of each passage that has one."""
    pairs, _ = written(folder, top_k=1, query_tokens=40, training={"tokens": 40_000, **FAST})
    assert [query.text for query, _ in pairs[:3]] == [query.text for query in TRAIN.queries]


def test_none_are_written_unless_asked_for() -> None:
    assert written("no such backbone", per_passage=0) == NONE


def test_the_log_holds_the_system_s_own_curve_alone(folder: str) -> None:
    progress = Phases()
    written(folder, progress=progress)
    assert progress.phases == ["pseudo-queries: load backbone", "pseudo-queries: train", "pseudo-queries: write"]
    assert not progress.rows


def dsi(folder: str, shares: dict[str, float], per_passage: int = 2) -> Dsi:
    pseudo = {"per_passage": per_passage, "query_tokens": 12, "training": {"tokens": 2000, **FAST}}
    given = {"backbone": folder, "docid": "naive", "training": {"tokens": 60_000, **FAST}, "dtype": "float32"}
    return Dsi(validated(DsiSettings, {**given, "shares": shares, "pseudo_queries": pseudo}, "a test"))


def test_dsi_learns_the_pseudo_queries(folder: str) -> None:
    """It reads nothing else, and finds by them the passages that they were written for."""
    system = dsi(folder, {"sentence": 0.0, "query": 0.0, "pseudo": 1.0})
    system.index(CORPUS, TRAIN, Split("dev"))
    pairs = write_pseudo_queries(
        folder, CORPUS, TRAIN, system.settings.pseudo_queries, dtype="float32", seed=0, progress=SILENT
    ).pairs
    found = system.search([query.text for query, _ in pairs], 1)
    right = [hits[0].docid == CORPUS.docids[row] for hits, (_, row) in zip(found, pairs, strict=True)]
    assert sum(right) >= 0.8 * len(pairs)
    assert 61_700 < system.training_summary()["train_tokens"] <= 62_000  # the writer's tokens are counted


def test_self_retrieval_learns_titles_from_them(folder: str) -> None:
    shares = {"memorise": 0.4, "pseudo": 0.6, "recall": 0, "title": 0, "passage": 0, "content": 0, "assess": 0}
    given = {"backbone": folder, "lowercase": False, "assessment": False, "training": {"tokens": 4000}}
    table = {**given, "shares": shares, "pseudo_queries": {"per_passage": 1}}
    retriever = SelfRetriever(SelfRetrievalSettings.model_validate(table))
    pseudo = PseudoQueries([(Query("d4#0", "is it a fortress"), 4)], NONE.summary)
    backbone, _, examples = retriever.lessons(load(folder), CORPUS, TRAIN, pseudo)
    texts = [backbone.decode(example.tokens) for example in examples]
    asked = [text for text in texts if text.startswith("Question: is it a fortress")]
    assert len(asked) > 5
    assert set(asked) == {f"Question: is it a fortress{prompts.TITLE} Castle{prompts.PASSAGE}"}
    assert len(asked) < len(texts)


@pytest.mark.parametrize("titles", [True, False])
def test_self_retrieval_learns_from_what_was_written(folder: str, titles: bool) -> None:
    shares = {"memorise": 0.4, "pseudo": 0.6, "recall": 0, "title": 0, "passage": 0, "content": 0, "assess": 0}
    given = {"backbone": folder, "assessment": False, "titles": titles, "training": {"tokens": 3000, **FAST}}
    pseudo = {"per_passage": 1, "query_tokens": 12, "training": {"tokens": 600, **FAST}}
    table = {**given, "shares": shares, "pseudo_queries": pseudo, "dtype": "float32"}
    retriever, progress = SelfRetriever(SelfRetrievalSettings.model_validate(table)), Phases()
    retriever.index(CORPUS, TRAIN, Split("dev"), progress)
    assert "pseudo-queries: write" in progress.phases
    assert 3300 < retriever.training_summary()["train_tokens"] <= 3600  # the writer's are counted
    assert max(int(row["tokens"]) for row in progress.rows) > 2800  # the curve is that of its own


class StoppedError(Exception):
    """The writer's training is interrupted."""


class Stopping(Phases):
    """Stops the writer in the middle of its training."""

    def advance(self, amount: int = 1) -> None:
        if self.phases[-1].startswith("pseudo-queries: train") and amount:
            self.phases.append("stopped")
        elif self.phases[-1] == "stopped":
            raise StoppedError


def test_an_interrupted_writer_goes_on_and_what_it_wrote_is_kept(folder: str, tmp_path: Path) -> None:
    training = {"tokens": 2000, "checkpoint_s": 0, **FAST}
    settings = PseudoQuerySettings.model_validate({"per_passage": 2, "query_tokens": 12, "training": training})

    def write(progress: Progress, **changes: Any) -> PseudoQueries:
        changed = settings.model_copy(update=changes)
        return write_pseudo_queries(
            folder,
            CORPUS,
            TRAIN,
            changed,
            dtype="float32",
            seed=0,
            progress=progress,
            checkpoints=tmp_path,
            clock=lambda: float(next(ticks)),
        )

    ticks = itertools.count()

    with pytest.raises(StoppedError):
        write(Stopping())
    second, third, changed, damaged = Phases(), Phases(), Phases(), Phases()
    found = write(second)
    assert any(name.startswith("pseudo-queries: train, resume at") for name in second.phases)
    assert (
        found.pairs
        == write_pseudo_queries(folder, CORPUS, TRAIN, settings, dtype="float32", seed=0, progress=SILENT).pairs
    )
    # The clock ticks at the beginning and at the end of the writing, which is no part of the training.
    earlier_s = found.summary.seconds + 1
    assert write(third) == found._replace(summary=replace(found.summary, earlier_s=earlier_s))
    assert third.phases == ["pseudo-queries: load backbone"]
    assert write(changed, top_k=2).pairs != found.pairs
    kept = json.loads((tmp_path / TRAINING_FOLDER / "queries.json").read_text())
    del kept["writing_s"]  # as it was kept before it was told
    (tmp_path / TRAINING_FOLDER / "queries.json").write_text(json.dumps(kept))
    again = write(Phases(), top_k=2).summary
    assert again.earlier_s == again.seconds
    nameless = json.dumps({"queries": [], "training": asdict(found.summary)})
    for text in (nameless, "{"):
        (tmp_path / TRAINING_FOLDER / "queries.json").write_text(text)
        assert write(damaged).pairs == found.pairs
    assert "pseudo-queries: write" in changed.phases and "pseudo-queries: write" in damaged.phases


def test_the_writer_does_not_stay_in_memory(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside the model that learns from it, it would count as that one's memory."""
    loaded: list[weakref.ref[Any]] = []

    def watched(name: str) -> Backbone:
        backbone = load(name)
        loaded.append(weakref.ref(backbone.model))
        return backbone

    monkeypatch.setattr(pseudo_queries, "load", watched)
    gc.disable()
    try:
        written(folder)
        assert [model() for model in loaded] == [None]
    finally:
        gc.enable()


def test_tokens_of_a_training_before_count_at_the_best_evaluation_too() -> None:
    """Else dev_tokens and train_tokens would be counted from different beginnings."""
    writer, own = TrainingSummary(50, 2.0, 3.0, 1.0), TrainingSummary(350, 8.0, 3.0, 1.0, 1.5, 0.4, 175)
    figures = own.behind(writer).figures()
    assert figures == {"train_tokens": 400, "tokens_per_s": 40, "dev_score": 0.4, "dev_tokens": 225, "dev_s": 1.5}
    assert replace(own, best_score=None, best_tokens=None).behind(writer).best_tokens is None


def test_a_writer_is_asked_no_dev_queries() -> None:
    with pytest.raises(ConfigError, match="dev_evaluations"):
        validated(PseudoQuerySettings, {"training": {"dev_evaluations": 3}}, "a test")


@pytest.mark.parametrize("settings", [DsiSettings, SelfRetrievalSettings])
def test_a_share_without_queries_is_refused_and_the_reverse(settings: type[Any]) -> None:
    for table in ({"shares": {"pseudo": 0.5}}, {"pseudo_queries": {"per_passage": 2}}):
        with pytest.raises(ConfigError, match="need each other"):
            validated(settings, table, "a test")


@pytest.mark.parametrize("settings", [DsiSettings, SelfRetrievalSettings])
def test_nothing_is_written_of_them_where_they_are_not_used(settings: type[Any]) -> None:
    """Else kept results would have another fingerprint."""
    written = settings().model_dump(mode="json")
    assert "pseudo_queries" not in written and "pseudo" not in written["shares"]
    used = settings(shares={"pseudo": 0.5}, pseudo_queries={"per_passage": 2}).model_dump(mode="json")
    assert (used["shares"]["pseudo"], used["pseudo_queries"]["per_passage"]) == (0.5, 2)
    assert settings.model_validate(used).model_dump(mode="json") == used


def test_without_titles_a_pseudo_query_leads_to_what_is_written_of_its_passage(folder: str) -> None:
    """Nobody said that the passage can answer it, so nothing is learned of that."""
    shares = dict.fromkeys(("memorise", "recall", "title", "passage", "content", "assess"), 0) | {"pseudo": 1}
    table = {"backbone": folder, "titles": False, "training": {"tokens": 400}, "shares": shares}
    retriever = SelfRetriever(SelfRetrievalSettings.model_validate(table | {"pseudo_queries": {"per_passage": 1}}))
    pseudo = PseudoQueries([(Query("d4#0", "is it a fortress"), 4)], NONE.summary)
    backbone, _, examples = retriever.lessons(load(folder), CORPUS, TRAIN, pseudo)
    beginning = " ".join(CORPUS[4].text.split()[:10])
    texts = {backbone.decode(example.tokens) for example in examples}
    assert texts == {f"Question: is it a fortress{prompts.PASSAGE} {beginning}"}
    (span,) = examples[0].spans
    assert backbone.decode(examples[0].tokens[slice(*span)]) == f" {beginning}"
