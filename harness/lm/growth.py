"""Build the arrays of a trie from token sequences: split groups of sequences level by level, all groups at once.

A group is the sequences that share all tokens so far. It becomes an edge's end where it splits; where it does not,
the edge just grows. A group of one is a leaf at once, so a level costs one sort of the sequences not yet told apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from harness.errors import DataError
from harness.lm.ragged import Int32, Int64, Ragged, spread

_MOST_NODES = 2**31 - 1
_AT_ONCE = 8192
_SEED = 20240301
"""Any number: the hashes only have to differ, and to be the same each time."""


class Arrays(NamedTuple):
    """The fields of `harness.lm.trie.TokenTrie`, in its order."""

    tokens: Int32
    edges: Int32
    first_child: Int32
    ends: Int32
    items: Int32
    height: int


class _Edges(NamedTuple):
    """Edges in the order of their making: siblings stand together, ascending by token. Edge 0 is the root.

    row: a sequence that passes it. start, end: tokens of that sequence it covers. parent: the edge before it.
    """

    row: Int64
    start: Int64
    end: Int64
    parent: Int64


def grow(sequences: Ragged, minimum: Int64, cut: bool) -> Arrays:
    """Build the trie of `sequences`; with `cut`, unique branches end after `minimum` tokens at the least."""
    same_as = first_copies(sequences)
    minimum = minimum.copy()
    np.maximum.at(minimum, same_as, minimum)  # copies of one sequence end at one node
    edges, end_edge = _split(sequences, np.unique(same_as), minimum, cut)
    return _arrange(sequences, edges, end_edge[same_as])


def minimum_of(keep: Sequence[int] | Int64 | None, count: int) -> Int64:
    """(sequences,) tokens kept of each in any case, none where `keep` is None; DataError if its length is another."""
    if keep is None:
        return np.broadcast_to(np.int64(0), count)
    if len(keep) != count:
        raise DataError(f"what to keep of each of {count} sequences", f"{len(keep)} numbers", "give one for each")
    return np.asarray(keep, dtype=np.int64)


def first_copies(sequences: Ragged) -> Int64:
    """(sequences,) the first row that holds the same tokens as each."""
    rows = np.arange(len(sequences))
    hashes = _hashes(sequences)
    order = np.lexsort((rows, sequences.lengths, hashes))
    new = np.ones(len(order), dtype=np.bool_)
    new[1:] = (hashes[order][1:] != hashes[order][:-1]) | (np.diff(sequences.lengths[order]) != 0)
    same_as = np.empty_like(rows)
    same_as[order] = order[new][np.cumsum(new) - 1]
    copies = np.flatnonzero(same_as != rows)
    if not np.array_equal(sequences.take(copies).values, sequences.take(same_as[copies]).values):
        return _first_copies_by_bytes(sequences)  # two different sequences with one hash: once in many lifetimes
    return same_as


def _hashes(sequences: Ragged) -> np.ndarray:
    """(sequences,) uint64: the sum of a random number for each token and place."""
    longest = int(sequences.lengths.max(initial=0))
    weights = np.random.default_rng(_SEED).integers(1, 2**63, max(longest, 1), dtype=np.uint64) * np.uint64(2)
    weights += np.uint64(1)
    hashes = np.zeros(len(sequences), dtype=np.uint64)
    for first in range(0, len(sequences), _AT_ONCE):
        bounds = sequences.offsets[first : first + _AT_ONCE + 1]
        place = np.arange(bounds[-1] - bounds[0]) - np.repeat(bounds[:-1] - bounds[0], np.diff(bounds))
        mixed = sequences.values[bounds[0] : bounds[-1]].astype(np.uint64) + np.uint64(1)
        mixed = (mixed * np.uint64(0x9E3779B97F4A7C15)) ^ (mixed << np.uint64(29))
        sums = np.zeros(len(mixed) + 1, dtype=np.uint64)
        np.cumsum(mixed * weights[place], out=sums[1:])  # wraps around, as does the difference
        hashes[first : first + _AT_ONCE] = np.diff(sums[bounds - bounds[0]])
    return hashes


def _first_copies_by_bytes(sequences: Ragged) -> Int64:
    seen: dict[bytes, int] = {}
    return np.array([seen.setdefault(sequences[row].tobytes(), row) for row in range(len(sequences))], dtype=np.int64)


def _split(sequences: Ragged, distinct: Int64, minimum: Int64, cut: bool) -> tuple[_Edges, Int64]:
    """Return the edges, and for each distinct row the edge at whose end it ends."""
    lengths = sequences.lengths
    end_edge = np.zeros(len(lengths), dtype=np.int64)
    made = [_Edges(*(np.full(1, n) for n in (0, 0, 0, -1)))]
    closed: list[tuple[Int64, Int64]] = []  # edges and the level where each ends
    count, level = 1, 0
    active, edge = distinct, np.zeros(len(distinct), dtype=np.int64)  # rows and the open edge each is in, ascending
    while len(active):
        over = lengths[active] == level
        end_edge[active[over]] = edge[over]
        splits = np.zeros(count, dtype=np.bool_)
        splits[edge[over]] = True
        active, edge = active[~over], edge[~over]
        token = sequences.values[sequences.offsets[active] + level]
        order = np.argsort(edge << 32 | token, kind="stable")
        active, edge, token = active[order], edge[order], token[order]
        new = np.ones(len(active), dtype=np.bool_)
        new[1:] = (edge[1:] != edge[:-1]) | (token[1:] != token[:-1])
        heads = np.flatnonzero(new)
        again = heads[1:][edge[heads[1:]] == edge[heads[:-1]]]  # an edge's second way to go on
        splits[edge[again]] = True
        splits[0] = level == 0
        closed.append((np.flatnonzero(splits), np.full(int(splits.sum()), level)))
        parting = splits[edge[heads]]
        made.append(_Edges(active[heads[parting]], *_start(level, int(parting.sum())), edge[heads[parting]]))
        run = np.cumsum(new) - 1
        place = np.where(parting, count + np.cumsum(parting) - 1, edge[heads])
        edge = place[run]
        single = parting & (np.diff(np.append(heads, len(active))) == 1)
        rows = active[heads[single]]
        last = np.maximum(level + 1, minimum[rows]) if cut else lengths[rows]
        closed.append((place[single], np.minimum(last, lengths[rows])))
        end_edge[rows] = place[single]
        active, edge = active[~single[run]], edge[~single[run]]
        count, level = count + int(parting.sum()), level + 1
    edges = _Edges(*(np.concatenate(columns) for columns in zip(*made, strict=True)))
    for which, end in closed:
        edges.end[which] = end
    return edges, end_edge


def _start(level: int, count: int) -> tuple[Int64, Int64]:
    return np.full(count, level), np.zeros(count, dtype=np.int64)


def _arrange(sequences: Ragged, edges: _Edges, end_edge: Int64) -> Arrays:
    """Number edges breadth first and lay their tokens end to end."""
    children = np.bincount(edges.parent[1:], minlength=len(edges.row))
    first_made = np.full(len(edges.row), 1, dtype=np.int64)
    made = np.arange(1, len(edges.row))
    first_made[edges.parent[1:][::-1]] = made[::-1]
    levels = [np.zeros(1, dtype=np.int64)]
    while len(levels[-1]):
        levels.append(spread(first_made[levels[-1]], children[levels[-1]])[1])
    order = np.concatenate(levels)
    number = np.empty_like(order)
    number[order] = np.arange(len(order))
    row, start, end = edges.row[order], edges.start[order], edges.end[order]
    first = sequences.offsets[row] + start if len(sequences) else np.zeros(1, dtype=np.int64)
    first[0], end[0] = 0, 0
    if int((end - start).sum()) >= _MOST_NODES:
        raise DataError(
            f"at most {_MOST_NODES:,} nodes, which 32 bits can number",
            f"{int((end - start).sum()) + 1:,}",
            "cut branches where they are unique (cut=True), or split the corpus",
        )
    _, place, bounds = spread(first, end - start)
    tokens = np.empty(len(place) + 1, dtype=np.int32)
    tokens[0], tokens[1:] = -1, sequences.values[place]
    bounds += 1
    bounds[0] = 0  # the root's own node
    first_child = np.ones(len(order) + 1, dtype=np.int32)
    np.cumsum(children[order], out=first_child[1:], dtype=np.int32)
    first_child[1:] += 1
    at = bounds[number[end_edge] + 1] - 1 if len(sequences) else np.zeros(0, dtype=np.int64)
    items = np.argsort(at, kind="stable")
    return Arrays(
        tokens,
        bounds.astype(np.int32),
        first_child,
        at[items].astype(np.int32),
        items.astype(np.int32),
        int(end.max(initial=0)),
    )
