r"""Answering (Table 5, Tang et al. 2024): go on behind the best passage, `... {passage}\n\n Final answer:`, greedily.

The text starts from the cache its generation left, as self-assessment does: only the rest of the passage and the cue
are read. Where the model writes the refusal, the next best passage is tried while there is one to try.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from harness.lm.greedy import Written, continue_greedily
from harness.lm.lattice import Lattice
from harness.types import Answer, Hit
from selfretrieval import prompts
from selfretrieval.assess import unread
from selfretrieval.generate import Candidate
from selfretrieval.judge import Judged
from selfretrieval.memory import Memory


class Source(NamedTuple):
    """A passage to answer from: the docid it is ranked by, and how it was written."""

    docid: str
    candidate: Candidate


def sources(hits: Sequence[Hit], judged: Sequence[Judged], row_of: Mapping[str, int], count: int) -> list[Source]:
    """Return the first `count` different passages of a ranking; copies of one passage count as one."""
    best: dict[int, Judged] = {}
    for j in judged:
        for row in j.candidate.items:
            if row not in best or j.score > best[row].score:
                best[row] = j
    found: dict[tuple[int, ...], Source] = {}
    for hit in hits:
        j = best[row_of[hit.docid]]
        found.setdefault(j.candidate.items, Source(hit.docid, j.candidate))
    return list(found.values())[:count]


def write_answers(
    lattice: Lattice, offered: Sequence[Sequence[Source]], memory: Memory, max_tokens: int
) -> list[Answer]:
    """Answer each question from the first of its sources that is not refused; all refused: an empty text, the first.

    What ends after `max_tokens` in the middle of a refusal is one.

    Args:
        lattice: whose slots the candidates stand at.
        offered: sources of each question, best first; a question without any gets no answer.
        memory: what the candidates were written from.
        max_tokens: tokens of the longest answer.
    """
    refusal = tuple(lattice.backbone.encode_after(prompts.ANSWER, [prompts.REJECT])[0])
    answers = [Answer("", tried[0].docid if tried else None, 0.0) for tried in offered]
    for place in range(max(map(len, offered), default=0)):
        asked = [i for i, tried in enumerate(offered) if not answers[i].text and place < len(tried)]
        if not asked:
            break
        written = _write(lattice, [offered[i][place].candidate for i in asked], memory, max_tokens)
        for i, one in zip(asked, written, strict=True):
            text = lattice.backbone.decode(one.tokens).strip()
            cut_short = not one.ended and one.tokens == refusal[: len(one.tokens)]
            if text != prompts.REJECT.strip() and not cut_short:
                answers[i] = Answer(text, offered[i][place].docid, one.logprob)
            elif place == 0:
                answers[i] = Answer("", offered[i][place].docid, one.logprob)
    return answers


def _write(lattice: Lattice, candidates: Sequence[Candidate], memory: Memory, max_tokens: int) -> list[Written]:
    """Write behind each candidate; its branch alone is copied, so that the others need not be looked past."""
    cue = lattice.backbone.encode([prompts.ANSWER])[0]
    fork, slots = lattice.fork(np.array([c.slot for c in candidates], dtype=np.int64))
    states, ends = fork.feed_chains(slots.tolist(), [[*unread(c, memory), *cue] for c in candidates])
    written = continue_greedily(fork, states, ends, max_tokens, lattice.backbone.end)
    lattice.work.add(fork.work)
    return written
