"""An immutable token trie in flat int32 arrays, its unbranched stretches folded into edges.

A node is a token behind a prefix. Nodes are numbered so that an edge, a stretch without a branch, is a run of
consecutive nodes: what follows inside it is the next number. Edges are numbered breadth first and siblings by
token, so the edges behind one are consecutive too: one array says where each run starts, none where it leads.

    sequences (7 2 4) (7 5) (9)     node     0 | 1 | 2 | 3 4 | 5      edge     0  1  2  3  4
                                    token   -1 | 7 | 9 | 2 4 | 5      children 1-2  3-4  -  -  -

Sequences may have any length, may be repeated (several items then end at one node) and may be prefixes of each
other (items then end inside an edge's way). With `cut`, a branch ends where only one distinct sequence is left.
Size: 4 bytes a node and at most 24 a sequence, since n distinct sequences make at most 2n edges.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from harness.errors import DataError
from harness.lm.ragged import Int32, Int64, Ragged, among, spread

if TYPE_CHECKING:
    from harness.lm.tokenizing import Tokenizer

Bool = npt.NDArray[np.bool_]

_ARRAYS = ("tokens", "edges", "first_child", "ends", "items")
_VERSION = 2
_AGAIN = "build it again; a trained model: train it again"


class Followers(NamedTuple):
    """What may follow a batch of nodes: node `i` has entries `bounds[i]:bounds[i + 1]`, ascending by token.

    tokens: (followers,) int32. nodes: (followers,) int64 where each leads. bounds: (nodes + 1,) int64.
    """

    tokens: Int32
    nodes: Int64
    bounds: Int64

    @property
    def counts(self) -> Int64:
        """(nodes,) how many followers each has."""
        return np.diff(self.bounds)


class Trie(Protocol):
    """What a constrained search walks: a trie, or a view over several. Nodes are opaque int64; the root is 0."""

    @property
    def height(self) -> int:
        """Tokens on the longest branch, or more."""

    def followers(self, nodes: Int64) -> Followers:
        """List what may follow each of (nodes,)."""

    def accepts(self, nodes: Int64) -> Bool:
        """(nodes,) true where a sequence ends."""

    def reach(self, nodes: Int64) -> Int64:
        """(nodes,) at most so many tokens can follow."""

    def items_at(self, node: int) -> Int32:
        """Return the rows of the sequences that end at `node`, ascending."""


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """Every sequence of a corpus, walkable one token at a time.

    tokens: (nodes,) token that leads into a node; -1 at the root, which is node 0.
    edges: (edges + 1,) edge `e` is the nodes `edges[e] .. edges[e + 1] - 1`; edge 0 is the root.
    first_child: (edges + 1,) what follows edge `e` are the edges `first_child[e] .. first_child[e + 1] - 1`.
    ends: (sequences,) node where each item ends, ascending. items: (sequences,) its row.
    height: tokens on the longest branch.
    """

    tokens: Int32
    edges: Int32
    first_child: Int32
    ends: Int32
    items: Int32
    height: int

    @classmethod
    def from_sequences(
        cls,
        sequences: Ragged | Iterable[Sequence[int]],
        *,
        cut: bool = False,
        keep: Sequence[int] | Int64 | None = None,
    ) -> TokenTrie:
        """Build the trie of `sequences`; row `i` becomes item `i`.

        Args:
            sequences: token ids, none negative.
            cut: end each branch at the first node that only one distinct sequence passes.
            keep: with `cut`, tokens of each sequence that are kept in any case (say, its title).

        Raises:
            DataError: a token is negative.
        """
        from harness.lm.growth import grow, minimum_of

        ragged = sequences if isinstance(sequences, Ragged) else Ragged.of(sequences)
        if len(ragged.values) and int(ragged.values.min()) < 0:
            raise DataError("token ids of at least 0", str(int(ragged.values.min())), "encode the texts again")
        return cls(*grow(ragged, minimum_of(keep, len(ragged)), cut))

    @classmethod
    def from_texts(
        cls, texts: Sequence[str], tokenizer: Tokenizer, *, prompt_end: str = "", cut: bool = False
    ) -> TokenTrie:
        """Build the trie of texts as a model writes them: each ended by the tokeniser's end-of-sequence token.

        Args:
            texts: what may be written; text `i` becomes item `i`. Mind the space a text starts with.
            tokenizer: a Hugging Face tokeniser with an end-of-sequence token.
            prompt_end: the end of every prompt; texts are then tokenised as they stand behind it.
            cut: as in `from_sequences`; a text that is unique need not be written to its end.

        Raises:
            ConfigError: the tokeniser has no end-of-sequence token, or merges `prompt_end` with a text.
        """
        from harness.lm.tokenizing import encode_after, end_of

        end = end_of(tokenizer)
        return cls.from_sequences([[*ids, end] for ids in encode_after(tokenizer, prompt_end, texts)], cut=cut)

    def __len__(self) -> int:
        return len(self.tokens)

    def followers(self, nodes: Int64) -> Followers:
        """List what may follow each of (nodes,)."""
        edge = self._edge_of(nodes)
        inside = nodes + 1 < self.edges[edge + 1]
        first = self.first_child[edge].astype(np.int64)
        counts = np.where(inside, 1, self.first_child[edge + 1] - first)
        owner, child, bounds = spread(first, counts)
        if inside.any():
            chained = inside[owner]
            child[chained] = 0  # may point behind the last edge
            reached = np.where(chained, nodes[owner] + 1, self.edges[child])
        else:
            reached = self.edges[child].astype(np.int64)
        return Followers(self.tokens[reached], reached, bounds)

    def children(self, node: int) -> tuple[Int32, Int64]:
        """Return the tokens that may follow at `node`, ascending, and the nodes they lead to."""
        found = self.followers(np.array([node], dtype=np.int64))
        return found.tokens, found.nodes

    def walk(self, tokens: Iterable[int], node: int = 0) -> int:
        """Follow `tokens` from `node`; return where they end, or -1 where they leave the trie."""
        return walk(self, tokens, node)

    def accepts(self, nodes: Int64) -> Bool:
        """(nodes,) true where a sequence ends."""
        return among(nodes, self.ends)

    def reach(self, nodes: Int64) -> Int64:
        """(nodes,) at most so many tokens can follow: the rest of the last edge of a branch, else the height."""
        edge = self._edge_of(nodes)
        last = self.first_child[edge] == self.first_child[edge + 1]
        return np.where(last, self.edges[edge + 1] - 1 - nodes, self.height)

    def items_at(self, node: int) -> Int32:
        """Return the rows of the sequences that end at `node`, ascending."""
        first, last = np.searchsorted(self.ends, _like(self.ends, np.array([node, node + 1])))
        return self.items[first:last]

    @cached_property
    def depths(self) -> Int32:
        """(edges,) tokens from the root to the first node of each edge; 0 for the root."""
        depth = np.zeros(len(self.edges) - 1, dtype=np.int32)
        first, last = 0, 1
        while first < last:
            parents = np.arange(first, last)
            counts = self.first_child[parents + 1] - self.first_child[parents]
            length = self.edges[parents + 1] - self.edges[parents]
            first, last = int(self.first_child[first]), int(self.first_child[last])
            depth[first:last] = np.repeat(depth[parents] + length, counts)
        return depth

    def depth_of(self, nodes: Int64) -> Int64:
        """(nodes,) tokens from the root to each node."""
        edge = self._edge_of(nodes)
        return self.depths[edge] + nodes - self.edges[edge]

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(int(getattr(self, name).nbytes) for name in _ARRAYS)

    def save(self, folder: Path) -> None:
        """Write one `.npy` an array into `folder`, so that `open` can map them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        facts = {"version": _VERSION, "height": self.height}
        (folder / "trie.json").write_text(json.dumps(facts), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> TokenTrie:
        """Memory-map a trie written by `save`.

        Raises:
            DataError: the folder holds no trie of this version.
        """
        try:
            facts = json.loads((folder / "trie.json").read_text(encoding="utf-8"))
            version, height = facts["version"], facts.get("height", 0)
            if version == _VERSION:
                arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
                return cls(**arrays, height=height)
        except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
            raise DataError("a folder written by TokenTrie.save", str(error), _AGAIN, file=folder) from error
        raise DataError(f"a trie of version {_VERSION}", f"version {version}", _AGAIN, file=folder)

    def _edge_of(self, nodes: Int64) -> Int64:
        edge: Int64 = np.searchsorted(self.edges, _like(self.edges, nodes), side="right") - 1
        return edge


def _like(array: Int32, values: Int64) -> Int32:
    """Give values the array's type: `searchsorted` would convert the whole array to theirs instead."""
    return values.astype(array.dtype)


def walk(trie: Trie, tokens: Iterable[int], node: int = 0) -> int:
    """Follow `tokens` from `node` of any trie; return where they end, or -1 where they leave it."""
    for token in tokens:
        followers = trie.followers(np.array([node], dtype=np.int64))
        place = int(np.searchsorted(followers.tokens, token))
        if place == len(followers.tokens) or followers.tokens[place] != token:
            return -1
        node = int(followers.nodes[place])
    return node


def walk_all(trie: Trie, sequences: Ragged) -> Int64:
    """(sequences,) where each ends that is followed from the root, -1 where it leaves the trie; all at once."""
    nodes = np.zeros(len(sequences), dtype=np.int64)
    for level in range(int(sequences.lengths.max(initial=0))):
        on = np.flatnonzero((sequences.lengths > level) & (nodes >= 0))
        at, place = np.unique(nodes[on], return_inverse=True)  # many share their first tokens
        found = trie.followers(at)
        key = np.append(np.repeat(np.arange(len(at)), found.counts) << 32 | found.tokens, -1)
        wanted = place << 32 | sequences.values[sequences.offsets[on] + level]
        row = np.searchsorted(key[:-1], wanted)
        nodes[on] = np.where(key[row] == wanted, np.append(found.nodes, -1)[row], -1)
    return nodes


class Upto:
    """A trie that ends at given nodes: sequences finish there alone, and none goes on."""

    def __init__(self, trie: Trie, ends: Iterable[int]) -> None:
        self._trie = trie
        self._ends = np.unique(np.fromiter(ends, dtype=np.int64))

    @property
    def height(self) -> int:
        """Tokens on the longest branch, or more."""
        return self._trie.height

    def followers(self, nodes: Int64) -> Followers:
        """List what may follow each of (nodes,), none of which is an end."""
        return self._trie.followers(nodes)

    def accepts(self, nodes: Int64) -> Bool:
        """(nodes,) true at the ends."""
        return among(nodes, self._ends)

    def reach(self, nodes: Int64) -> Int64:
        """(nodes,) at most so many tokens can follow; 0 at the ends."""
        return np.where(self.accepts(nodes), 0, self._trie.reach(nodes))

    def items_at(self, node: int) -> Int32:
        """Return the rows of the sequences that end at `node` in the whole trie."""
        return self._trie.items_at(node)
