"""DSI end to end on a tiny random model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from baselines.dsi import IDENTIFIER, QUESTION, Dsi, DsiSettings
from baselines.saved import load_state, save_state
from harness.errors import ConfigError, DataError, HarnessError, RunFolderError
from harness.retriever import Beamed
from harness.types import Corpus, Passage, Query, Split
from tests.lm_models import logprobs_after, tiny_folder

CORPUS = Corpus.from_passages(
    Passage(f"d{i:02}", f"Title {i}", f"The sentence number {i} has some more words in it.", f"d{i:02}")
    for i in range(25)
)
TRAIN = Split("train", (Query("q", "number three"),), {"q": {"d03": 1}})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tiny_folder(tmp_path_factory.mktemp("tiny"))


def built(folder: str, **changes: object) -> Dsi:
    training = {"tokens": 800, "frozen_layers": 0, "dtype": "float32"}
    given = {"backbone": folder, "docid": "naive", "training": training, "dtype": "float32", "beam_size": 25, **changes}
    dsi = Dsi(DsiSettings.model_validate(given))
    dsi.index(CORPUS, TRAIN, Split("dev"))
    return dsi


@pytest.mark.parametrize("loss", ["targets", "all tokens"])
def test_scores_are_log_probabilities_of_the_identifiers(folder: str, loss: str) -> None:
    dsi = built(folder, training={"tokens": 800, "frozen_layers": 0, "dtype": "float32", "loss": loss})
    backbone, trie, names = dsi._ready()
    (hits,) = dsi.search(["number three"], 100)
    assert sorted(h.docid for h in hits) == sorted(CORPUS.docids)
    prompt = backbone.encode([QUESTION.format(query="number three") + IDENTIFIER])[0]
    for hit in hits[:5]:
        row = CORPUS.row_of[hit.docid]
        code = [*(backbone.encode([d])[0][0] for d in f"{row:02}"), backbone.end]
        total, written = 0.0, list(prompt)
        for token in code:
            step = logprobs_after(backbone, written)
            kept = step if backbone.vocabulary is None else step[backbone.vocabulary]
            total += step[token] - np.logaddexp.reduce(kept)
            written.append(token)
        assert hit.score == pytest.approx(total, abs=1e-3)
    assert (backbone.vocabulary is None) == (loss == "all tokens")
    assert names[int(trie.items_at(trie.walk(code))[0])] == hit.docid
    assert dsi.counters()["invalid_docids"] == 0


@pytest.mark.parametrize("docid", ["naive", "random"])
def test_training_spends_the_budget_and_is_repeatable(folder: str, docid: str) -> None:
    one, two = built(folder, docid=docid), built(folder, docid=docid)
    assert one.search(["x"], 3) == two.search(["x"], 3)
    assert 700 < one.training_summary()["train_tokens"] <= 800


def test_saved_and_loaded(folder: str, tmp_path: Path) -> None:
    dsi = built(folder)
    dsi.save(tmp_path)
    loaded = Dsi.load(tmp_path)
    assert loaded.search(["x", ""], 4) == dsi.search(["x", ""], 4)


@pytest.mark.parametrize("size", [1, 3, 100])
def test_another_beam_size_is_what_loading_with_that_setting_gives(folder: str, tmp_path: Path, size: int) -> None:
    """Sizes: greedy, in between, and wider than the identifiers."""
    dsi = built(folder, beam_size=5)
    dsi.save(tmp_path)
    state = load_state(tmp_path, "dsi")
    save_state(tmp_path, "dsi", {**state, "settings": {**state["settings"], "beam_size": size}})
    assert isinstance(dsi, Beamed)
    other = dsi.with_beam_size(size)
    before = dsi.search(["x", "number three"], 50)
    assert other.search(["x", "number three"], 50) == Dsi.load(tmp_path).search(["x", "number three"], 50)
    assert [len(hits) for hits in other.search(["x", ""], 50)] == 2 * [min(size, len(CORPUS))]
    assert dsi.search(["x", "number three"], 50) == before
    assert other._ready() is dsi._ready()


def test_no_beam_is_refused(folder: str) -> None:
    with pytest.raises(ConfigError, match="beam_size"):
        built(folder).with_beam_size(0)


DAMAGE: list[tuple[str, bytes | None, type[HarnessError]]] = [
    ("trie/ends.npy", None, DataError),
    ("docids.arrow", None, RunFolderError),
    ("model.safetensors", b"cut short", DataError),
]


@pytest.mark.parametrize(("file", "content", "error"), DAMAGE)
def test_a_damaged_model_is_one_clear_error(
    folder: str, tmp_path: Path, file: str, content: bytes | None, error: type[HarnessError]
) -> None:
    built(folder, training={"tokens": 0}).save(tmp_path)
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(error):
        Dsi.load(tmp_path)


def test_settings_of_a_newer_version_are_named(folder: str, tmp_path: Path) -> None:
    built(folder, training={"tokens": 0}).save(tmp_path)
    state = load_state(tmp_path, "dsi")
    save_state(tmp_path, "dsi", {**state, "settings": {**state["settings"], "depth_of_thought": 3}})
    with pytest.raises(ConfigError, match="the unknown key depth_of_thought"):
        Dsi.load(tmp_path)
    save_state(tmp_path, "dsi", {"settings": state["settings"]})
    with pytest.raises(RunFolderError, match="to name seed"):
        Dsi.load(tmp_path)


def test_a_query_longer_than_the_backbone_reads_is_refused(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    dsi = built(folder, training={"tokens": 0})
    backbone, trie, _ = dsi._ready()
    longest = len(backbone.encode([QUESTION.format(query="x") + IDENTIFIER])[0]) + trie.height
    monkeypatch.setattr(backbone.model.config, "max_position_embeddings", longest)
    assert dsi.search(["x"], 3)[0]
    with pytest.raises(ConfigError, match="a query with its identifier"):
        dsi.search(["x", "xy"], 3)
