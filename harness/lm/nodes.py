"""What may follow the nodes a search has come to, with log-probabilities: looked up by (start, node)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from harness.errors import DataError
from harness.lm.offsets import Offsets
from harness.lm.ragged import Int32, Int64
from harness.lm.session import Session, Work
from harness.lm.trie import Bool, Followers, Trie

if TYPE_CHECKING:
    import torch

Normaliser = Literal["vocabulary", "allowed"]

_FAN_OUT = 4
"""What lies ahead of a node is fed along if there are at most so many ways to go on."""
_STATES = 256
"""States whose logits over the whole vocabulary are computed at once: bounds the memory."""


class Best(NamedTuple):
    """The best followers of nodes, (nodes, width) each, best first; logprob is -inf where there are fewer."""

    node: Int64
    token: Int64
    logprob: np.ndarray

    @classmethod
    def empty(cls, nodes: int, width: int) -> Best:
        """Return a table without followers."""
        node, token = (np.zeros((nodes, width), dtype=np.int64) for _ in range(2))
        return cls(node, token, np.full((nodes, width), -np.inf))


class Timed:
    """A trie whose answers are counted as the mask's time."""

    def __init__(self, trie: Trie, work: Work) -> None:
        self._trie, self._work = trie, work

    @property
    def height(self) -> int:
        """See `Trie`."""
        return self._trie.height

    def followers(self, nodes: Int64) -> Followers:
        """See `Trie`."""
        with self._work.mask():
            return self._trie.followers(nodes)

    def accepts(self, nodes: Int64) -> Bool:
        """See `Trie`."""
        with self._work.mask():
            return self._trie.accepts(nodes)

    def reach(self, nodes: Int64) -> Int64:
        """See `Trie`."""
        with self._work.mask():
            return self._trie.reach(nodes)

    def items_at(self, node: int) -> Int32:
        """See `Trie`."""
        with self._work.mask():
            return self._trie.items_at(node)


class Scored:
    """Scored nodes of one search. Each keeps its best `width` followers, since no more can be among the candidates."""

    def __init__(
        self, session: Session, trie: Trie, normaliser: Normaliser, width: int, offsets: Offsets | None = None
    ) -> None:
        self._session, self._trie, self._normaliser, self._width = session, trie, normaliser, width
        self._offsets = offsets
        # Rows behind the last record are spare: the table doubles where it is full.
        self._record: dict[tuple[int, int], int] = {}
        self._slot = np.full(1, -1)  # of each record; the last place stands for none
        self.followers = Best.empty(0, width)

    def find(self, starts: Int64, nodes: Int64, wanted: Bool) -> Int64:
        """(n, beams) record of the nodes of start starts[i], -1 where unscored or not `wanted`."""
        found = np.full(nodes.shape, -1, dtype=np.int64)
        get = self._record.get
        for line, place in zip(*(a.tolist() for a in np.nonzero(wanted)), strict=True):
            found[line, place] = get((int(starts[line]), int(nodes[line, place])), -1)
        return found

    def slots_of(self, records: Int64) -> Int64:
        """Return the slot of each record's node: -1 where its token was not fed, or where there is no record."""
        slots: Int64 = self._slot[records]
        return slots

    def followers_of(self, records: Int64) -> Best:
        """Return the best followers of each record's node; where there is no record, those of any."""
        place = np.maximum(records, 0)
        return Best(*(part[place] for part in self.followers))

    def add(self, starts: Int64, nodes: Int64, slots: Int64, states: torch.Tensor) -> None:
        """Score nodes whose tokens were fed: slot and (n, width) state of each."""
        followers = self._trie.followers(nodes)
        logprobs = follower_logprobs(self._session, states, followers, self._normaliser)
        with self._session.work.mask():
            if self._offsets is not None:
                logprobs = logprobs + self._offsets.steps_to(followers.nodes)
            owner, rank, chosen = _best(logprobs, followers.bounds, self._width)
        best = Best.empty(len(nodes), self._width)
        best.node[owner, rank] = followers.nodes[chosen]
        best.token[owner, rank] = followers.tokens[chosen]
        best.logprob[owner, rank] = logprobs[chosen]
        self._append(starts, nodes, slots, best)

    def add_forced(self, starts: Int64, nodes: Int64) -> Bool:
        """Score those nodes that need no model: only one way to go on, and probabilities are over what is allowed."""
        if self._normaliser != "allowed":
            return np.zeros(len(nodes), dtype=np.bool_)
        followers = self._trie.followers(nodes)
        forced: Bool = followers.counts == 1
        only = followers.bounds[:-1][forced]
        if len(only):
            best = Best.empty(len(only), self._width)
            best.node[:, 0], best.token[:, 0] = followers.nodes[only], followers.tokens[only]
            best.logprob[:, 0] = 0.0 if self._offsets is None else self._offsets.steps_to(followers.nodes[only])
            self._append(starts[forced], nodes[forced], np.full(len(only), -1), best)
        return forced

    def feed(self, starts: Int64, slots: Sequence[int], tails: Sequence[Sequence[int]], nodes: Int64) -> None:
        """Feed each tail behind its slot, so that nodes[i] is reached; with what lies ahead, and score these nodes."""
        parents: list[int] = []
        tokens: list[int] = []
        last: list[int] = []
        first = self._session.next_slot
        for slot, tail in zip(slots, tails, strict=True):
            for token in tail:
                parents.append(slot)
                tokens.append(token)
                slot = first + len(tokens) - 1  # noqa: PLW2901 - the tail goes on behind its own token
            last.append(slot)
        starts, nodes, at = self._look_ahead(starts, nodes, np.array(last), parents, tokens)
        states, _ = self._session.feed(np.array(parents, dtype=np.int64), np.array(tokens, dtype=np.int64))
        self.add(starts, nodes, at, states[at - first])

    def _look_ahead(
        self, starts: Int64, nodes: Int64, at: Int64, parents: list[int], tokens: list[int]
    ) -> tuple[Int64, Int64, Int64]:
        """Add likely tokens behind `nodes`, level by level, while there is room; return all nodes and their slots."""
        first = self._session.next_slot
        found = [(starts, nodes, at)]
        while self._normaliser == "vocabulary" and len(nodes) and len(tokens) < self._session.lookahead_tokens:
            followers = self._trie.followers(nodes)
            owner = np.repeat(np.arange(len(nodes)), followers.counts)
            likely = np.flatnonzero((followers.counts[owner] <= _FAN_OUT) & (self._trie.reach(followers.nodes) > 0))
            likely = likely[: self._session.lookahead_tokens - len(tokens)]
            parents.extend(at[owner[likely]].tolist())
            at = first + len(tokens) + np.arange(len(likely))
            tokens.extend(followers.tokens[likely].tolist())
            starts, nodes = starts[owner[likely]], followers.nodes[likely]
            found.append((starts, nodes, at))
        return tuple(np.concatenate(parts) for parts in zip(*found, strict=True))  # type: ignore[return-value]

    def _append(self, starts: Int64, nodes: Int64, slots: Int64, best: Best) -> None:
        for key in zip(starts.tolist(), nodes.tolist(), strict=True):
            self._record[key] = len(self._record)
        self._slot = np.concatenate([self._slot[:-1], slots, self._slot[-1:]])
        first, last = len(self._slot) - 1 - len(nodes), len(self._slot) - 1
        if last > len(self.followers.node):
            room = Best.empty(max(last, 2 * len(self.followers.node)), self._width)
            for old, new in zip(self.followers, room, strict=True):
                new[: len(old)] = old
            self.followers = room
        for table, rows in zip(self.followers, best, strict=True):
            table[first:last] = rows


def follower_logprobs(
    session: Session, states: torch.Tensor, followers: Followers, normaliser: Normaliser
) -> np.ndarray:
    """Return the (followers,) float64 log-probability of each token behind its node; -inf where the head was cut off.

    Args:
        session: the model.
        states: (nodes, width) as `Session.feed` returns them.
        followers: of these nodes.
        normaliser: see `harness.lm.beam.Rules`.
    """
    import torch

    with session.work.mask():
        columns = _columns(session, followers)
        owner = np.repeat(np.arange(len(followers.counts)), followers.counts)
        known = np.flatnonzero(columns >= 0)
        values = np.full(len(columns), -np.inf)
    with session.work.model(), torch.inference_mode():
        if normaliser == "allowed":
            values[known] = session.logits_at(states, owner[known], columns[known]).cpu().double().numpy()
            total = np.logaddexp.reduceat(values, followers.bounds[:-1])
            with np.errstate(invalid="ignore"):  # -inf - -inf: a node all of whose followers were cut off
                values = np.where(np.isneginf(values), -np.inf, values - total[owner])
        else:
            for first in range(0, len(states), _STATES):
                mine = known[slice(*np.searchsorted(owner[known], [first, first + _STATES]))]
                logprobs = torch.log_softmax(session.logits(states[first : first + _STATES]), dim=-1)
                where = (torch.from_numpy(a).to(logprobs.device) for a in (owner[mine] - first, columns[mine]))
                values[mine] = logprobs[tuple(where)].cpu().double().numpy()
    return values


def _columns(session: Session, followers: Followers) -> Int64:
    """(followers,) column of each token in the head, -1 where it was cut off."""
    column_of = session.backbone.column_of
    if len(followers.tokens) and int(followers.tokens.max()) >= len(column_of):
        raise DataError(
            f"tokens the model knows, below {len(column_of)}",
            f"token {int(followers.tokens.max())} in the trie",
            "build the trie with the model's own tokeniser",
        )
    columns: Int64 = column_of[followers.tokens]
    return columns


def _best(values: np.ndarray, bounds: Int64, width: int) -> tuple[Int64, Int64, Int64]:
    """Choose the best `width` of each run, best first, equal ones in order.

    Returns:
        For each chosen one its run, its rank there from 0, and its place in `values`.
    """
    counts = np.diff(bounds)
    kept = np.isfinite(values)
    for wide in np.flatnonzero(counts > 4 * width).tolist():  # sorting all tokens that may open a title takes too long
        mine = slice(bounds[wide], bounds[wide + 1])
        kept[mine] &= values[mine] >= np.partition(values[mine], -width)[-width]
    place = np.flatnonzero(kept)
    run = np.repeat(np.arange(len(counts)), counts)[place]
    order = np.lexsort((-values[place], run))
    place, run = place[order], run[order]
    rank = np.arange(len(run)) - np.searchsorted(run, run, side="left")
    best = rank < width
    return run[best], rank[best], place[best]
