"""Sentences and windows, by example and by property."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.datasets.chunking import sentences, windows
from harness.errors import ConfigError

SPLIT = [
    ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
    ("He met Dr. Smith and Mrs. Jones. They left.", ["He met Dr. Smith and Mrs. Jones.", "They left."]),
    ("J. R. R. Tolkien wrote it. C. S. Lewis did not.", ["J. R. R. Tolkien wrote it.", "C. S. Lewis did not."]),
    ("The U.S. Army came from the U.S. The war ended.", ["The U.S. Army came from the U.S.", "The war ended."]),
    ("Some animals, e.g. Cats, sleep, i.e. Rest.", ["Some animals, e.g. Cats, sleep, i.e. Rest."]),
    ("It weighs 3.5 kg. It is 2.0 m long.", ["It weighs 3.5 kg.", "It is 2.0 m long."]),
    ("He said no. Then No. 5 came.", ["He said no.", "Then No. 5 came."]),
    ("He was king (c. 1500). He died.", ["He was king (c. 1500).", "He died."]),
    ("World War I. It began in 1914.", ["World War I.", "It began in 1914."]),
    ("It opens at 9 a.m. on Sundays.", ["It opens at 9 a.m. on Sundays."]),
    ("She joined Apple Inc. In 1990 she left.", ["She joined Apple Inc.", "In 1990 she left."]),
    ("Smith et al. (1995) won.", ["Smith et al. (1995) won."]),
    ('"Why?" he asked. "Go!" She went.', ['"Why?" he asked.', '"Go!"', "She went."]),
    ("It ended.[12] The next began.", ["It ended.[12]", "The next began."]),
    ("Yahoo! is a firm. Node.js is not.", ["Yahoo! is a firm.", "Node.js is not."]),
    ("It cost little. $5 was enough.", ["It cost little.", "$5 was enough."]),
    ("the slip stream . the results of tests .", ["the slip stream .", "the results of tests ."]),
    ("A heading\n\nthe text goes\non here", ["A heading", "the text goes\non here"]),
    ("The (U.S.) Army. Élan came.", ["The (U.S.) Army.", "Élan came."]),
    ("Wait … what? Then… Now.", ["Wait … what?", "Then…", "Now."]),
    ("", []),
    (" \n\t ", []),
]

# Text that is likely to hit every rule: end marks, abbreviations, quotes, odd white space.
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            [". ", ".", "! ", "?", "…", " ", "\n", "\n\n", "\u00a0", "U.S.", "Dr.", " e.g. ", '"', ")", "[1]"]
        ),
        st.text(max_size=8),
    ),
    max_size=30,
).map("".join)


def solid(texts: list[str]) -> str:
    return "".join("".join(text.split()) for text in texts)


@pytest.mark.parametrize(("text", "expected"), SPLIT)
def test_sentences(text: str, expected: list[str]) -> None:
    assert sentences(text) == expected


@settings(deadline=None)
@given(TEXTS)
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    found = sentences(text)
    assert solid(found) == solid([text])
    assert all(sentence and sentence == sentence.strip() and sentence in text for sentence in found)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 12))
def test_windows_keep_every_word_in_order_and_fit(text: str, max_words: int) -> None:
    found = windows(text, max_words)
    assert " ".join(found).split() == text.split()
    assert all(1 <= len(passage.split()) <= max_words for passage in found)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 12))
def test_windows_cut_only_sentences_that_are_too_long(text: str, max_words: int) -> None:
    boundaries, position = {0}, 0
    for sentence in sentences(text):
        length = len(sentence.split())
        boundaries |= {position + length}
        if length > max_words:
            boundaries |= set(range(position, position + length, max_words))
        position += length
    position = 0
    for passage in windows(text, max_words):
        position += len(passage.split())
        assert position in boundaries


def test_windows_fill_up_before_the_next_begins() -> None:
    assert windows("A b. C d. E f. G h i j k.", 4) == ["A b. C d.", "E f.", "G h i j", "k."]
    assert windows("A b. C d.", 100) == ["A b. C d."]


def test_windows_squeeze_white_space() -> None:
    assert windows(" a\n b\u00a0c ", 5) == ["a b c"]


@pytest.mark.parametrize("max_words", [0, -1])
def test_windows_need_a_word(max_words: int) -> None:
    with pytest.raises(ConfigError, match=f"max_words = {max_words}"):
        windows("a", max_words)


@pytest.mark.parametrize("text", ["." * 200_000, ".)" * 100_000, "\n " * 100_000, "\n" + " " * 200_000, "a" * 200_000])
def test_hostile_texts_take_linear_time(text: str) -> None:
    start = time.perf_counter()
    sentences(text)
    # Quadratic behaviour would take minutes; the bound leaves room for a busy machine.
    assert time.perf_counter() - start < 5
