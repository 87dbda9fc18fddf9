"""Cut texts into terms: the one tokeniser both BM25 systems share, so they differ in their formula alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

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

    model_config = ConfigDict(frozen=True, extra="forbid")

    stop_words: bool | Language = True
    """Leave out the stop words of a language; true: English."""
    stemming: bool = True
    """Reduce words to their Snowball stem, in the language of the stop words (English where there are none)."""


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


def corpus_tokens(corpus: Corpus, tokeniser: Tokeniser, progress: Progress) -> Iterator[list[str]]:
    """Yield the terms of each passage's title and text, in row order."""
    progress.phase("tokenise", len(corpus), "passages")
    passages = iter(corpus)
    while chunk := list(islice(passages, PASSAGES_AT_ONCE)):
        yield from tokeniser([f"{passage.title} {passage.text}" for passage in chunk])
        progress.advance(len(chunk))
