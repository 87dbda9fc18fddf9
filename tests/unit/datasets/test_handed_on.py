"""A folder that was written here tells where it comes from; somebody else's card.json does no harm."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness.datasets import DatasetSettings, convert, load
from harness.datasets.finishing import finish
from tests.unit.datasets.samples import dataset, passages


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    given = dataset(passages({"a": "One. Two."}), test={"q": {"a": 1}})
    convert.write(finish(given, DatasetSettings(max_passage_words=1)), tmp_path / "set")
    return tmp_path / "set"


def test_what_was_done_before_is_told(folder: Path) -> None:
    card = load(str(folder)).card
    assert card["source"].endswith("; card.json says: a test")
    assert (card["licence"], card["description"]) == ("none", "a sample")
    before = card["protocol"]["before"]
    assert before.startswith(f"card.json says of the data with the checksum {card['checksum']}: split_rule: as given; ")
    assert "chunking: whole sentences, at most 1 words" in before
    assert card["protocol"]["chunking"] == "none: every text is one passage"


def test_twice_converted_tells_both(folder: Path) -> None:
    convert.write(load(str(folder)), folder.parent / "again")
    before = load(str(folder.parent / "again")).card["protocol"]["before"]
    assert before.count("card.json says of the data") == 2
    assert "at most 1 words" in before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"5",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b"1" * 5000,
        json.dumps({"source": "s", "licence": "l", "description": "d", "checksum": "c"}).encode(),
        json.dumps({"source": "s", "licence": "l", "description": "d", "checksum": "c", "protocol": []}).encode(),
        json.dumps({"source": "s", "licence": 5, "description": "d", "checksum": "c", "protocol": {}}).encode(),
        json.dumps({"source": "\ud800", "licence": "l", "description": "", "checksum": "", "protocol": {}}).encode(),
        json.dumps({"source": "s", "licence": "l", "description": "", "checksum": "", "protocol": {"a": {}}}).encode(),
        json.dumps({"source": "x" * 2**20, "licence": "", "description": "", "checksum": "", "protocol": {}}).encode(),
    ],
)
def test_a_card_of_somebody_else_is_left_aside(folder: Path, content: bytes) -> None:
    (folder / "card.json").write_bytes(content)
    card = load(str(folder)).card
    assert card["licence"] == "not part of the layout; see where the set comes from"
    assert "before" not in card["protocol"]
    assert card["source"].endswith("qrels/test.tsv)")


def test_no_card_is_fine(folder: Path) -> None:
    (folder / "card.json").unlink()
    assert "before" not in load(str(folder)).card["protocol"]
