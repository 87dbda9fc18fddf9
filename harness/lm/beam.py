"""Constrained beam search: write only what a trie holds, keep the best `beam_size` ways of doing so.

Semantics are those of beam search in transformers with `early_stopping="never"`: a step keeps the best
2 x beam_size candidates by summed log-probability; a finished one counts if it is among the best beam_size; a
finished sequence is ranked by its sum divided by its length to the power `length_penalty`; the search goes on
while an unfinished beam could still enter the result. Where a beam stands in the trie is part of the beam.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.lattice import Lattice
from harness.lm.trie import Bool, TokenTrie

if TYPE_CHECKING:
    import torch

Normaliser = Literal["vocabulary", "allowed"]


class Hypothesis(NamedTuple):
    """One finished way through the trie.

    node: where it ends. tokens: what was written. logprob: sum of their log-probabilities, natural logarithm.
    score: logprob / length ** length_penalty (0 for nothing written); the ranking. path: cache slots of the tokens
    of its start and of all its tokens but the last, which was not fed. start: position among the starts given.
    """

    node: int
    tokens: tuple[int, ...]
    logprob: float
    score: float
    path: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Start:
    """Where a search begins: a branch of the lattice, the state behind its last token, a node of the trie."""

    row: int
    path: tuple[int, ...]
    state: torch.Tensor
    node: int = 0


@dataclass(frozen=True, eq=False)
class _Beams:
    """Unfinished beams, ordered by start; every array has one entry a beam."""

    start: np.ndarray  # (beams,)
    node: np.ndarray  # (beams,)
    logprob: np.ndarray  # (beams,) float64
    tokens: np.ndarray  # (beams, written)
    path: np.ndarray  # (beams, fed) slots, -1 where a start's path is shorter


@dataclass
class _Finished:
    """The best finished hypotheses of one start."""

    size: int
    found: list[Hypothesis] = field(default_factory=list)

    def add(self, hypothesis: Hypothesis) -> None:
        self.found.append(hypothesis)
        self.found.sort(key=lambda h: (-h.score, h.tokens))
        del self.found[self.size :]

    def closed_to(self, score: float) -> bool:
        return len(self.found) == self.size and self.found[-1].score >= score


def constrained_search(
    backbone: Backbone,
    prompts: Sequence[Sequence[int]],
    trie: TokenTrie,
    *,
    beam_size: int,
    stop: Bool | None = None,
    normaliser: Normaliser = "vocabulary",
    length_penalty: float = 1.0,
    counters: dict[str, float] | None = None,
) -> list[list[Hypothesis]]:
    """Continue each prompt within the trie.

    Args:
        backbone: the language model.
        prompts: token ids, at least one each.
        trie: what may be written.
        beam_size: beams kept, at least 1.
        stop: (nodes,) finish at these nodes alone; see `search`.
        normaliser: "vocabulary" takes each log-probability over all the backbone may write, "allowed" over
            what the trie allows at that node (a forced token then costs nothing).
        length_penalty: exponent of the length in the score, at least 0.
        counters: running totals that model_calls and dead_beams are added to.

    Returns:
        For each prompt at most `beam_size` hypotheses, best first.
    """
    lattice = Lattice(backbone)
    states = lattice.prefill(prompts)
    starts = [Start(row, (), states[row]) for row in range(len(prompts))]
    found = search(
        lattice, starts, trie, beam_size=beam_size, stop=stop, normaliser=normaliser, length_penalty=length_penalty
    )
    if counters is not None:
        lattice.count_into(counters)
    return found


def search(
    lattice: Lattice,
    starts: Sequence[Start],
    trie: TokenTrie,
    *,
    beam_size: int,
    stop: Bool | None = None,
    normaliser: Normaliser = "vocabulary",
    length_penalty: float = 1.0,
) -> list[list[Hypothesis]]:
    """Search from every start at once; starts ascend by row. Other arguments as in `constrained_search`.

    A hypothesis finishes at a node where a sequence ends, and goes on as well where more may follow. With `stop` it
    finishes at these nodes alone and goes on from none of them: the trie above them is all there is. A start that
    stands on such a node yields the empty hypothesis (score 0).
    """
    import torch

    ends = trie.ends if stop is None else stop
    continues = ~trie.leaves if stop is None else ~(trie.leaves | stop)
    finished = [_Finished(beam_size) for _ in starts]
    for index, start in enumerate(starts):
        if ends[start.node]:
            finished[index].add(Hypothesis(start.node, (), 0.0, 0.0, start.path, index))
    beams = _first_beams(starts, continues)
    rows = np.array([s.row for s in starts], dtype=np.int64)
    states = torch.stack([s.state for s in starts])[torch.tensor(beams.start)] if starts else torch.empty(0)
    while len(beams.start):
        best = _expand(beams, trie, _Scorer(lattice.backbone, states, normaliser), beam_size)
        lattice.dead_beams += best.dead
        for candidate in np.flatnonzero(ends[best.node] & (best.rank < beam_size)).tolist():
            finished[best.start[candidate]].add(_hypothesis(best, beams, candidate, length_penalty))
        beams = _survivors(best, beams, continues, beam_size)
        beams = _still_open(beams, finished, trie.height, length_penalty)
        if len(beams.start):
            hidden, slots = lattice.feed(rows[beams.start], beams.path, beams.tokens[:, -1:])
            states = hidden[:, 0]
            beams = _Beams(beams.start, beams.node, beams.logprob, beams.tokens, np.hstack([beams.path, slots]))
    return [f.found for f in finished]


@dataclass(frozen=True, eq=False)
class _Candidates:
    """The best 2 x beam_size one-token extensions of each start, by start, best first."""

    start: np.ndarray  # (candidates,)
    rank: np.ndarray  # (candidates,) from 0 within its start
    beam: np.ndarray  # (candidates,) the beam it extends
    node: np.ndarray  # (candidates,)
    token: np.ndarray  # (candidates,)
    logprob: np.ndarray  # (candidates,)
    dead: int  # beams none of whose extensions has a probability


def _first_beams(starts: Sequence[Start], continues: Bool) -> _Beams:
    alive = np.array([i for i, s in enumerate(starts) if continues[s.node]], dtype=np.int64)
    depth = max((len(starts[i].path) for i in alive), default=0)
    path = np.full((len(alive), depth), -1, dtype=np.int64)
    for place, index in enumerate(alive):
        path[place, : len(starts[index].path)] = starts[index].path
    node = np.array([starts[i].node for i in alive], dtype=np.int64)
    return _Beams(alive, node, np.zeros(len(alive)), np.zeros((len(alive), 0), dtype=np.int64), path)


def _expand(beams: _Beams, trie: TokenTrie, scorer: _Scorer, beam_size: int) -> _Candidates:
    """Score every allowed extension of every beam and keep the best 2 x beam_size of each start."""
    first = trie.first_child[beams.node].astype(np.int64)
    counts = trie.first_child[beams.node + 1] - first
    bounds = np.concatenate([[0], np.cumsum(counts)])
    beam = np.repeat(np.arange(len(first)), counts)
    node = np.arange(bounds[-1]) - np.repeat(bounds[:-1] - first, counts)
    token = trie.tokens[node]
    logprob = beams.logprob[beam] + scorer.logprobs(beam, token, bounds)
    dead = len(first) - len(np.unique(beam[np.isfinite(logprob)]))
    order = np.lexsort((-logprob, beams.start[beam]))
    order = order[np.isfinite(logprob[order])]
    start = beams.start[beam][order]
    rank = np.arange(len(order)) - np.searchsorted(start, start, side="left")
    best, rank = order[rank < 2 * beam_size], rank[rank < 2 * beam_size]
    return _Candidates(beams.start[beam[best]], rank, beam[best], node[best], token[best], logprob[best], dead)


@dataclass(frozen=True, eq=False)
class _Scorer:
    """Log-probabilities behind the (beams, hidden) states of one step."""

    backbone: Backbone
    states: torch.Tensor
    normaliser: Normaliser

    def logprobs(self, beam: np.ndarray, token: np.ndarray, bounds: np.ndarray) -> np.ndarray:
        """(candidates,) float64; -inf where the head was cut off. `bounds` (beams + 1,) splits them by beam."""
        import torch

        column = self.backbone.column_of[token]
        logits = self.backbone.logits(self.states)
        where = (torch.tensor(index, device=logits.device) for index in (beam, np.maximum(column, 0)))
        values: np.ndarray = np.where(column >= 0, logits[tuple(where)].double().cpu().numpy(), -np.inf)
        if self.normaliser == "vocabulary":
            total = torch.logsumexp(logits, dim=-1).double().cpu().numpy()
        else:
            total = np.logaddexp.reduceat(values, bounds[:-1])
        with np.errstate(invalid="ignore"):  # -inf - -inf: a beam all of whose tokens were cut off
            return np.where(np.isneginf(values), -np.inf, values - total[beam])


def _hypothesis(best: _Candidates, beams: _Beams, candidate: int, length_penalty: float) -> Hypothesis:
    beam = best.beam[candidate]
    tokens = (*beams.tokens[beam].tolist(), int(best.token[candidate]))
    logprob = float(best.logprob[candidate])
    path = tuple(slot for slot in beams.path[beam].tolist() if slot >= 0)
    score = logprob / len(tokens) ** length_penalty
    return Hypothesis(int(best.node[candidate]), tokens, logprob, score, path, int(best.start[candidate]))


def _survivors(best: _Candidates, beams: _Beams, continues: Bool, beam_size: int) -> _Beams:
    """Keep the best `beam_size` unfinished candidates of each start."""
    open_ = np.flatnonzero(continues[best.node])
    start = best.start[open_]
    kept = open_[np.arange(len(open_)) - np.searchsorted(start, start, side="left") < beam_size]
    parent = best.beam[kept]
    tokens = np.hstack([beams.tokens[parent], best.token[kept, None]])
    return _Beams(best.start[kept], best.node[kept], best.logprob[kept], tokens, beams.path[parent])


def _still_open(beams: _Beams, finished: Sequence[_Finished], height: int, length_penalty: float) -> _Beams:
    """Drop the beams of starts whose best unfinished beam can no longer enter the result."""
    heads = np.flatnonzero(np.diff(beams.start, prepend=-1))
    closed = [
        beams.start[head]
        for head in heads
        if finished[beams.start[head]].closed_to(beams.logprob[head] / height**length_penalty)
    ]
    kept = ~np.isin(beams.start, closed)
    return _Beams(*(getattr(beams, name)[kept] for name in ("start", "node", "logprob", "tokens", "path")))
