"""Settings of a dataset: what is refused, what is written, and that published fingerprints stay what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from harness import experiment, plan
from harness.datasets import DatasetSettings, load
from harness.errors import ConfigError
from harness.validation import validated

KEPT = Path(__file__).resolve().parents[3] / "docs" / "results" / "standard.json"
BM25 = "53ccefd5"
"""First digits of the published fingerprint of bm25 on vital-articles/1k in the experiment `standard`."""


def read(**table: Any) -> DatasetSettings:
    return validated(DatasetSettings, table, "a test")


def test_a_published_fingerprint_stays_what_it_is(tmp_path: Path) -> None:
    chosen = experiment.load("standard").with_overrides(datasets=["vital-articles/1k"], systems=["bm25"])
    (cell,) = plan.prepare(chosen, tmp_path).cells
    (kept,) = [
        found
        for found in json.loads(KEPT.read_text(encoding="utf-8"))["cells"]
        if (found["dataset"], found["system"], found["seed"]) == (cell.dataset, cell.system, cell.seed)
    ]
    assert cell.fingerprint == kept["fingerprint"]
    assert cell.fingerprint.startswith(BM25)


def test_the_published_checksum_stays_what_it_is() -> None:
    found = load("vital-articles/1k", DatasetSettings(max_passage_words=60)).card["checksum"]
    assert found == "f51fb3c4415175670b23986966d32d0f2db738c57c095527b44779756c541e73"


def test_only_what_is_used_is_written() -> None:
    assert DatasetSettings().model_dump(mode="json") == {"max_passage_words": None, "max_test_queries": None}
    used = DatasetSettings(max_passage_words=60, overlap=10, deduplicate="text")
    written = {"max_passage_words": 60, "max_test_queries": None, "overlap": 10, "deduplicate": "text"}
    assert used.model_dump(mode="json") == written
    assert read(**written) == used


def test_an_experiment_keeps_its_settings_through_its_table() -> None:
    table = {"by": "document", "shares": [0.5, 0.25, 0.25], "seed": 3}
    settings = {"max_documents": "20k", "resplit": table, "sentences": False, "max_passage_words": 9}
    found = experiment.Experiment.from_table(
        {"name": "x", "datasets": {"d": settings}, "systems": {"bm25": {}}}, "a test"
    )
    again = experiment.Experiment.from_table(found.table(), "a test")
    assert again.datasets == found.datasets
    assert found.datasets["d"].max_documents == 20_000
    assert found.datasets["d"].resplit is not None
    assert found.datasets["d"].resplit.shares == (0.5, 0.25, 0.25)
    changed = found.with_overrides(sets=["datasets.d.resplit.seed=4"])
    assert changed.datasets["d"].resplit == found.datasets["d"].resplit.model_copy(update={"seed": 4})


@pytest.mark.parametrize(
    ("given", "number"), [(10_000, 10_000), ("10k", 10_000), ("20K", 20_000), ("200k", 200_000), ("1M", 1_000_000)]
)
def test_numbers_of_documents(given: int | str, number: int) -> None:
    assert read(max_documents=given).max_documents == number


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"max_documents": "10g"}, "max_documents = '10g'"),
        ({"max_documents": "0k"}, "max_documents"),
        ({"max_documents": True}, "max_documents"),
        ({"max_passage_words": 5, "max_passage_tokens": 9}, "not both"),
        ({"max_passage_tokens": 7}, "max_passage_tokens = 7"),
        ({"overlap": 1}, "overlap and sentences need"),
        ({"sentences": False}, "overlap and sentences need"),
        ({"max_passage_words": 5, "overlap": 5}, "less than the limit"),
        ({"max_passage_words": 5, "tokenizer": "x"}, "tokenizer needs max_passage_tokens"),
        ({"deduplicate": "titles"}, "deduplicate = 'titles'"),
        ({"resplit": {"by": "title"}}, "resplit.by = 'title'"),
        ({"resplit": {"shares": [0.5, 0.5, 0.5]}}, "add up to 1"),
        ({"resplit": {"shares": [0.5, 0.5, 0.0]}}, "that of test above 0"),
        ({"resplit": {"shares": [1.5, -1.0, 0.5]}}, "add up to 1"),
        ({"resplit": {"seed": -1}}, "resplit.seed = -1"),
        ({"resplit": {"sed": 1}}, "unknown key resplit.sed"),
    ],
)
def test_what_cannot_be_meant_is_refused(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(**table)
    assert said in caught.value.got
