"""What every dataset goes through: the order of the steps, and the card that tells them."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from harness.datasets import DatasetSettings, stored
from harness.datasets.finishing import finish
from harness.datasets.settings import Resplit
from harness.types import Dataset, Passage
from tests.unit.datasets.samples import dataset, passages

TEXT = "One two three. Four five six. One two three."


def three() -> Dataset:
    texts = {f"d{n}": TEXT if n < 2 else f"Nothing about {n}." for n in range(9)}
    return dataset(
        passages(texts),
        train={"t": {"d3": 1}},
        test={"q": {"d0": 1}, "r": {"d1": 1, "d8": 0}},
        texts={"q": "one two three, four five six one two three?", "t": "who", "r": "WHO"},
    )


class Watcher:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.phases: dict[str, tuple[int | None, int]] = {}
        self._now = ""

    def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
        self._now = name
        self.phases[name] = (total, 0)

    def advance(self, amount: int = 1) -> None:
        total, done = self.phases[self._now]
        self.phases[self._now] = (total, done + amount)

    def record(self, row: dict[str, float | int | str]) -> None:
        raise AssertionError(row)


def test_nothing_is_done_unless_it_is_asked_for() -> None:
    before = three()
    after = finish(before, DatasetSettings())
    assert (after.corpus, after.train, after.dev, after.test) == (before.corpus, before.train, before.dev, before.test)
    assert after.card["protocol"] == {
        "split_rule": "as given",
        "judgements": "as given",
        "sample": "all 2 test queries",
        "documents": "all 9 documents",
        "chunking": "none: every text is one passage",
        "deduplication": "none",
    }
    assert after.card["checksum"] == stored.checksum(before)
    assert after.card["notes"] == [
        "1 of 2 test queries occur in train too (r)",
        "1 of 2 test queries hold a whole relevant passage (d0 in q)",
    ]


def test_all_steps_in_their_order() -> None:
    settings = DatasetSettings(
        resplit=Resplit(shares=(0.0, 0.0, 1.0)),
        max_test_queries=2,
        max_documents=3,
        max_passage_words=3,
        deduplicate="text",
    )
    found = finish(three(), settings)
    assert len(found.test) == 2  # of three: that of train was pooled
    card = found.card
    assert card["protocol"]["sample"].startswith("the 2 of 3 test queries")
    assert card["protocol"]["documents"].startswith("3 of 9 documents: 2 with relevant passages")
    assert card["protocol"]["chunking"].startswith("whole sentences, at most 3 words")
    assert card["protocol"]["judgements"] == "as given; each passage inherits the grade of the text it is cut from"
    assert card["protocol"]["split_rule"].startswith("all queries anew")
    assert card["protocol"]["deduplication"].startswith("of passages equal but for case")
    # After cutting, sentences repeat within a text and between texts; none is left twice.
    texts = found.corpus.table.column("text").to_pylist()
    assert len(set(texts)) == len(texts) == card["passages"]
    assert any(note.endswith("passages merged with one that says the same") for note in card["notes"])
    assert card["checksum"] == stored.checksum(found)
    held = set(found.corpus.docids)
    assert all(set(judged) <= held for judged in found.test.qrels.values())
    assert all(max(judged.values()) == 1 for judged in found.test.qrels.values())


def test_what_a_source_cut_is_told_before_what_was_cut_here() -> None:
    given = three()
    given.card["protocol"]["chunking"] = "by its authors"  # type: ignore[index]
    assert finish(given, DatasetSettings()).card["protocol"]["chunking"] == "by its authors"
    cut = finish(given, DatasetSettings(max_passage_words=3)).card["protocol"]["chunking"]
    assert cut.startswith("by its authors; then whole sentences, at most 3 words")
    assert given.card["protocol"] == {"split_rule": "as given", "judgements": "as given", "chunking": "by its authors"}


def test_progress_is_told_of_every_long_step() -> None:
    watcher = Watcher()
    texts = [Passage(f"d{n}", "", TEXT, f"d{n}") for n in range(5000)]
    finish(dataset(texts), DatasetSettings(max_passage_words=3, deduplicate="text"), watcher)
    assert watcher.phases == {
        "cut": (None, 15_000),
        "compare texts": (15_000, 15_000),
        "look for leaks": (0, 0),
        "checksum": (2, 0),
    }


@pytest.mark.parametrize(
    "chosen",
    [
        {"max_passage_words": 20},
        {"max_documents": 30_000},
        {"deduplicate": "text"},
        {"resplit": Resplit(shares=(0.0, 0.0, 1.0))},
    ],
)
def test_a_large_corpus_never_becomes_python_objects(chosen: dict[str, Any]) -> None:
    texts = (Passage(f"d{n}", f"Title {n}", f"Passage {n} says one thing.", f"d{n}") for n in range(40_000))
    given = Dataset(
        "large",
        stored.gather(texts),
        *(dataset([], test={}).split(name) for name in ("train", "dev")),
        test=dataset([], test={"q": {"d5": 1}}).test,
        card=three().card,
    )
    tracemalloc.start()
    finish(given, DatasetSettings(**chosen))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # A dictionary of the docids alone would take more: 40,000 strings of 55 bytes, places of 100 bytes.
    assert peak < 4_500_000
