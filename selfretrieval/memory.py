"""The corpus as Self-Retrieval holds it: token sequences and the trie over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.trie import Bool, Int64, Ragged, TokenTrie
from harness.types import Corpus
from selfretrieval import prompts

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Memory:
    """One sequence a passage, `{title}\\n Related document content: {passage} <eos>`, and their trie.

    sequences: tokens of each corpus row. heads: (passages,) length of each title with the boundary behind it.
    trie: cut where a passage is unique, never inside the head. stops: (nodes,) where a head ends.
    """

    sequences: Ragged
    heads: Int64
    trie: TokenTrie
    stops: Bool

    @classmethod
    def build(cls, corpus: Corpus, backbone: Backbone, *, titles: bool = True) -> Memory:
        """Tokenise a corpus; without `titles` a sequence is the passage alone, its head empty."""
        parts: list[np.ndarray] = []
        lengths: list[int] = []
        heads: list[int] = []
        for rows in _chunks(corpus):
            bodies = backbone.encode_after(prompts.PASSAGE, [prompts.passage_of(text) for _, text in rows])
            tops = _heads(rows, backbone) if titles else [[] for _ in rows]
            for head, body in zip(tops, bodies, strict=True):
                parts.append(np.array([*head, *body, backbone.end], dtype=np.int32))
                lengths.append(len(parts[-1]))
                heads.append(len(head))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        return cls._over(Ragged(np.concatenate(parts), offsets), np.array(heads, dtype=np.int64))

    @classmethod
    def _over(cls, sequences: Ragged, heads: Int64) -> Memory:
        trie = TokenTrie.from_sequences(sequences, cut=True, keep=heads)
        return cls(sequences, heads, trie, _stops(trie, sequences, heads))

    @property
    def nbytes(self) -> int:
        """Bytes of the trie and of the passages it stands for."""
        return self.trie.nbytes + self.stops.nbytes + self.sequences.values.nbytes + self.sequences.offsets.nbytes

    def vocabulary(self, backbone: Backbone, extra: Iterable[str] = ()) -> np.ndarray:
        """List the tokens the model may have to write: the corpus, the fixed strings and `extra` ones."""
        texts = [*prompts.all_strings(), *extra]
        more = [t for ids in backbone.encode(texts) for t in ids]
        more += [t for ids in backbone.encode_after(prompts.ANSWER, [prompts.REJECT, prompts.ACCEPT]) for t in ids]
        return np.unique(np.concatenate([self.sequences.values, np.array([*more, backbone.end], dtype=np.int32)]))

    def save(self, folder: Path) -> None:
        """Write the trie and the sequences, so that `open` can map them."""
        self.trie.save(folder)
        np.save(folder / "sequences.npy", self.sequences.values)
        np.save(folder / "offsets.npy", self.sequences.offsets)
        np.save(folder / "heads.npy", self.heads)

    @classmethod
    def open(cls, folder: Path) -> Memory:
        """Memory-map what `save` wrote."""
        sequences = Ragged(
            np.load(folder / "sequences.npy", mmap_mode="r"), np.load(folder / "offsets.npy", mmap_mode="r")
        )
        heads = np.load(folder / "heads.npy")
        trie = TokenTrie.open(folder)
        return cls(sequences, heads, trie, _stops(trie, sequences, heads))


def _chunks(corpus: Corpus) -> Iterable[list[tuple[str, str]]]:
    chunk: list[tuple[str, str]] = []
    for passage in corpus:
        chunk.append((passage.title, passage.text))
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _heads(rows: list[tuple[str, str]], backbone: Backbone) -> list[list[int]]:
    """Encode titles in context and put the boundary to the passage behind each."""
    boundary = backbone.encode([prompts.PASSAGE])[0]
    titles = backbone.encode_after(prompts.TITLE, [prompts.title_of(*row) for row in rows])
    return [[*title, *boundary] for title in titles]


def _stops(trie: TokenTrie, sequences: Ragged, heads: Int64) -> Bool:
    """Mark the nodes at which a title and its boundary are complete."""
    stops = np.zeros(len(trie), dtype=np.bool_)
    seen: set[bytes] = set()
    for row, length in enumerate(heads.tolist()):
        head = sequences[row][:length]
        if length and head.tobytes() not in seen:
            seen.add(head.tobytes())
            stops[trie.walk(head.tolist())] = True
    return stops
