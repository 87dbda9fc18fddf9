"""The cross-encoder, the blend of two scores, the choice on dev, and the pipeline end to end on a tiny model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from baselines import pipeline
from baselines.bm25 import Bm25s, Bm25Settings
from baselines.fitting import reciprocal_rank
from baselines.pipeline import RERANK, Pipeline, RerankSettings, blended
from baselines.rerank import CrossEncoder
from harness import registry
from harness.errors import ConfigError, DataError, OfflineError, RunFolderError
from harness.types import Corpus, Hit, Passage, Query, Split
from reports import load, plots
from tests.encoder_models import NO_DEV, WORDS, Told, asked, tiny_encoder_folder

# Two passages hold the word a query asks for; "please" tells the right one, "padding" the wrong one. BM25 has them tied
# and the larger docid, the wrong one, first.
TWINS = Corpus.from_passages(
    Passage(f"{kind}{n}", "", f"filler b{n} {word}", f"{kind}{n}")
    for n in range(WORDS)
    for kind, word in (("d", "please"), ("e", "padding"))
)
TRAIN, DEV = asked("train", "b{}"), asked("dev", "x1 b{}")
LEARNT = {"epochs": 10, "batch_size": 4, "learning_rate": 5e-3, "dtype": "float32"}
UNLEARNT = {"epochs": 1, "batch_size": 6, "learning_rate": 1e-9}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_encoder_folder(tmp_path_factory.mktemp("encoder"))


def built(folder: str, train: Split = TRAIN, dev: Split = DEV, told: Told | None = None, **changes: Any) -> Pipeline:
    made = Pipeline(RerankSettings.model_validate({"model": folder, "training": LEARNT, **changes}), 0)
    made.index(TWINS, train, dev, told or Told())
    return made


def bm25() -> Bm25s:
    first = Bm25s(Bm25Settings())
    first.index(TWINS, Split("train"), NO_DEV)
    return first


def rr(retriever: Any, split: Split) -> float:
    return reciprocal_rank(retriever.search([query.text for query in split.queries], 10), split)


# The blend


def test_the_blend_weighs_both_scores_and_keeps_the_rest_below() -> None:
    hits = [Hit("a", 30.0), Hit("b", 20.0), Hit("c", 10.0), Hit("e", 9.0), Hit("d", 9.0)]
    cross = {"a": -5.0, "b": 0.0, "c": 5.0}
    # First stage on 0..1: 1, .5, 0; cross-encoder: 0, .5, 1.
    assert blended(hits, cross, 0.75) == [
        Hit("c", 0.75),
        Hit("b", 0.5),
        Hit("a", 0.25),
        Hit("e", -1.0),
        Hit("d", -2.0),
    ]
    assert [hit.docid for hit in blended(hits, cross, 1.0)] == ["c", "b", "a", "e", "d"]
    assert blended(hits, cross, 0.0) == hits
    assert blended(hits[:2], {"a": 1.0, "b": 1.0}, 1.0) == [Hit("b", 0.0), Hit("a", 0.0)]
    assert blended([], {}, 0.5) == []


# The cross-encoder


def test_passages_of_the_same_text_get_one_score_and_the_order_is_that_of_the_scores(folder: str) -> None:
    cross = CrossEncoder(folder, 0, title_separator=" ", batch_size=2)
    texts = {"p1": "b1 x1", "p2": "b2", "p3": "b1 x1", "p4": "padding", "p5": "b3 b3 b3 b3"}
    hits = cross.rerank("a1", [Passage(docid, "", text, docid) for docid, text in texts.items()])
    assert sorted(hit.docid for hit in hits) == sorted(texts)
    score = {hit.docid: hit.score for hit in hits}
    assert score["p1"] == score["p3"]
    assert [hit.score for hit in hits] == sorted(score.values(), reverse=True)
    assert len(set(score.values())) == 4
    # Title and text are read as one, in the order given.
    (titled,) = cross.rerank("a1", [Passage("t", "b1", "x1", "t")])
    assert titled.score == pytest.approx(score["p1"], abs=1e-6)


def test_the_random_head_follows_the_seed_and_is_known_to_be_random(folder: str, tmp_path: Path) -> None:
    def scores(seed: int) -> list[Hit]:
        cross = CrossEncoder(folder, seed, title_separator=" ", batch_size=2)
        return cross.rerank("a1", [Passage("p", "", "b1", "p")])

    assert scores(1) == scores(1) != scores(2)
    cross = CrossEncoder(folder, 0, title_separator=" ", batch_size=2)
    assert cross.untaught
    cross.save(tmp_path)
    assert not CrossEncoder(str(tmp_path), 0, title_separator=" ", batch_size=2).untaught


def test_what_cannot_be_loaded_is_said(folder: str, tmp_path: Path) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    AutoModelForSequenceClassification.from_pretrained(folder, num_labels=3).save_pretrained(tmp_path / "three")
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "three")
    (tmp_path / "empty").mkdir()
    cases: tuple[tuple[str, type[Exception], str], ...] = (
        ("nobody/no-such-cross-encoder", OfflineError, "cross-encoder"),
        ("./no-such-folder", ConfigError, "cross-encoder"),
        (str(tmp_path / "empty"), DataError, "cross-encoder"),
        (str(tmp_path / "three"), ConfigError, "one score a pair"),
    )
    for model, error, said in cases:
        with pytest.raises(error, match=said):
            CrossEncoder(model, 0, title_separator=" ", batch_size=2)


# The pipeline


def test_training_teaches_what_the_first_stage_cannot_know(folder: str) -> None:
    told = Told()
    made = built(folder, told=told)
    assert rr(bm25(), DEV) == 0.5
    assert rr(made, DEV) == 1.0
    steps = [row for row in told.rows if "loss" in row]
    # [CLS] b [SEP] and three words with [SEP]; the right passage and the only other that BM25 finds.
    assert steps[-1]["tokens"] == 10 * WORDS * 2 * (3 + 4) == made.training_summary()["train_tokens"]
    judged = {row["epoch"]: row["dev_RR@10"] for row in told.rows if "dev_RR@10" in row}
    assert list(judged) == list(range(11))
    assert told.rows[-1]["weight"] == made._weight > 0
    assert judged[told.rows[-1]["epoch"]] == max(judged.values()) == pytest.approx(rr(made, DEV))


def test_a_cross_encoder_that_does_not_help_on_dev_has_no_say(folder: str) -> None:
    # Dev wants what BM25 has first, the training pairs the other passage.
    dev = Split("dev", DEV.queries, {f"dev{n}": {f"e{n}": 1} for n in range(WORDS)})
    queries = ["filler b3", "b5", "nothing", ""]
    assert built(folder, TRAIN, dev).search(queries, 30) == bm25().search(queries, 30)
    assert rr(built(folder, TRAIN, NO_DEV, weight=1.0), dev) == 0.5 < rr(bm25(), dev) == 1.0


def test_without_pairs_the_first_stage_stays(folder: str) -> None:
    for made in (
        built(folder, Split("train")),
        built(folder, training={"epochs": 0}),
        built(folder, Split("train"), NO_DEV),
    ):
        assert made.search(["filler b3"], 30) == bm25().search(["filler b3"], 30)
        assert made.training_summary() == {}


def test_a_cross_encoder_that_comes_trained_is_used_as_it_comes(folder: str, tmp_path: Path) -> None:
    taught = built(folder, dev=NO_DEV, weight=1.0)
    taught._ready()[0].save(tmp_path)
    for train in (TRAIN, Split("train")):
        made = built(str(tmp_path), train, NO_DEV, weight=1.0, training={"epochs": 0})
        assert made.search(["b3"], 5) == taught.search(["b3"], 5)
    # On dev it is compared with the first stage before any training.
    told = Told()
    assert built(str(tmp_path), told=told, training={"epochs": 0})._weight > 0
    assert [row["epoch"] for row in told.rows if "dev_RR@10" in row] == [0]


def test_only_the_first_candidates_are_read(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[list[str]] = []
    rerank = CrossEncoder.rerank

    def watched(self: CrossEncoder, query: str, candidates: Sequence[Passage]) -> list[Hit]:
        read.append([passage.docid for passage in candidates])
        return rerank(self, query, candidates)

    monkeypatch.setattr(CrossEncoder, "rerank", watched)
    made = built(folder, dev=NO_DEV, training=UNLEARNT, depth=4, weight=1.0)
    first = [hit.docid for hit in bm25().search(["filler b3"], 30)[0]]
    (hits,) = made.search(["filler b3"], 30)
    assert read == [first[:4]]
    assert sorted(hit.docid for hit in hits[:4]) == sorted(first[:4])
    assert [hit.docid for hit in hits[4:]] == first[4:]
    assert made.search(["filler b3"], 2) == [hits[:2]]
    assert read == [first[:4]] * 2
    read.clear()
    built(folder, training=UNLEARNT, dev_depth=1, dev_queries=2)
    assert [len(docids) for docids in read] == [1, 1]


def test_one_seed_one_result(folder: str) -> None:
    one, two = (built(folder, dev=NO_DEV).search(["b1", "filler b2"], 30) for _ in range(2))
    assert one == two


@pytest.mark.parametrize("first", ["bm25", "dense"])
def test_saved_and_loaded_quietly_and_without_the_model_it_began_with(
    first: str, folder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "encoder"
    tiny_encoder_folder(source)
    capfd.readouterr()
    made = built(str(source), dev=NO_DEV, training=UNLEARNT, first=first, dense={"model": folder})
    found = made.search(["filler b1", "x2", ""], 12)
    (tmp_path / "part").mkdir()
    made.save(tmp_path / "part")
    (tmp_path / "part").rename(tmp_path / "model")
    source.rename(tmp_path / "gone")
    again = RERANK.load(tmp_path / "model")
    assert capfd.readouterr().err == ""
    assert again.search(["filler b1", "x2", ""], 12) == found
    assert again.footprint() == made.footprint()
    assert again.footprint().index_bytes > made._first.footprint().index_bytes + len("".join(p.text for p in TWINS))
    for part in (pipeline.PASSAGES, "cross-encoder/config.json", "state.json"):
        whole = (tmp_path / "model" / part).read_bytes()
        (tmp_path / "model" / part).unlink()
        with pytest.raises(RunFolderError):
            RERANK.load(tmp_path / "model")
        (tmp_path / "model" / part).write_bytes(whole)


def test_identical_passages_tie_and_lessons_without_a_wrong_passage_are_left_out(folder: str) -> None:
    same = [Passage(docid, "", text, docid) for docid, text in (("d1", "b1 x1"), ("d2", "b1 x1"), ("d3", "b1 x2"))]
    made = Pipeline(RerankSettings.model_validate({"model": folder, "weight": 0.7, "training": UNLEARNT}), 0)
    lonely = Split("train", (Query("q", "x2"), Query("r", "b1")), {"q": {"d3": 1}, "r": {"d1": 1}})
    made.index(Corpus.from_passages(same), lonely, NO_DEV)
    # "x2" finds the right passage alone; "b1" has d3 for a negative, and d2, a copy of d1, is none.
    assert made.training_summary()["train_tokens"] == 2 * (3 + 3)
    score = {hit.docid: hit.score for hit in made.search(["b1 x1"], 3)[0]}
    assert score["d1"] == score["d2"] != score["d3"]


def test_every_family_has_a_place_and_a_look_in_the_report() -> None:
    families = {registry.get(name).family for name in registry.names()} | {RERANK.family}
    assert families <= set(load.FAMILIES)
    assert families <= set(plots.LOOKS)
    looks = [*plots.LOOKS.values(), plots.OTHER]
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(looks)


def test_a_trained_first_stage_counts_and_goes_on_where_it_was_stopped(
    folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Path] = []
    plain = built(folder).training_summary()["train_tokens"]
    made = Pipeline(RerankSettings.model_validate({"model": folder, "training": LEARNT}), 0)
    made.keep_training_in(tmp_path)  # BM25 trains nothing
    monkeypatch.setattr(made._first, "training_summary", lambda: {"train_tokens": 1000}, raising=False)
    monkeypatch.setattr(made._first, "keep_training_in", told.append, raising=False)
    made.keep_training_in(tmp_path)
    made.index(TWINS, TRAIN, DEV)
    assert told == [tmp_path / "first"]
    assert made.training_summary()["train_tokens"] == plain + 1000
