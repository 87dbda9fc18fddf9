"""An immutable token trie in flat arrays.

Nodes are numbered breadth first and siblings by token, so the children of a node are a run of
consecutive numbers: one array says where each run starts and no array of targets is needed.

    node      0   1   2   3   4          sequences  (7 2) (7 5) (9)
    token    -1   7   9   2   5          root 0 -> 7: 1, 9: 2;  node 1 -> 2: 3, 5: 4
    first     1   3   5   5   5   5      children of 0 are 1..2, of 1 are 3..4, of others none

Sequences may have any length, may be repeated (a node then holds several items) and may be prefixes of each
other (an inner node then holds items). With `cut`, a branch ends where only one distinct sequence is left.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from harness.errors import DataError

Int32 = npt.NDArray[np.int32]
Int64 = npt.NDArray[np.int64]
Bool = npt.NDArray[np.bool_]

_ARRAYS = ("tokens", "first_child", "first_item", "items", "depth")
_VERSION = 1


@dataclass(frozen=True, eq=False)
class Ragged:
    """Sequences end to end: sequence `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: Int32
    offsets: Int64

    @classmethod
    def of(cls, sequences: Iterable[Sequence[int]]) -> Ragged:
        """Lay sequences end to end.

        >>> Ragged.of([[7, 2], [9]]).offsets.tolist()
        [0, 2, 3]
        """
        rows = [np.asarray(s, dtype=np.int32) for s in sequences]
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(r) for r in rows], out=offsets[1:])
        return cls(np.concatenate(rows) if rows else np.zeros(0, np.int32), offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, row: int) -> Int32:
        """Return sequence `row`."""
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> Int64:
        """Length of each sequence."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class TokenTrie:
    """Every sequence of a corpus, walkable one token at a time.

    tokens: (nodes,) token that leads into a node; -1 at the root, which is node 0.
    first_child: (nodes + 1,) children of node `n` are the nodes `first_child[n] .. first_child[n + 1] - 1`.
    first_item: (nodes + 1,) items that end at node `n` are `items[first_item[n]:first_item[n + 1]]`.
    items: (sequences,) row of each sequence.
    depth: (levels + 1,) nodes of depth `d` are `depth[d] .. depth[d + 1] - 1`.
    """

    tokens: Int32
    first_child: Int32
    first_item: Int32
    items: Int32
    depth: Int32

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
        ragged = sequences if isinstance(sequences, Ragged) else Ragged.of(sequences)
        if len(ragged.values) and int(ragged.values.min()) < 0:
            raise DataError("token ids of at least 0", str(int(ragged.values.min())), "encode the texts again")
        minimum = np.zeros(len(ragged.lengths), np.int64) if keep is None else np.asarray(keep, dtype=np.int64)
        return _build(ragged, minimum, cut)

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def height(self) -> int:
        """Tokens on the longest branch."""
        return len(self.depth) - 2

    def children(self, node: int) -> tuple[Int32, range]:
        """Return the tokens that may follow at `node`, ascending, and the nodes they lead to."""
        start, end = int(self.first_child[node]), int(self.first_child[node + 1])
        return self.tokens[start:end], range(start, end)

    def walk(self, tokens: Iterable[int], node: int = 0) -> int:
        """Follow `tokens` from `node`; return where they end, or -1 where they leave the trie."""
        for token in tokens:
            followers, nodes = self.children(node)
            place = int(np.searchsorted(followers, token))
            if place == len(followers) or followers[place] != token:
                return -1
            node = nodes[place]
        return node

    def items_at(self, node: int) -> Int32:
        """Return the rows of the sequences that end at `node`, ascending."""
        return self.items[self.first_item[node] : self.first_item[node + 1]]

    @property
    def ends(self) -> Bool:
        """(nodes,) true where some sequence ends."""
        return np.diff(self.first_item) > 0

    @property
    def leaves(self) -> Bool:
        """(nodes,) true where nothing follows."""
        leaf: Bool = np.diff(self.first_child) == 0
        return leaf

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(int(getattr(self, name).nbytes) for name in _ARRAYS)

    def save(self, folder: Path) -> None:
        """Write one `.npy` a array into `folder`, so that `open` can map them."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ARRAYS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        (folder / "trie.json").write_text(json.dumps({"version": _VERSION}), encoding="utf-8")

    @classmethod
    def open(cls, folder: Path) -> TokenTrie:
        """Memory-map a trie written by `save`.

        Raises:
            DataError: the folder holds no trie of this version.
        """
        try:
            version = json.loads((folder / "trie.json").read_text(encoding="utf-8"))["version"]
        except (OSError, ValueError, KeyError) as error:
            raise DataError("a folder written by TokenTrie.save", str(error), "build it again", file=folder) from error
        if version != _VERSION:
            raise DataError(f"a trie of version {_VERSION}", f"version {version}", "build it again", file=folder)
        return cls(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS))


def _representatives(ragged: Ragged) -> Int64:
    """Return for each sequence the first row that holds the same tokens."""
    seen: dict[bytes, int] = {}
    return np.fromiter(
        (seen.setdefault(ragged[row].tobytes(), row) for row in range(len(ragged.lengths))),
        dtype=np.int64,
        count=len(ragged.lengths),
    )


def _build(ragged: Ragged, minimum: Int64, cut: bool) -> TokenTrie:
    """Grow the trie level by level; a level costs one sort of the sequences still on their way."""
    same_as = _representatives(ragged)
    minimum = minimum.copy()
    np.maximum.at(minimum, same_as, minimum)  # copies of one sequence end at one node
    lengths = ragged.lengths
    active = np.unique(same_as)  # distinct sequences still on their way
    at = np.zeros(len(lengths), dtype=np.int64)  # node each sequence has reached
    tokens: list[npt.NDArray[np.integer]] = [np.full(1, -1)]
    counts: list[Int64] = []
    depth = [0]
    start, size, level = 0, 1, 0
    while size:
        depth.append(start + size)
        stops = lengths[active] == level
        if cut and level:
            alone = np.bincount(at[active] - start, minlength=size)[at[active] - start] == 1
            stops |= alone & (minimum[active] <= level)
        active = active[~stops]
        token = ragged.values[ragged.offsets[active] + level]
        order = np.lexsort((token, at[active]))
        active, token = active[order], token[order]
        parent = at[active]
        new = np.ones(len(active), dtype=np.bool_)
        new[1:] = (parent[1:] != parent[:-1]) | (token[1:] != token[:-1])
        counts.append(np.bincount(parent[new] - start, minlength=size))
        tokens.append(token[new])
        start, size, level = start + size, int(new.sum()), level + 1
        at[active] = start + np.cumsum(new) - 1
    return _assemble(np.concatenate(tokens), np.concatenate(counts), at[same_as], depth)


def _assemble(tokens: npt.NDArray[np.integer], counts: Int64, at: Int64, depth: Sequence[int]) -> TokenTrie:
    """Turn a level-ordered list of nodes into flat arrays."""
    first_child = np.ones(len(tokens) + 1, dtype=np.int32)
    np.cumsum(counts, out=first_child[1:], dtype=np.int32)
    first_child[1:] += 1
    first_item = np.zeros(len(tokens) + 1, dtype=np.int32)
    np.cumsum(np.bincount(at, minlength=len(tokens)), out=first_item[1:], dtype=np.int32)
    items = np.argsort(at, kind="stable").astype(np.int32)
    return TokenTrie(tokens.astype(np.int32), first_child, first_item, items, np.asarray(depth, dtype=np.int32))
