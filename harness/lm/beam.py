"""Constrained beam search: write only what a trie holds, keep the best `beam_size` ways of doing so.

Semantics are those of beam search in transformers: a step keeps the best 2 x beam_size candidates by summed
log-probability; a finished one counts if it is among the best beam_size; a finished sequence is ranked by its sum
divided by its length to the power `length_penalty`; `early_stopping` says when a search ends. Where a beam stands in
the trie is part of the beam.

What differs is the order of the work. All that may follow a node is scored when the node's token has been fed, once
for each question; steps are then taken without the model for as long as every beam stands on a scored node. So forced
tokens are fed together, and what is likely to be needed can be fed along (`Session.lookahead_tokens`): the result
stays the same, the number of forward passes falls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

from harness.errors import ConfigError, DataError
from harness.lm.backbone import Backbone
from harness.lm.lattice import Lattice, branches
from harness.lm.nodes import Normaliser, Scored, Timed
from harness.lm.offsets import Offsets
from harness.lm.ragged import Int64
from harness.lm.replicas import Replicas
from harness.lm.session import Session
from harness.lm.trie import Trie

if TYPE_CHECKING:
    import torch

EarlyStopping = Literal["never"] | bool


class Hypothesis(NamedTuple):
    """One finished way through the trie.

    node: where it ends. tokens: what was written. logprob: sum of their log-probabilities, natural logarithm.
    score: logprob / length ** length_penalty (0 for nothing written); the ranking. slot: of its last token that was
    fed, or of its start. unfed: the tokens behind that slot, its last one among them. start: position among the starts.
    """

    node: int
    tokens: tuple[int, ...]
    logprob: float
    score: float
    slot: int
    unfed: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Start:
    """Where a search begins: a slot of the session, the state behind it, a node of the trie."""

    slot: int
    state: torch.Tensor
    node: int = 0


class Rules(NamedTuple):
    """How a search decides.

    beam_size: beams kept, at least 1. normaliser: "vocabulary" takes each log-probability over all the model may
    write; "allowed" over what the trie allows at that node, so that a forced token costs nothing and is not computed.
    length_penalty: exponent of the length in the score, at least 0. early_stopping: "never" goes on while a beam could
    still enter the result; False stops, as transformers does by default, once the best beam so far is no better than
    the worst of beam_size finished ones; True stops at beam_size finished ones. offsets: added to the log-probability
    of coming to nodes; then `Hypothesis.logprob` is the sum of both.
    """

    beam_size: int
    normaliser: Normaliser = "vocabulary"
    length_penalty: float = 1.0
    early_stopping: EarlyStopping = "never"
    offsets: Offsets | None = None


def constrained_search(
    model: Backbone | object,
    prompts: Sequence[Sequence[int]],
    trie: Trie,
    *,
    beam_size: int,
    normaliser: Normaliser = "vocabulary",
    length_penalty: float = 1.0,
    early_stopping: EarlyStopping = "never",
    batch_size: int = 32,
    counters: dict[str, float] | None = None,
) -> list[list[Hypothesis]]:
    """Continue each prompt within the trie; neither batches nor the order of the prompts change what is found.

    Args:
        model: any Hugging Face model with a language-model head, causal or encoder-decoder, or a `Backbone`.
        prompts: token ids, at least one each.
        trie: what may be written.
        beam_size, normaliser, length_penalty, early_stopping: see `Rules`.
        batch_size: prompts searched together, those of like length.
        counters: running totals that model_calls, dead_beams, model_s, search_s and mask_s are added to.

    Returns:
        For each prompt at most `beam_size` hypotheses, best first.

    Raises:
        ConfigError: a number out of range. DataError: an empty prompt.
    """
    backbone = as_backbone(model)
    rules = checked(Rules(beam_size, normaliser, length_penalty, early_stopping))
    if batch_size < 1:
        raise ConfigError("a batch size of at least 1", str(batch_size), "correct batch_size")
    found: list[list[Hypothesis]] = [[] for _ in prompts]
    for batch in batches(prompts, batch_size):
        session = open_session(backbone)
        states, slots = session.prefill([prompts[i] for i in batch])
        starts = [Start(int(slot), state) for slot, state in zip(slots, states, strict=True)]
        for i, hypotheses in zip(batch, search(session, starts, trie, rules), strict=True):
            found[i] = hypotheses
        if counters is not None:
            session.work.count_into(counters)
    return found


def open_session(backbone: Backbone) -> Session:
    """Return an empty session of the kind the model allows."""
    return Lattice(backbone) if branches(backbone) else Replicas(backbone)


def as_backbone(model: Backbone | object) -> Backbone:
    """Wrap a Hugging Face model; what is derived from its weights is kept as long as the model lives."""
    return model if isinstance(model, Backbone) else Backbone.of(model)


def checked(rules: Rules) -> Rules:
    """Return `rules`, or raise ConfigError where a number is out of range."""
    if rules.beam_size < 1:
        raise ConfigError("a beam size of at least 1", str(rules.beam_size), "correct beam_size")
    if rules.length_penalty < 0:
        raise ConfigError("a length penalty of at least 0", str(rules.length_penalty), "correct length_penalty")
    if rules.normaliser not in ("vocabulary", "allowed"):
        raise ConfigError("the normaliser vocabulary or allowed", repr(rules.normaliser), "correct normaliser")
    if rules.early_stopping not in (True, False, "never"):
        raise ConfigError("early_stopping of True, False or 'never'", repr(rules.early_stopping), "correct it")
    return rules


def batches(prompts: Sequence[Sequence[int]], size: int) -> list[list[int]]:
    """Group prompts of like length, `size` at a time; return their positions.

    >>> batches([[1, 1, 1], [1], [1, 1]], 2)
    [[1, 2], [0]]
    """
    need_tokens(prompts)
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    return [order[first : first + size] for first in range(0, len(order), size)]


def need_tokens(prompts: Sequence[Sequence[int]]) -> None:
    """Refuse an empty prompt: DataError."""
    for i, prompt in enumerate(prompts):
        if not len(prompt):
            raise DataError("prompts of at least one token", f"prompt {i} is empty", "give it a token to start from")


def search(session: Session, starts: Sequence[Start], trie: Trie, rules: Rules) -> list[list[Hypothesis]]:
    """Search from every start at once.

    A hypothesis finishes at a node where a sequence ends, and goes on as well where more may follow. A start that
    stands on such a node yields the empty hypothesis (score 0).
    """
    if not starts:
        return []
    with session.work.search():
        return _Search(session, starts, trie, rules).run()


@dataclass
class _Finished:
    """The best finished hypotheses of one start."""

    size: int
    found: list[Hypothesis] = field(default_factory=list)

    def add(self, hypothesis: Hypothesis) -> None:
        self.found.append(hypothesis)
        self.found.sort(key=lambda h: (-h.score, h.tokens))
        del self.found[self.size :]

    @property
    def full(self) -> bool:
        return len(self.found) == self.size

    @property
    def worst(self) -> float:
        return self.found[-1].score


@dataclass(eq=False)
class _Beams:
    """Unfinished beams on a grid (starts, beam_size), best first in each line; a place without a beam has -inf.

    node: where it stands. slot: of its deepest token that was fed. unfed: how many of its last tokens were not.
    tokens: (starts, beam_size, written).
    """

    node: np.ndarray
    logprob: np.ndarray
    slot: np.ndarray
    unfed: np.ndarray
    tokens: np.ndarray

    @property
    def alive(self) -> np.ndarray:
        """(starts, beam_size) whether there is a beam."""
        found: np.ndarray = np.isfinite(self.logprob)
        return found


class _Chosen(NamedTuple):
    """Candidates that go on, (starts, beam_size) each, best first; those with reach 0 fill empty places."""

    parent: Int64
    node: Int64
    token: Int64
    total: np.ndarray
    reach: Int64


class _Search:
    def __init__(self, session: Session, starts: Sequence[Start], trie: Trie, rules: Rules) -> None:
        self.session, self.starts, self.rules = session, starts, rules
        self.trie = Timed(trie, session.work)
        self.scored = Scored(session, self.trie, rules.normaliser, 2 * rules.beam_size, rules.offsets)
        self.finished = [_Finished(rules.beam_size) for _ in starts]
        self.written = np.zeros(len(starts), dtype=np.int64)  # tokens written so far, of each start
        self.beams = self._first_beams()

    def run(self) -> list[list[Hypothesis]]:
        import torch

        going = np.flatnonzero(self.beams.alive[:, 0])
        if len(going):
            begun = [self.starts[i] for i in going.tolist()]
            nodes, slots = np.array([s.node for s in begun]), np.array([s.slot for s in begun])
            self.scored.add(going, nodes, slots, torch.stack([s.state for s in begun]))
        while len(going):
            records = self.scored.find(going, self.beams.node[going], self.beams.alive[going])
            waiting = (records < 0) & self.beams.alive[going]
            ready = ~waiting.any(axis=1)
            if ready.any():
                self._step(going[ready], records[ready])
                going = going[self.beams.alive[going, 0]]
            else:
                self._feed(going, waiting)
        return [f.found for f in self.finished]

    def _first_beams(self) -> _Beams:
        shape = (len(self.starts), self.rules.beam_size)
        node = np.array([s.node for s in self.starts], dtype=np.int64)
        beams = _Beams(
            node=np.zeros(shape, dtype=np.int64),
            logprob=np.full(shape, -np.inf),
            slot=np.zeros(shape, dtype=np.int64),
            unfed=np.zeros(shape, dtype=np.int64),
            tokens=np.zeros((*shape, 0), dtype=np.int64),
        )
        beams.node[:, 0] = node
        beams.slot[:, 0] = [s.slot for s in self.starts]
        beams.logprob[self.trie.reach(node) > 0, 0] = 0.0
        for index in np.flatnonzero(self.trie.accepts(node)).tolist():
            self.finished[index].add(Hypothesis(int(node[index]), (), 0.0, 0.0, self.starts[index].slot, (), index))
        return beams

    def _step(self, which: Int64, records: np.ndarray) -> None:
        """Write one token more in the starts `which`, all of whose beams stand on the scored nodes `records`."""
        beams, size = self.beams, self.rules.beam_size
        self.session.work.steps += 1
        logprobs, slots = beams.logprob[which], self.scored.slots_of(records)
        fed = slots >= 0
        beams.slot[which] = np.where(fed, slots, beams.slot[which])
        beams.unfed[which] = np.where(fed, 0, beams.unfed[which])
        alive = np.isfinite(logprobs)
        node, token, logprob = self.scored.followers_of(records)
        self.session.work.dead_beams += int((alive & np.isneginf(logprob[..., 0])).sum())
        total = logprobs[..., None] + np.where(alive[..., None], logprob, -np.inf)
        wide = total.shape[2]
        total = total.reshape(len(which), -1)
        order = np.argsort(-total, axis=1, kind="stable")[:, : 2 * size]
        line = np.arange(len(which))[:, None]
        total, parent = total[line, order], order // wide
        node, token = (part.reshape(len(which), -1)[line, order] for part in (node, token))
        real = np.isfinite(total)
        self.written[which] += 1
        ends = real & self.trie.accepts(node)
        ends[:, size:] = False
        reach = np.where(real, self.trie.reach(node), 0)
        for row, place in zip(*(a.tolist() for a in np.nonzero(ends)), strict=True):
            self._finish(
                int(which[row]), int(parent[row, place]), node[row, place], token[row, place], total[row, place]
            )
        goes = np.argsort(reach <= 0, axis=1, kind="stable")[:, :size]  # those that go on, in order
        self._keep(which, _Chosen(*(part[line, goes] for part in (parent, node, token, total, reach))))

    def _keep(self, which: Int64, chosen: _Chosen) -> None:
        """Let the chosen candidates be the beams of the starts `which`, unless their search is over."""
        parent, node, token, total, reach = chosen
        beams, size = self.beams, node.shape[1]
        total = np.where(reach > 0, total, -np.inf)
        line = which[:, None]
        longest = int(self.written[which].max())
        if beams.tokens.shape[2] < longest:
            beams.tokens = np.concatenate(
                [beams.tokens, np.zeros((*beams.node.shape, longest), dtype=np.int64)], axis=2
            )
        tokens = beams.tokens[line, parent]
        tokens[np.arange(len(which))[:, None], np.arange(size), self.written[which][:, None] - 1] = token
        beams.tokens[line, np.arange(size)] = tokens
        beams.unfed[line, np.arange(size)] = beams.unfed[line, parent] + 1
        beams.slot[line, np.arange(size)] = beams.slot[line, parent]
        beams.node[line, np.arange(size)] = node
        beams.logprob[which] = -np.inf
        beams.logprob[line, np.arange(size)] = total
        for row, start in enumerate(which.tolist()):
            if self._closed(start, total[row], reach[row], node[row]):
                beams.logprob[start] = -np.inf

    def _closed(self, start: int, total: np.ndarray, reach: np.ndarray, node: Int64) -> bool:
        """Say whether nothing a start's beams may become would enter its result, or its rules end it."""
        finished, written, power = self.finished[start], int(self.written[start]), self.rules.length_penalty
        if not finished.full:
            return False
        if self.rules.early_stopping is True:
            return True
        if self.rules.early_stopping is False:
            return bool(finished.worst >= total[0] / written**power)
        longest = np.maximum(np.minimum(written + reach, self.trie.height), 1)
        if self.rules.offsets is not None:
            total = total + self.rules.offsets.ahead_of(node)
        # What is below 0 is best spread over many tokens, what is above it over few.
        return bool(finished.worst >= np.max(total / np.where(total > 0, written + 1, longest) ** power))

    def _finish(self, start: int, beam: int, node: int, token: int, total: float) -> None:
        before = self.beams.tokens[start, beam, : self.written[start] - 1].tolist()
        tokens = (*before, int(token))
        unfed = (*before[len(before) - int(self.beams.unfed[start, beam]) :], int(token))
        score = float(total) / len(tokens) ** self.rules.length_penalty
        slot = int(self.beams.slot[start, beam])
        self.finished[start].add(Hypothesis(int(node), tokens, float(total), score, slot, unfed, start))

    def _feed(self, going: Int64, waiting: np.ndarray) -> None:
        """Feed what the beams without a score stand on, with what lies ahead, and score all of it."""
        line, beam = np.nonzero(waiting)
        start = going[line]
        node = self.beams.node[start, beam]
        forced = self.scored.add_forced(start, node)
        start, beam, node = start[~forced], beam[~forced], node[~forced]
        if len(start):
            tails = [self._unfed(*place) for place in zip(start.tolist(), beam.tolist(), strict=True)]
            self.scored.feed(start, self.beams.slot[start, beam].tolist(), tails, node)

    def _unfed(self, start: int, beam: int) -> list[int]:
        """Return the last tokens of a beam, those that were not fed."""
        last = int(self.written[start])
        tokens: list[int] = self.beams.tokens[start, beam, last - int(self.beams.unfed[start, beam]) : last].tolist()
        return tokens
