"""Cut texts into terms: the one tokeniser both BM25 systems share, so they differ in their formula alone."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from harness.progress import Progress
from harness.types import Corpus

Language = Literal[
    "danish",
    "dutch",
    "english",
    "french",
    "german",
    "italian",
    "norwegian",
    "portuguese",
    "russian",
    "spanish",
    "swedish",
    "turkish",
]
PASSAGES_AT_ONCE = 1024


class TokenSettings(BaseModel):
    """How texts become terms."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    stop_words: bool | Language = True
    """Leave out the stop words of a language; true: English."""
    stemming: bool = True
    """Reduce words to their Snowball stem, in the language of the stop words (English where there are none)."""


@dataclass(frozen=True)
class Numbered:
    """The terms of many texts as numbers, end to end: 4 bytes a term and 8 a text, where lists take 8 and 64.

    Reads like a list with one list of numbers a text. vocabulary: term -> number, in order of first appearance.
    """

    vocabulary: dict[str, int]
    numbers: array[int] = field(default_factory=lambda: array("i"))
    ends: array[int] = field(default_factory=lambda: array("q"))

    def __len__(self) -> int:
        return len(self.ends)

    def __iter__(self) -> Iterator[list[int]]:
        start = 0
        for end in self.ends:
            yield self.numbers[start:end].tolist()
            start = end


class Tokeniser:
    """Lower case, words of at least two characters, without stop words, stemmed: what bm25s does by default.

    Scripts written without spaces (Chinese, Japanese) stay one term a run of characters.
    """

    def __init__(self, settings: TokenSettings) -> None:
        import Stemmer

        named = settings.stop_words if isinstance(settings.stop_words, str) else None
        self._stop_words: str | list[str] = named or ("english" if settings.stop_words else [])
        self._stemmer = Stemmer.Stemmer(named or "english") if settings.stemming else None

    def __call__(self, texts: Sequence[str]) -> list[list[str]]:
        """Return the terms of each text, in order, repeated as often as they stand there; maybe none.

        >>> Tokeniser(TokenSettings())(["The running dogs run", "of the"])
        [['run', 'dog', 'run'], []]
        """
        import bm25s

        tokens: list[list[str]] = bm25s.tokenize(
            list(texts), stopwords=self._stop_words, stemmer=self._stemmer, return_ids=False, show_progress=False
        )
        return tokens

    def numbered(self, texts: Iterable[str]) -> Numbered:
        """Number the terms of each text, without keeping more than one text at a time.

        >>> found = Tokeniser(TokenSettings()).numbered(["The running dogs run", "of the", "dog"])
        >>> list(found), found.vocabulary
        ([[0, 1, 0], [], [1]], {'run': 0, 'dog': 1})
        """
        from bm25s.tokenization import Tokenizer

        # Remembers the stem of each word it has met, where `tokenize` would stem anew for every batch.
        tokenizer: Any = Tokenizer(stopwords=self._stop_words, stemmer=self._stemmer)
        found = Numbered(tokenizer.get_vocab_dict())
        for numbers in tokenizer.streaming_tokenize(texts, update_vocab=True, allow_empty=False):
            found.numbers.extend(numbers)
            found.ends.append(len(found.numbers))
        return found


def corpus_texts(corpus: Corpus, progress: Progress) -> Iterator[str]:
    """Yield each passage's title and text as one string, in row order."""
    progress.phase("tokenise", len(corpus), "passages")
    for row, passage in enumerate(corpus, start=1):
        yield f"{passage.title} {passage.text}"
        if row % PASSAGES_AT_ONCE == 0:
            progress.advance(PASSAGES_AT_ONCE)
    progress.advance(len(corpus) % PASSAGES_AT_ONCE)


def corpus_tokens(corpus: Corpus, tokeniser: Tokeniser, progress: Progress) -> Iterator[list[str]]:
    """Yield the terms of each passage's title and text, in row order."""
    texts = corpus_texts(corpus, progress)
    while chunk := list(islice(texts, PASSAGES_AT_ONCE)):
        yield from tokeniser(chunk)
