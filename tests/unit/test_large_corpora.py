"""Indexing without a Python object for each term or token: the same results as with them, and less memory."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from typing import Any, cast

import bm25s
import numpy as np
import pyarrow as pa
import pytest

from baselines.bm25 import Bm25s, Bm25Settings
from baselines.tokens import Tokeniser, corpus_tokens
from harness.bench import synthetic
from harness.lm import growth
from harness.lm.backbone import Backbone
from harness.lm.ragged import Pile, Ragged
from harness.progress import SILENT
from harness.types import Corpus, Split
from selfretrieval.memory import Memory

NONE = (Split("train"), Split("dev"))


@pytest.fixture(scope="module")
def corpora() -> Callable[[int], Corpus]:
    source = synthetic.embedded()
    return lambda count: Corpus.from_passages(synthetic.passages(source, count))


class Words:
    """Stands for a backbone: every word is a token of its own."""

    end = 1

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        return [[2 + zlib.crc32(word.encode()) % 50_000 for word in text.split()] for text in texts]

    def encode_after(self, left: str, texts: Sequence[str]) -> list[list[int]]:
        return self.encode(texts)


WORDS = cast(Backbone, Words())


@pytest.mark.parametrize(
    "table",
    [
        {},
        {"stemming": False},
        {"method": "bm25l", "stop_words": False},
        {"method": "bm25+", "stop_words": "german"},
        {"method": "atire", "stemming": False, "stop_words": False},
    ],
    ids=str,
)
def test_the_bm25_index_is_that_of_lists_of_terms(table: dict[str, Any], corpora: Callable[[int], Corpus]) -> None:
    corpus, settings = corpora(300), Bm25Settings(**table)
    ours = Bm25s(settings)
    ours.index(corpus, *NONE)
    vocabulary: dict[str, int] = {}
    numbers = [
        [vocabulary.setdefault(term, len(vocabulary)) for term in terms]
        for terms in corpus_tokens(corpus, Tokeniser(settings), SILENT)
    ]
    plain = bm25s.BM25(k1=settings.k1, b=settings.b, delta=settings.delta, method=settings.method)
    plain.index((numbers, vocabulary), create_empty_token=False, show_progress=False)
    assert list(ours._engine.vocab_dict.items()) == list(vocabulary.items())
    assert ours._engine.scores["num_docs"] == 300
    for name in ("data", "indices", "indptr"):
        mine, theirs = ours._engine.scores[name], plain.scores[name]
        assert mine.dtype == theirs.dtype and mine.tobytes() == theirs.tobytes()


@pytest.mark.parametrize("table", [{}, {"stemming": False}, {"stop_words": False}, {"stop_words": "german"}], ids=str)
def test_numbered_terms_are_the_terms(table: dict[str, Any]) -> None:
    texts = ["The Running dogs, running!", "", "of the", "Die Häuser und das Haus 東京 x", "dogs' houses"]
    tokenise = Tokeniser(Bm25Settings(**table))
    found = tokenise.numbered(texts)
    names = list(found.vocabulary)
    assert [[names[n] for n in numbers] for numbers in found] == tokenise(texts)
    assert len(found) == 5 and list(found.vocabulary.values()) == list(range(len(names)))


@pytest.mark.parametrize("any_sentence", [False, True])
@pytest.mark.parametrize("titles", [False, True])
def test_the_memory_is_that_of_lists_of_tokens(
    titles: bool, any_sentence: bool, corpora: Callable[[int], Corpus]
) -> None:
    some = list(corpora(120))
    corpus = Corpus.from_passages([*some, *(p._replace(docid=f"again-{p.docid}") for p in some[:9])])
    memory = Memory.build(corpus, WORDS, titles=titles, passage_tokens=70, any_sentence=any_sentence)
    heads = [WORDS.encode([p.title.lower() + " Related document content:"])[0] if titles else [] for p in corpus]
    whole = [[*head, *WORDS.encode([p.text])[0][:70], 1] for head, p in zip(heads, corpus, strict=True)]
    assert len(memory.sequences) == len(memory.rows) == len(memory.heads)
    assert (len(memory.rows) > 129) is any_sentence
    assert [memory.sequences[row].tolist() for row in range(129)] == whole
    assert memory.heads[:129].tolist() == [len(head) for head in heads]
    assert memory.rows[:129].tolist() == list(range(129))
    for entry in range(129, len(memory.rows)):
        row = memory.rows[entry]
        head, text = memory.heads[entry], " ".join(map(str, whole[row]))
        tail = " ".join(map(str, memory.sequences[entry][head:-1].tolist()))
        assert head == len(heads[row]) and memory.sequences[entry][:head].tolist() == heads[row]
        assert tail in text or len(whole[row]) == head + 71
    # Each title ends behind the first of the three words of the boundary.
    stops = {memory.trie.walk(head[:-2]) for head in heads if head}
    assert memory.stops.tolist() == sorted(stops) and memory.stops.dtype == np.int32
    assert len(stops) == (40 if titles else 0)


def test_hashes_do_not_depend_on_how_many_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    sequences = Ragged.of([rng.integers(0, 3, rng.integers(0, 4)) for _ in range(500)])
    first = growth.first_copies(sequences)
    monkeypatch.setattr(growth, "_AT_ONCE", 7)
    assert growth.first_copies(sequences).tolist() == first.tolist()
    texts = [tuple(sequences[row].tolist()) for row in range(500)]
    assert first.tolist() == [texts.index(text) for text in texts]
    assert len(set(growth._hashes(sequences).tolist())) == len(set(texts)) == 40


def test_a_pile_is_the_sequences_laid_end_to_end() -> None:
    pile = Pile()
    assert pile.ragged().offsets.tolist() == [0]
    pile = Pile()
    for sequence in ([7, 2], [], [9]):
        pile.add(sequence)
    plain = Ragged.of([[7, 2], [], [9]])
    assert len(pile) == 3
    assert pile.ragged().values.tolist() == plain.values.tolist() and pile.ragged().values.dtype == np.int32
    assert pile.ragged().offsets.tolist() == plain.offsets.tolist() and pile.ragged().offsets.dtype == np.int64


def peak_bytes(work: Callable[[], object]) -> int:
    """Measure what Python and NumPy allocate at most: exact, unlike resident memory, and the same on every machine."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def growth_bytes(work: Callable[[Corpus], object], small: Corpus, large: Corpus) -> float:
    """Return what a passage more takes at the peak; what is imported, or held once, does not count."""
    work(small)
    more = peak_bytes(lambda: work(large)) - peak_bytes(lambda: work(small))
    return more / (len(large) - len(small))


def test_bm25_takes_little_more_than_its_scores(corpora: Callable[[int], Corpus]) -> None:
    small = corpora(1500)
    large = Corpus(pa.concat_tables([small.table] * 4))  # the same vocabulary
    grown = growth_bytes(lambda corpus: Bm25s(Bm25Settings()).index(corpus, *NONE), small, large)
    # 57 different terms of 62 a passage: 12 bytes each in rows, 8 in columns, 4 as numbers; with lists of terms, or
    # columns sorted by bm25s itself, it takes above 2,300.
    assert grown < 1900


def test_the_memory_takes_little_more_than_its_tokens(
    corpora: Callable[[int], Corpus], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("selfretrieval.memory._CHUNK", 64)
    monkeypatch.setattr(growth, "_AT_ONCE", 64)
    grown = growth_bytes(lambda corpus: Memory.build(corpus, WORDS), corpora(1500), corpora(6000))
    # 102 tokens of 4 bytes; with an array a passage, or hashes of all tokens at once, it takes above 1,000.
    assert grown < 800
