"""The corpus as Self-Retrieval holds it: token sequences and the trie over them.

An entry is a way to write a passage. Every passage has one from its beginning, entry `i` for corpus row `i`; where any
sentence may lead to its passage (an addition to the paper), every other memorised sentence has one too.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from harness.datasets.chunking import sentences
from harness.errors import ConfigError, DataError
from harness.lm.backbone import Backbone
from harness.lm.examples import memorable
from harness.lm.growth import first_copies
from harness.lm.offsets import Offsets
from harness.lm.ragged import Int32, Int64, Pile, Ragged, spread
from harness.lm.trie import TokenTrie, Upto, walk_all
from harness.progress import SILENT, Progress
from harness.types import Corpus
from selfretrieval import prompts

Floats = npt.NDArray[np.float64]

LATER_TOKENS = 32
"""Tokens kept of an entry that begins inside its passage: enough to tell sentences apart."""
_CHUNK = 4096
_TITLE_PRIOR = ("title_nodes.npy", "title_prior.npy")


class Written(NamedTuple):
    """A passage that was written: the rows of all identical ones, and the entry by which it was reached."""

    rows: tuple[int, ...]
    entry: int


@dataclass(frozen=True, eq=False)
class Memory:
    """One sequence an entry, `{title}\\n Related document content: {passage} <eos>`, and their trie.

    sequences: tokens of each entry; of the first ones, whole passages in the order of the corpus. rows: (entries,)
    corpus row each leads to. heads: (entries,) length of each title with the boundary behind it. trie: cut where an
    entry is unique, never inside the head. stops: nodes where a title ends, ascending, that is behind the first token
    of the boundary; `boundary`, the rest of it, follows of necessity and is no part of a title's score. prior:
    (entries,) log-probability of each behind its title without a question; empty where nobody asked for it.
    title_nodes, title_prior: (nodes,) of the trie of titles, and the log-probability of coming to each from the one
    before it without a question; empty likewise.
    """

    sequences: Ragged
    rows: Int32
    heads: Int64
    trie: TokenTrie
    stops: Int32
    boundary: tuple[int, ...]
    prior: Floats = field(default_factory=lambda: np.zeros(0))
    title_nodes: Int64 = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    title_prior: Floats = field(default_factory=lambda: np.zeros(0))

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        backbone: Backbone,
        *,
        titles: bool = True,
        lowercase: bool = True,
        passage_tokens: int = 512,
        any_sentence: bool = False,
        progress: Progress = SILENT,
    ) -> Memory:
        """Tokenise a corpus; without `titles` a sequence is the passage alone, its head empty.

        A passage is cut after `passage_tokens`; passages that differ only behind the cut count as identical. With
        `any_sentence` a passage may also be written from any later sentence of it that is memorised.

        Raises:
            ConfigError: the tokeniser merges the end of a prompt with what follows, or does not tell the end of a title
                from the middle of a longer one.
        """
        progress.phase("tokenise", len(corpus), "passages")
        boundary = boundary_of(backbone) if titles else []
        whole, later = Pile(), Pile()
        heads, owners = array("q"), array("i")
        for rows in _chunks(corpus):
            bodies = backbone.encode_after(prompts.PASSAGE, [prompts.passage_of(text) for _, text in rows])
            names = [prompts.title_of(*row, lowercase=lowercase) for row in rows]
            tops = _heads(names, backbone, boundary) if titles else [[] for _ in rows]
            for head, body, (_, text) in zip(tops, bodies, rows, strict=True):
                for tail in _tails(text, backbone) if any_sentence else ():
                    later.add([*head, *tail, backbone.end])
                    owners.append(len(whole))
                whole.add([*head, *body[:passage_tokens], backbone.end])
                heads.append(len(head))
            progress.advance(len(rows))
        owner = np.concatenate([np.arange(len(whole), dtype=np.int32), np.asarray(owners)])
        keep = np.asarray(heads)[owner]
        sequences = whole.ragged().then(later.ragged()) if len(later) else whole.ragged()
        progress.phase("build the trie", len(sequences), "sequences")
        trie = TokenTrie.from_sequences(sequences, cut=True, keep=keep)
        stops = _stops(trie, sequences, keep, boundary)
        _refuse_titles_through(trie, stops, boundary)
        return cls(sequences, owner, keep, trie, stops, tuple(boundary[1:]))

    @cached_property
    def passages(self) -> int:
        """Passages of the corpus; entries below this number are their beginnings."""
        return int(self.rows.max()) + 1

    @cached_property
    def longest(self) -> int:
        """Tokens of the longest entry, title, boundary and end included."""
        return int(self.sequences.lengths.max(initial=0))

    @cached_property
    def nodes(self) -> Int64:
        """(entries,) node of the trie where each ends."""
        node = np.zeros(len(self.rows), dtype=np.int64)
        node[self.trie.items] = self.trie.ends
        return node

    @cached_property
    def later_entries(self) -> Mapping[int, Sequence[int]]:
        """Each row's entries that begin inside the passage, in the order of `later_sentences`."""
        found: dict[int, list[int]] = {}
        for entry in range(self.passages, len(self.rows)):
            found.setdefault(int(self.rows[entry]), []).append(entry)
        return found

    def written_at(self, node: int) -> list[Written]:
        """List the passages that are written at a node, identical ones together."""
        entries = self.trie.items_at(node)
        whole = entries[entries < self.passages].tolist()
        found = [Written(tuple(whole), whole[0])] if whole else []
        for entry in entries[entries >= self.passages].tolist():
            twins = self.trie.items_at(int(self.nodes[self.rows[entry]]))
            twins = twins[twins < self.passages]
            if all(twins[0] not in written.rows for written in found):
                found.append(Written(tuple(twins.tolist()), entry))
        return found

    @cached_property
    def under_title(self) -> Mapping[int, Sequence[Written]]:
        """The passages of each title, in the order of the corpus, by the node behind the title and its boundary."""
        _, place, bounds = spread(self.sequences.offsets[: self.passages], self.heads[: self.passages])
        behind = walk_all(self.trie, Ragged(self.sequences.values[place], bounds))
        copies: dict[int, list[int]] = {}
        for entry, node in enumerate(self.nodes[: self.passages].tolist()):
            copies.setdefault(node, []).append(entry)
        found: dict[int, list[Written]] = {}
        for same in copies.values():
            found.setdefault(int(behind[same[0]]), []).append(Written(tuple(same), same[0]))
        return found

    def cuts(self) -> Int64:
        """(entries,) tokens of each entry that must be written, behind its head, until it is unique."""
        depth: Int64 = self.trie.depth_of(self.nodes) - self.heads
        return depth

    def target(self, entry: int, cut: int) -> list[int]:
        """Return the tokens of an entry that must be written behind its head."""
        tokens: list[int] = self.sequences[entry][self.heads[entry] :][:cut].tolist()
        return tokens

    @cached_property
    def titles(self) -> Upto:
        """The trie up to where titles end."""
        return Upto(self.trie, self.stops)

    @cached_property
    def unasked(self) -> Offsets:
        """What takes the prior of titles from their log-probability behind a question."""
        return Offsets.of(self.titles, self.title_nodes, -self.title_prior)

    @property
    def nbytes(self) -> int:
        """Bytes of the trie and of the passages it stands for."""
        priors = (self.prior, self.title_nodes, self.title_prior)
        arrays = (self.stops, self.rows, self.heads, *priors, self.sequences.values, self.sequences.offsets)
        return self.trie.nbytes + sum(array.nbytes for array in arrays)

    def vocabulary(self, backbone: Backbone, said: Iterable[str] = ()) -> np.ndarray:
        """List the tokens the model may have to write: the corpus, the fixed strings and what else is `said`."""
        spoken = [prompts.REJECT, prompts.ACCEPT, *(prompts.answer_of(text) for text in said)]
        ids = [*backbone.encode(prompts.all_strings()), *backbone.encode_after(prompts.ANSWER, spoken)]
        more = [token for text in ids for token in text]
        return np.unique(np.concatenate([self.sequences.values, np.array([*more, backbone.end], dtype=np.int32)]))

    def save(self, folder: Path) -> None:
        """Write the trie and the sequences, so that `open` can map them."""
        self.trie.save(folder)
        np.save(folder / "sequences.npy", self.sequences.values)
        np.save(folder / "offsets.npy", self.sequences.offsets)
        np.save(folder / "rows.npy", self.rows)
        np.save(folder / "prior.npy", self.prior)
        for name, values in zip(_TITLE_PRIOR, (self.title_nodes, self.title_prior), strict=True):
            np.save(folder / name, values)
        np.save(folder / "heads.npy", self.heads)
        np.save(folder / "stops.npy", self.stops)
        np.save(folder / "boundary.npy", np.array(self.boundary, dtype=np.int32))

    @classmethod
    def open(cls, folder: Path) -> Memory:
        """Memory-map what `save` wrote.

        Raises:
            DataError: a file is absent or damaged.
        """
        try:
            sequences = Ragged(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("sequences", "offsets")))
            rows, heads, stops = (np.load(folder / f"{name}.npy", mmap_mode="r") for name in ("rows", "heads", "stops"))
            boundary = tuple(np.load(folder / "boundary.npy").tolist())
            # Models saved before titles had a prior have none.
            priors = [np.load(folder / n) for n in ("prior.npy", *_TITLE_PRIOR) if (folder / n).is_file()]
        except (OSError, ValueError, EOFError) as error:
            raise DataError("a folder written by Memory.save", str(error), "train it again", file=folder) from error
        return cls(sequences, rows, heads, TokenTrie.open(folder), stops, boundary, *priors)


def boundary_of(backbone: Backbone) -> list[int]:
    """Return the tokens between a title and its passage, as they stand behind a title.

    Alone some tokenisers begin a text with a token for its first space, which titles hold too.
    """
    return backbone.encode_after(f"{prompts.TITLE} title", [prompts.PASSAGE])[0]


def later_sentences(text: str) -> list[tuple[str, str]]:
    """List the sentences of a passage behind its first that are memorised, each with the text from there on."""
    every = sentences(text)
    kept = set(memorable(text))
    return [(s, " ".join(every[i:])) for i, s in enumerate(every) if i and s in kept]


def _tails(text: str, backbone: Backbone) -> list[list[int]]:
    """Return the first tokens of each later sentence and what follows it."""
    starts = [" ".join(tail.split()[:LATER_TOKENS]) for _, tail in later_sentences(text)]
    return [t[:LATER_TOKENS] for t in backbone.encode_after(prompts.PASSAGE, [prompts.passage_of(s) for s in starts])]


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
    rows = np.flatnonzero(heads)
    _, place, bounds = spread(sequences.offsets[rows], heads[rows] - len(boundary) + 1)
    titles = Ragged(sequences.values[place], bounds)
    return np.unique(walk_all(trie, titles.take(np.unique(first_copies(titles))))).astype(np.int32)


def _refuse_titles_through(trie: TokenTrie, stops: Int32, boundary: Sequence[int]) -> None:
    """Refuse a trie in which a title goes on where another one ends, since search ends there: ConfigError."""
    if len(boundary) < 2:
        return
    behind = trie.followers(stops.astype(np.int64))
    goes_on = behind.tokens != boundary[1]
    if goes_on.any():
        count = len(np.unique(np.repeat(stops, behind.counts)[goes_on]))
        raise ConfigError(
            f"a tokeniser that never writes token {boundary[0]} of {prompts.PASSAGE!r} inside a title",
            f"{count} titles with which longer ones begin, that token included",
            "use a backbone with another tokeniser, or titles = false",
        )
