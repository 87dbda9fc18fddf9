"""A trie that sequences are added to and removed from without building it anew.

A `GrownTrie` shows two tries as one: the base, never changed, without the items that are gone from it, and the delta,
a small trie of what came since. A node is a pair of their nodes, one of which may be missing.

Where branches are cut, one sequence more or less changes where others end. These leave the base and join the delta:
    a base sequence cut at a node that a new one passes, which must go on until the two part;
    the last base sequence behind a branching, which may end at that branching once nothing else passes it;
    copies, since the largest `keep` among them counts for all.
The delta's own cuts see the base through `keep`: a sequence goes on one token past the base tokens it shares.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from harness.errors import DataError
from harness.lm.growth import minimum_of
from harness.lm.ragged import Int32, Int64, Ragged, among, spread
from harness.lm.trie import Bool, Followers, TokenTrie, Trie

_LOW = 0xFFFFFFFF
_ROOT = np.int64(1 << 32 | 1)
"""The code of the pair of roots, before it is made node 0."""


@dataclass(frozen=True, eq=False)
class Pruned:
    """A trie without some of its items: it shares the arrays, and offers no way that leads to nothing.

    gone: (items gone,) their rows. closed: nodes where all items are gone. dead: edges at and behind which all are.
    """

    trie: TokenTrie
    gone: Int64
    closed: Int64
    dead: Int64

    @classmethod
    def of(cls, trie: TokenTrie, gone: Int64) -> Pruned:
        """Take the items `gone`, ascending, out of `trie`."""
        nodes, lost = np.unique(trie.ends[np.isin(trie.items, gone)], return_counts=True)
        had = np.searchsorted(trie.ends, nodes, side="right") - np.searchsorted(trie.ends, nodes)
        view = cls(trie, gone, nodes[lost == had].astype(np.int64), np.zeros(0, dtype=np.int64))
        edges = view._edge_of(view.closed)
        while len(edges):
            emptied = edges[(edges > 0) & (view._ways(edges) == 0)]
            view = replace(view, dead=np.union1d(view.dead, emptied))
            edges = view._parents(emptied)
        return view

    @property
    def height(self) -> int:
        """Tokens on the longest branch, or more."""
        return self.trie.height

    def followers(self, nodes: Int64) -> Followers:
        """List what may follow each of (nodes,)."""
        found = self.trie.followers(nodes)
        if not len(self.dead):
            return found
        left = ~among(found.nodes, self._dead_nodes)
        bounds = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(left)])[found.bounds]
        return Followers(found.tokens[left], found.nodes[left], bounds)

    def accepts(self, nodes: Int64) -> Bool:
        """(nodes,) true where a sequence ends."""
        return self.trie.accepts(nodes) & ~among(nodes, self.closed)

    def reach(self, nodes: Int64) -> Int64:
        """(nodes,) at most so many tokens can follow."""
        reach = self.trie.reach(nodes)
        if not len(self.dead):
            return reach
        edge = self._edge_of(nodes)
        return np.where(self._children(edge) == 0, self.trie.edges[edge + 1] - 1 - nodes, reach)

    def items_at(self, node: int) -> Int32:
        """Return the rows of the sequences that end at `node`, ascending."""
        return self.rows_at(np.array([node])).astype(np.int32)

    def rows_at(self, nodes: Int64) -> Int64:
        """Return the rows of the sequences that end at any of (nodes,)."""
        ends, sought = self.trie.ends, nodes.astype(np.int32)
        first = np.searchsorted(ends, sought)
        rows = self.trie.items[spread(first, np.searchsorted(ends, sought, side="right") - first)[1]].astype(np.int64)
        return rows[~among(rows, self.gone)]

    def last_nodes(self, edges: Int64) -> Int64:
        """(edges,) the last node of each."""
        return self.trie.edges[edges + 1].astype(np.int64) - 1

    def lone(self) -> tuple[Int64, Int64]:
        """Return the edges that no longer part any sequences, and for each the one node where those behind it end."""
        touched = np.union1d(self._parents(self.dead), self._edge_of(self.closed))
        edges = touched[~among(touched, self.dead)]
        at = edges
        while True:
            single = self._ways(at) == 1
            edges, at = edges[single], at[single]
            onward = self._children(at) == 1
            if not onward.any():
                return edges, self.last_nodes(at)
            at = at.copy()
            at[onward] = self._edge_of(self.followers(self.last_nodes(at[onward])).nodes)

    @cached_property
    def _dead_nodes(self) -> Int64:
        return self.trie.edges[self.dead].astype(np.int64)

    def _ways(self, edges: Int64) -> Int64:
        """(edges,) how many ways are left at the end of each: edges to go on by, and one where sequences end."""
        return self._children(edges) + self.accepts(self.last_nodes(edges))

    def _children(self, edges: Int64) -> Int64:
        """(edges,) how many edges are left behind each."""
        first, behind = (self.trie.first_child[e].astype(np.int64) for e in (edges, edges + 1))
        return behind - first - (np.searchsorted(self.dead, behind) - np.searchsorted(self.dead, first))

    def _parents(self, edges: Int64) -> Int64:
        """Return the edges that any of `edges` follow, ascending."""
        return np.unique(np.searchsorted(self.trie.first_child, edges.astype(np.int32), side="right") - 1)

    def _edge_of(self, nodes: Int64) -> Int64:
        # NumPy would copy all of the int32 array to look int64 values up in it
        edge: Int64 = np.searchsorted(self.trie.edges, nodes.astype(np.int32), side="right") - 1
        return edge


@dataclass(frozen=True, eq=False)
class _Source:
    """Sequences the base was built from and those added since, row by row; tokens a cut leaves of each at the least."""

    first: Ragged
    added: Ragged
    keep: Int64
    cut: bool

    def __len__(self) -> int:
        return len(self.keep)

    def then(self, sequences: Ragged, keep: Int64) -> _Source:
        """Return these and the `sequences` behind them."""
        return _Source(self.first, self.added.then(sequences), np.concatenate([self.keep, keep]), self.cut)

    def take(self, rows: Int64) -> Ragged:
        """Copy the sequences `rows`, ascending."""
        split = int(np.searchsorted(rows, len(self.first)))
        return self.first.take(rows[:split]).then(self.added.take(rows[split:] - len(self.first)))


@dataclass(frozen=True, eq=False)
class GrownTrie:
    """A trie with sequences added and removed: it offers what a `TokenTrie` of those present would offer.

    kept: what is left of the base. delta: what came since, and what had to leave the base; its items are rows as well.
    source: every sequence ever held. The length is the number of sequences present.
    A change takes the time to build the delta anew, so `compacted` pays once that is more than a fifth of the base.
    """

    kept: Pruned
    delta: TokenTrie
    source: _Source

    @classmethod
    def of(
        cls, base: TokenTrie, sequences: Ragged, *, cut: bool = False, keep: Sequence[int] | Int64 | None = None
    ) -> GrownTrie:
        """Begin with `base` as it is.

        Args:
            base: built by `TokenTrie.from_sequences`; may be mapped.
            sequences: what it was built from, row `i` for item `i`; may be mapped.
            cut, keep: as they were given to `from_sequences`.

        Raises:
            DataError: the sequences, or what to keep of them, are not as many as the items.
        """
        if len(base.items) and int(base.items.max()) >= len(sequences):
            got = f"{len(sequences)} sequences and item {int(base.items.max())}"
            raise DataError("the sequences the trie was built from", got, "give all of them, in their order")
        source = _Source(sequences, Ragged.of([]), minimum_of(keep, len(sequences)), cut)
        return cls(Pruned.of(base, np.zeros(0, dtype=np.int64)), TokenTrie.from_sequences([]), source)

    @property
    def base(self) -> TokenTrie:
        """The trie it began with, or was compacted to."""
        return self.kept.trie

    @property
    def rows(self) -> Int64:
        """Rows of the sequences present, ascending."""
        present = np.zeros(len(self.source), dtype=np.bool_)
        present[self.base.items] = True
        present[self.kept.gone] = False
        present[self.delta.items] = True
        return np.flatnonzero(present)

    def __len__(self) -> int:
        return len(self.base.items) - len(self.kept.gone) + len(self.delta.items)

    def added(
        self, sequences: Ragged | Iterable[Sequence[int]], keep: Sequence[int] | Int64 | None = None
    ) -> GrownTrie:
        """Return a trie that holds `sequences` too, as the next rows; a row is never given again.

        Raises:
            DataError: a token is negative, or `keep` has another length.
        """
        ragged = sequences if isinstance(sequences, Ragged) else Ragged.of(sequences)
        source = self.source.then(ragged, minimum_of(keep, len(ragged)))
        rows = np.concatenate([np.sort(self.delta.items), np.arange(len(self.source), len(source))])
        return self._settled(source, self.kept, rows)

    def removed(self, items: Iterable[int]) -> GrownTrie:
        """Return a trie without the rows `items`; the others keep their numbers.

        Raises:
            DataError: an item was never there, or is gone.
        """
        items = np.unique(np.fromiter(items, dtype=np.int64))
        unknown = items[~among(items, self.rows)]
        if len(unknown):
            raise DataError("items of this trie", f"item {unknown[0]}", "remove what is there, and only once")
        rows = np.sort(self.delta.items.astype(np.int64))
        gone = np.union1d(self.kept.gone, items[~among(items, rows)])
        return self._settled(self.source, Pruned.of(self.base, gone), rows[~among(rows, items)])

    def compacted(self) -> GrownTrie:
        """Build one trie of all that is present, and return it with an empty delta; rows stay as they are."""
        rows = self.rows
        base = _built(self.source, rows, self.source.keep[rows])
        return GrownTrie(Pruned.of(base, np.zeros(0, dtype=np.int64)), TokenTrie.from_sequences([]), self.source)

    @property
    def height(self) -> int:
        """Tokens on the longest branch, or more."""
        return max(self.kept.height, self.delta.height)

    def followers(self, nodes: Int64) -> Followers:
        """List what may follow each of (nodes,)."""
        base, delta = _pair(nodes)
        if not len(self.delta.items):
            found = self.kept.followers(base)
            return found._replace(nodes=(found.nodes + 1) ^ _ROOT)
        keys, codes = _offers(self.kept, base, 0)
        more, theirs = _offers(self.delta, delta, 32)
        place, both = np.searchsorted(keys, more), among(more, keys)
        codes[place[both]] += theirs[both]  # a token that both offer leads to a pair
        keys, codes = (np.insert(a, place[~both], b[~both]) for a, b in ((keys, more), (codes, theirs)))
        bounds = np.searchsorted(keys, np.arange(len(nodes) + 1) << 32)
        return Followers((keys & _LOW).astype(np.int32), codes ^ _ROOT, bounds)

    def accepts(self, nodes: Int64) -> Bool:
        """(nodes,) true where a sequence ends."""
        base, delta = _pair(nodes)
        return self.kept.accepts(base) | self.delta.accepts(delta)

    def reach(self, nodes: Int64) -> Int64:
        """(nodes,) at most so many tokens can follow."""
        base, delta = _pair(nodes)
        return np.maximum(_reach(self.kept, base), _reach(self.delta, delta))

    def items_at(self, node: int) -> Int32:
        """Return the rows of the sequences that end at `node`, ascending."""
        base, delta = (int(part) for part in _pair(np.array(node)))
        # ascending, for what was added has larger rows, and copies that leave the base do so together
        return np.concatenate([self.kept.items_at(base), self.delta.items_at(delta)])

    @property
    def nbytes(self) -> int:
        """Bytes of both tries and of what is known to be gone; the sequences are the caller's."""
        without = sum(int(array.nbytes) for array in (self.kept.gone, self.kept.closed, self.kept.dead))
        return self.base.nbytes + self.delta.nbytes + without

    def _settled(self, source: _Source, kept: Pruned, rows: Int64) -> GrownTrie:
        """Return what is left of the base beside the sequences `rows`, once all end where they should."""
        if not source.cut:
            return GrownTrie(kept, _built(source, rows, source.keep[rows]), source)
        moved = _moved(kept, source, rows)
        kept, rows = Pruned.of(kept.trie, np.union1d(kept.gone, moved)), np.union1d(rows, moved)
        shared = np.zeros(len(rows), dtype=np.int64)
        for level, (walkers, _) in enumerate(_walk(kept, source.take(rows))):
            shared[walkers] = level
        return GrownTrie(kept, _built(source, rows, np.maximum(source.keep[rows], shared + 1)), source)


def _moved(kept: Pruned, source: _Source, rows: Int64) -> Int64:
    """Return the rows of the base that end elsewhere, with the sequences `rows` beside it (see the module)."""
    sequences = source.take(rows)
    lengths = np.concatenate([source.first.lengths, source.added.lengths])
    edges, alone = kept.lone()
    branchings = kept.last_nodes(edges)
    passed = np.zeros(len(edges), dtype=np.bool_)
    nodes = [kept.trie.ends[np.isin(kept.trie.items, kept.gone)]]
    for level, (walkers, at) in enumerate(_walk(kept, sequences)):
        passed |= np.isin(branchings, at)
        ends = kept.accepts(at)
        walkers, at = walkers[ends], at[ends]  # noqa: PLW2901 - those that meet the end of a base sequence
        there = kept.trie.items[np.searchsorted(kept.trie.ends, at.astype(np.int32))]
        nodes.append(at[(lengths[there] > level) | (lengths[rows[walkers]] == level)])
    return kept.rows_at(np.unique(np.concatenate([*nodes, alone[~passed]])))


def _walk(trie: Trie, sequences: Ragged) -> Iterator[tuple[Int64, Int64]]:
    """Walk all sequences at once; yield for 0, 1, … tokens which ones the trie still holds, and their nodes."""
    walkers, nodes = np.arange(len(sequences)), np.zeros(len(sequences), dtype=np.int64)
    level = 0
    while len(walkers):
        yield walkers, nodes
        longer = sequences.lengths[walkers] > level
        walkers, nodes = walkers[longer], nodes[longer]
        distinct, owner = np.unique(nodes, return_inverse=True)
        offered, codes = _offers(trie, distinct, 0)
        wanted = owner << 32 | sequences.values[sequences.offsets[walkers] + level]
        stays = among(wanted, offered)
        walkers, nodes = walkers[stays], codes[np.searchsorted(offered, wanted[stays])] - 1
        level += 1


def _offers(trie: Trie, nodes: Int64, shift: int) -> tuple[Int64, Int64]:
    """List what may follow (nodes,), -1 where none: position of the node and token in one key, ascending; and codes."""
    there = np.flatnonzero(nodes >= 0)
    found = trie.followers(nodes[there])
    return np.repeat(there, found.counts) << 32 | found.tokens, (found.nodes + 1) << shift


def _reach(trie: Trie, nodes: Int64) -> Int64:
    return np.where(nodes >= 0, trie.reach(np.maximum(nodes, 0)), 0)


def _pair(nodes: Int64) -> tuple[Int64, Int64]:
    """Return the base's and the delta's node of each; -1 for none."""
    codes = nodes ^ _ROOT
    return (codes & _LOW) - 1, (codes >> 32) - 1


def _built(source: _Source, rows: Int64, keep: Int64) -> TokenTrie:
    """Build the trie of the sequences `rows`, ascending, whose items are these rows."""
    trie = TokenTrie.from_sequences(source.take(rows), cut=source.cut, keep=keep)
    return replace(trie, items=rows[trie.items].astype(np.int32))
