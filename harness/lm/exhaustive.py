"""Score everything a trie holds, by one pass over its prefix tree: exact, without a beam.

Each node's token is fed once for each question, whatever the number of sequences behind it; so the work grows with the
trie, where that of a beam does not. It is there to tell what a beam misses.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from harness.errors import ConfigError
from harness.lm.backbone import Backbone
from harness.lm.beam import Hypothesis, Rules, as_backbone, checked, need_tokens
from harness.lm.lattice import Lattice, require_lattice
from harness.lm.nodes import Normaliser, follower_logprobs
from harness.lm.ragged import Int64
from harness.lm.trie import Bool, Trie

if TYPE_CHECKING:
    import torch

BLOCK_TOKENS = 256
"""Nodes fed as one row: within a row every token is set against every other, so longer rows cost more a token."""
PASS_ROWS = 8


class _Tree(NamedTuple):
    """All nodes of a trie in preorder; the root comes first.

    node, token, depth: (nodes,). parent: (nodes,) place of the node before, -1 at the root. fed: (nodes,) whether
    something can follow, so that the node's token must be read.
    """

    node: Int64
    token: Int64
    depth: Int64
    parent: Int64
    fed: Bool


def exhaustive_search(
    model: Backbone | object,
    prompts: Sequence[Sequence[int]],
    trie: Trie,
    *,
    k: int,
    normaliser: Normaliser = "vocabulary",
    length_penalty: float = 1.0,
    counters: dict[str, float] | None = None,
) -> list[list[Hypothesis]]:
    """Return for each prompt the best `k` of all sequences of the trie, best first.

    Arguments as in `constrained_search`; the slots of the hypotheses mean nothing. The model must be one that a
    lattice can feed.

    Raises:
        ConfigError: a number out of range, or a model that cannot be fed so.
    """
    backbone = as_backbone(model)
    if k < 1:
        raise ConfigError("a k of at least 1", str(k), "correct k")
    checked(Rules(k, normaliser, length_penalty))
    need_tokens(prompts)
    tree = _tree(trie)
    found = []
    for prompt in prompts:
        lattice = require_lattice(backbone)
        total = _totals(lattice, prompt, trie, tree, normaliser)
        found.append(_best(total, trie, tree, k, length_penalty))
        if counters is not None:
            lattice.work.count_into(counters)
    return found


def _best(total: np.ndarray, trie: Trie, tree: _Tree, k: int, length_penalty: float) -> list[Hypothesis]:
    """Choose the best `k` ends, given the (nodes,) log-probability of the way to each."""
    ends = np.flatnonzero(trie.accepts(tree.node) & np.isfinite(total))
    scores = total[ends] / np.maximum(tree.depth[ends], 1) ** length_penalty
    found = []
    for place, score in sorted(zip(ends.tolist(), scores.tolist(), strict=True), key=lambda e: -e[1])[:k]:
        tokens: list[int] = []
        at = place
        while tree.parent[at] >= 0:
            tokens.append(int(tree.token[at]))
            at = int(tree.parent[at])
        found.append(Hypothesis(int(tree.node[place]), tuple(tokens[::-1]), float(total[place]), score, -1, (), 0))
    return found


def _totals(lattice: Lattice, prompt: Sequence[int], trie: Trie, tree: _Tree, normaliser: Normaliser) -> np.ndarray:
    """(nodes,) log-probability of all tokens from the root to each node."""
    step = np.full(len(tree.node), -np.inf)
    step[0] = 0.0
    states, slots = lattice.prefill([prompt])
    place_of = {node: place for place, node in enumerate(tree.node.tolist())}

    def keep(places: Int64, hidden: torch.Tensor) -> None:
        followers = trie.followers(tree.node[places])
        reached = [place_of[node] for node in followers.nodes.tolist()]
        step[reached] = follower_logprobs(lattice, hidden, followers, normaliser)

    if tree.fed[0]:
        keep(np.zeros(1, dtype=np.int64), states)
    blocks = _blocks(tree)
    for first in range(0, len(blocks), PASS_ROWS):
        some = blocks[first : first + PASS_ROWS]
        fork, starts = lattice.fork(np.repeat(slots, len(some)))
        parents, tokens, wanted = _chained(tree, some, starts, fork.next_slot)
        hidden, _ = fork.feed(parents, tokens)
        lattice.work.add(fork.work)
        keep(np.concatenate([mine for _, mine in some]), hidden[lattice.on_device(wanted)])
    order = np.argsort(tree.depth, kind="stable")
    total = step.copy()
    bounds = np.searchsorted(tree.depth[order], np.arange(1, int(tree.depth.max()) + 2))
    for low, high in pairwise(bounds):
        total[order[low:high]] += total[tree.parent[order[low:high]]]
    return total


def _chained(
    tree: _Tree, blocks: Sequence[tuple[list[int], Int64]], starts: Int64, first: int
) -> tuple[Int64, Int64, Int64]:
    """Lay blocks out for `Lattice.feed`; return parents, tokens, and which of them are the blocks' own nodes."""
    parents: list[int] = []
    tokens: list[int] = []
    wanted: list[int] = []
    for (spine, mine), start in zip(blocks, starts.tolist(), strict=True):
        slot = {0: start}
        for place in (*spine, *mine.tolist()):
            slot[place] = first + len(tokens)
            parents.append(slot[int(tree.parent[place])])
            tokens.append(int(tree.token[place]))
        wanted.extend(range(len(tokens) - len(mine), len(tokens)))
    return np.array(parents), np.array(tokens), np.array(wanted)


def _blocks(tree: _Tree) -> list[tuple[list[int], Int64]]:
    """Cut the nodes that must be read into runs in preorder, each with the nodes before its first that lead there."""
    places = np.flatnonzero(tree.fed)
    places = places[places > 0]
    blocks = []
    for first in range(0, len(places), BLOCK_TOKENS):
        mine = places[first : first + BLOCK_TOKENS]
        spine: list[int] = []
        at = int(tree.parent[mine[0]])
        while at > 0:
            spine.append(at)
            at = int(tree.parent[at])
        blocks.append((spine[::-1], mine))
    return blocks


def _tree(trie: Trie) -> _Tree:
    """List a trie's nodes level by level, then sort them into preorder."""
    node, token, parent = [np.zeros(1, dtype=np.int64)], [np.full(1, -1)], [np.full(1, -1)]
    count = 0
    while len(node[-1]):
        goes = np.flatnonzero(trie.reach(node[-1]) > 0)
        followers = trie.followers(node[-1][goes])
        owner = goes[np.repeat(np.arange(len(goes)), followers.counts)]
        parent.append(count + owner)
        count += len(node[-1])
        node.append(followers.nodes)
        token.append(followers.tokens.astype(np.int64))
    lengths = [len(level) for level in node]
    depth = np.repeat(np.arange(len(lengths)), lengths)
    nodes, tokens, parents = (np.concatenate(part) for part in (node, token, parent))
    size = np.ones(len(nodes), dtype=np.int64)
    bounds = np.cumsum([0, *lengths])
    for low, high in reversed(list(pairwise(bounds[1:]))):
        np.add.at(size, parents[low:high], size[low:high])
    place = np.zeros(len(nodes), dtype=np.int64)
    for low, high in pairwise(bounds[1:]):  # behind its parent and all of its elder siblings
        mine, before = parents[low:high], np.cumsum(size[low:high]) - size[low:high]
        eldest = np.searchsorted(mine, mine, side="left")
        place[low:high] = place[mine] + 1 + before - before[eldest]
    order = np.argsort(place)
    moved = np.where(parents >= 0, place[np.maximum(parents, 0)], -1)[order]
    return _Tree(nodes[order], tokens[order], depth[order], moved, trie.reach(nodes[order]) > 0)
