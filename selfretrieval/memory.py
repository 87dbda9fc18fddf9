"""The corpus as Self-Retrieval holds it: token sequences and the trie over them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.ragged import Int32, Int64, Ragged
from harness.lm.trie import TokenTrie, Upto
from harness.types import Corpus
from selfretrieval import prompts

_CHUNK = 4096


@dataclass(frozen=True, eq=False)
class Memory:
    """One sequence a passage, `{title}\\n Related document content: {passage} <eos>`, and their trie.

    sequences: tokens of each corpus row. heads: (passages,) length of each title with the boundary behind it.
    trie: cut where a passage is unique, never inside the head. stops: nodes where a title ends, ascending, that is
    behind the first token of the boundary; `boundary`, the rest of it, follows of necessity and is no part of a title's
    score.
    """

    sequences: Ragged
    heads: Int64
    trie: TokenTrie
    stops: Int32
    boundary: tuple[int, ...]

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        backbone: Backbone,
        *,
        titles: bool = True,
        lowercase: bool = True,
        passage_tokens: int = 512,
    ) -> Memory:
        """Tokenise a corpus; without `titles` a sequence is the passage alone, its head empty.

        A passage is cut after `passage_tokens`; passages that differ only behind the cut count as identical.
        """
        boundary = backbone.encode([prompts.PASSAGE])[0] if titles else []
        parts: list[np.ndarray] = []
        lengths: list[int] = []
        heads: list[int] = []
        for rows in _chunks(corpus):
            bodies = backbone.encode_after(prompts.PASSAGE, [prompts.passage_of(text) for _, text in rows])
            names = [prompts.title_of(*row, lowercase=lowercase) for row in rows]
            tops = _heads(names, backbone, boundary) if titles else [[] for _ in rows]
            for head, body in zip(tops, bodies, strict=True):
                parts.append(np.array([*head, *body[:passage_tokens], backbone.end], dtype=np.int32))
                lengths.append(len(parts[-1]))
                heads.append(len(head))
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        sequences, keep = Ragged(np.concatenate(parts), offsets), np.array(heads, dtype=np.int64)
        trie = TokenTrie.from_sequences(sequences, cut=True, keep=keep)
        return cls(sequences, keep, trie, _stops(trie, sequences, keep, boundary), tuple(boundary[1:]))

    def cuts(self) -> Int64:
        """(passages,) tokens of each passage that must be written, behind its head, until it is unique."""
        node = np.zeros(len(self.sequences), dtype=np.int64)
        node[self.trie.items] = self.trie.ends
        depth: Int64 = self.trie.depth_of(node) - self.heads
        return depth

    @cached_property
    def titles(self) -> Upto:
        """The trie up to where titles end."""
        return Upto(self.trie, self.stops)

    @property
    def nbytes(self) -> int:
        """Bytes of the trie and of the passages it stands for."""
        return self.trie.nbytes + self.stops.nbytes + self.sequences.values.nbytes + self.sequences.offsets.nbytes

    def vocabulary(self, backbone: Backbone, answers: Iterable[str] = ()) -> np.ndarray:
        """List the tokens the model may have to write: the corpus, the fixed strings and the `answers`."""
        spoken = [prompts.REJECT, prompts.ACCEPT, *(prompts.answer_of(answer) for answer in answers)]
        ids = [*backbone.encode(prompts.all_strings()), *backbone.encode_after(prompts.ANSWER, spoken)]
        more = [token for text in ids for token in text]
        return np.unique(np.concatenate([self.sequences.values, np.array([*more, backbone.end], dtype=np.int32)]))

    def save(self, folder: Path) -> None:
        """Write the trie and the sequences, so that `open` can map them."""
        self.trie.save(folder)
        np.save(folder / "sequences.npy", self.sequences.values)
        np.save(folder / "offsets.npy", self.sequences.offsets)
        np.save(folder / "heads.npy", self.heads)
        np.save(folder / "stops.npy", self.stops)
        np.save(folder / "boundary.npy", np.array(self.boundary, dtype=np.int32))

    @classmethod
    def open(cls, folder: Path) -> Memory:
        """Memory-map what `save` wrote."""
        sequences = Ragged(
            np.load(folder / "sequences.npy", mmap_mode="r"), np.load(folder / "offsets.npy", mmap_mode="r")
        )
        heads, stops = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("heads", "stops"))
        boundary = tuple(np.load(folder / "boundary.npy").tolist())
        return cls(sequences, heads, TokenTrie.open(folder), stops, boundary)


def _chunks(corpus: Corpus) -> Iterable[list[tuple[str, str]]]:
    chunk: list[tuple[str, str]] = []
    for passage in corpus:
        chunk.append((passage.title, passage.text))
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk


def _heads(titles: list[str], backbone: Backbone, boundary: list[int]) -> list[list[int]]:
    """Encode titles in context and put the boundary to the passage behind each."""
    return [[*title, *boundary] for title in backbone.encode_after(prompts.TITLE, titles)]


def _stops(trie: TokenTrie, sequences: Ragged, heads: Int64, boundary: list[int]) -> Int32:
    """List the nodes behind the first boundary token of each title."""
    stops: set[int] = set()
    seen: set[bytes] = set()
    for row, length in enumerate(heads.tolist()):
        title = sequences[row][: length - len(boundary) + 1]
        if length and title.tobytes() not in seen:
            seen.add(title.tobytes())
            stops.add(trie.walk(title.tolist()))
    return np.array(sorted(stops), dtype=np.int32)
