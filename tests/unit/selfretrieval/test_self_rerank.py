"""Reranking by self-assessment: the scores, what is read, what is refused, saving, and DSI as a first stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines.dsi import DsiSettings
from baselines.pipeline import RERANK
from harness import registry
from harness.errors import ConfigError, DataError, RunFolderError, UnknownNameError
from harness.types import Corpus, Hit, Passage, Query, Split
from harness.validation import validated
from selfretrieval import prompts
from selfretrieval.rerank import SELF_RERANK, SelfRerank, SelfRerankSettings
from selfretrieval.settings import Shares
from tests.encoder_models import tiny_encoder_folder
from tests.lm_models import logprobs_after, tiny_folder

CORPUS = Corpus.from_passages(
    [
        Passage("a.0", "Paris", "Paris is the capital of France.", "a"),
        Passage("a.1", "Paris", "Paris lies on the river Seine.", "a"),
        Passage("b.0", "Rome", "Rome is the capital of Italy and very old indeed.", "b"),
        Passage("c.0", "Rome", "Rome, New York, is a city.", "c"),
        Passage("d.0", "Twin", "The same capital words twice.", "d"),
        Passage("e.0", "Twin", "The same capital words twice.", "e"),
    ]
)
TRAIN = Split("train", (Query("q1", "capital of France", ("Paris",)),), {"q1": {"a.0": 1}})
NOBODY = Split("dev")
QUERY = "the capital city of Italy"
TRAINING = {"tokens": 600, "frozen_layers": 0, "dtype": "float32"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def settings(folder: str, judge: dict[str, Any] | None = None, **changes: Any) -> SelfRerankSettings:
    own = {"backbone": folder, "training": TRAINING, "dtype": "float32", **(judge or {})}
    return validated(SelfRerankSettings, {"judge": own, **changes}, "a test")


@pytest.fixture(scope="module")
def reranker(folder: str) -> SelfRerank:
    made = SelfRerank(settings(folder, depth=4))
    made.index(CORPUS, TRAIN, NOBODY)
    return made


def refusal_by_hand(reranker: SelfRerank, query: str, passage: Passage) -> float:
    """exp(mean log-probability of the refusal), by plain forward passes over the whole text."""
    backbone = reranker._model.parts.backbone
    text = [*backbone.encode([prompts.question(query) + prompts.TITLE])[0]]
    title = passage.title.lower() if reranker.settings.judge.lowercase else passage.title
    text += backbone.encode([f" {title}{prompts.PASSAGE} {passage.text}{prompts.ANSWER}"])[0]
    logprobs = []
    for token in backbone.encode([prompts.REJECT])[0]:
        after = logprobs_after(backbone, text)
        kept = backbone.vocabulary
        assert kept is not None
        logprobs.append(after[token] - np.logaddexp.reduce(after[kept]))
        text.append(token)
    return float(np.exp(np.mean(logprobs)))


def test_the_score_is_the_probability_of_not_refusing(reranker: SelfRerank) -> None:
    (hits,) = reranker.search([QUERY], 4)
    by_hand = {p.docid: 1 - refusal_by_hand(reranker, QUERY, p) for p in CORPUS}
    assert len(hits) == 4
    assert {hit.docid: hit.score for hit in hits} == pytest.approx({h.docid: by_hand[h.docid] for h in hits}, abs=1e-5)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert len({hit.score for hit in hits}) > 1


def test_only_the_first_candidates_are_read_and_the_others_stay_below(reranker: SelfRerank) -> None:
    first = [hit.docid for hit in reranker._first.search([QUERY], 10)[0]]
    (hits,) = reranker.search([QUERY], 10)
    assert len(first) > 4
    assert sorted(hit.docid for hit in hits[:4]) == sorted(first[:4])
    assert [(hit.docid, hit.score) for hit in hits[4:]] == [(d, -float(i)) for i, d in enumerate(first[4:], start=1)]
    assert reranker.search([QUERY], 2) == [hits[:2]]
    assert reranker.counters()["queries"] == 1
    assert reranker.counters()["model_calls"] >= 2


LIKELIEST = {"title": 0.0, "passage": 0.0, "likelihood": 1.0}
ASKED = {"assessment": False, "likelihood": True, "ranking": "log-linear", "lowercase": False, "weights": LIKELIEST}


def test_a_judge_can_score_by_how_likely_a_passage_makes_the_question(folder: str, tmp_path: Path) -> None:
    shares = dict.fromkeys(Shares.model_fields, 0.0) | {"likelihood": 1.0}
    made = SelfRerank(settings(folder, {**ASKED, "shares": shares}, depth=4))
    made.index(CORPUS, TRAIN, NOBODY)
    (hits,) = made.search([QUERY], 10)
    assert made.training_summary()["train_tokens"] > 0
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    first = [hit.docid for hit in made._first.search([QUERY], 10)[0]]
    assert {hit.docid for hit in hits[:4]} == set(first[:4]) and [hit.docid for hit in hits[4:]] == first[4:]
    for hit in hits[:4]:
        assert hit.score == pytest.approx(likelihood_by_hand(made, QUERY, CORPUS[CORPUS.row_of[hit.docid]]), abs=1e-4)
    made.save(tmp_path)
    assert SELF_RERANK.load(tmp_path).search([QUERY], 10) == [hits]


def test_a_judge_can_weigh_acceptance_and_likelihood(folder: str) -> None:
    both = settings(folder, {**ASKED, "assessment": True, "weights": {**LIKELIEST, "acceptance": 0.5}}, depth=4)
    made = SelfRerank(both)
    made.index(CORPUS, TRAIN, NOBODY)
    (hits,) = made.search([QUERY], 4)
    assert len(hits) == 4
    for hit in hits:
        passage = CORPUS[CORPUS.row_of[hit.docid]]
        refused = refusal_by_hand(made, QUERY, passage)
        by_hand = likelihood_by_hand(made, QUERY, passage) + 0.5 * np.log((1 - refused) / refused)
        assert hit.score == pytest.approx(by_hand, abs=1e-3)


def test_a_passage_longer_than_the_backbone_reads_is_refused(folder: str) -> None:
    long = Corpus.from_passages([*CORPUS, Passage("z.0", "Zeta", "capital " * 1100, "z")])
    judge = {**ASKED, "passage_tokens": 2000, "training": TRAINING | {"tokens": 0}}
    made = SelfRerank(settings(folder, judge, depth=9))
    made.index(long, TRAIN, NOBODY)
    with pytest.raises(ConfigError, match="a passage to judge, before its question"):
        made.search(["capital"], 9)


def likelihood_by_hand(made: SelfRerank, query: str, passage: Passage) -> float:
    """Mean log-probability of the question's tokens, by plain forward passes over the whole text."""
    backbone = made._model.parts.backbone
    parts = (prompts.TITLE, f" {passage.title}{prompts.PASSAGE} {passage.text}", prompts.ASKED)
    read = [token for part in parts for token in backbone.encode([part])[0]]
    kept, logprobs = backbone.vocabulary, []
    assert kept is not None
    for token in backbone.encode_after(prompts.ASKED, [prompts.answer_of(query)])[0]:
        after = logprobs_after(backbone, read)
        logprobs.append(after[token] - np.logaddexp.reduce(after[kept]))
        read.append(token)
    return float(np.mean(logprobs))


def test_a_query_without_candidates_has_no_hits(reranker: SelfRerank) -> None:
    assert reranker.search(["", QUERY], 3)[0] == []
    assert reranker.search([], 3) == []


def test_passages_of_one_text_get_one_score(reranker: SelfRerank) -> None:
    hits: dict[str, Hit] = {hit.docid: hit for hit in reranker._judge.rerank(QUERY, [CORPUS[r] for r in (4, 5, 0)])}
    assert hits["d.0"].score == hits["e.0"].score != hits["a.0"].score


def test_what_is_not_in_the_corpus_cannot_be_judged(reranker: SelfRerank) -> None:
    with pytest.raises(DataError, match="elsewhere"):
        reranker._judge.rerank(QUERY, [Passage("elsewhere", "", "text", "x")])


def test_saved_and_loaded(reranker: SelfRerank, tmp_path: Path) -> None:
    reranker.save(tmp_path)
    again = SELF_RERANK.load(tmp_path)
    assert again.search([QUERY], 6) == reranker.search([QUERY], 6)
    one, two = again.footprint(), reranker._first.footprint()
    assert one == reranker.footprint()
    assert one.index_bytes > two.index_bytes and one.parameter_bytes > two.parameter_bytes
    state = tmp_path / "self_rerank.json"
    state.write_text(state.read_text().replace('"version": 1', '"version": 99'))
    with pytest.raises(RunFolderError, match="99"):
        SELF_RERANK.load(tmp_path)


def test_settings_of_the_first_system_are_its_own(folder: str) -> None:
    given = settings(folder, first="bm25", first_settings={"b": 0.75})
    assert given.first_settings["b"] == 0.75
    assert given.first_settings["k1"] == registry.get("bm25").config().model_dump()["k1"]
    cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
        ({"first": "bm52"}, UnknownNameError, "bm25"),
        ({"first": "oracle"}, ConfigError, "judgements"),
        ({"first_settings": {"k9": 1}}, ConfigError, "k9"),
        ({"first": 3}, ConfigError, "first"),
        ({"judge": {"assessment": False}}, ConfigError, "assessment = true"),
        ({"judge": {"likelihood": True, "ranking": "log-linear"}}, ConfigError, "a weight for the acceptance"),
        ({"judge": {**ASKED, "weights": {"likelihood": 0}}}, ConfigError, "or for the likelihood"),
        ({"judge": {**ASKED, "calibration_queries": 5}}, ConfigError, "weights as given"),
        ({"judge": {"shares": {"assess": 0}}}, ConfigError, "learns to refuse"),
        ({"judge": {"negatives": 0}}, ConfigError, "learns to refuse"),
    )
    for changes, error, said in cases:
        with pytest.raises(error, match=said):
            validated(SelfRerankSettings, changes, "a test")
    untrained = {"judge": {"negatives": 0, "shares": {"assess": 0}, "training": {"tokens": 0}}}
    validated(SelfRerankSettings, untrained, "a test")  # what it can it can without training


def test_dsi_finds_candidates_for_both_kinds_of_reranking(folder: str, tmp_path: Path) -> None:
    dsi = {"backbone": folder, "docid": "naive", "training": TRAINING | {"checkpoint_s": 0.0}, "dtype": "float32"}
    judge = {"training": TRAINING | {"checkpoint_s": 0.0}}
    made = SelfRerank(settings(folder, judge, first="dsi", first_settings=dsi))
    made.keep_training_in(tmp_path / "kept")
    made.index(CORPUS, TRAIN, NOBODY)
    assert {f.name for f in (tmp_path / "kept").iterdir()} == {"first", "judge"}
    assert made.training_summary()["train_tokens"] > made._model.training_summary()["train_tokens"]
    (hits,) = made.search([QUERY], 6)
    assert sorted(hit.docid for hit in hits) == sorted(hit.docid for hit in made._first.search([QUERY], 6)[0])

    encoder = tiny_encoder_folder(tmp_path / "encoder")
    brief = {"epochs": 1, "batch_size": 2, "dtype": "float32"}
    table = {"first": "dsi", "dsi": dsi, "model": encoder, "training": brief, "weight": 1.0}
    cross = RERANK.build(validated(RERANK.config, table, "a test"), 0)
    cross.index(CORPUS, TRAIN, NOBODY)
    (tmp_path / "cross").mkdir()
    cross.save(tmp_path / "cross")
    before, after = cross.search([QUERY], 6)[0], RERANK.load(tmp_path / "cross").search([QUERY], 6)[0]
    assert [hit.docid for hit in after] == [hit.docid for hit in before]
    # Weights read from a file lie elsewhere in memory, and some processors then add in another order; spread over
    # 0 to 1, the scores of so small a model, next to equal, show that.
    assert [hit.score for hit in after] == pytest.approx([hit.score for hit in before], abs=1e-3)
    assert len(before) == len(CORPUS)


def test_settings_of_dsi_stand_where_dsi_is_used_alone() -> None:
    tables = {first: validated(RERANK.config, {"first": first}, "a test").model_dump() for first in ("bm25", "dsi")}
    assert "dsi" not in tables["bm25"]
    assert tables["dsi"]["dsi"]["beam_size"] == 50  # as many as are read and mined


@pytest.mark.parametrize(
    ("given", "beam"),
    [
        ({"depth": 20, "mine_depth": 20}, 20),
        ({"depth": 5, "mine_depth": 5}, 20),
        ({"depth": 30, "mine_depth": 20}, 30),
        ({"depth": 20, "mine_depth": 40}, 40),
        ({"depth": 30, "mine_depth": 40, "dsi": {"beam_size": 10}}, 10),
        ({"depth": 30, "mine_depth": 40, "dsi": {"radix": 12}}, 40),
    ],
)
def test_dsi_finds_as_many_candidates_as_are_read_and_mined(given: dict[str, Any], beam: int) -> None:
    found: Any = validated(RERANK.config, {"first": "dsi", **given}, "a test")
    assert found.dsi.beam_size == beam
    again: Any = validated(RERANK.config, found.model_dump(mode="json"), "a test")
    assert again == found
    own = {"first": "dsi", "depth": given["depth"], "first_settings": given.get("dsi", {})}
    self_rerank = validated(SelfRerankSettings, own, "a test")
    assert self_rerank.first_settings["beam_size"] == given.get("dsi", {}).get("beam_size", max(20, given["depth"]))
    assert validated(SelfRerankSettings, self_rerank.model_dump(mode="json"), "a test") == self_rerank


def test_what_is_wrong_beside_a_beam_is_still_told() -> None:
    for config in (RERANK.config, SelfRerankSettings):
        with pytest.raises(ConfigError, match="depth"):
            validated(config, {"first": "dsi", "depth": "many"}, "a test")
    with pytest.raises(ConfigError, match="dsi = 3"):
        validated(RERANK.config, {"first": "dsi", "dsi": 3}, "a test")
    assert RERANK.config(first="dsi", dsi=DsiSettings(docid="naive")).dsi.beam_size == 50  # type: ignore[attr-defined]
