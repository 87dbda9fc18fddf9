"""Count a text in the tokens of a language model, word by word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from harness.datasets.settings import EMBEDDED
from harness.errors import ConfigError

_KNOWN = 2**18
"""Words whose number of tokens is remembered."""
_SHORT = 64
"""Characters of the longest word that is remembered."""
_LEFT = "a"


class TokenCounts:
    """A `harness.datasets.chunking.Weigh`: how many tokens each word has behind a blank.

    Tokenisers split at blanks, so that the words of a passage add up to its tokens behind a blank; and most words were
    met before. A word of more than `limit` tokens (an address, a text without blanks) is cut into the longest pieces
    that fit. Such a piece, but for the last, counts as a whole passage, so that none is joined to the next by a blank.
    """

    def __init__(self, tokenizer: Any, limit: int) -> None:
        """Take a Hugging Face tokeniser and the tokens of a passage, at least 8: no character has more."""
        self._tokenizer = tokenizer
        self._limit = limit
        self._known: dict[str, int] = {}

    @classmethod
    def of(cls, name: str, limit: int) -> TokenCounts:
        """Load the tokeniser `name`: "embedded" or a Hugging Face folder.

        Raises:
            ConfigError: there is none.
        """
        from harness.lm.backbone import embedded_folder, quiet

        try:
            folder = embedded_folder() if name == EMBEDDED else Path(name).expanduser()
            if not folder.is_dir():
                raise OSError("no such folder")
            from transformers import AutoTokenizer

            with quiet():
                return cls(AutoTokenizer.from_pretrained(folder), limit)
        except (OSError, ValueError, RuntimeError) as error:
            got = f"{name!r}: {next(iter(str(error).splitlines()), '')}"
            fix = "give the folder of a model, or use 'embedded'"
            raise ConfigError("tokenizer = 'embedded' or a Hugging Face folder with a tokeniser", got, fix) from error

    def __call__(self, words: list[str]) -> tuple[list[str], list[int]]:
        """Return the words, long ones in pieces, and what each counts."""
        weights = self._counts(words)
        if max(weights, default=0) <= self._limit:
            return words, weights
        cut: list[tuple[str, int]] = []
        for word, weight in zip(words, weights, strict=True):
            cut += [(word, weight)] if weight <= self._limit else self._pieces(word)
        return [text for text, _ in cut], [weight for _, weight in cut]

    def _counts(self, words: list[str]) -> list[int]:
        if len(self._known) > _KNOWN:
            self._known.clear()
        new = [word for word in dict.fromkeys(words) if word not in self._known]
        found = dict(zip(new, self._measured(new), strict=True))
        self._known.update((word, count) for word, count in found.items() if len(word) <= _SHORT)
        return [found[word] if word in found else self._known[word] for word in words]

    def _measured(self, words: list[str]) -> list[int]:
        from harness.lm.tokenizing import encode_after

        return [len(ids) for ids in encode_after(self._tokenizer, _LEFT, [f" {word}" for word in words])]

    def _pieces(self, word: str) -> list[tuple[str, int]]:
        pieces: list[tuple[str, int]] = []
        while word:
            length = self._longest(word)
            pieces.append((word[:length], self._limit))
            word = word[length:]
        last = pieces[-1][0]
        return [*pieces[:-1], (last, self._measured([last])[0])]

    def _longest(self, word: str) -> int:
        """Return how many characters from the start have at most `limit` tokens; found by doubling, then halving."""
        fits, fails = 1, 2 * self._limit
        while fails < len(word) and self._fits(word[:fails]):
            fits, fails = fails, 2 * fails
        if fails >= len(word):
            if self._fits(word):
                return len(word)
            fails = len(word)
        while fails - fits > 1:
            middle = (fits + fails) // 2
            fits, fails = (middle, fails) if self._fits(word[:middle]) else (fits, middle)
        return fits

    def _fits(self, text: str) -> bool:
        return self._measured([text])[0] <= self._limit
