"""Query likelihood: how probable is the question behind a passage (Ponte and Croft 1998; Sachan et al. 2022)?

An addition to the paper, beside its self-assessment. The text is that of the training view `likelihood`:

    Related document title: {title} Related document content: {passage} Question: *{question}*

A passage is read before the question, so what the model made of it serves every question: its keys and values are
kept, as far as there is room for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np

from harness.lm.backbone import Backbone
from harness.lm.lattice import Lattice
from harness.lm.session import Work
from selfretrieval import prompts
from selfretrieval.assess import chunks, token_logprobs
from selfretrieval.generate import Candidate
from selfretrieval.memory import Memory


class Reader:
    """Judges passages by the questions they raise; keeps the keys and values of those it read last."""

    def __init__(self, backbone: Backbone, memory: Memory, room_bytes: int, query_tokens: int) -> None:
        """Keep at most `room_bytes` of keys and values between questions, which are cut after `query_tokens`."""
        self._backbone, self._memory = backbone, memory
        self._room_bytes, self._query_tokens = room_bytes, query_tokens
        self._kept: OrderedDict[int, Lattice] = OrderedDict()
        self._kept_bytes = 0

    def likelihoods(self, candidates: Sequence[Candidate], questions: Sequence[str], work: Work) -> list[float]:
        """Return for each candidate the mean log-probability of its question's tokens behind its passage.

        Tokens that the vocabulary was trimmed of are left out: they tell no passage from another. A question without
        any other gives 0.

        Args:
            candidates: of all questions of a batch.
            questions: by the candidates' `row`.
            work: counts what is done here.
        """
        cue = self._backbone.encode([prompts.ASKED])[0]
        asked = self._backbone.encode_after(prompts.ASKED, [prompts.answer_of(q) for q in questions])
        tails = [[*cue, *asked[c.row][: self._query_tokens]] for c in candidates]
        lengths = [len(self._memory.sequences[c.items[0]]) + len(t) for c, t in zip(candidates, tails, strict=True)]
        found = np.zeros(len(candidates))
        for chunk in chunks(lengths):
            passages = [candidates[i].items[0] for i in chunk]
            found[chunk] = self._judged(passages, [tails[i] for i in chunk], len(cue), work)
        result: list[float] = found.tolist()
        return result

    def _judged(self, passages: Sequence[int], tails: Sequence[list[int]], cue: int, work: Work) -> list[float]:
        """Feed each tail behind its passage and score the tail behind its first `cue` tokens."""
        reader, slots = Lattice.joined(self._read(passages, work))
        lengths = np.array([len(t) - 1 for t in tails])  # nothing needs to be predicted behind the last token
        ends = np.cumsum(lengths)
        parents = reader.next_slot - 1 + np.arange(int(ends[-1]))
        parents[ends - lengths] = slots
        hidden, _ = reader.feed(parents, np.concatenate([np.array(t[:-1]) for t in tails]))
        work.add(reader.work)
        owner = np.repeat(np.arange(len(tails)), lengths - cue + 1)
        at = np.concatenate([np.arange(e - n + cue - 1, e) for e, n in zip(ends, lengths, strict=True)])
        wanted = np.concatenate([np.array(t[cue:], dtype=np.int64) for t in tails])
        values = token_logprobs(self._backbone, hidden[reader.on_device(at)], wanted)
        known = np.isfinite(values)
        count = np.bincount(owner[known], minlength=len(tails))
        total = np.bincount(owner[known], values[known], minlength=len(tails))
        means: list[float] = (total / np.maximum(count, 1)).tolist()
        return means

    def _read(self, passages: Sequence[int], work: Work) -> list[Lattice]:
        """Return each passage as it was read, by its first entry; read those that are not kept."""
        read = {entry: self._kept[entry] for entry in passages if entry in self._kept}
        for entry in dict.fromkeys(passages):
            if entry not in read:
                read[entry] = self._fresh(entry, work)
            self._keep(entry, read[entry])
        return [read[entry] for entry in passages]

    def _fresh(self, entry: int, work: Work) -> Lattice:
        memory = self._memory
        cue = self._backbone.encode([prompts.TITLE if memory.heads.any() else prompts.PASSAGE])[0]
        lattice = Lattice(self._backbone)
        lattice.prefill([[*cue, *memory.sequences[entry][:-1].tolist()]])
        work.add(lattice.work)
        return lattice.trimmed()

    def _keep(self, entry: int, lattice: Lattice) -> None:
        """Keep a passage as the one used last, in place of those that were not used for longest."""
        if entry not in self._kept:
            self._kept_bytes += lattice.nbytes
        self._kept[entry] = lattice
        self._kept.move_to_end(entry)
        while self._kept_bytes > self._room_bytes:
            self._kept_bytes -= self._kept.popitem(last=False)[1].nbytes
