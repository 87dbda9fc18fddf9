"""Write titles for documents that have none, by a language model, once for each corpus.

Self-Retrieval names a document by its title; where a set has none (MS MARCO), Tang et al. generate one for each
document. They do not say how; this prompt and these lengths are ours. Titles are kept in the user's cache, under a name
that covers the writer, the prompt and the texts, so that they are written once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from harness import atomic
from harness.datasets.stored import gather
from harness.progress import SILENT, Progress
from harness.types import Corpus, Dataset

OPENING_WORDS = 100
"""Words of a document that a title is written from."""
SPARE_WORDS = 8
"""Words of the text that become the title where a model writes nothing but white space."""
_BLOCK = 1024
"""Titles between two writes of the cache."""


class Writer(Protocol):
    """Writes titles; `identity` changes with whatever changes them."""

    @property
    def identity(self) -> str:
        """What stands in the name of the cache."""

    def titles(self, openings: Sequence[str]) -> list[str]:
        """Return one title for each opening of a document, "" where there is none to be had."""


def fill(dataset: Dataset, writer: Writer, progress: Progress = SILENT) -> tuple[Dataset, str]:
    """Give every document without a title one, the same for all its passages; say for the card how many, and by whom.

    Titles that are there stay.

    Raises:
        StorageError: the cache cannot be written.
    """
    openings = untitled(dataset.corpus)
    if not openings:
        return dataset, "all as given"
    found = dict(zip(openings, kept(list(openings.values()), writer, progress), strict=True))
    corpus = gather(p if p.title.strip() else p._replace(title=found[p.document]) for p in dataset.corpus)
    said = f"{len(openings)} documents without one: from their first {OPENING_WORDS} words by {writer.identity}"
    return replace(dataset, corpus=corpus), said


def untitled(corpus: Corpus) -> dict[str, str]:
    """Map each document that has a passage without a title to its opening, the start of the first such passage."""
    openings: dict[str, str] = {}
    for passage in corpus:
        if not passage.title.strip() and passage.document not in openings:
            openings[passage.document] = " ".join(passage.text.split(maxsplit=OPENING_WORDS)[:OPENING_WORDS])
    return openings


def kept(openings: Sequence[str], writer: Writer, progress: Progress = SILENT) -> list[str]:
    """Return a title for each opening, from the cache as far as it goes; what is written is added block by block."""
    path = cache_file(openings, writer)
    titles = _read(path)[: len(openings)]
    if len(titles) < len(openings):
        progress.phase("titles", len(openings), "documents")
        progress.advance(len(titles))
    while len(titles) < len(openings):
        block = openings[len(titles) : len(titles) + _BLOCK]
        written = writer.titles(block)
        titles += [_one_line(title) or _spare(text) for title, text in zip(written, block, strict=True)]
        atomic.write_text(path, json.dumps(titles), "the titles of a corpus")
        progress.advance(len(block))
    return titles


def cache_file(openings: Sequence[str], writer: Writer) -> Path:
    """Name the file that keeps the titles of these openings by this writer; SELF_RETRIEVAL_CACHE moves the cache."""
    import platformdirs

    digest = hashlib.sha256(json.dumps([writer.identity, *openings]).encode()).hexdigest()
    cache = os.environ.get("SELF_RETRIEVAL_CACHE") or platformdirs.user_cache_dir("self-retrieval-bench")
    return Path(cache) / "titles" / f"{digest[:32]}.json"


def _read(path: Path) -> list[str]:
    """Return what the cache holds; what cannot be read is written anew."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return found if isinstance(found, list) and all(isinstance(title, str) for title in found) else []


def _one_line(title: str) -> str:
    """Return the first line that is not blank, white space squeezed."""
    lines = (" ".join(line.split()) for line in title.splitlines())
    return next(filter(None, lines), "")


def _spare(opening: str) -> str:
    return " ".join(opening.split()[:SPARE_WORDS])
