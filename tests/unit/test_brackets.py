from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from baselines.brackets import ORACLE, RANDOM, NoSettings, Oracle, Random
from harness.errors import ConfigError, RunFolderError
from harness.measures import per_query
from harness.types import Corpus, Passage, Query, Split

CORPUS = Corpus.from_passages(Passage(f"d{i}", "", "text", f"d{i}") for i in range(8))
NONE = (Split("train"), Split("dev"))
JUDGED = Split(
    "test",
    (Query("q1", "first"), Query("q2", "second"), Query("q3", "third"), Query("q4", "third")),
    {"q1": {"d1": 1, "d2": 3, "d3": 1, "d4": 0, "elsewhere": 2}, "q2": {"d7": 1}, "q3": {"d5": 1}, "q4": {"d5": 2}},
)


def oracle() -> Oracle:
    system = Oracle()
    system.reveal(JUDGED)
    system.index(CORPUS, *NONE)
    return system


def test_oracle_returns_the_relevant_by_grade_then_docid_down() -> None:
    hits = oracle().search(["first", "third", "unknown", "First"], 10)
    assert [[(hit.docid, hit.score) for hit in one] for one in hits] == [
        [("d2", 3.0), ("d3", 1.0), ("d1", 1.0)],
        [("d5", 2.0)],
        [],
        [],
    ]


def test_oracle_reaches_the_top_of_ndcg() -> None:
    qrels = {"q1": {"d1": 1, "d2": 3, "d3": 1}, "q2": {"d7": 1}}
    run = dict(zip(qrels, oracle().search(["first", "second"], 10), strict=True))
    assert per_query(run, qrels, list(qrels), ["nDCG@10", "RR@10"]) == {
        "nDCG@10": {"q1": 1.0, "q2": 1.0},
        "RR@10": {"q1": 1.0, "q2": 1.0},
    }


def test_oracle_without_judgements_says_so() -> None:
    with pytest.raises(ConfigError, match="reveal"):
        Oracle().index(CORPUS, *NONE)


def test_oracle_is_saved_with_its_judgements(tmp_path: Path) -> None:
    oracle().save(tmp_path)
    assert ORACLE.load(tmp_path).search(["first"], 2) == oracle().search(["first"], 2)


def test_oracle_footprint() -> None:
    # The texts 5 + 6 + 5 bytes; five judgements in the corpus of 2 bytes of docid and 4 of grade.
    assert oracle().footprint().index_bytes == 16 + 5 * (2 + 4)


def random(seed: int = 0) -> Random:
    system = Random(seed)
    system.index(CORPUS, *NONE)
    return system


def test_random_is_a_permutation_with_descending_scores() -> None:
    (hits,) = random().search(["a query"], 100)
    assert {hit.docid for hit in hits} == set(CORPUS.docids)
    assert [hit.score for hit in hits] == [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0, 1.0]


def test_random_depends_on_query_and_seed_alone() -> None:
    one, again, other = random().search(["a query", "a query", "another"], 8)
    assert one == again != other
    assert random(1).search(["a query"], 8)[0] != one
    assert random().search(["a query"], 3)[0] == one[:3]


def test_random_puts_each_passage_first_about_as_often() -> None:
    hits = random().search([f"query {i}" for i in range(800)], 1)
    first = [sum(one[0].docid == docid for one in hits) for docid in CORPUS.docids]
    assert min(first) > 60 and max(first) < 140  # 100 expected, standard deviation 9.4


def test_random_is_saved_with_its_seed(tmp_path: Path) -> None:
    random(5).save(tmp_path)
    assert RANDOM.load(tmp_path).search(["a query"], 8) == random(5).search(["a query"], 8)
    with pytest.raises(RunFolderError, match="another system"):
        ORACLE.load(tmp_path)


def test_nothing_can_be_set() -> None:
    with pytest.raises(ValidationError):
        NoSettings.model_validate({"seed": 3})
