"""Count what has no text, in words for the notes of a card."""

from __future__ import annotations

from collections.abc import Collection

from harness.types import Corpus, Query


def counted(corpus: Corpus, queries: Collection[Query] = ()) -> list[str]:
    """Say how many passages and how many queries have no text; nothing where all have some."""
    from pyarrow import compute

    # Chunk by chunk, so that trimming never copies the whole corpus.
    texts = corpus.table.column("text").chunks
    passages = sum(compute.sum(compute.equal(compute.utf8_trim_whitespace(t), "")).as_py() for t in texts)
    blank = sum(not query.text.strip() for query in queries)
    found = ((passages, len(corpus), "passages"), (blank, len(queries), "queries"))
    return [f"{n} of {total} {what} have no text" for n, total, what in found if n]
