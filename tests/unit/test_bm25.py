"""What a BM25 system does at the edges: nothing to match, ties at the cut, damaged folders."""

from __future__ import annotations

from pathlib import Path

import pytest

from baselines.bm25 import BM25S, RANK_BM25
from baselines.tokens import Tokeniser, TokenSettings
from harness.errors import RunFolderError, StorageError
from harness.retriever import Retriever, System
from harness.types import Corpus, Passage, Split

BOTH = pytest.mark.parametrize("system", [BM25S, RANK_BM25], ids=lambda system: system.name)
NONE = (Split("train"), Split("dev"))


def indexed(system: System, *texts: str) -> Retriever:
    retriever = system.build(system.config(), 0)
    retriever.index(Corpus.from_passages(Passage(f"d{i}", "", text, f"d{i}") for i, text in enumerate(texts)), *NONE)
    return retriever


@BOTH
@pytest.mark.parametrize("query", ["", "  ", "the of and", "zebra", "?!", "a"])
def test_a_query_nothing_matches_has_no_hits(system: System, query: str) -> None:
    assert indexed(system, "red apples", "green pears").search([query, "pear"], 3)[0] == []


@BOTH
def test_hits_are_the_passages_that_share_a_term(system: System) -> None:
    hits = indexed(system, "red apples", "green pears", "red pears", "blue sky").search(["the reddest apple, red"], 10)
    assert {hit.docid for hit in hits[0]} == {"d0", "d2"}


@BOTH
def test_ties_at_the_cut_go_to_the_larger_docid(system: System) -> None:
    retriever = indexed(system, *["red apple"] * 12, "green pear")
    assert [hit.docid for hit in retriever.search(["apple"], 3)[0]] == ["d9", "d8", "d7"]


@BOTH
@pytest.mark.parametrize("texts", [("the of", "and"), ("", "")])
def test_a_corpus_without_terms(system: System, texts: tuple[str, str], tmp_path: Path) -> None:
    retriever = indexed(system, *texts)
    retriever.save(tmp_path)
    for one in (retriever, system.load(tmp_path)):
        assert one.search(["red apple", ""], 5) == [[], []]
        assert one.footprint().index_bytes == len("d0d1")


@BOTH
def test_no_queries(system: System) -> None:
    assert indexed(system, "red apple").search([], 5) == []


def test_rank_bm25_scores_may_be_negative() -> None:
    # Each idf: ln(0.5 / 1.5) < 0, and a quarter of the mean idf is negative too.
    (hit,) = indexed(RANK_BM25, "red apple").search(["red"], 5)[0]
    assert hit.score < 0


def test_language_of_stop_words_and_stems() -> None:
    german = Tokeniser(TokenSettings(stop_words="german"))
    assert german(["Die Häuser und die Hunde"]) == [["haus", "hund"]]
    plain = Tokeniser(TokenSettings(stop_words=False, stemming=False))
    assert plain(["The Running Dogs, a 東京"]) == [["the", "running", "dogs", "東京"]]


@BOTH
def test_a_damaged_folder_is_named(system: System, tmp_path: Path) -> None:
    indexed(system, "red apple").save(tmp_path)
    for file in sorted(path for path in tmp_path.rglob("*") if path.is_file()):
        whole = file.read_bytes()
        file.write_bytes(whole[: len(whole) // 2])
        with pytest.raises(RunFolderError):
            system.load(tmp_path)
        file.write_bytes(whole)
    assert system.load(tmp_path).search(["apple"], 1)[0][0].docid == "d0"


@BOTH
def test_a_folder_of_another_system_is_refused(system: System, tmp_path: Path) -> None:
    other = RANK_BM25 if system is BM25S else BM25S
    indexed(other, "red apple").save(tmp_path)
    with pytest.raises(RunFolderError, match="another system"):
        system.load(tmp_path)


def test_a_refused_write_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "bm25s").write_text("a file where bm25s wants its folder")
    with pytest.raises(StorageError):
        indexed(BM25S, "red apple").save(tmp_path)
