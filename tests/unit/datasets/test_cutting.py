"""Cutting texts into passages: overlap, with and without whole sentences, in words and in tokens; grades passed on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets import DatasetSettings
from harness.datasets.chunking import sentences, windows
from harness.datasets.cutting import Rule, describe, divide
from harness.datasets.tokens import TokenCounts
from harness.errors import ConfigError
from harness.types import Corpus, Dataset, Passage, Query, Split

TEXT = "A b. C d e. Fx. G h i j."
TEXTS = st.lists(st.sampled_from(["a", "bb", "c.", "D", "e?", "\n\n", "F!"]), max_size=40).map(
    lambda words: " ".join(word if word.isspace() else word[0] + str(i) + word[1:] for i, word in enumerate(words))
)
"""No word stands twice, so that it can be told where a passage was taken from."""


def test_whole_sentences_that_fit_are_repeated() -> None:
    assert windows(TEXT, 5) == ["A b. C d e.", "Fx. G h i j."]
    assert windows(TEXT, 5, overlap=3) == ["A b. C d e.", "C d e. Fx.", "Fx. G h i j."]
    assert windows(TEXT, 5, overlap=4) == ["A b. C d e.", "C d e. Fx.", "Fx. G h i j."]


def test_what_is_repeated_leaves_room_for_what_follows() -> None:
    assert windows("A b. C d. E f g h.", 4, overlap=3) == ["A b. C d.", "E f g h."]


def test_words_are_repeated_where_sentences_are_not_kept_whole() -> None:
    assert windows(TEXT, 4, overlap=1, whole_sentences=False) == ["A b. C d", "d e. Fx. G", "G h i j."]
    assert windows(TEXT, 5, whole_sentences=False) == ["A b. C d e.", "Fx. G h i j."]
    assert windows(TEXT, 3, whole_sentences=False) == ["A b. C", "d e. Fx.", "G h i", "j."]


@settings(deadline=None)
@given(TEXTS, st.integers(1, 9), st.integers(0, 8), st.booleans())
def test_passages_fit_and_hold_every_word_in_order(text: str, limit: int, overlap: int, whole: bool) -> None:
    if overlap >= limit:
        with pytest.raises(ConfigError):
            windows(text, limit, overlap, whole)
        return
    passages = [passage.split() for passage in windows(text, limit, overlap, whole)]
    words = text.split()
    assert all(1 <= len(passage) <= limit for passage in passages)
    position, longest = 0, 0
    for passage in passages:
        # Each begins at most `overlap` words before the end of the one before, and goes beyond it.
        start = next(
            s for s in range(max(0, position - overlap), position + 1) if words[s : s + len(passage)] == passage
        )
        assert start + len(passage) > position
        longest = max(longest, position - start)
        position = start + len(passage)
    assert position == len(words)
    if not whole and len(words) > limit:
        assert longest == overlap


@pytest.mark.parametrize("overlap", [-1, 3, 4])
def test_overlap_must_be_less_than_a_passage(overlap: int) -> None:
    with pytest.raises(ConfigError, match=f"overlap = {overlap}"):
        windows("a", 3, overlap)


class Letters:
    """A tokeniser that makes a token of each character but blanks, and three of a w."""

    def __init__(self) -> None:
        self.asked = 0

    def __call__(self, texts: list[str], **_: Any) -> dict[str, list[list[int]]]:
        self.asked += len(texts)
        return {"input_ids": [[ord(sign) for sign in text.replace(" ", "").replace("w", "www")] for text in texts]}


def test_tokens_are_counted_word_by_word_and_remembered() -> None:
    tokenizer = Letters()
    counts = TokenCounts(tokenizer, 9)
    assert windows("abc de. Fghi j. Abc de.", 9, weigh=counts) == ["abc de.", "Fghi j.", "Abc de."]
    assert counts(["abc", "j.", "abc"]) == (["abc", "j.", "abc"], [3, 2, 3])
    asked = tokenizer.asked
    counts(["abc", "j."])
    assert tokenizer.asked == asked + 1  # the left context alone


def test_a_word_longer_than_a_passage_is_cut_where_it_must_be() -> None:
    counts = TokenCounts(Letters(), 8)
    text = "ab " + "x" * 21 + " cd"
    assert windows(text, 8, weigh=counts) == ["ab", "x" * 8, "x" * 8, "xxxxx cd"]
    assert windows("y" * 1000, 8, weigh=counts) == ["y" * 8] * 125
    # Two pieces of six tokens and one of three: none is joined to the next by a blank that was not there.
    assert windows("wwwww ab", 8, weigh=counts) == ["ww", "ww", "w ab"]


@settings(deadline=None)
@given(st.text(st.sampled_from("ab .\n"), max_size=200), st.integers(8, 20), st.booleans())
def test_passages_of_tokens_lose_no_character_and_fit(text: str, limit: int, whole: bool) -> None:
    counts = TokenCounts(Letters(), limit)
    passages = windows(text, limit, whole_sentences=whole, weigh=counts)
    assert "".join("".join(passages).split()) == "".join(text.split())
    assert all(1 <= len(passage.replace(" ", "")) <= limit for passage in passages)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder with a tokeniser that was trained on a few words."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(["the quick brown fox jumps over the lazy dog. The end."] * 9, trainer)
    place = tmp_path_factory.mktemp("tokeniser") / "tiny"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(place)
    return place


def test_a_hugging_face_folder_counts_what_its_tokeniser_makes_of_the_passage(folder: Path) -> None:
    from transformers import AutoTokenizer

    rule = Rule.of(DatasetSettings(max_passage_tokens=12, tokenizer=str(folder)))
    assert rule is not None
    text = "The lazy dog jumps. Über the fox 東京都 the end! " * 3 + "a" * 60
    passages = windows(text, rule.limit, weigh=rule.weigh)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lengths = [len(tokenizer(f" {passage}")["input_ids"]) for passage in passages]
    assert max(lengths) <= 12
    assert lengths[0] + len(tokenizer(f" {sentences(text)[1]}")["input_ids"]) > 12
    assert "".join("".join(passages).split()) == "".join(text.split())


@pytest.mark.parametrize("name", ["nowhere/at-all", "~no-such-user-at-all/x", "."])
def test_a_folder_without_a_tokeniser_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="tokenizer = 'embedded' or a Hugging Face folder") as caught:
        Rule.of(DatasetSettings(max_passage_tokens=12, tokenizer=name))
    assert repr(name) in caught.value.got


def test_nothing_is_cut_without_a_limit() -> None:
    assert Rule.of(DatasetSettings()) is None


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({}, "none: every text is one passage"),
        (
            {"max_passage_words": 60},
            "whole sentences, at most 60 words a passage; longer sentences are cut between words",
        ),
        (
            {"max_passage_words": 60, "sentences": False, "overlap": 9},
            "at most 60 words a passage, cut between words wherever the limit falls; a passage begins with the end of "
            "the one before (at most 9 words)",
        ),
        (
            {"max_passage_tokens": 64, "tokenizer": "/home/me/tiny", "overlap": 9},
            "whole sentences, at most 64 tokens (of the tokenizer tiny) a passage; longer sentences are cut between "
            "words; a passage begins with the end of the one before (whole sentences of at most 9 tokens)",
        ),
        (
            {"max_passage_tokens": 64},
            "whole sentences, at most 64 tokens (of the embedded language model) a passage; longer sentences are cut "
            "between words",
        ),
    ],
)
def test_the_card_tells_how(chosen: dict[str, Any], said: str) -> None:
    assert describe(DatasetSettings(**chosen)) == said


def test_the_opening_gets_its_bonus_only_where_relevant() -> None:
    corpus = Corpus.from_passages([Passage("a", "T", "One two. Three four.", "doc"), Passage("b", "U", " ", "b")])
    test = Split("test", (Query("q", "?"),), {"q": {"a": 1, "b": 0}})
    dataset = Dataset("d", corpus, Split("train"), Split("dev"), test)
    divided = divide(dataset, Rule(2), opening_bonus=1)
    assert list(divided.corpus) == [
        Passage("a.0", "T", "One two.", "doc"),
        Passage("a.1", "T", "Three four.", "doc"),
        Passage("b.0", "U", "", "b"),
    ]
    assert divided.test.qrels == {"q": {"a.0": 2, "a.1": 1, "b.0": 0}}
    assert dataset.test.qrels == {"q": {"a": 1, "b": 0}}
