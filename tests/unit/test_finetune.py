"""Negatives, batches without false ones, the training loop's choice, and dense-finetuned end to end on a tiny model."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from baselines.dense import Dense, DenseSettings
from baselines.finetune import DENSE_FINETUNED, FineTuned, FineTuneSettings
from baselines.fitting import reciprocal_rank
from baselines.negatives import Lesson, mined, shuffled, unmixed
from harness.errors import RunFolderError
from harness.types import Corpus, Hit, Passage, Query, Split
from tests.encoder_models import NO_DEV, WORDS, Told, asked, passages, tiny_encoder_folder

# Negatives

POOL = Corpus.from_passages(
    Passage(docid, title, text, docid)
    for docid, title, text in (
        ("gold", "", "The tower is 324 m high."),
        ("copy", "", "the tower is  324 M HIGH."),
        ("also", "", "A second right one."),
        ("low", "", "Right, but of a lower grade."),
        ("answer", "Notes", "It measures three hundred (324) metres."),
        ("titled", "324", "No answer in the text."),
        ("part", "", "Route 3245 is long."),
        ("far", "", "Another tower."),
        ("far2", "Same text", "another  TOWER."),
        ("last", "", "A bridge."),
    )
)
QUERY = Query("q", "how high is the tower", ("324", "the"))
ASKED = Split("train", (QUERY,), {"q": {"gold": 2, "low": 1}})


def all_hits(queries: Sequence[str], k: int) -> list[list[Hit]]:
    return [[Hit(docid, -float(row)) for row, docid in enumerate(POOL.docids)][:k] for _ in queries]


def negatives(split: Split, count: int = 9, depth: int = 99) -> list[str]:
    lessons = mined(split, POOL, all_hits, count=count, depth=depth)
    return [POOL.docids[row] for row in lessons[0].negatives]


def test_negatives_are_the_first_that_are_wrong() -> None:
    # Judged ones, a copy of the gold text, and two that hold "324" are no negatives; "3245" is another word, and
    # an answer of nothing but an article says nothing.
    assert negatives(ASKED) == ["also", "part", "far", "last"]
    assert negatives(ASKED, count=2) == ["also", "part"]
    assert negatives(ASKED, depth=3) == ["also"]
    assert negatives(Split("train", (Query("q", "x"),), ASKED.qrels)) == [
        "also",
        "answer",
        "titled",
        "part",
        "far",
        "last",
    ]


def test_queries_of_the_same_text_share_what_is_right() -> None:
    twice = (Query("q", "how high"), Query("r", "how high", ("324",)))
    split = Split("train", twice, {"q": {"gold": 1}, "r": {"also": 1}})
    lessons = mined(split, POOL, all_hits, count=9, depth=99)
    assert [POOL.docids[lesson.gold] for lesson in lessons] == ["gold", "also"]
    assert {lesson.negatives for lesson in lessons} == {tuple(POOL.row_of[d] for d in ("low", "part", "far", "last"))}


def test_each_query_is_searched_once_and_none_for_no_negatives() -> None:
    seen: list[str] = []

    def search(queries: Sequence[str], k: int) -> list[list[Hit]]:
        assert k == 7
        seen.extend(queries)
        return all_hits(queries, k)

    queries = tuple(Query(f"q{n}", f"text {n % 70}") for n in range(140))
    split = Split("train", queries, {query.qid: {"gold": 1} for query in queries})
    assert len(mined(split, POOL, search, count=1, depth=7)) == 140
    assert seen == [f"text {n}" for n in range(70)]
    assert all(not lesson.negatives for lesson in mined(split, POOL, search, count=0, depth=7))
    assert len(seen) == 70


def lesson(query: str, gold: int, *wrong: int, right: Sequence[int] = ()) -> Lesson:
    digests = [bytes([row]) for row in (gold, *wrong)]
    return Lesson(query, gold, wrong, frozenset(digests), frozenset(bytes([row]) for row in (gold, *right)))


@pytest.mark.parametrize("seed", range(5))
def test_no_passage_of_a_batch_is_right_for_another_query_of_it(seed: int) -> None:
    rng = random.Random(seed)
    lessons = [
        lesson(f"q{n}", rng.randrange(8), *rng.sample(range(8, 30), rng.choice([1, 2])), right=[rng.randrange(30)])
        for n in range(60)
    ]
    batches = unmixed(lessons, 6, rng)
    assert sorted(one.query for batch in batches for one in batch) == sorted(one.query for one in lessons)
    assert max(map(len, batches)) == 6
    for batch in batches:
        assert len({len(one.negatives) for one in batch}) == 1
        for one in batch:
            assert not any(one.right & other.shown for other in batch if other is not one)


def test_dealing_is_random_but_repeatable() -> None:
    lessons = [lesson(f"q{n}", n, 100 + n) for n in range(20)]
    for deal in (unmixed, shuffled):
        first, again, other = (deal(lessons, 6, random.Random(seed)) for seed in (1, 1, 2))
        assert first == again != other
        assert [len(batch) for batch in first] == [6, 6, 6, 2]


def test_reciprocal_rank_is_the_mean_over_all_queries() -> None:
    split = Split("dev", (Query("a", ""), Query("b", "")), {"a": {"x": 1}, "b": {"x": 1}})
    assert reciprocal_rank([[Hit("y", 2.0), Hit("x", 1.0)], []], split) == 0.25


# The system

LEARNT = {"epochs": 12, "batch_size": 6, "learning_rate": 5e-3, "dtype": "float32"}
TRAIN, DEV = asked("train", "a{}"), asked("dev", "please a{}")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_encoder_folder(tmp_path_factory.mktemp("encoder"))


def built(folder: str, train: Split = TRAIN, dev: Split = DEV, told: Told | None = None, **changes: Any) -> FineTuned:
    settings = FineTuneSettings.model_validate({"model": folder, "training": LEARNT, **changes})
    tuned = FineTuned(settings, 0)
    tuned.index(passages(), train, dev, told or Told())
    return tuned


def plain(folder: str) -> Dense:
    dense = Dense(DenseSettings(model=folder), 0)
    dense.index(passages(), Split("train"), NO_DEV)
    return dense


def rr(retriever: Dense | FineTuned, split: Split) -> float:
    return reciprocal_rank(retriever.search([query.text for query in split.queries], 10), split)


def test_training_teaches_words_that_mean_the_same(folder: str) -> None:
    told = Told()
    tuned = built(folder, told=told)
    assert rr(plain(folder), DEV) < 0.6
    assert rr(tuned, DEV) > 0.9
    judged = [row for row in told.rows if "dev_RR@10" in row]
    assert [row["epoch"] for row in judged] == list(range(13))
    assert max(float(row["dev_RR@10"]) for row in judged) == pytest.approx(rr(tuned, DEV))
    steps = [row for row in told.rows if "loss" in row]
    assert {"step", "tokens", "loss", "learning_rate", "tokens_per_s"} == set(steps[0])
    # Per pair: [CLS] a [SEP], and two passages of four words with [CLS] and [SEP].
    assert steps[-1]["tokens"] == 12 * WORDS * (3 + 2 * 6) == tuned.training_summary()["train_tokens"]
    assert ("mine negatives", WORDS, "queries") in told.phases and ("train", WORDS, "pairs") in told.phases


def test_what_harms_on_dev_is_not_kept(folder: str) -> None:
    # Dev asks with the passage's own words, which random vectors already match; training teaches the neighbour's.
    harmful = asked("train", "b{0} x{0}", shift=1)
    dev = asked("dev", "b{0} x{0}")
    told = Told()
    kept = built(folder, harmful, dev, told)
    found = kept.search(["b3", "please a5"], 12)
    assert found == plain(folder).search(["b3", "please a5"], 12)
    values = [float(row["dev_RR@10"]) for row in told.rows if "dev_RR@10" in row]
    assert values[0] == max(values) > values[-1] + 0.2
    # The same without a choice: the last weights stay, and they are worse.
    for unchosen in (built(folder, harmful, NO_DEV), built(folder, harmful, dev, dev_corpus=WORDS - 1)):
        assert rr(unchosen, dev) == pytest.approx(values[-1])


def test_without_pairs_it_is_dense_and_says_so(folder: str) -> None:
    told = Told()
    tuned = built(folder, Split("train"), DEV, told)
    assert tuned.search(["b3"], 12) == plain(folder).search(["b3"], 12)
    assert tuned.training_summary() == {}
    assert any("no training pairs" in name for name, _, _ in told.phases)
    assert built(folder, training={"epochs": 0}).search(["b3"], 12) == tuned.search(["b3"], 12)


def test_one_seed_one_result(folder: str) -> None:
    one, two = (built(folder).search(["a1", "a2"], 12) for _ in range(2))
    assert one == two
    other = FineTuned(FineTuneSettings.model_validate({"model": folder, "training": LEARNT}), 1)
    other.index(passages(), TRAIN, DEV)
    assert other.search(["a1", "a2"], 12) != one


def test_saved_and_loaded_quietly_and_without_the_first_encoder(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "encoder"
    tiny_encoder_folder(source)
    capfd.readouterr()
    tuned = built(str(source))
    found = tuned.search(["a1", "please a2", ""], 12)
    (tmp_path / "part").mkdir()
    tuned.save(tmp_path / "part")
    (tmp_path / "part").rename(tmp_path / "model")
    source.rename(tmp_path / "gone")
    loaded = DENSE_FINETUNED.load(tmp_path / "model")
    assert capfd.readouterr().err == ""
    assert loaded.search(["a1", "please a2", ""], 12) == found
    assert loaded.footprint() == tuned.footprint()
    (tmp_path / "model" / "encoder" / "modules.json").unlink()
    with pytest.raises(RunFolderError, match=r"modules\.json"):
        DENSE_FINETUNED.load(tmp_path / "model")
