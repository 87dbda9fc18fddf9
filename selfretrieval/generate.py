"""Write titles, then passages (section 3.2, Tang et al. 2024), both by beam search in one trie and one cache.

The released scripts search only the first token of a passage by beam and finish greedily; here the beam goes on
until the passage is unique. Where all passages of a title are to be judged, none is written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from harness.lm.beam import Hypothesis, Rules, Start, search
from harness.lm.lattice import Lattice
from harness.lm.ragged import Int64
from selfretrieval.memory import Memory

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Title:
    """A title written for the question in `row`; its passages start at `node`.

    score: length-normalised log-probability of its tokens and its end, less the share of their prior that the settings
    ask for. logprob: their sum. slot: in the cache, of its last token that was fed. read: its tokens up to there.
    unfed: those behind it, boundary included.
    """

    row: int
    node: int
    score: float
    logprob: float
    slot: int
    read: int
    unfed: tuple[int, ...]


@dataclass(frozen=True)
class Candidate:
    """A passage written for the question in `row` under its title number `title`.

    items: corpus rows of all identical passages. slot: of its last token in the cache. read: its tokens up to there,
    title included; of a passage written from inside or not at all, at most those of the title. score: length-normalised
    log-probability of the tokens that were written of it (0 if there are none). logprob: their sum.
    entry: of the memory, the one that was written.
    """

    row: int
    title: int
    items: tuple[int, ...]
    slot: int
    read: int
    score: float
    logprob: float
    entry: int


def write_titles(
    lattice: Lattice, states: torch.Tensor, slots: Int64, memory: Memory, beam_size: int, *, prior: float = 0.0
) -> list[Title]:
    """Return at most `beam_size` titles for each question, best first within a question.

    prior: so many times the log-probability without a question is taken from every token's.
    """
    offsets = memory.unasked.times(prior) if prior else None
    starts = [Start(int(slot), state) for slot, state in zip(slots, states, strict=True)]
    found = search(lattice, starts, memory.titles, Rules(beam_size, offsets=offsets))
    return [
        Title(
            row,
            memory.trie.walk(memory.boundary, h.node),
            h.score,
            h.logprob,
            h.slot,
            len(h.tokens) - len(h.unfed),
            (*h.unfed, *memory.boundary),
        )
        for row, hypotheses in enumerate(found)
        for h in hypotheses
    ]


def untitled(slots: Int64) -> list[Title]:
    """Return one empty title a question, for retrieval without titles (Table 4)."""
    return [Title(row, 0, 0.0, 0.0, int(slot), 0, ()) for row, slot in enumerate(slots)]


def write_passages(
    lattice: Lattice, states: torch.Tensor, titles: Sequence[Title], memory: Memory, beam_size: int
) -> list[Candidate]:
    """Return at most `beam_size` ways to write passages under each title, grouped by title, one a passage.

    states: (questions, hidden) behind the questions, where a title without tokens starts.
    """
    starts = _starts(lattice, states, titles)
    found = search(lattice, starts, memory.trie, Rules(beam_size))
    numbers = _number_in_row([t.row for t in titles])
    return [
        candidate
        for title, start, number, hypotheses in zip(titles, starts, numbers, found, strict=True)
        for candidate in _candidates(title, start.slot, number, hypotheses, memory)
    ]


def _starts(lattice: Lattice, states: torch.Tensor, titles: Sequence[Title]) -> list[Start]:
    """Feed what the cache lacks of each title; its passages start behind it."""
    starts = [Start(t.slot, states[t.row], t.node) for t in titles]
    waiting = [i for i, t in enumerate(titles) if t.unfed]
    if waiting:
        hidden, ends = lattice.feed_chains([titles[i].slot for i in waiting], [titles[i].unfed for i in waiting])
        for i, state, end in zip(waiting, hidden, ends, strict=True):
            starts[i] = Start(int(end), state, titles[i].node)
    return starts


def list_passages(titles: Sequence[Title], memory: Memory, enough: int | None) -> list[Candidate]:
    """Return the passages of the best titles of each question, none of them written, grouped by title.

    Args:
        titles: best first within a question.
        memory: their passages.
        enough: a question gets so many at most, of the last title those that come first in the corpus; None: all.
    """
    found: list[Candidate] = []
    have: dict[int, int] = {}
    for title, number in zip(titles, _number_in_row([t.row for t in titles]), strict=True):
        mine = have.get(title.row, 0)
        under = memory.under_title[title.node][: None if enough is None else enough - mine]
        have[title.row] = mine + len(under)
        found += [Candidate(title.row, number, w.rows, title.slot, title.read, 0.0, 0.0, w.entry) for w in under]
    return found


def _candidates(
    title: Title, start: int, number: int, hypotheses: Sequence[Hypothesis], memory: Memory
) -> list[Candidate]:
    """Turn what was written under a title, from the slot `start`, into passages; the best way to one counts."""
    found: dict[tuple[int, ...], Candidate] = {}
    head = title.read + len(title.unfed)
    for h in hypotheses:
        for rows, entry in memory.written_at(h.node):
            slot, read = h.slot, head + len(h.tokens) - len(h.unfed)
            if entry >= memory.passages:  # what was written is not how the passage begins
                slot, read = start, head
            if rows not in found or h.logprob > found[rows].logprob:
                found[rows] = Candidate(title.row, number, rows, slot, read, h.score, h.logprob, entry)
    return list(found.values())


def _number_in_row(rows: Sequence[int]) -> list[int]:
    """Number the entries of each run of equal values from 0."""
    numbers: list[int] = []
    for place, row in enumerate(rows):
        numbers.append(numbers[-1] + 1 if place and rows[place - 1] == row else 0)
    return numbers
