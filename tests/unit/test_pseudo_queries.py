"""Pseudo-queries: what the backbone writes for passages, and that DSI and Self-Retrieval learn from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from baselines.dsi import Dsi, DsiSettings
from harness.errors import ConfigError
from harness.lm.backbone import load
from harness.lm.pseudo_queries import (
    NONE,
    TRAINING_FOLDER,
    PseudoQueries,
    PseudoQuerySettings,
    WriterTrainingSettings,
    write_pseudo_queries,
)
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


def test_an_interrupted_writer_goes_on_from_its_own_checkpoint(folder: str, tmp_path: Path) -> None:
    system, progress = dsi(folder, {"sentence": 0.5, "query": 0.0, "pseudo": 0.5}), Phases()
    training = WriterTrainingSettings.model_validate({"tokens": 400, "checkpoint_s": 0, **FAST})
    pseudo = system.settings.pseudo_queries.model_copy(update={"training": training})
    system.settings = system.settings.model_copy(update={"pseudo_queries": pseudo})
    system.keep_training_in(tmp_path)
    system.index(CORPUS, TRAIN, Split("dev"))
    assert (tmp_path / TRAINING_FOLDER).is_dir()
    again = Dsi(system.settings)
    again.keep_training_in(tmp_path)
    again.index(CORPUS, TRAIN, Split("dev"), progress)
    assert any(name.startswith("pseudo-queries: train, resume at") for name in progress.phases)
    assert again.search(["which river?"], 5) == system.search(["which river?"], 5)


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
