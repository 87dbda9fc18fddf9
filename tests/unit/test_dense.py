from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from baselines import dense, vectors
from baselines.dense import DENSE, Dense, DenseSettings, Groups
from baselines.encoder import Encoder, embedded_folder
from harness.errors import (
    ConfigError,
    DataError,
    DependencyError,
    HarnessError,
    OfflineError,
    RunFolderError,
    StorageError,
)
from harness.types import Corpus, Hit, Passage, Split

NONE = (Split("train"), Split("dev"))
TEXTS = ["A cat sat on the mat.", "", "Stock markets fell sharply today, analysts said. " * 12, "東京は日本の首都です"]


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return Encoder("embedded", normalise=True)


class Lettered:
    """An encoder that counts the letters a, b and c; remembers what it was given."""

    width = 3
    parameter_bytes = 12

    def __init__(self, model: str, normalise: bool) -> None:
        self.seen: list[str] = []
        self._normalise = normalise

    def encode(self, texts: Sequence[str], batch_size: int) -> Any:
        self.seen += texts
        counts = np.array([[text.count(letter) for letter in "abc"] for text in texts], np.float32)
        lengths = np.linalg.norm(counts, axis=1, keepdims=True)
        return counts / np.maximum(lengths, 1e-9) if self._normalise else counts


@pytest.fixture
def lettered(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(dense, "Encoder", Lettered)
    yield


def corpus(*texts: str, titles: Sequence[str] = ()) -> Corpus:
    return Corpus.from_passages(
        Passage(f"d{i}", titles[i] if titles else "", text, f"d{i}") for i, text in enumerate(texts)
    )


def indexed(passages: Corpus, **settings: Any) -> Dense:
    retriever = Dense(DenseSettings(**settings), seed=0)
    retriever.index(passages, *NONE)
    return retriever


def pairs(hits: Sequence[Hit]) -> list[tuple[str, float]]:
    return [(hit.docid, round(hit.score, 6)) for hit in hits]


# The encoder


def test_embeddings_are_means_of_tokens_of_unit_length(minilm: Encoder) -> None:
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = (kind.from_pretrained(embedded_folder()) for kind in (AutoTokenizer, AutoModel))
    expected = []
    for text in TEXTS:
        tokens = tokenizer(text, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            mean = model(**tokens).last_hidden_state[0].mean(dim=0)
        expected.append((mean / mean.norm()).numpy())
    assert np.abs(minilm.encode(TEXTS, 4) - np.stack(expected)).max() < 1e-5


def test_batch_size_does_not_change_vectors(minilm: Encoder) -> None:
    assert np.abs(minilm.encode(TEXTS, 1) - minilm.encode(TEXTS, 3)).max() < 1e-5


def test_a_folder_without_modules_is_pooled_the_same_way(minilm: Encoder, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        shutil.copy(embedded_folder() / name, tmp_path)
    bare = Encoder(str(tmp_path), normalise=True)
    assert np.abs(bare.encode(TEXTS[:2], 2) - minilm.encode(TEXTS[:2], 2)).max() < 1e-5


def test_parameter_bytes_are_those_of_the_weights(minilm: Encoder) -> None:
    # Float32: 30,522 words, 512 places, 2 types and a norm in 384 numbers; 6 layers; the pooler.
    layer = 4 * (384 * 384 + 384) + (384 * 1536 + 1536) + (1536 * 384 + 384) + 4 * 384
    numbers = (30522 + 512 + 2 + 2) * 384 + 6 * layer + (384 * 384 + 384)
    assert minilm.parameter_bytes == 4 * numbers
    assert minilm.width == 384


def test_what_cannot_be_loaded_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[str, type[HarnessError]]] = [
        ("nobody/no-such-encoder", OfflineError),
        ("./no-such-folder", ConfigError),
        (str(tmp_path), DataError),
    ]
    for model, error in cases:
        with pytest.raises(error):
            Encoder(model, normalise=True)

    def absent(name: str) -> Any:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "files", absent)
    with pytest.raises(DependencyError, match="pip install"):
        embedded_folder()


# The retriever


@pytest.mark.usefixtures("lettered")
def test_scores_are_cosines() -> None:
    retriever = indexed(corpus("aaa", "ab", "c"))
    # (1, 1, 0) against (3, 0, 0), (1, 1, 0), (0, 0, 1)
    assert pairs(retriever.search(["ab"], 10)[0]) == [("d1", 1.0), ("d0", round(0.5**0.5, 6)), ("d2", 0.0)]
    # Not normalised: inner products of counts.
    assert pairs(indexed(corpus("aaa", "ab", "c"), normalise=False).search(["ab"], 2)[0]) == [("d0", 3.0), ("d1", 2.0)]


@pytest.mark.usefixtures("lettered")
def test_texts_are_title_and_text_behind_their_prefix() -> None:
    passages = corpus("b", "c", "", titles=["A", "", "Only"])
    retriever = indexed(passages, query_prefix="query: ", passage_prefix="passage: ", title_separator="\n")
    retriever.search(["a"], 1)
    made: Any = retriever._encoder
    assert made.seen == ["passage: A\nb", "passage: c", "passage: Only", "query: a"]


@pytest.mark.usefixtures("lettered")
def test_duplicates_are_encoded_once_and_all_returned() -> None:
    retriever = indexed(corpus("ab", "c", "ab", "a", "ab"))
    made: Any = retriever._encoder
    assert made.seen == ["ab", "c", "a"]
    assert [hit.docid for hit in retriever.search(["ab"], 9)[0]] == ["d4", "d2", "d0", "d3", "d1"]
    assert [hit.docid for hit in retriever.search(["ab"], 1)[0]] == ["d4"]


@pytest.mark.usefixtures("lettered")
def test_different_texts_that_tie_at_the_cut_follow_the_docid() -> None:
    retriever = indexed(corpus(*[f"a{'x' * i}" for i in range(60)], "b"))
    best = [hit.docid for hit in retriever.search(["a"], 8)[0]]
    assert best == ["d9", "d8", "d7", "d6", "d59", "d58", "d57", "d56"]


@pytest.mark.usefixtures("lettered")
def test_progress_counts_passages() -> None:
    class Counter:
        total: int | None = None
        done = 0

        def phase(self, name: str, total: int | None = None, unit: str = "") -> None:
            self.total = total

        def advance(self, amount: int = 1) -> None:
            self.done += amount

        def record(self, row: dict[str, float | int | str]) -> None:
            raise AssertionError(row)

    counter = Counter()
    Dense(DenseSettings(batch_size=1), 0).index(corpus(*"abcabc" * 10, "abc"), *NONE, counter)
    assert counter.total == counter.done == 61


@pytest.mark.usefixtures("lettered")
def test_footprint_and_folder(tmp_path: Path) -> None:
    retriever = indexed(corpus("ab", "c", "ab"))
    retriever.save(tmp_path)
    written = (tmp_path / dense.VECTORS).stat().st_size
    assert written >= 2 * 3 * 4  # two different vectors of three floats
    # The FAISS file, an int32 a row, the docids.
    assert retriever.footprint().index_bytes == written + 3 * 4 + len("d0d1d2")
    assert retriever.footprint().parameter_bytes == 12
    assert DENSE.load(tmp_path).search(["b"], 2) == retriever.search(["b"], 2)


@pytest.mark.usefixtures("lettered")
def test_a_local_model_is_remembered_by_its_full_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "encoder").mkdir()
    (tmp_path / "saved").mkdir()
    monkeypatch.chdir(tmp_path)
    indexed(corpus("a"), model="encoder").save(tmp_path / "saved")
    retriever: Any = DENSE.load(tmp_path / "saved")
    assert retriever._settings.model == str((tmp_path / "encoder").resolve())


@pytest.mark.usefixtures("lettered")
def test_damaged_folders_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    indexed(corpus("ab", "c")).save(tmp_path)
    for name in (dense.VECTORS, dense.ROWS, "docids.arrow", "state.json"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RunFolderError):
            DENSE.load(tmp_path)
        (tmp_path / name).write_bytes(whole)
    monkeypatch.setattr(Lettered, "width", 4)
    with pytest.raises(RunFolderError, match="4 numbers a vector"):
        DENSE.load(tmp_path)


# FAISS


def some_vectors(n: int = 600, width: int = 16) -> Any:
    drawn = np.random.default_rng(3).standard_normal((n, width)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def test_all_that_ties_with_the_last_is_found() -> None:
    same = np.tile(np.array([[1, 0]], np.float32), (40, 1))
    index = vectors.build("flat", 2, [same, np.array([[0, 1]], np.float32)], seed=0)
    tied, clear = vectors.nearest(index, np.array([[1, 0], [0, 1]], np.float32), 1)
    assert sorted(tied.numbers.tolist())[:40] == list(range(40))
    assert clear.numbers[0] == 40 and clear.scores[0] == 1.0


def test_more_than_there_are() -> None:
    index = vectors.build("flat", 2, [np.eye(2, dtype=np.float32)], seed=0)
    (found,) = vectors.nearest(index, np.array([[1, 0]], np.float32), 50)
    assert found.numbers.tolist() == [0, 1]


def test_padding_is_never_a_passage() -> None:
    index = vectors.build("ivf-pq", 16, [some_vectors()], seed=0)
    index.nprobe = 1
    (found,) = vectors.nearest(index, some_vectors()[:1], 600)
    assert 0 < len(found.numbers) < 600
    assert found.numbers.min() >= 0


@pytest.mark.parametrize(("kind", "least"), [("hnsw", 0.99), ("ivf-pq", 0.5)])
def test_approximate_indexes_find_most_and_the_same_each_time(kind: vectors.Kind, least: float) -> None:
    points = some_vectors()
    queries = points[:50] + 0.02
    exact = vectors.nearest(vectors.build("flat", 16, [points], 0), queries, 10)
    first, again = (
        vectors.nearest(vectors.build(kind, 16, np.array_split(points, 3), 7), queries, 10) for _ in range(2)
    )
    overlap = [best10(one) & best10(two) for one, two in zip(exact, first, strict=True)]
    assert sum(map(len, overlap)) / 500 >= least
    assert [sorted(f.numbers.tolist()) for f in first] == [sorted(f.numbers.tolist()) for f in again]


def best10(found: vectors.Nearest) -> set[int]:
    return set(found.numbers[np.argsort(-found.scores)[:10]].tolist())


def test_product_quantisation_asks_for_enough_passages() -> None:
    with pytest.raises(ConfigError, match="256"):
        vectors.build("ivf-pq", 16, [some_vectors(255)], seed=0)


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf-pq"])
def test_stored_bytes_are_those_of_the_file(kind: vectors.Kind, tmp_path: Path) -> None:
    index = vectors.build(kind, 16, [some_vectors()], seed=0)
    vectors.save(index, tmp_path / "index")
    assert vectors.stored_bytes(index) == (tmp_path / "index").stat().st_size
    with pytest.raises(StorageError):
        vectors.save(index, tmp_path / "absent" / "index")


def test_groups() -> None:
    groups = Groups(np.array([0, 1, 0, 2, 1, 0], np.int32))
    assert [groups.rows(number) for number in range(3)] == [[0, 2, 5], [1, 4], [3]]
